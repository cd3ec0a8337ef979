//! A host with everything a test wants to steer or to see.

use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::module::Module;
use amplifier_foundation::{Host, HostBuilder};

use crate::bundle::BundleText;
use crate::clock::ManualClock;
use crate::fake::{Brain, FakeContext, FakeHook, FakeLoop, FakeTool, LoopAct, ORCHESTRATOR};
use crate::ids::SeededIds;
use crate::project::TempProject;
use crate::watch::RecordingDisplay;

/// What a host is made of. The bundle `plain` names the kit's provider and the tools of the stage.
#[derive(Debug)]
pub struct Stage {
    /// The time of every host of this stage.
    pub clock: ManualClock,
    /// The provider.
    pub brain: Brain,
    /// What people see.
    pub display: RecordingDisplay,
    /// A hook that sees every event of every session.
    pub hook: FakeHook,
    /// The project, for hosts on disk.
    pub project: TempProject,
    ids: Arc<SeededIds>,
    tools: Vec<FakeTool>,
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Stage {
    /// A stage without tools.
    pub fn new() -> Self {
        Self {
            clock: ManualClock::new(),
            brain: Brain::new(),
            display: RecordingDisplay::new(),
            hook: FakeHook::new(),
            project: TempProject::new(),
            ids: Arc::new(SeededIds::new(1)),
            tools: Vec::new(),
        }
    }

    /// A stage with these tools in the bundle `plain`.
    pub fn with_tools(tools: impl IntoIterator<Item = FakeTool>) -> Self {
        Self { tools: tools.into_iter().collect(), ..Self::new() }
    }

    /// The same stage with another watching hook.
    #[must_use]
    pub fn watched_by(mut self, hook: FakeHook) -> Self {
        self.hook = hook;
        self
    }

    /// The modules of the stage.
    pub fn modules(&self) -> Vec<Arc<dyn Module>> {
        let mut modules: Vec<Arc<dyn Module>> = vec![
            Arc::new(self.brain.clone()),
            Arc::new(FakeLoop(ORCHESTRATOR, LoopAct::Plain)),
            Arc::new(FakeLoop("loop-panics", LoopAct::Panic)),
            Arc::new(FakeContext::default()),
        ];
        modules.extend(self.tools.iter().map(|tool| Arc::new(tool.clone()) as Arc<dyn Module>));
        modules
    }

    /// The text of the bundle `plain`.
    pub fn plain(&self) -> BundleText {
        let id = |tool: &FakeTool| Module::info(tool).id;
        self.tools.iter().fold(BundleText::new("plain"), |bundle, tool| bundle.tool(id(tool)))
    }

    /// A builder with all of this.
    pub fn builder(&self) -> HostBuilder {
        Host::builder()
            .modules(self.modules())
            .bundle("plain", self.plain())
            .clock(Arc::new(self.clock.clone()))
            .ids(Arc::clone(&self.ids) as Arc<dyn amplifier_core::Ids>)
            .display(Arc::new(self.display.clone()))
            .home(self.project.home())
            .hook(self.hook.clone())
    }

    /// A host that opens no file.
    pub fn host_in_memory(&self) -> Host {
        self.builder().in_memory()
    }

    /// A host for the stage's project.
    pub async fn host_on_disk(&self) -> Host {
        self.builder().open(self.project.path()).await.unwrap()
    }
}

/// A provider entry for [`HostBuilder::providers`].
pub fn provider_spec(module: &str) -> ModuleSpec {
    ModuleSpec::new(module)
}

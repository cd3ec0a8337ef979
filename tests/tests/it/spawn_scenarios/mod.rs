//! Scenarios of spawning: each a real run, from the request to what is left behind.
//!
//! Every case ends with [`Scene::over`], which looks at everything that must hold whatever happened:
//! one outcome, one terminal event and one settled row an activation; no task, lock, file, process or
//! session left; places, budgets and lists of children that add up.

mod cancel;
mod children;
mod deadlines;
mod ends;
mod inherit;
mod keys;
mod limits;
// mod properties;
mod regressions;
mod resume;
mod specs;
mod stores;
mod waits;

use std::sync::Arc;

use amplifier_core::module::Module;
use amplifier_core::{Limits, OutcomeKind, SessionOutcome};
use amplifier_foundation::host::HostBuilder;
use amplifier_foundation::spawn::Spawner;
use amplifier_foundation::{Host, SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::aftermath::Aftermath;
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{SPAWN, SpawnTool};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

/// A host with a bundle `crew`, whose agents `explorer` and `worker` can spawn in turn.
struct Scene {
    stage: Stage,
    /// What the model spawned.
    tool: SpawnTool,
    host: Host,
    aftermath: Aftermath,
}

/// The agents of the bundle `crew`.
fn agents() -> Value {
    json!({
        "explorer": {"description": "finds things", "instruction": "You explore."},
        "worker": {"description": "does things", "instruction": "You work."},
    })
}

/// The bundle `crew`.
fn crew() -> BundleText {
    BundleText::new("crew").tool(SPAWN).section("agents", agents()).instruction("You lead.")
}

impl Scene {
    /// In memory.
    fn new() -> Self {
        Self::with(Stage::new(), crew(), |builder| builder)
    }

    /// In memory, with another bundle `crew` and whatever else the builder shall have.
    fn with(stage: Stage, crew: BundleText, build: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let tool = SpawnTool::default();
        let host = build(builder(&stage, &tool, crew)).in_memory();
        let aftermath = Aftermath::of(&stage, &host);
        Self { stage, tool, host, aftermath }
    }

    /// On disk, in the stage's project.
    async fn on_disk(stage: Stage, crew: BundleText, build: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let tool = SpawnTool::default();
        let host = build(builder(&stage, &tool, crew)).open(stage.project.path()).await.unwrap();
        let aftermath = Aftermath::of(&stage, &host);
        Self { stage, tool, host, aftermath }
    }

    async fn spawn(&self, request: impl Into<SpawnRequest>) -> SpawnResult {
        soon("the spawn", spawn_bundle(&self.host, request)).await.unwrap()
    }

    async fn refused(&self, request: impl Into<SpawnRequest>) -> SpawnError {
        match soon("the refusal", spawn_bundle(&self.host, request)).await {
            Err(error) => error,
            Ok(result) => panic!("{} was spawned", result.id()),
        }
    }

    /// A root that is kept open behind its first turn.
    async fn root(&self) -> SpawnResult {
        self.spawn(SpawnRequest::new("crew", "hello").keep_open()).await
    }

    /// Calls of models may be cut off in this scene.
    fn with_cuts(mut self) -> Self {
        self.aftermath = self.aftermath.after_cuts();
        self
    }

    /// The storage fails in this scene.
    fn with_a_failing_storage(mut self) -> Self {
        self.aftermath = self.aftermath.after_a_failed_storage();
        self
    }

    /// The store fails in this scene.
    fn with_a_failing_store(mut self) -> Self {
        self.aftermath = self.aftermath.after_a_failed_store();
        self
    }

    /// Looks at what is left. `results`: what the test has spawned; what models spawned is known.
    async fn over(self, results: impl IntoIterator<Item = SpawnResult>) -> Stage {
        let mut all: Vec<SpawnResult> = results.into_iter().collect();
        all.extend(self.tool.take());
        self.aftermath.check(self.host, all).await;
        self.stage
    }
}

fn builder(stage: &Stage, tool: &SpawnTool, crew: BundleText) -> HostBuilder {
    let tool: Arc<dyn Module> = Arc::new(tool.clone());
    stage.builder().modules([tool]).bundle("crew", crew)
}

/// Modules for [`HostBuilder::modules`].
fn modules<const N: usize>(modules: [&dyn CloneModule; N]) -> Vec<Arc<dyn Module>> {
    modules.into_iter().map(CloneModule::boxed).collect()
}

/// A module whose clones share what they remember.
trait CloneModule {
    fn boxed(&self) -> Arc<dyn Module>;
}

impl<M: Module + Clone + 'static> CloneModule for M {
    fn boxed(&self) -> Arc<dyn Module> {
        Arc::new(self.clone())
    }
}

/// How a session ended, and what it says.
async fn end(result: &SpawnResult) -> (OutcomeKind, Arc<SessionOutcome>) {
    let outcome = soon("the outcome", result.outcome()).await;
    (outcome.kind, outcome)
}

fn spawner(result: &SpawnResult) -> Arc<Spawner> {
    result.session().env().coordinator.capability::<Spawner>().unwrap()
}

fn limits(set: impl FnOnce(&mut Limits)) -> Limits {
    let mut limits = Limits::default();
    set(&mut limits);
    limits
}

/// The results of tools that a model saw last.
fn tool_results(stage: &Stage) -> Vec<String> {
    let last = stage.brain.last_request();
    last.into_iter().filter(|(role, _)| role == "tool").map(|(_, text)| text).collect()
}

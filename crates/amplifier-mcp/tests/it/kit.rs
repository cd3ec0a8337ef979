//! Sessions with `tool-mcp`, and what they were told.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::OutcomeKind;
use amplifier_core::permission::{Layer, Mode, Permissions, Rule, RuleEffect};
use amplifier_foundation::fs::process_table::{environment_has, processes};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::{Host, HostBuilder, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

/// A stage with a bundle `b` that has the module with this configuration.
pub(crate) struct Bench {
    pub(crate) stage: Stage,
    pub(crate) config: Value,
}

impl Bench {
    pub(crate) fn new(config: Value) -> Self {
        Self { stage: Stage::new(), config }
    }

    /// With one server, the fake one with these flags.
    pub(crate) fn fake(flags: &[&str]) -> Self {
        Self::new(json!({"servers": {"fake": fake(flags)}}))
    }

    pub(crate) fn cwd(&self) -> PathBuf {
        self.stage.project.path()
    }

    pub(crate) fn builder(&self) -> HostBuilder {
        let bundle = BundleText::new("b").tool_with("tool-mcp", self.config.clone());
        self.stage
            .builder()
            .modules(amplifier_mcp::modules())
            .bundle("b", bundle)
            .clock(Arc::new(SystemClock::new()))
            // By seeded ids the marks of processes would be those of other tests.
            .ids(Arc::new(RandomIds::new()))
    }

    pub(crate) async fn host(&self) -> Host {
        self.builder().open(self.cwd()).await.unwrap()
    }

    /// A session that calls these tools one after the other; what it was told.
    pub(crate) async fn run(&self, calls: &[(&'static str, Value)]) -> Vec<String> {
        let host = self.host().await;
        self.run_on(&host, calls).await
    }

    pub(crate) async fn run_on(&self, host: &Host, calls: &[(&'static str, Value)]) -> Vec<String> {
        for (tool, arguments) in calls {
            self.stage.brain.then(Step::Call(vec![(tool, arguments.clone())]));
        }
        self.stage.brain.say("over");
        let session = soon("the spawn", spawn_bundle(host, ("b", "go"))).await.unwrap();
        self.told(&session).await
    }

    /// The results of tools that a session was given, once it has ended.
    pub(crate) async fn told(&self, session: &SpawnResult) -> Vec<String> {
        let outcome = tokio::time::timeout(Duration::from_secs(60), session.outcome()).await.unwrap();
        assert_eq!(outcome.kind, OutcomeKind::Completed, "{outcome:?}");
        let told = self.stage.brain.last_request();
        told.into_iter().filter(|(role, _)| role == "tool").map(|(_, text)| text).collect()
    }

    /// The tools that the model was offered last.
    pub(crate) fn offered(&self) -> Vec<String> {
        let requests = self.stage.brain.requests();
        requests.last().unwrap().tools.iter().map(|tool| tool.name.clone()).collect()
    }

    /// What a person was told, but for the notices of others.
    pub(crate) fn notices(&self) -> Vec<String> {
        let all = self.stage.display.notices();
        all.iter().filter_map(|line| line.strip_prefix("tool-mcp: ")).map(str::to_owned).collect()
    }
}

/// A session that is given as soon as it runs.
pub(crate) fn background() -> SpawnRequest {
    SpawnRequest::new("b", "go").background(true)
}

/// The configuration of the fake server.
pub(crate) fn fake(flags: &[&str]) -> Value {
    json!({"command": env!("CARGO_BIN_EXE_fake-mcp-server"), "args": flags})
}

/// A layer of this mode over the directory, with rules.
pub(crate) fn permissions(mode: Mode, cwd: &Path, rules: &[(RuleEffect, &str)]) -> Permissions {
    let mut layer = Layer::of_mode("test", mode, vec![cwd.to_owned()]);
    layer.rules = rules.iter().map(|(effect, text)| Rule::parse(*effect, text, cwd, cwd).unwrap()).collect();
    Permissions::unrestricted().with(layer)
}

/// Fake servers alive that work in this directory.
pub(crate) fn servers_in(cwd: &Path) -> Vec<i32> {
    let entry = format!("AMPLIFIER_TEST_OF={}", cwd.display());
    let alive = processes().into_iter().filter(|process| !process.ended);
    let of = alive.filter(|process| environment_has(process.pid, |variable| variable == entry.as_bytes()));
    of.map(|process| process.pid).collect()
}

/// The configuration of a fake server that [`servers_in`] finds.
pub(crate) fn marked(flags: &[&str], cwd: &Path) -> Value {
    let mut server = fake(flags);
    server["env"] = json!({"AMPLIFIER_TEST_OF": cwd.display().to_string()});
    server
}

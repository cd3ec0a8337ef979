//! What a child takes over: every row of the table in [`Inherit`], and what comes from the parent before
//! anything is mounted.

use std::sync::Arc;

use amplifier_core::approval::ApprovalAnswer;
use amplifier_core::module::Module;
use amplifier_foundation::spawn::{Inherit, Selection, explain};
use amplifier_foundation::{SpawnRequest, SpawnResult};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::{Act, Brain, FakeTool, SPAWN, Step, Witness, agent, spawning};
use amplifier_tests::stage::Stage;
use amplifier_tests::watch::{RecordingApprover, RecordingDisplay};
use serde_json::{Value, json};

use super::{Scene, crew, end, modules, spawner};

/// Two tools, hooks and providers, of which a bundle has one and the parent both.
struct Parts {
    tools: [Witness; 3],
    hooks: [Witness; 3],
    providers: [Brain; 2],
}

impl Parts {
    fn new() -> Self {
        Self {
            tools: ["tool-a", "tool-b", "tool-own"].map(Witness::tool),
            hooks: ["hooks-a", "hooks-b", "hooks-own"].map(Witness::hook),
            providers: ["provider-a", "provider-b"].map(Brain::named),
        }
    }

    fn modules(&self) -> Vec<Arc<dyn Module>> {
        let tools = self.tools.iter().chain(&self.hooks).map(|one| Arc::new(one.clone()) as Arc<dyn Module>);
        tools.chain(self.providers.iter().map(|one| Arc::new(one.clone()) as Arc<dyn Module>)).collect()
    }

    /// How often each provider was mounted.
    fn mounts(&self) -> Vec<usize> {
        self.providers.iter().map(|brain| brain.configs().len()).collect()
    }

    /// `tools a own, hooks a, providers a, agents explorer`: what a new session has.
    fn of(&self, result: &SpawnResult, before: &[usize]) -> String {
        let has = |all: &[Witness]| -> Vec<String> {
            let found = all.iter().filter(|one| one.in_session(result.id()).is_some());
            found.map(|one| Module::info(one).id.split_once('-').unwrap().1.to_owned()).collect()
        };
        let mounted = self.mounts().into_iter().zip(before).zip(["a", "b"]);
        let providers: Vec<_> =
            mounted.filter(|((now, before), _)| now > before).map(|(_, name)| name).collect();
        let agents: Vec<_> = spawner(result).agents().into_iter().map(|agent| agent.name).collect();
        let (tools, hooks) = (has(&self.tools), has(&self.hooks));
        format!(
            "tools {}, hooks {}, providers {}, agents {}",
            tools.join(" "),
            hooks.join(" "),
            providers.join(" "),
            agents.join(" ")
        )
    }
}

/// The parent: both of everything.
fn parent() -> BundleText {
    let agents = json!({
        "explorer": {"instruction": "You explore."},
        "worker": {"instruction": "You work.", "tools": [{"module": "tool-own"}], "hooks": [{"module": "hooks-own"}], "agents": "none"},
        "picky": {"instruction": "You pick.", "agents": ["explorer"]},
    });
    let bundle = BundleText::bare("crew").provider("provider-a", json!({})).provider("provider-b", json!({}));
    let bundle = ["tool-a", "tool-b"].into_iter().fold(bundle, |bundle, tool| bundle.tool(tool));
    bundle.hook("hooks-a").hook("hooks-b").section("agents", agents)
}

/// Another bundle: one of everything, or no provider.
fn other(providers: &[&str]) -> BundleText {
    let own = json!({"helper": {"instruction": "You help."}});
    let bundle = BundleText::bare("other").tool("tool-own").hook("hooks-own").section("agents", own);
    providers.iter().fold(bundle, |bundle, provider| bundle.provider(provider, json!({})))
}

fn only(id: &str) -> Selection {
    Selection::Only(vec![id.to_owned()])
}

struct Table {
    scene: Scene,
    parts: Parts,
    root: SpawnResult,
    spawned: Vec<SpawnResult>,
}

impl Table {
    async fn new(spawn: Option<Value>) -> Self {
        let parts = Parts::new();
        let bundle = match spawn {
            Some(section) => parent().section("spawn", section),
            None => parent(),
        };
        let scene = Scene::with(Stage::new(), bundle, |builder| {
            builder
                .modules(parts.modules())
                .bundle("other", other(&["provider-b"]))
                .bundle("bare", other(&[]).to_string().replacen("\"other\"", "\"bare\"", 1))
        });
        let root = scene.root().await;
        Self { scene, parts, root, spawned: Vec::new() }
    }

    async fn check(&mut self, request: SpawnRequest, inherit: Inherit, expect: &str) {
        let before = self.parts.mounts();
        let explained = explain(&self.scene.host, request.clone().inherit(inherit.clone())).await.unwrap();
        let child = self.scene.spawn(request.inherit(inherit.clone())).await;
        assert!(end(&child).await.1.is_completed());
        assert_eq!(self.parts.of(&child, &before), expect, "{inherit:?}");
        // What was explained before is what runs.
        let named = |kind: &str| -> String {
            let of_kind = explained.modules.iter().filter(|module| module.kind == kind);
            of_kind.map(|module| module.module.split_once('-').unwrap().1).collect::<Vec<_>>().join(" ")
        };
        let said = format!(
            "tools {}, hooks {}, providers {}, agents {}",
            named("tool"),
            named("hook"),
            named("provider"),
            explained.agents.join(" ")
        );
        assert_eq!(said, expect, "as explained: {inherit:?}");
        self.spawned.push(child);
    }

    fn agent(&self, name: &str) -> SpawnRequest {
        SpawnRequest::agent(self.root.session(), name, "x")
    }

    fn bundle(&self, name: &str) -> SpawnRequest {
        SpawnRequest::new(name, "x").parent(self.root.session())
    }

    async fn over(self) {
        self.root.session().end().await;
        drop(self.parts);
        self.scene.over(self.spawned.into_iter().chain([self.root])).await;
    }
}

fn inherit() -> Inherit {
    Inherit::default()
}

#[tokio::test]
async fn an_agent_inherits_what_is_not_excluded_and_keeps_its_own() {
    let mut table = Table::new(None).await;
    let all = "agents explorer picky worker";
    let rows = [
        (inherit(), format!("tools a b, hooks a b, providers a b, {all}")),
        (inherit().tools(Selection::None), format!("tools , hooks a b, providers a b, {all}")),
        (inherit().tools(only("tool-b")), format!("tools b, hooks a b, providers a b, {all}")),
        (inherit().exclude_tools(["tool-b"]), format!("tools a, hooks a b, providers a b, {all}")),
        (inherit().hooks(Selection::None), format!("tools a b, hooks , providers a b, {all}")),
        (inherit().hooks(only("hooks-a")), format!("tools a b, hooks a, providers a b, {all}")),
        (inherit().exclude_hooks(["hooks-a"]), format!("tools a b, hooks b, providers a b, {all}")),
        (inherit().providers(only("provider-b")), format!("tools a b, hooks a b, providers b, {all}")),
        (inherit().agents(Selection::None), "tools a b, hooks a b, providers a b, agents ".into()),
        (inherit().agents(only("explorer")), "tools a b, hooks a b, providers a b, agents explorer".into()),
    ];
    for (inherit, expect) in rows {
        table.check(table.agent("explorer"), inherit, &expect).await;
    }
    let own = "tools b own, hooks own, providers a b, agents ";
    let narrow = inherit().exclude_tools(["tool-a", "tool-own"]).hooks(Selection::None);
    table.check(table.agent("worker"), narrow, own).await;
    table
        .check(table.agent("picky"), inherit(), "tools a b, hooks a b, providers a b, agents explorer")
        .await;
    let both = inherit().agents(only("worker"));
    table.check(table.agent("picky"), both, "tools a b, hooks a b, providers a b, agents ").await;
    table.check(table.agent("self"), inherit(), &format!("tools a b, hooks a b, providers a b, {all}")).await;
    table.over().await;
}

#[tokio::test]
async fn a_bundle_inherits_what_it_is_given() {
    let mut table = Table::new(None).await;
    let rows = [
        ("other", inherit(), "tools own, hooks own, providers b, agents helper"),
        ("bare", inherit(), "tools own, hooks own, providers a b, agents helper"),
        ("bare", inherit().providers(only("provider-a")), "tools own, hooks own, providers a, agents helper"),
        ("other", inherit().providers(Selection::All), "tools own, hooks own, providers a b, agents helper"),
        ("other", inherit().providers(Selection::None), "tools own, hooks own, providers b, agents helper"),
        ("other", inherit().tools(Selection::All), "tools a b own, hooks own, providers b, agents helper"),
        ("other", inherit().tools(only("tool-a")), "tools a own, hooks own, providers b, agents helper"),
        (
            "other",
            inherit().tools(Selection::All).exclude_tools(["tool-a", "tool-own"]),
            "tools b own, hooks own, providers b, agents helper",
        ),
        ("other", inherit().hooks(Selection::All), "tools own, hooks a b own, providers b, agents helper"),
        (
            "other",
            inherit().hooks(Selection::All).exclude_hooks(["hooks-b"]),
            "tools own, hooks a own, providers b, agents helper",
        ),
        (
            "other",
            inherit().agents(Selection::All),
            "tools own, hooks own, providers b, agents explorer helper picky worker",
        ),
        ("other", inherit().agents(only("picky")), "tools own, hooks own, providers b, agents helper picky"),
    ];
    for (bundle, inherit, expect) in rows {
        table.check(table.bundle(bundle), inherit, expect).await;
    }
    table.over().await;
}

#[tokio::test]
async fn the_parents_bundle_says_what_its_children_get() {
    let all = "hooks a b, providers a b, agents explorer picky worker";
    let mut table = Table::new(Some(json!({"exclude_tools": ["tool-a"]}))).await;
    table.check(table.agent("explorer"), inherit(), &format!("tools b, {all}")).await;
    table.check(table.agent("worker"), inherit(), "tools b own, hooks a b own, providers a b, agents ").await;
    let given = inherit().tools(Selection::All);
    table.check(table.bundle("other"), given, "tools b own, hooks own, providers b, agents helper").await;
    table.over().await;
    let mut table = Table::new(Some(json!({"tools": [{"module": "tool-own"}]}))).await;
    table.check(table.agent("explorer"), inherit(), &format!("tools own, {all}")).await;
    table.check(table.agent("explorer"), inherit().tools(only("tool-a")), &format!("tools , {all}")).await;
    table.over().await;
}

/// b247529, 34a7d2a, 655363b and 380a80f of the reference: what came too late, or not at all.
#[tokio::test]
async fn surroundings_come_from_the_parent_before_anything_is_mounted() {
    let (witness, display) = (Witness::tool("tool-a"), RecordingDisplay::new());
    let approver = RecordingApprover::new(ApprovalAnswer::Allow);
    let stage = Stage::new();
    let elsewhere = stage.project.around().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let elsewhere = std::fs::canonicalize(elsewhere).unwrap();
    let scene = Scene::on_disk(stage, crew().tool("tool-a"), |builder| {
        builder
            .modules(modules([&witness]))
            .approver(Arc::new(approver.clone()))
            .display(Arc::new(display.clone()))
    })
    .await;
    let root = scene.spawn(SpawnRequest::new("crew", "hello").cwd(&elsewhere).keep_open()).await;
    let shown = display.lines().iter().filter(|line| line.contains("tool-a: mounted")).count();
    let child = scene.spawn(SpawnRequest::agent(root.session(), "explorer", "look")).await;
    let bundle = SpawnRequest::new("crew", "x").parent(child.session());
    let below = scene.spawn(bundle).await;
    for (one, parent, depth) in [(&child, &root, 1), (&below, &child, 2)] {
        let seen = witness.in_session(one.id()).unwrap();
        assert_eq!((seen.cwd.as_path(), seen.depth), (elsewhere.as_path(), depth));
        assert_eq!((seen.parent.as_ref(), &seen.root), (Some(parent.id()), root.id()));
        assert!(seen.can_answer && seen.can_spawn);
        drop(seen);
    }
    let now = display.lines().iter().filter(|line| line.contains("tool-a: mounted")).count();
    assert_eq!((shown, now), (1, 3), "the display was there when each was mounted");
    let metadata = scene.host.storage().load(below.id()).await.unwrap().metadata;
    assert_eq!(metadata.working_dir, Some(elsewhere), "5f7ebfe of the reference");
    root.session().end().await;
    witness.forget();
    drop(witness);
    scene.over([root, child, below]).await;
}

/// A child's question goes to who sits in front of the root; with nobody there it is a denial at once.
#[tokio::test]
async fn a_childs_question_reaches_the_roots_approver() {
    use amplifier_core::Permissions;
    use amplifier_core::permission::{Layer, Mode};
    for there in [true, false] {
        let approver = RecordingApprover::new(ApprovalAnswer::Allow);
        let shell = FakeTool::new("tool-shell", Act::Say("done")).needs_shell();
        let asks = Permissions::unrestricted().with(Layer::of_mode("the host", Mode::Default, Vec::new()));
        let scene = Scene::with(Stage::new(), crew().tool("tool-shell"), |builder| {
            let builder = builder.modules(modules([&shell])).permissions(asks);
            if there { builder.approver(Arc::new(approver.clone())) } else { builder }
        });
        scene.stage.brain.to("go", Step::Call(vec![spawning(&agent("explorer", "look"))]));
        scene.stage.brain.to("look", Step::Call(vec![("shell", json!({}))]));
        let root = scene.spawn(("crew", "go")).await;
        assert_eq!(approver.asked(), if there { vec!["shell wants to run `rm -r x`"] } else { Vec::new() });
        assert_eq!(shell.sandboxed(), if there { vec![false] } else { vec![true] });
        scene.over([root]).await;
    }
}

/// The bundle's own modules are found by whatever id a list names them by.
#[tokio::test]
async fn an_exclusion_names_modules() {
    let scene = Scene::new();
    let root = scene.root().await;
    let request = SpawnRequest::agent(root.session(), "explorer", "look");
    let child = scene.spawn(request.inherit(inherit().exclude_tools([SPAWN]))).await;
    assert_eq!(child.session().tools().iter().count(), 0);
    root.session().end().await;
    scene.over([root, child]).await;
}

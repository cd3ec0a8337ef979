//! Limits and budgets of a tree: refused with a type, told to the model, and never passed by many together.

use std::sync::Arc;

use amplifier_core::limits::LimitKind;
use amplifier_core::module::provider::ChatRequest;
use amplifier_core::outcome::FailureKind;
use amplifier_core::price::Price;
use amplifier_core::{AmplifierSession, Limits, OutcomeKind};
use amplifier_foundation::spawn::TreeUsage;
use amplifier_foundation::{SpawnError, SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::aftermath::eventually;
use amplifier_tests::fake::{Step, agent, spawning};
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;

use super::{Scene, end, limits, tool_results};

/// A child in the background that waits at the gate.
async fn waiting(scene: &Scene, parent: &AmplifierSession, gate: &Gate) -> SpawnResult {
    scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
    let before = gate.arrived();
    let child = scene.spawn(SpawnRequest::agent(parent, "worker", "wait").background(true)).await;
    gate.reached(before + 1).await;
    child
}

/// A root, kept open, with these bounds.
async fn root(scene: &Scene, set: impl FnOnce(&mut Limits)) -> SpawnResult {
    scene.spawn(SpawnRequest::new("crew", "hello").keep_open().limits(limits(set))).await
}

#[tokio::test]
async fn named_agents_that_call_each_other_stop_at_the_depth() {
    let scene = Scene::new();
    for (prompt, name, next) in
        [("go", "worker", "l1"), ("l1", "explorer", "l2"), ("l2", "worker", "l3"), ("l3", "explorer", "l4")]
    {
        scene
            .stage
            .brain
            .to(prompt, Step::Call(vec![spawning(&agent(name, next))]))
            .to(prompt, Step::Say(prompt.into()));
    }
    let root = scene.spawn(("crew", "go")).await;
    assert_eq!(root.output().await.unwrap(), "go");
    let depths: Vec<u32> = root.descendants().iter().map(|child| child.depth).collect();
    assert_eq!(depths, [1, 2, 3]);
    let told = scene.stage.brain.requests().into_iter().find_map(|request| {
        let last = request.messages.to_vec().pop()?.text();
        last.starts_with("not spawned").then_some(last)
    });
    assert_eq!(told.as_deref(), Some("not spawned: limit max_depth is reached: 3 of 3, set by the default"));
    scene.over([root]).await;
}

#[tokio::test]
async fn descendants_that_run_at_once() {
    let (scene, gate) = (Scene::new(), Gate::new());
    let root = root(&scene, |limits| limits.max_concurrent = Some(2)).await;
    let first = waiting(&scene, root.session(), &gate).await;
    let below = waiting(&scene, first.session(), &gate).await;
    let error = scene.refused(SpawnRequest::agent(root.session(), "worker", "more")).await;
    let SpawnError::Limit(limit) = &error else { panic!("{error}") };
    assert_eq!(
        (limit.limit, limit.value, limit.used, limit.set_by.as_str()),
        (LimitKind::Concurrent, 2, 2, "the request")
    );
    assert!(error.is_limit() && !error.is_configuration());
    let error = scene.refused(SpawnRequest::agent(below.session(), "worker", "more")).await;
    assert!(error.to_string().contains("max_concurrent"), "an ancestor's bound: {error}");
    gate.open();
    end(&below).await;
    let more = scene.spawn(SpawnRequest::agent(root.session(), "worker", "more")).await;
    assert_eq!(root.tree_usage().spawned, 3);
    end(&first).await;
    root.session().end().await;
    scene.over([root, first, below, more]).await;
}

/// Whoever spawns below a session that has ended shares its bounds with the others who do.
#[tokio::test]
async fn descendants_of_a_session_that_has_ended() {
    for kept in [true, false] {
        let (scene, gate) = (Scene::new(), Gate::new());
        let root = root(&scene, |limits| limits.max_concurrent = Some(2)).await;
        let id = root.id().clone();
        root.session().end().await;
        let root = kept.then_some(root);
        scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
        scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
        let request = || SpawnRequest::agent(id.clone(), "worker", "wait").background(true);
        let children = [scene.spawn(request()).await, scene.spawn(request()).await];
        gate.reached(2).await;
        let error = scene.refused(request()).await;
        assert!(error.to_string().contains("max_concurrent is reached: 2 of 2"), "{error}");
        gate.open();
        for child in &children {
            end(child).await;
        }
        scene.over(root.into_iter().chain(children)).await;
    }
}

#[tokio::test]
async fn descendants_in_all() {
    let scene = Scene::new();
    let mut call = agent("worker", "one");
    call.limits = limits(|limits| limits.max_descendants = Some(9));
    let spawn = Step::Call(vec![spawning(&call), spawning(&call), spawning(&call)]);
    scene.stage.brain.to("go", spawn).to("go", Step::Say("enough".into()));
    let bounded = limits(|limits| limits.max_descendants = Some(2));
    let root = scene.spawn(SpawnRequest::new("crew", "go").limits(bounded)).await;
    let seen = tool_results(&scene.stage);
    assert_eq!(
        seen,
        ["done", "done", "not spawned: limit max_descendants is reached: 2 of 2, set by the request"]
    );
    scene.over([root]).await;
}

#[tokio::test]
async fn a_budget_that_is_used_up() {
    let scene = Scene::new();
    // One call uses 15. A third one may take its request, which is reckoned at 22, and 16 for an answer.
    let root = root(&scene, |limits| limits.max_tokens = Some(60)).await;
    let mut children = Vec::new();
    let error = loop {
        match spawn_bundle(&scene.host, SpawnRequest::agent(root.session(), "worker", "x")).await {
            Ok(child) if end(&child).await.0 == OutcomeKind::Completed => children.push(child),
            Ok(child) => {
                let (kind, outcome) = end(&child).await;
                let error = outcome.error.as_ref().unwrap();
                assert_eq!((kind, error.kind), (OutcomeKind::LimitReached, FailureKind::Limit));
                children.push(child);
                break error.message.clone();
            }
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        error.contains("the token budget of the request is too small for another call: 30 of 60 used or set aside, and it may take 38"),
        "{error}"
    );
    assert!(root.tree_usage().tokens <= 60);
    root.session().end().await;
    scene.over([root].into_iter().chain(children)).await;
}

#[tokio::test]
async fn a_budget_with_nothing_left_refuses_the_spawn() {
    let scene = Scene::new();
    let root = root(&scene, |limits| limits.max_cost_micro_usd = Some(500)).await;
    let error = scene.refused(SpawnRequest::agent(root.session(), "worker", "x")).await;
    let SpawnError::Budget(refusal) = &error else { panic!("{error}") };
    assert_eq!((refusal.what, refusal.limit, refusal.used), ("cost", 500, 1_000));
    assert!(error.is_limit() && error.to_string().starts_with("not spawned: "), "{error}");
    assert_eq!(root.tree_usage().spawned, 0);
    root.session().end().await;
    scene.over([root]).await;
}

/// What a budget counts, and how a test looks at it.
struct Meter {
    used: fn(&TreeUsage) -> u64,
    limit: fn(&mut Limits, u64),
    /// What a call has used once it is over.
    of_a_call: u64,
}

const TOKENS: Meter =
    Meter { used: |tree| tree.tokens, limit: |limits, most| limits.max_tokens = Some(most), of_a_call: 15 };
const COST: Meter = Meter {
    used: |tree| tree.micro_usd,
    limit: |limits, most| limits.max_cost_micro_usd = Some(most),
    of_a_call: 1_000,
};

/// A model of which each call may cost more than it will.
fn priced() -> Scene {
    let scene = Scene::new();
    scene.stage.brain.costs(Price::new(20_000_000, 20_000_000));
    scene
}

fn asks(root: &SpawnResult) -> SpawnRequest {
    SpawnRequest::agent(root.session(), "worker", "wait").max_output_tokens(50).background(true)
}

impl Meter {
    /// What one call of a worker's model sets aside.
    async fn aside(&self) -> u64 {
        let (scene, gate) = (priced(), Gate::new());
        let root = scene.root().await;
        scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
        let before = (self.used)(&root.tree_usage());
        let child = scene.spawn(asks(&root)).await;
        gate.reached(1).await;
        let aside = (self.used)(&root.tree_usage()) - before;
        gate.open();
        end(&child).await;
        root.session().end().await;
        scene.over([root, child]).await;
        assert!(aside > self.of_a_call, "{aside}");
        aside
    }

    /// So many children at once, below a root that can pay for so many; they are all in their call at once.
    async fn parallel(&self, many: u32, fit: usize) {
        let aside = self.aside().await;
        let (scene, gate) = (priced(), Gate::new());
        for _ in 0..many {
            scene.stage.brain.to("wait", Step::Wait("half".into(), gate.clone()));
        }
        // The root's own first call is made where it may cost what any call may.
        let budget = self.of_a_call + aside * fit as u64;
        let bounded = limits(|limits| {
            (limits.max_concurrent, limits.max_descendants) = (Some(many), Some(many));
            (self.limit)(limits, budget);
        });
        let request = SpawnRequest::new("crew", "hello").keep_open().max_output_tokens(50).limits(bounded);
        let root = Arc::new(scene.spawn(request).await);
        let used = self.used;
        let spawns: Vec<_> = (0..many)
            .map(|_| {
                let (host, root) = (scene.host.clone(), Arc::clone(&root));
                tokio::spawn(async move {
                    let result = spawn_bundle(&host, asks(&root)).await;
                    assert!(used(&root.tree_usage()) <= budget, "{:?}", root.tree_usage());
                    result
                })
            })
            .collect();
        let (mut children, mut refused) = (Vec::new(), 0);
        for spawn in spawns {
            match soon("a spawn", spawn).await.unwrap() {
                Ok(child) => children.push(child),
                Err(SpawnError::Budget(_)) => refused += 1,
                Err(other) => panic!("{other}"),
            }
        }
        gate.reached(fit).await;
        let running = || children.iter().filter(|child| !child.task().is_finished()).count();
        eventually("those without a budget have ended", || running() == fit).await;
        assert_eq!((gate.arrived(), used(&root.tree_usage())), (fit, budget), "all of it is set aside");
        gate.open();
        let mut ends = [0; 2];
        for child in &children {
            let (kind, outcome) = end(child).await;
            match kind {
                OutcomeKind::Completed => ends[0] += 1,
                OutcomeKind::LimitReached => ends[1] += 1,
                other => panic!("{other:?}: {outcome:?}"),
            }
        }
        assert_eq!((ends[0], ends[0] + ends[1] + refused), (fit, many as usize));
        let tree = root.tree_usage();
        assert_eq!((tree.running, tree.spawned as usize), (0, children.len()));
        assert_eq!(used(&tree), self.of_a_call * (1 + fit as u64));
        root.session().end().await;
        let root = Arc::into_inner(root).unwrap();
        scene.over([root].into_iter().chain(children)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_children_with_a_budget_for_a_hundred() {
    TOKENS.parallel(1_000, 100).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_hundred_children_with_money_for_twenty() {
    COST.parallel(200, 20).await;
}

/// Children that nobody told how long an answer may be, and that write for as long as they may: they are
/// asked for no more than the budget of their parent has left.
async fn endless(limit: fn(&mut Limits), used: fn(&TreeUsage) -> u64, budget: u64) {
    const MANY: usize = 12;
    let (scene, gate) = (priced(), Gate::new());
    for _ in 0..MANY {
        scene.stage.brain.to("wait", Step::Fill(gate.clone()));
    }
    let root = root(&scene, |limits| {
        (limits.max_concurrent, limits.max_descendants) = (Some(MANY as u32), Some(MANY as u32));
        limit(limits);
    })
    .await;
    let (mut children, mut refused) = (Vec::new(), 0);
    for _ in 0..MANY {
        let request = SpawnRequest::agent(root.session(), "worker", "wait").background(true);
        match spawn_bundle(&scene.host, request).await {
            Ok(child) => children.push(child),
            Err(SpawnError::Budget(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        assert!(used(&root.tree_usage()) <= budget, "{:?}", root.tree_usage());
    }
    gate.reached(1).await;
    gate.open();
    let mut completed = 0;
    for child in &children {
        match end(child).await.0 {
            OutcomeKind::Completed => completed += 1,
            OutcomeKind::LimitReached => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(completed > 0 && completed + refused == MANY, "{completed} of {MANY}");
    let took = used(&root.tree_usage());
    assert!(took <= budget && took > budget / 2, "{took} of {budget}");
    let bounded = |request: &ChatRequest| request.max_output_tokens.is_some_and(|most| most < 100_000);
    assert!(scene.stage.brain.requests().iter().all(bounded));
    root.session().end().await;
    scene.over([root].into_iter().chain(children)).await;
}

#[tokio::test]
async fn answers_without_a_bound_do_not_overshoot_a_token_budget() {
    endless(|limits| limits.max_tokens = Some(100_000), |tree| tree.tokens, 100_000).await;
}

#[tokio::test]
async fn answers_without_a_bound_do_not_overshoot_a_cost_budget() {
    endless(|limits| limits.max_cost_micro_usd = Some(1_500_000), |tree| tree.micro_usd, 1_500_000).await;
}

/// Turns of all generations count against the same budget.
#[tokio::test]
async fn a_budget_is_shared_by_all_levels() {
    let scene = Scene::new();
    for (prompt, next) in [("go", "l1"), ("l1", "l2"), ("l2", "l3")] {
        let call = Step::Call(vec![spawning(&agent("worker", next))]);
        scene.stage.brain.to(prompt, call).to(prompt, Step::Say(prompt.into()));
    }
    let root = scene.spawn(("crew", "go")).await;
    // Two calls each of three sessions, and one of the last.
    assert_eq!(root.tree_usage().tokens, 7 * 15);
    assert_eq!(root.tree_usage().micro_usd, 7 * 1_000);
    scene.over([root]).await;
}

//! Random trees: a child is never more than any of its ancestors, neither when it is spawned nor when it
//! goes on, and what all of them use never passes a budget of any.

use std::path::{Path, PathBuf};

use amplifier_core::limits::LimitKind;
use amplifier_core::permission::{Access, Layer, Mode, ResolvedPath, Rule, RuleEffect};
use amplifier_core::{Limits, Permissions};
use amplifier_foundation::spawn::{
    DEFAULT_CHILD_FIRST_PROGRESS_MS, DEFAULT_CHILD_IDLE_MS, DEFAULT_CHILD_TIMEOUT_MS, DEFAULT_CHILD_TURNS,
};
use amplifier_foundation::{SpawnRequest, SpawnResult, spawn_bundle};
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use proptest::prelude::*;

use super::{Scene, crew, spawner};

/// One session of a tree.
#[derive(Debug, Clone)]
struct Member {
    /// Which of those before it is its parent.
    parent: prop::sample::Index,
    layers: Vec<Layer>,
    limits: Limits,
    /// What a resume asks for.
    wider: (Vec<Layer>, Limits),
}

fn mode() -> impl Strategy<Value = Option<Mode>> {
    let modes = [Mode::Default, Mode::Plan, Mode::AcceptEdits, Mode::DontAsk, Mode::BypassPermissions];
    prop::option::of(prop::sample::select(modes.to_vec()))
}

fn rule() -> impl Strategy<Value = Rule> {
    let effects = vec![RuleEffect::Allow, RuleEffect::Ask, RuleEffect::Deny];
    let texts = [
        "read(/srv/**)",
        "read(/etc/**)",
        "write(/srv/a/**)",
        "write(/srv/b)",
        "write",
        "shell(git *)",
        "shell",
        "network(*.example.org)",
        "network",
        "mcp(files)",
    ];
    (prop::sample::select(effects), prop::sample::select(texts.to_vec()))
        .prop_map(|(effect, text)| Rule::parse(effect, text, Path::new("/srv"), Path::new("/home")).unwrap())
}

fn layer() -> impl Strategy<Value = Layer> {
    let roots =
        prop::sample::subsequence(vec![PathBuf::from("/srv"), "/srv/a".into(), "/other".into()], 0..3);
    (mode(), roots, prop::collection::vec(rule(), 0..3)).prop_map(|(mode, roots, rules)| {
        let mut layer = match mode {
            Some(mode) => Layer::of_mode("random", mode, roots),
            None => Layer::of_rules("random", Vec::new()),
        };
        layer.rules = rules;
        layer
    })
}

fn accesses() -> Vec<Access> {
    let path = |path: &str| ResolvedPath::vouched(path.into());
    let paths = ["/srv/a/x", "/srv/b", "/srv/c", "/etc/passwd", "/other/y", "/elsewhere"];
    let files = paths.iter().flat_map(|one| [Access::Read(path(one)), Access::Write(path(one))]);
    let shells = ["git log", "git log; rm -rf .", "rm -rf ."].map(|text| Access::Shell(text.into()));
    let hosts = ["api.example.org", "elsewhere.net"].map(|host| Access::Network(host.into()));
    files
        .chain(shells)
        .chain(hosts)
        .chain(["files", "mail"].map(|server| Access::Mcp(server.into())))
        .collect()
}

fn some_limits() -> impl Strategy<Value = Limits> {
    let small = || prop::option::weighted(0.4, 1u32..6);
    let long = || prop::option::weighted(0.4, 1_000_000u64..2_000_000);
    ((small(), small(), small(), small()), (long(), long(), long(), long(), long())).prop_map(
        |((depth, concurrent, descendants, turns), (time, first, idle, tokens, cost))| {
            let mut limits = Limits::default();
            (limits.max_depth, limits.max_concurrent, limits.max_descendants) =
                (depth, concurrent, descendants);
            (limits.max_turns, limits.timeout_ms) = (turns, time);
            (limits.first_progress_ms, limits.idle_ms) = (first, idle);
            (limits.max_tokens, limits.max_cost_micro_usd) = (tokens, cost);
            limits
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    let layers = || prop::collection::vec(layer(), 0..2);
    (any::<prop::sample::Index>(), layers(), some_limits(), layers(), some_limits()).prop_map(
        |(parent, layers, limits, more, other)| Member { parent, layers, limits, wider: (more, other) },
    )
}

fn all(layers: &[Layer]) -> Permissions {
    layers.iter().fold(Permissions::unrestricted(), |all, layer| all.with(layer.clone()))
}

/// Limits without those that hold for a child where nobody has said anything: who goes on with it may say
/// something now, as whoever spawned it could.
fn said(limits: &Limits) -> Limits {
    let mut said = limits.clone();
    said.max_turns = said.max_turns.filter(|turns| *turns != DEFAULT_CHILD_TURNS);
    said.timeout_ms = said.timeout_ms.filter(|millis| *millis != DEFAULT_CHILD_TIMEOUT_MS);
    said.first_progress_ms =
        said.first_progress_ms.filter(|millis| *millis != DEFAULT_CHILD_FIRST_PROGRESS_MS);
    said.idle_ms = said.idle_ms.filter(|millis| *millis != DEFAULT_CHILD_IDLE_MS);
    said
}

/// What a session may do, and how far.
struct Reach {
    permissions: Permissions,
    limits: Limits,
}

impl Reach {
    fn of(result: &SpawnResult) -> Self {
        let session = result.session();
        Self { permissions: session.permissions().clone(), limits: session.limits().clone() }
    }

    fn is_within(&self, above: &Self, what: &str) {
        for access in accesses() {
            for asked in [true, false] {
                let (own, theirs) =
                    (self.permissions.decide(&access, asked), above.permissions.decide(&access, asked));
                assert!(own.ruling >= theirs.ruling, "{what}: {access}: {own:?}, above {theirs:?}");
            }
        }
        for kind in LimitKind::ALL {
            if let Some(above) = above.limits.get(kind) {
                let own = self.limits.get(kind);
                assert!(own.is_some_and(|own| own <= above), "{what}: {kind}: {own:?}, above {above}");
            }
        }
    }
}

/// A tree that runs; a member that a limit refused is not there.
struct Tree {
    scene: Scene,
    /// Each with the place of its parent and what it was asked for, parents first.
    sessions: Vec<(SpawnResult, Option<usize>, Member)>,
}

impl Tree {
    async fn grow(members: &[Member], host: (&[Layer], &Limits)) -> Self {
        let scene = Scene::with(Stage::new(), crew(), |builder| {
            builder.permissions(all(host.0)).limits(host.1.clone())
        });
        let mut sessions: Vec<(SpawnResult, Option<usize>, Member)> = Vec::new();
        for (number, member) in members.iter().enumerate() {
            let request = match number {
                0 => SpawnRequest::new("crew", "x"),
                _ => {
                    let (parent, ..) = &sessions[member.parent.index(sessions.len())];
                    SpawnRequest::agent(parent.session(), ["worker", "self"][number % 2], "x")
                }
            };
            let at = (number > 0).then(|| member.parent.index(sessions.len()));
            let request = request.permissions(all(&member.layers)).limits(member.limits.clone()).keep_open();
            match soon("the spawn", spawn_bundle(&scene.host, request)).await {
                Ok(session) => sessions.push((session, at, member.clone())),
                Err(error) => assert!(error.is_limit(), "{error}"),
            }
        }
        Self { scene, sessions }
    }

    /// The places of a session's ancestors.
    fn above(&self, at: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.sessions[at].1, |at| self.sessions[*at].1)
    }

    async fn end(&self) {
        for (session, ..) in self.sessions.iter().rev() {
            soon("its end", session.session().end()).await;
        }
    }
}

/// What every member may do, then and when it goes on.
async fn is_within(members: Vec<Member>, layers: Vec<Layer>, limits: Limits) {
    let tree = Tree::grow(&members, (&layers, &limits)).await;
    let host = Reach { permissions: all(&layers), limits };
    let mut before: Vec<Reach> = tree.sessions.iter().map(|(session, ..)| Reach::of(session)).collect();
    for (at, reach) in before.iter().enumerate() {
        reach.is_within(&host, "spawned, than the host");
        tree.above(at).for_each(|above| reach.is_within(&before[above], "spawned"));
    }
    // With nobody there, each is opened again, and asks for something else.
    tree.end().await;
    let mut again = Vec::new();
    for (at, (session, _, member)) in tree.sessions.iter().enumerate() {
        let (layers, limits) = &member.wider;
        let request =
            SpawnRequest::resume(session.id().clone(), "y").permissions(all(layers)).limits(limits.clone());
        let result = match soon("the resume", spawn_bundle(&tree.scene.host, request)).await {
            Ok(result) => result,
            Err(error) if error.is_limit() => continue,
            Err(error) => panic!("{error}"),
        };
        let reach = Reach::of(&result);
        let own = Reach { permissions: before[at].permissions.clone(), limits: Limits::default() };
        reach.is_within(&own, "resumed, than before");
        reach.is_within(&host, "resumed, than the host");
        for above in tree.above(at) {
            reach.is_within(&before[above], "resumed, than an ancestor");
        }
        // A person may say something else; from now on this is what it had.
        before[at] = reach;
        again.push(result);
    }
    // By one that asks for its own, nothing is widened at all.
    if let [(first, ..), rest @ ..] = tree.sessions.as_slice() {
        let root = soon(
            "the root",
            spawn_bundle(&tree.scene.host, SpawnRequest::resume(first.id().clone(), "z").keep_open()),
        );
        if let Ok(root) = root.await {
            for (at, (session, _, member)) in rest.iter().enumerate() {
                let request = SpawnRequest::resume(session.id().clone(), "z").limits(member.wider.1.clone());
                match soon("the resume", spawner(&root).spawn(request)).await {
                    Ok(result) => {
                        let limits = said(&before[at + 1].limits);
                        let own = Reach { permissions: before[at + 1].permissions.clone(), limits };
                        Reach::of(&result).is_within(&own, "asked for, than before");
                        again.push(result);
                    }
                    Err(error) => assert!(error.is_limit(), "{error}"),
                }
            }
            soon("its end", root.session().end()).await;
            again.push(root);
        }
    }
    drop(before);
    let results: Vec<_> = tree.sessions.into_iter().map(|(session, ..)| session).chain(again).collect();
    tree.scene.with_resumes().over(results).await;
}

/// How many a session's limits let there be below it, at once, and how deep; of which there are no more.
fn counts_are_kept(tree: &Tree) {
    for at in 0..tree.sessions.len() {
        let below: Vec<usize> =
            (0..tree.sessions.len()).filter(|other| tree.above(*other).any(|above| above == at)).collect();
        let levels =
            below.iter().map(|other| tree.above(*other).take_while(|above| *above != at).count() + 1).max();
        let limits = tree.sessions[at].0.session().limits();
        let kept = |most: Option<u32>, count: usize, what: &str| {
            assert!(most.is_none_or(|most| count <= most as usize), "{count} {what}, of {most:?} below {at}");
        };
        kept(limits.max_descendants, below.len(), "descendants");
        // All of them are kept open.
        kept(limits.max_concurrent, below.len(), "sessions at once");
        if tree.sessions[at].1.is_none() {
            kept(limits.max_depth, levels.unwrap_or(0), "levels");
        }
    }
}

/// Nobody has more below it than its limits say, and none of them takes more turns than its own.
async fn keeps_counts(members: Vec<Member>, turns: usize) {
    let counted = |member: &Member| {
        let mut limits = Limits::default();
        (limits.max_depth, limits.max_concurrent) = (member.limits.max_depth, member.limits.max_concurrent);
        (limits.max_descendants, limits.max_turns) = (member.limits.max_descendants, member.limits.max_turns);
        Member { limits, layers: Vec::new(), ..member.clone() }
    };
    let members: Vec<Member> = members.iter().map(counted).collect();
    let tree = Tree::grow(&members, (&[], &Limits::default())).await;
    counts_are_kept(&tree);
    for (session, ..) in &tree.sessions {
        let most = session.session().limits().max_turns;
        // The spawn was the first of its model calls.
        let mut calls = 1;
        for _ in 0..turns {
            calls += u32::from(soon("a turn", session.session().execute("more")).await.is_ok());
        }
        assert!(most.is_none_or(|most| calls <= most), "{calls} model calls of {most:?}");
    }
    counts_are_kept(&tree);
    tree.end().await;
    let results: Vec<_> = tree.sessions.into_iter().map(|(session, ..)| session).collect();
    tree.scene.over(results).await;
}

/// All members take turns at once; no budget is ever passed, of whomever.
async fn keeps_budgets(members: Vec<Member>, tokens: Vec<Option<u64>>, turns: usize) {
    let roomy = |member: &Member, tokens: Option<u64>| {
        let mut limits = Limits::default();
        limits.max_tokens = tokens;
        Member { limits, layers: Vec::new(), ..member.clone() }
    };
    let members: Vec<Member> =
        members.iter().zip(tokens).map(|(member, tokens)| roomy(member, tokens)).collect();
    let tree = Tree::grow(&members, (&[], &Limits::default())).await;
    let keeps = || {
        for (session, _, member) in &tree.sessions {
            let (used, most) = (session.tree_usage().tokens, member.limits.max_tokens.unwrap_or(u64::MAX));
            assert!(used <= most, "{used} of {most} tokens");
        }
    };
    keeps();
    let talks: Vec<_> = tree
        .sessions
        .iter()
        .map(|(session, ..)| {
            let session = session.session().clone();
            tokio::spawn(async move {
                for _ in 0..turns {
                    // A refusal is an answer too.
                    let _ = session.execute("more").await;
                }
            })
        })
        .collect();
    for talk in talks {
        keeps();
        soon("all turns", talk).await.unwrap();
    }
    keeps();
    tree.end().await;
    let results: Vec<_> = tree.sessions.into_iter().map(|(session, ..)| session).collect();
    tree.scene.over(results).await;
}

fn block_on(threads: usize, future: impl Future<Output = ()>) {
    let mut builder = match threads {
        1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_child_is_never_more_than_its_ancestors(
        members in prop::collection::vec(member(), 1..7),
        layers in prop::collection::vec(layer(), 0..2),
        limits in some_limits(),
    ) {
        block_on(1, is_within(members, layers, limits));
    }

    #[test]
    fn nobody_has_more_below_it_or_more_turns_than_its_limits_say(
        members in prop::collection::vec(member(), 1..12),
        turns in 1usize..6,
    ) {
        block_on(1, keeps_counts(members, turns));
    }

    #[test]
    fn budgets_are_never_passed_together(
        members in prop::collection::vec(member(), 1..7),
        tokens in prop::collection::vec(prop::option::of(30u64..250), 7),
        turns in 1usize..4,
    ) {
        block_on(2, keeps_budgets(members, tokens, turns));
    }
}

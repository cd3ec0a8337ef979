//! `spawn_bundle`: the one path by which sessions start.
//!
//! Guarantees: `Err` means that no session exists. Once one exists it runs in a
//! task of the host and gets exactly one outcome per activation, whatever its
//! caller does. Dropping a foreground call cancels the session, first gracefully,
//! after ten seconds at once. A child can do at most what its parent can, and what all sessions
//! of a tree use together never passes a limit of an ancestor.

mod activate;
mod answer;
pub(crate) mod bounds;
mod caller;
mod choices;
mod closed;
mod closing;
mod commit;
pub mod context;
mod error;
mod explain;
mod finish;
mod guarded;
mod inherit;
pub(crate) mod key;
mod lineage;
mod mount;
mod node;
pub(crate) mod nodes;
mod places;
pub(crate) mod plan;
pub mod preferences;
mod provider;
mod record;
pub(crate) mod recover;
pub(crate) mod reindex;
mod request;
mod resolve;
mod result;
mod roles;
mod spawner;
mod spec;
mod supervisor;
mod terminal;
mod title;
mod together;
mod transcript;
mod tree;
mod untrusted;
pub(crate) use untrusted::withheld;
pub(crate) mod watchdog;

use std::sync::Arc;

use amplifier_core::approval::Shown;
use amplifier_core::budget::Amount;
use amplifier_core::clock::BoxFuture;
use amplifier_core::limits::{LimitKind, LimitReached};
use amplifier_core::message::{Message, ToolCall};
use amplifier_core::panic::caught;
use amplifier_core::{Activation, AmplifierSession, CancelToken, MonoTime, SessionId};
use tokio::sync::oneshot;

pub use answer::AnswerCheck;
pub use bounds::{
    DEFAULT_CHILD_FIRST_PROGRESS_MS, DEFAULT_CHILD_IDLE_MS, DEFAULT_CHILD_TIMEOUT_MS, DEFAULT_CHILD_TURNS,
    DEFAULT_CONCURRENT, DEFAULT_DEPTH, DEFAULT_DESCENDANTS,
};
use caller::Caller;
pub use context::{ContextDepth, ContextForm, ContextRequest, ContextScope};
pub use error::{SessionFailed, SpawnError};
pub use explain::{ExplainedLayer, ExplainedLimit, ExplainedModule, Explanation, explain, explain_agent};
use finish::{Answer, Ending};
use guarded::guarded;
pub use inherit::{Inherit, Selection};
use key::SessionKey;
use lineage::Parent;
use mount::Mounted;
use node::Child;
pub use node::{ChildSummary, TreeUsage};
use places::Place;
pub use plan::{Layer, SELF};
pub use provider::{Offer, offer};
use record::Recorded;
pub(crate) use record::{RUNNING, intent};
pub use recover::Recovered;
pub use reindex::Reindexed;
pub use request::{BundleRef, ParentRef, SpawnRequest};
use resolve::Resolved;
pub use result::{SpawnResult, SpawnTask};
pub use spawner::{AgentSummary, SpawnExt, Spawner, Stay};
pub use spec::{BundlePin, SpawnSpec, SpawnTarget};
use supervisor::{First, Supervisor};
pub use title::SessionTitle;
pub use together::Together;
pub use tree::TreeOutcome;

use crate::host::{Host, Starting};
use crate::router::DEFAULT_MAX_HOPS;
use crate::storage::{SessionStorage, StorageError, repair};

/// How often a resume is resolved anew because other activations have ended meanwhile.
const RESOLVES: usize = 5;

/// Starts a session, or opens one again. In the foreground it returns with the
/// outcome there; in the background, or kept open, once the session is recorded and runs.
/// Dropped before that, no session exists.
pub async fn spawn_bundle(host: &Host, request: impl Into<SpawnRequest>) -> Result<SpawnResult, SpawnError> {
    let request = request.into();
    let (background, keep_open) = (request.spec.background, request.spec.keep_open);
    let parent = request.spec.parent.as_ref().and_then(|id| lineage::live(host, id));
    let caller = Caller::default();
    let guard = caller.guard();
    let (tell, told) = oneshot::channel();
    // In a task of the host, which its shutdown waits for: a caller that goes away leaves nothing half begun.
    let start = start(host.starting(), request, parent, caller);
    tokio::spawn(life(Box::pin(begin(start, tell, background))));
    let result = SpawnResult::new(told.await.unwrap_or(Err(SpawnError::ShutDown))?);
    match (background, keep_open) {
        (true, _) => {}
        (false, true) => result.session().first_turn().await,
        (false, false) => drop(result.outcome().await),
    }
    guard.disarm();
    Ok(result)
}

/// A session from its request to its outcome.
async fn life(begin: BoxFuture<'static, Option<Box<Supervisor>>>) {
    if let Some(supervisor) = begin.await {
        supervisor.run().await;
    }
}

/// The session that begins, if one does. Apart from what runs it, so that a session that runs does not carry
/// what it took to start it. `caller` hears of it once there is what it waits for.
async fn begin(
    start: impl Future<Output = Result<Started, SpawnError>>,
    caller: Answer,
    background: bool,
) -> Option<Box<Supervisor>> {
    let started = caught(start).await.unwrap_or_else(|message| Err(SpawnError::Panicked { message }));
    let known = match started {
        Ok(Started::New(supervisor)) => {
            supervisor.ending.asked_by(caller);
            if background {
                supervisor.ending.answer();
                // The caller waits in this worker's own queue, where no other one finds it: a module that
                // blocks its thread must not hold it back.
                tokio::task::yield_now().await;
            }
            return Some(supervisor);
        }
        Ok(Started::Known(session)) => Ok(session),
        Err(error) => Err(error),
    };
    let _ = caller.send(known);
    None
}

/// What a request led to.
enum Started {
    /// A session that begins now.
    New(Box<Supervisor>),
    /// One of the same key that there was already.
    Known(AmplifierSession),
}

/// Steps 1 to 6.
async fn start(
    starting: Starting,
    request: SpawnRequest,
    parent: Option<Parent>,
    caller: Caller,
) -> Result<Started, SpawnError> {
    let host = starting.host();
    let began = host.clock().monotonic();
    let storage = resolve::storage(&host, &request, parent.as_ref());
    let key = SessionKey::of(&request)?;
    let _turn = match &key {
        Some(key) => Some(Box::pin(key.turn(&host)).await),
        None => None,
    };
    if let Some(key) = &key
        && let Some(known) = Box::pin(key.known(&host, storage)).await?
    {
        return Ok(Started::Known(known));
    }
    let (resolved, recorded, place) = prepare(&host, &request, parent.as_ref()).await?;
    let above = resolved.parent.as_ref().and_then(|parent| parent.live.as_ref());
    let cancel = caller.bind(above.map(|live| &live.env().cancel));
    match enter(&host, &request, &resolved, &recorded, &cancel, key.as_ref()).await {
        Ok((mounted, messages)) => {
            let supervisor = supervise(&host, request, resolved, recorded, mounted, messages, place, began);
            drop(starting);
            Ok(Started::New(Box::new(supervisor)))
        }
        Err(error) => {
            record::undo(&recorded).await;
            place.into_iter().for_each(Place::undo);
            match (error, key) {
                // In another process: requests of one key take turns in this one.
                (Refused::Taken, Some(key)) => {
                    let storage = resolve::storage(&host, &request, parent.as_ref());
                    let known = Box::pin(key.known(&host, storage)).await?;
                    known.map(Started::Known).ok_or(SpawnError::Abandoned)
                }
                (Refused::Taken, None) => Err(SpawnError::Abandoned),
                (Refused::Error(error), _) => Err(error),
            }
        }
    }
}

/// Steps 1 to 5. Two that resume one session may both have read it before either opened it;
/// the later one then resolves again what the earlier one left.
async fn prepare(
    host: &Host,
    request: &SpawnRequest,
    parent: Option<&Parent>,
) -> Result<(Resolved, Recorded, Option<Place>), SpawnError> {
    for _ in 0..RESOLVES {
        let mut resolved = resolve::resolve(host, request, parent).await?;
        within_hops(host, request, &resolved).await?;
        let place = admit(&resolved)?;
        // A new project's database is made while the session's folder is, and its modules are mounted.
        host.store().expect_commit();
        match record::record(host, request, &mut resolved).await {
            Ok(Some(recorded)) => return Ok((resolved, recorded, place)),
            Ok(None) => place.into_iter().for_each(Place::undo),
            Err(error) => {
                place.into_iter().for_each(Place::undo);
                return Err(error);
            }
        }
    }
    let SpawnTarget::Resume(id) = &request.spec.target else { return Err(SpawnError::Abandoned) };
    Err(StorageError::Locked { id: id.clone(), holder: None }.into())
}

/// Step 3, the chain of events that the request stands in.
async fn within_hops(host: &Host, request: &SpawnRequest, resolved: &Resolved) -> Result<(), SpawnError> {
    let (Some(cause), bounds) = (request.spec.cause, &resolved.bounds) else { return Ok(()) };
    let max = bounds.limits.max_hops.unwrap_or(DEFAULT_MAX_HOPS);
    if cause.hops < max {
        return Ok(());
    }
    Box::pin(host.router().refuse_start(cause, max)).await;
    let by = bounds.set_by(LimitKind::Hops);
    Err(LimitReached::new(LimitKind::Hops, u64::from(max), u64::from(cause.hops), by).into())
}

/// Step 3: depth, breadth and budget of the tree. A place among the running descendants, for a child.
fn admit(resolved: &Resolved) -> Result<Option<Place>, SpawnError> {
    let Some(parent) = &resolved.parent else { return Ok(None) };
    let bounds = &parent.node.bounds;
    if let Some(max) = bounds.limits.max_depth
        && resolved.depth() > max
    {
        let by = bounds.set_by(LimitKind::Depth);
        return Err(LimitReached::new(LimitKind::Depth, u64::from(max), u64::from(max), by).into());
    }
    // Nothing can be done with an empty budget: refused here, the parent can act on it.
    let least = Amount { tokens: 1, micro_usd: 0 };
    parent.node.budget.reserve(least)?.settle(Amount::default());
    Ok(Some(parent.node.places.take()?))
}

/// Why a session did not begin though it was recorded.
enum Refused {
    /// Another session of its key began first.
    Taken,
    Error(SpawnError),
}

impl<E: Into<SpawnError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

/// Step 6 and the last of step 5. `Err`: what was mounted is cleaned up, and nothing runs.
async fn enter(
    host: &Host,
    request: &SpawnRequest,
    resolved: &Resolved,
    recorded: &Recorded,
    cancel: &CancelToken,
    key: Option<&SessionKey>,
) -> Result<(Mounted, History), Refused> {
    let (stay, shared) = (Stay::of(&request.spec), request.within.as_ref());
    let check = request.check.as_ref();
    let mounted = mount::mount(host, resolved, recorded, cancel, (stay, shared, check)).await?;
    let session = &mounted.session;
    let cleaned = |refused: Refused| async {
        finish::clean_up(host, session.env()).await;
        Err(refused)
    };
    if cancel.is_cancelled() {
        return cleaned(SpawnError::Abandoned.into()).await;
    }
    // In the host's table before anything says that it runs.
    let fits = |live: &AmplifierSession| is_earlier(live, session, &recorded.storage);
    if let Err(why) = host.sessions().insert(session.clone(), fits) {
        return cleaned(why.of(session).into()).await;
    }
    let entered = async {
        let messages = history(recorded).await?;
        match activate::open(host, session, resolved, recorded, (key, request.together.as_ref())).await? {
            true => Ok(messages),
            false => Err(Refused::Taken),
        }
    };
    match entered.await {
        Ok(messages) => Ok((mounted, messages)),
        Err(refused) => {
            host.sessions().remove(session);
            cleaned(refused).await
        }
    }
}

/// True for an activation of the same session that is over but for its last words: its storage was free.
fn is_earlier(live: &AmplifierSession, now: &AmplifierSession, storage: &Arc<dyn SessionStorage>) -> bool {
    let spawner = live.env().coordinator.capability::<Spawner>();
    let same = spawner.is_some_and(|spawner| Arc::ptr_eq(&spawner.node().storage, storage));
    same && live.activation() < now.activation()
}

#[expect(clippy::too_many_arguments, reason = "everything that the steps before have made")]
fn supervise(
    host: &Host,
    request: SpawnRequest,
    resolved: Resolved,
    recorded: Recorded,
    mounted: Mounted,
    (messages, open): History,
    place: Option<Place>,
    began: MonoTime,
) -> Supervisor {
    let Mounted { session, mut driver, node } = mounted;
    driver.restore(messages, open);
    host.0.nodes.enter(&node);
    let child = resolved.parent.as_ref().map(|parent| {
        let child = Child::new(&node, resolved.agent(), resolved.background);
        // Of a resume whose parent runs no more: who asked for it answers for it.
        let keeper = parent.live.as_ref().and_then(|live| live.env().coordinator.capability::<Spawner>());
        keeper.as_ref().map_or(&parent.node, |keeper| keeper.node()).add(Arc::clone(&child));
        let env = session.env();
        let (agent, bundle, depth) = (resolved.agent(), resolved.plan.bundle.name.as_str(), env.depth);
        env.display.show(&env.origin(), Shown::ChildStarted { agent, bundle, depth });
        child
    });
    let ending = Ending::new(
        host.clone(),
        session.clone(),
        driver.settler(),
        &recorded,
        resolved.bounds,
        (child, place, request.together),
        began,
    );
    host.0.watchdog.watch(&ending);
    let first = First { text: resolved.text, quoted: resolved.quoted, input: request.spec.input };
    // What else was read and resolved is not kept while the session runs.
    Supervisor {
        host: host.clone(),
        session,
        driver,
        metadata: recorded.metadata,
        storage: recorded.storage,
        ending,
        first: Some(Box::new(first)),
        bundle: Arc::clone(&resolved.plan.bundle),
        keep_open: request.spec.keep_open,
    }
}

/// The conversation as the model shall see it, and the calls of its last round that were cut off.
type History = (Vec<Arc<Message>>, Vec<ToolCall>);

/// Of a resume: closes gaps further up, and marks the activation as running. Of a fork: makes the parent's
/// messages the session's own.
async fn history(recorded: &Recorded) -> Result<History, SpawnError> {
    let Recorded { id, activation, metadata, history, storage, .. } = recorded;
    if *activation == Activation::FIRST {
        if !history.is_empty() {
            guarded(id, "append to", storage.append(id, *activation, history)).await?;
        }
        return Ok((history.clone(), Vec::new()));
    }
    guarded(id, "describe", storage.describe(id, *activation, metadata)).await?;
    Ok(repair::reopened(history))
}

/// Notes that somebody was given the outcome of a child.
pub(crate) fn mark_awaited(session: &AmplifierSession) {
    let spawner = session.env().coordinator.capability::<Spawner>();
    let mut above = spawner.as_ref().and_then(|spawner| spawner.node().parent.as_ref());
    while let Some(node) = above {
        node.awaited(session.id());
        above = node.parent.as_ref();
    }
}

/// The same of a session that has ended, by those that still run: its parent is among them, if
/// anybody is left to whom it matters.
pub(crate) fn mark_awaited_below(live: &[AmplifierSession], ended: &SessionId) {
    for session in live {
        if let Some(spawner) = session.env().coordinator.capability::<Spawner>() {
            spawner.node().awaited(ended);
        }
    }
}

//! Rate limits of a process: one lane for each provider key, shared by all sessions.
//!
//! Guarantees: while a key is limited nothing is sent with it; when the time is up one call goes
//! first, and after it was answered the others follow in the order in which they came, two for
//! each answer; a refusal of a call that was sent before the limit was known counts once, with the
//! others. Whoever stops waiting leaves no trace. A key that never met a limit costs one look-up.
//! Never here: a task, a request, or a limit of patience.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use amplifier_core::governor::{Governor, Pass, Verdict};
use amplifier_core::until::until;
use amplifier_core::{Clock, Ids, MonoTime};
use async_trait::async_trait;
use tokio::sync::Notify;

/// The first wait where the service names none; it doubles with each refusal.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait that is not asked for by the service.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The longest wait that a service may ask for; then one call looks whether it still holds.
const LONGEST_ASKED: Duration = Duration::from_secs(6 * 3_600);

/// The governor of a process.
#[derive(Debug)]
pub struct ProcessGovernor {
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    passes: AtomicU64,
    // Held to look a lane up or to add one; never across an await.
    lanes: RwLock<HashMap<String, Arc<Lane>>>,
}

/// One key that has met a limit.
#[derive(Debug, Default)]
struct Lane {
    // Held for a few fields at a time; never across an await.
    state: Mutex<State>,
    /// Whoever has it is the first of the queue. Fair: in the order of asking.
    head: tokio::sync::Mutex<()>,
    /// For the first of the queue: it may be its turn.
    changed: Notify,
    /// For all of the queue: there is a new limit.
    limited: Notify,
}

#[derive(Debug, Default)]
struct State {
    mode: Mode,
    /// Refusals in a row.
    strikes: u32,
    /// Passes below this were given out before the last limit.
    limited_from: u64,
    /// Passes since the last limit that are out.
    held: BTreeSet<u64>,
    queued: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Mode {
    /// Nobody waits.
    #[default]
    Open,
    /// Nothing may be sent before this time, and then one call.
    Limited(MonoTime),
    /// The limit seems to be over: so many calls at once.
    Recovering(usize),
}

impl ProcessGovernor {
    /// A governor that knows of no limit.
    pub fn new(clock: Arc<dyn Clock>, ids: Arc<dyn Ids>) -> Self {
        Self { clock, ids, passes: AtomicU64::new(0), lanes: RwLock::default() }
    }

    /// Until when calls with this key wait, as is known now; `None` if they do not.
    /// A time that has passed means that one call is looking whether the limit is over.
    pub fn limited_until(&self, key: &str) -> Option<MonoTime> {
        match self.lane(key)?.state().mode {
            Mode::Limited(at) => Some(at),
            Mode::Open | Mode::Recovering(_) => None,
        }
    }

    /// How many calls with this key wait.
    pub fn queued(&self, key: &str) -> usize {
        self.lane(key).map_or(0, |lane| lane.state().queued)
    }

    fn lane(&self, key: &str) -> Option<Arc<Lane>> {
        self.lanes.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn lane_or_new(&self, key: &str) -> Arc<Lane> {
        let known = self.lane(key);
        known.unwrap_or_else(|| {
            let mut lanes = self.lanes.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(lanes.entry(key.to_owned()).or_default())
        })
    }

    fn next_pass(&self) -> u64 {
        self.passes.fetch_add(1, Ordering::AcqRel)
    }

    /// Lets a call through, or says until when it waits at least; `is_head`: it is the first of the queue.
    fn pass(&self, lane: &Lane, is_head: bool) -> Result<Pass, MonoTime> {
        let now = self.clock.monotonic();
        let mut state = lane.state();
        let room = match state.mode {
            Mode::Open => return Ok(Pass(self.next_pass())),
            Mode::Limited(at) if now < at => return Err(at),
            Mode::Limited(_) => 1,
            Mode::Recovering(window) => window,
        };
        if state.held.len() >= room || (state.queued > 0 && !is_head) {
            return Err(now);
        }
        let pass = self.next_pass();
        state.held.insert(pass);
        Ok(Pass(pass))
    }

    /// How long a key is left alone after so many refusals in a row.
    fn wait(&self, strikes: u32, asked: Option<Duration>) -> Duration {
        let doubled = FIRST_WAIT.saturating_mul(1 << strikes.saturating_sub(1).min(16));
        let own = doubled.min(LONGEST_WAIT);
        let random = u32::try_from(self.ids.v4().as_u64_pair().1 % 1_000).unwrap_or(0);
        let own = own - own / 4 * random / 1_000;
        match asked.map(|asked| asked.min(LONGEST_ASKED)) {
            // A service that says "now" each time would be asked without pause.
            Some(asked) if strikes > 1 => asked.max(own),
            Some(asked) => asked,
            None => own,
        }
    }

    fn refused(&self, lane: &Lane, pass: Pass, asked: Option<Duration>) {
        let now = self.clock.monotonic();
        let mut state = lane.state();
        if pass.0 >= state.limited_from {
            state.strikes += 1;
            state.limited_from = self.passes.load(Ordering::Acquire);
            state.held.clear();
            state.mode = Mode::Limited(now.saturating_add(self.wait(state.strikes, asked)));
        } else if let (Mode::Limited(at), Some(asked)) = (state.mode, asked) {
            state.mode = Mode::Limited(at.max(now.saturating_add(asked.min(LONGEST_ASKED))));
        }
    }
}

impl Lane {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call was answered: the limit seems to be over, unless the call is older than it.
    fn answered(&self, pass: Pass) {
        let mut state = self.state();
        if pass.0 < state.limited_from {
            return;
        }
        state.mode = match state.mode {
            _ if state.queued == 0 => Mode::Open,
            Mode::Limited(_) => Mode::Recovering(2),
            Mode::Recovering(window) => Mode::Recovering(window + 1),
            Mode::Open => Mode::Open,
        };
        if state.mode == Mode::Open {
            (state.strikes, state.held) = (0, BTreeSet::new());
        }
    }

    /// Tells until when the key is limited, if that is news.
    fn tell(&self, known: &mut Option<MonoTime>, told: &(dyn Fn(MonoTime) + Send + Sync)) {
        let Mode::Limited(at) = self.state().mode else { return };
        if known.replace(at) != Some(at) {
            told(at);
        }
    }
}

/// A place in the queue.
struct Queued<'a>(&'a Lane);

impl<'a> Queued<'a> {
    fn new(lane: &'a Lane) -> Self {
        lane.state().queued += 1;
        Self(lane)
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.state().queued -= 1;
    }
}

#[async_trait]
impl Governor for ProcessGovernor {
    fn enter(&self, key: &str) -> Result<Pass, MonoTime> {
        match self.lane(key) {
            Some(lane) => self.pass(&lane, false),
            None => Ok(Pass(self.next_pass())),
        }
    }

    async fn queue(&self, key: &str, told: &(dyn Fn(MonoTime) + Send + Sync)) -> Pass {
        let lane = self.lane_or_new(key);
        let _queued = Queued::new(&lane);
        let mut known = None;
        let mut first = pin!(lane.head.lock());
        let _first = loop {
            let limited = lane.limited.notified();
            lane.tell(&mut known, told);
            if let Some(first) = until(first.as_mut(), limited).await {
                break first;
            }
        };
        loop {
            let changed = lane.changed.notified();
            lane.tell(&mut known, told);
            match self.pass(&lane, true) {
                Ok(pass) => return pass,
                Err(at) if at > self.clock.monotonic() => {
                    until(changed, self.clock.sleep_until(at)).await;
                }
                Err(_) => changed.await,
            }
        }
    }

    fn report(&self, key: &str, pass: Pass, verdict: Verdict) {
        let limited = matches!(verdict, Verdict::Limited { .. });
        let lane = if limited { Some(self.lane_or_new(key)) } else { self.lane(key) };
        let Some(lane) = lane else { return };
        lane.state().held.remove(&pass.0);
        match verdict {
            Verdict::Limited { retry_after } => {
                self.refused(&lane, pass, retry_after);
                lane.limited.notify_waiters();
            }
            Verdict::Answered => lane.answered(pass),
            _ => {}
        }
        lane.changed.notify_waiters();
    }
}

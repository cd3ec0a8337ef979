//! The processes that a session's tools have started, and how they end.
//!
//! Guarantees: after [`Processes::end_all`] nothing lives that carries the session's mark, is in
//! the process session of one of its commands, or descends from such a process; what is killed
//! is asked to end first and has two seconds. A process id that the system has given to
//! somebody else meanwhile is not touched. Where there is no `/proc`, process groups are all
//! that is known.
//! Never here: a wait without an end; what cannot be killed is reported and left.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::{Clock, SessionEnv};
use amplifier_foundation::fs::process_table;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::task::AbortHandle;

/// The variable that marks each process of a command's tree: `<uuid>.<number>`, the uuid the
/// session's, the number the command's.
pub const MARK: &str = "AMPLIFIER_PROCESS_MARK";

/// How long a process that is asked to end may take.
const GRACE: Duration = Duration::from_secs(2);
const KILL_ROUNDS: u32 = 50;
const KILL_PAUSE: Duration = Duration::from_millis(10);
/// Outputs of background processes that are read on; of later ones the pipe is closed.
const MAX_DRAINS: usize = 64;

/// The session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended; no command can be started any more")]
pub struct Closed;

/// What a session has started: a capability in its coordinator.
#[derive(Debug)]
pub struct Processes {
    mark: String,
    clock: Arc<dyn Clock>,
    // Held for a look-up or an insertion, never across an await or a signal.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    closed: bool,
    groups: BTreeMap<u64, Group>,
    drains: Vec<AbortHandle>,
}

/// A process session that a command was started as; its id is also its leader's and its group's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Group {
    id: i32,
    /// True once its leader was waited for: from then on a process of this id is a stranger,
    /// and the whole group is gone, as no id is given away while a group bears it.
    collected: bool,
}

impl Processes {
    /// Those of a session; made at the first call, which also registers their end.
    pub fn of(env: &SessionEnv) -> Arc<Self> {
        env.coordinator.capability::<Self>().unwrap_or_else(|| {
            let processes = Arc::new(Self {
                mark: env.ids.v4().to_string(),
                clock: Arc::clone(&env.clock),
                state: Mutex::default(),
            });
            env.coordinator.provide(Arc::clone(&processes));
            let ending = Arc::clone(&processes);
            env.coordinator.on_clean_up("processes of tools", move || {
                Box::pin(async move {
                    let left = ending.end_all().await;
                    if left > 0 {
                        tracing::warn!(left, "processes could not be ended");
                    }
                })
            });
            processes
        })
    }

    /// The session's mark: every process of its commands has `AMPLIFIER_PROCESS_MARK` set to this,
    /// a dot and a number.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Opens a tree of processes. `Err` once the session has ended.
    pub fn begin(self: &Arc<Self>) -> Result<Tree, Closed> {
        let mut state = self.state();
        if state.closed {
            return Err(Closed);
        }
        let number = state.next;
        state.next += 1;
        Ok(Tree {
            mark: format!("{}.{number}", self.mark),
            number,
            processes: Arc::clone(self),
            stage: Stage::Idle,
        })
    }

    /// Ends everything and lets nothing start any more. Returns how many processes are left.
    pub async fn end_all(&self) -> usize {
        let (groups, started) = {
            let mut state = self.state();
            state.closed = true;
            state.drains.drain(..).for_each(|drain| drain.abort());
            (std::mem::take(&mut state.groups).into_values().collect(), state.next > 0)
        };
        if !started {
            return 0;
        }
        let scope = Scope { entry: Entry::Begins(format!("{MARK}={}.", self.mark)), groups };
        scope.end(self.clock.as_ref()).await
    }

    /// Reads on what background processes print, so that they do not die of a closed pipe.
    pub(super) fn drain(&self, reading: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        state.drains.retain(|drain| !drain.is_finished());
        if !state.closed && state.drains.len() < MAX_DRAINS {
            state.drains.push(tokio::spawn(reading).abort_handle());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One command's processes. Dropped before [`Tree::release`], they are killed at once.
#[derive(Debug)]
#[must_use = "dropping a tree kills its processes"]
pub struct Tree {
    processes: Arc<Processes>,
    number: u64,
    mark: String,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing was started.
    Idle,
    /// Something is being started or runs.
    Running,
    /// What runs may run on.
    Released,
}

impl Tree {
    /// What the command's environment must hold as `AMPLIFIER_PROCESS_MARK`.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Notes that the command is about to be started.
    pub fn starting(&mut self) {
        self.stage = Stage::Running;
    }

    /// Notes the command's process, the leader of a process session of its own.
    pub fn started(&self, leader: u32) {
        let Ok(id) = i32::try_from(leader) else { return };
        self.processes.state().groups.insert(self.number, Group { id, collected: false });
    }

    /// Notes that the command's process was waited for.
    pub fn collected(&self) {
        if let Some(group) = self.processes.state().groups.get_mut(&self.number) {
            group.collected = true;
        }
    }

    /// Ends the tree: asks, waits two seconds, kills, verifies. Returns how many are left.
    pub async fn end(&self) -> usize {
        self.scope().end(self.processes.clock.as_ref()).await
    }

    /// Lets what is still running run until the session ends. True if something is.
    pub fn release(mut self) -> bool {
        self.stage = Stage::Released;
        let mut state = self.processes.state();
        let alive = state.groups.get(&self.number).is_some_and(|group| exists(group.id));
        if !alive {
            state.groups.remove(&self.number);
        }
        alive
    }

    /// For what reads on when the tree is released.
    pub(super) fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    fn scope(&self) -> Scope {
        let groups = self.processes.state().groups.get(&self.number).copied().into_iter().collect();
        Scope { entry: Entry::Is(format!("{MARK}={}", self.mark)), groups }
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        let scope = self.scope();
        // What a dying process starts meanwhile is found in the next round.
        for _ in 0..3 {
            if scope.signal(Signal::SIGKILL) == 0 {
                break;
            }
        }
        // From here on nobody can tell when the id is given away.
        self.collected();
    }
}

/// What shall end: whatever has such an entry in its environment, is in one of the groups, or
/// descends from such a process.
#[derive(Debug)]
struct Scope {
    entry: Entry,
    groups: Vec<Group>,
}

#[derive(Debug)]
enum Entry {
    Is(String),
    Begins(String),
}

impl Entry {
    fn accepts(&self, found: &[u8]) -> bool {
        match self {
            Self::Is(entry) => found == entry.as_bytes(),
            Self::Begins(prefix) => found.starts_with(prefix.as_bytes()),
        }
    }
}

impl Scope {
    async fn end(&self, clock: &dyn Clock) -> usize {
        if self.signal(Signal::SIGTERM) == 0 {
            return 0;
        }
        let deadline = clock.monotonic().saturating_add(GRACE);
        let mut pause = Duration::from_millis(5);
        loop {
            let now = clock.monotonic();
            let rest = deadline.saturating_since(now);
            clock.sleep_until(now.saturating_add(pause.min(rest))).await;
            if self.is_empty(clock).await {
                return 0;
            }
            if rest.is_zero() {
                break;
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        for _ in 0..KILL_ROUNDS {
            self.signal(Signal::SIGKILL);
            if self.is_empty(clock).await {
                return 0;
            }
            clock.sleep_until(clock.monotonic().saturating_add(KILL_PAUSE)).await;
        }
        self.members().len()
    }

    /// True if two looks find nothing: in the middle of an exec a process shows no environment.
    async fn is_empty(&self, clock: &dyn Clock) -> bool {
        if !self.members().is_empty() {
            return false;
        }
        clock.sleep_until(clock.monotonic().saturating_add(KILL_PAUSE)).await;
        self.members().is_empty()
    }

    /// Sends a signal to all members, and says how many there were.
    fn signal(&self, signal: Signal) -> usize {
        let members = self.members();
        for group in self.groups.iter().filter(|group| group.is_ours()) {
            let _ = killpg(Pid::from_raw(group.id), signal);
        }
        for pid in &members {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
        members.len()
    }

    fn members(&self) -> Vec<i32> {
        let table = process_table::processes();
        if table.is_empty() {
            return self.groups.iter().map(|group| group.id).filter(|id| exists(*id)).collect();
        }
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let groups: HashSet<i32> =
            self.groups.iter().filter(|group| group.is_ours()).map(|group| group.id).collect();
        let is_seed = |process: &&process_table::Process| {
            groups.contains(&process.group)
                || groups.contains(&process.session)
                || process_table::environment_has(process.pid, |found| self.entry.accepts(found))
        };
        let mut found: HashSet<i32> = table.iter().filter(is_seed).map(|process| process.pid).collect();
        loop {
            let before = found.len();
            let children = table.iter().filter(|process| found.contains(&process.parent));
            let children: Vec<i32> = children.map(|process| process.pid).collect();
            found.extend(children);
            if found.len() == before {
                break;
            }
        }
        let alive = table.iter().filter(|process| !process.ended && process.pid != own);
        alive.map(|process| process.pid).filter(|pid| found.contains(pid)).collect()
    }
}

impl Group {
    fn is_ours(self) -> bool {
        !self.collected || kill(Pid::from_raw(self.id), None) == Err(Errno::ESRCH)
    }
}

/// True if the group has a member that has not ended; one that nobody collects does not count.
fn exists(group: i32) -> bool {
    if killpg(Pid::from_raw(group), None).is_err() {
        return false;
    }
    let table = process_table::processes();
    table.is_empty() || table.iter().any(|process| process.group == group && !process.ended)
}

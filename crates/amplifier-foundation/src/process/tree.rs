//! What a session has started, program by program.
//!
//! Guarantees: nothing starts once the session has ended; a tree whose [`Tree`] is dropped before
//! [`Tree::release`] is killed at once; after [`Processes::end_all`] nothing of the session
//! lives, or it is said how much does.
//! Never here: a wait without an end; what cannot be killed is reported and left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use amplifier_core::{Clock, Ids, SessionEnv};
use tokio::task::AbortHandle;

use super::ledger::{LedgerError, SessionLedger};
use super::mark::{self, Marks};
use super::scope::{Ended, Group, Known, Scope};
use amplifier_fs::process_table;

/// Outputs of background processes that are read on; of later ones the pipe is closed.
const MAX_DRAINS: usize = 64;
/// Processes of one tree that are known by id and start time beside its program.
const MAX_KNOWN: usize = 1_000;

/// The session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended; no command can be started any more")]
pub struct Closed;

/// What a session has started: a capability in its coordinator.
#[derive(Debug)]
pub struct Processes {
    mark: String,
    /// The marks that this process carries itself.
    outer: Option<String>,
    since: u64,
    clock: Arc<dyn Clock>,
    ledger: Option<Arc<SessionLedger>>,
    // Held for a look-up or an insertion, never across an await or a signal.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    closed: bool,
    programs: BTreeMap<u64, Program>,
    drains: Vec<AbortHandle>,
}

/// A program that leads a process session of its own.
#[derive(Debug, Clone)]
struct Program {
    group: Group,
    /// The program, and what was in its process session when it had ended.
    known: Vec<Known>,
}

/// When this process was started, in clock ticks since the system's start.
pub(super) fn own_start() -> Option<u64> {
    static START: OnceLock<Option<u64>> = OnceLock::new();
    *START.get_or_init(|| {
        let own = i32::try_from(std::process::id()).ok()?;
        process_table::process(own).map(|process| process.started_ticks)
    })
}

impl Processes {
    /// Those of a session; made at the first call, which also registers their end. They are
    /// recorded if the coordinator has a [`SessionLedger`] by then.
    pub fn of(env: &SessionEnv) -> Arc<Self> {
        env.coordinator.capability::<Self>().unwrap_or_else(|| {
            let ledger = env.coordinator.capability::<SessionLedger>();
            let processes = Self::new(Arc::clone(&env.clock), env.ids.as_ref(), ledger);
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

    /// Those of what is no session, and ends them itself with [`Processes::end_all`].
    pub(crate) fn new(clock: Arc<dyn Clock>, ids: &dyn Ids, ledger: Option<Arc<SessionLedger>>) -> Arc<Self> {
        let (mark, outer, since) = (ids.v4().to_string(), mark::outer(), own_start().unwrap_or_default());
        Arc::new(Self { mark, outer, since, clock, ledger, state: Mutex::default() })
    }

    /// The session's uuid: the mark of each of its trees is this, a dot and a number.
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
        let (programs, started) = {
            let mut state = self.state();
            state.closed = true;
            state.drains.drain(..).for_each(|drain| drain.abort());
            let programs: Vec<Program> = std::mem::take(&mut state.programs).into_values().collect();
            (programs, state.next > 0)
        };
        if !started {
            return 0;
        }
        let ended = self.scope(Marks::of_session(&self.mark), &programs).end(self.clock.as_ref()).await;
        if let Some(ledger) = self.ledger.as_deref().filter(|_| ended.left.alive == ended.left.beyond)
            && let Err(error) = ledger.ended(&self.mark).await
        {
            // The next recovery finds nothing, and removes it.
            tracing::warn!(%error, "the ledger of processes stays");
        }
        ended.left.alive
    }

    /// Reads on what background processes print, so that they do not die of a closed pipe. Ends with
    /// the session.
    pub fn drain(&self, reading: impl Future<Output = ()> + Send + 'static) {
        let mut state = self.state();
        state.drains.retain(|drain| !drain.is_finished());
        if !state.closed && state.drains.len() < MAX_DRAINS {
            state.drains.push(tokio::spawn(reading).abort_handle());
        }
    }

    fn scope(&self, marks: Marks, programs: &[Program]) -> Scope {
        Scope::new(marks, self.since)
            .knowing(programs.iter().flat_map(|program| program.known.iter().copied()))
            .with_groups(programs.iter().map(|program| program.group).collect())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One program and what it starts. Dropped before [`Tree::release`], they are killed at once.
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
    /// What the program's environment must hold as [`MARK`](super::MARK).
    pub fn mark(&self) -> String {
        match &self.processes.outer {
            Some(outer) => format!("{} {outer}", self.mark),
            None => self.mark.clone(),
        }
    }

    /// True if the program must wait, without doing anything, until [`Tree::started`] has returned
    /// `Ok`, and must end by itself if this process does before.
    pub fn needs_gate(&self) -> bool {
        self.processes.ledger.is_some()
    }

    /// Notes that the program is about to be started.
    pub fn starting(&mut self) {
        self.stage = Stage::Running;
    }

    /// Notes the program's process, the leader of a process session of its own. `Ok`: durable where there is
    /// a ledger, and the program may go on.
    pub async fn started(&self, leader: u32) -> Result<(), LedgerError> {
        let Ok(id) = i32::try_from(leader) else { return Ok(()) };
        let row = process_table::process(id);
        let known = row.map(|row| Known { pid: id, started: row.started_ticks }).into_iter().collect();
        let program = Program { group: Group { id, collected: false }, known };
        self.processes.state().programs.insert(self.number, program);
        match &self.processes.ledger {
            Some(ledger) => ledger.started(&self.processes.mark, self.mark.clone(), id, row).await,
            None => Ok(()),
        }
    }

    /// Notes that the program's process was waited for.
    pub fn collected(&self) {
        if let Some(program) = self.processes.state().programs.get_mut(&self.number) {
            program.group.collected = true;
        }
    }

    /// Ends the tree: asks, waits two seconds, kills, verifies. Returns how many are left.
    pub async fn end(&self) -> usize {
        let Ended { left, .. } = self.scope().end(self.processes.clock.as_ref()).await;
        left.alive
    }

    /// Lets what is still running run until the session ends. True if something is in the
    /// program's process session.
    pub async fn release(mut self) -> bool {
        let group = self.processes.state().programs.get(&self.number).map(|program| program.group);
        let Some(group) = group else {
            self.stage = Stage::Released;
            return false;
        };
        let (alive, known) = running(group).await;
        self.stage = Stage::Released;
        if !alive {
            self.processes.state().programs.remove(&self.number);
            return false;
        }
        if let Some(program) = self.processes.state().programs.get_mut(&self.number) {
            program.known.extend(known.iter().copied());
        }
        if let Some(ledger) = self.processes.ledger.as_ref().filter(|_| !known.is_empty())
            && let Err(error) = ledger.left(&self.processes.mark, self.mark.clone(), known).await
        {
            tracing::warn!(%error, "background processes are not recorded; after a crash their marks must do");
        }
        true
    }

    /// For what reads on when the tree is released.
    pub fn processes(&self) -> &Arc<Processes> {
        &self.processes
    }

    fn scope(&self) -> Scope {
        let program = self.processes.state().programs.get(&self.number).cloned();
        self.processes.scope(Marks::Of([self.mark.clone()].into()), program.as_slice())
    }
}

/// True if the group has a member that has not ended, and who is in it, where that can be told.
async fn running(group: Group) -> (bool, Vec<Known>) {
    if !group.exists() {
        return (false, Vec::new());
    }
    let members = tokio::task::spawn_blocking(move || group.members());
    let mut known = members.await.unwrap_or_default();
    known.truncate(MAX_KNOWN);
    // Without a process table a group that exists counts as one that runs.
    (!known.is_empty() || own_start().is_none(), known)
}

impl Drop for Tree {
    fn drop(&mut self) {
        if self.stage != Stage::Running {
            return;
        }
        let scope = self.scope();
        // What a dying process starts meanwhile is found in the next round.
        for _ in 0..3 {
            if scope.kill() == 0 {
                break;
            }
        }
        // From here on nobody can tell when the id is given away.
        self.collected();
    }
}

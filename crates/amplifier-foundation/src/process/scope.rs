//! What shall end, and how it is ended.
//!
//! Guarantees: see the module above. Every wait has an end: two seconds for those who were asked,
//! fifty rounds for those who are killed.
//! Never here: a signal to this process or its group, and to what it started if it carries one of
//! the marks itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::Clock;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::mark::Marks;
use amplifier_fs::process_table::{self, Process};

/// How long a process that is asked to end may take.
const GRACE: Duration = Duration::from_secs(2);
const KILL_ROUNDS: u32 = 50;
const KILL_PAUSE: Duration = Duration::from_millis(10);

/// A process that cannot be mistaken for a later one with its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) pid: i32,
    /// Clock ticks since the system's start.
    pub(super) started: u64,
}

impl Known {
    fn of(process: &Process) -> Self {
        Self { pid: process.pid, started: process.started_ticks }
    }
}

/// A process group by its number: all that is known where there is no `/proc`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) id: i32,
    /// True once its leader was waited for: from then on a process of this id is a stranger,
    /// and the whole group is gone, as no id is given away while a group bears it.
    pub(super) collected: bool,
}

impl Group {
    fn is_ours(self) -> bool {
        !self.collected || kill(Pid::from_raw(self.id), None) == Err(Errno::ESRCH)
    }

    /// True if it has a member. One that has ended and that nobody collects counts too.
    pub(super) fn exists(self) -> bool {
        self.id > 1 && killpg(Pid::from_raw(self.id), None).is_ok()
    }

    /// Its members that have not ended.
    pub(super) fn members(self) -> Vec<Known> {
        let table = process_table::processes();
        let alive = table.iter().filter(|process| !process.ended);
        alive
            .filter(|process| self.id == process.group || self.id == process.session)
            .map(Known::of)
            .collect()
    }
}

/// What shall end.
#[derive(Debug)]
pub(super) struct Scope {
    marks: Marks,
    groups: Vec<Group>,
    /// Nothing that was started before, in clock ticks since the system's start, belongs to it:
    /// when the process that owns the marks was started.
    since: u64,
    /// What was found once stays found, also when the parent that led to it has ended.
    // Held for a look at the process table.
    known: Mutex<HashSet<Known>>,
}

/// What was found, or is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Processes that have not ended.
    pub(super) alive: usize,
    /// How many of them may not be signalled, because they have become another user's.
    pub(super) beyond: usize,
}

impl Count {
    fn is_done(self) -> bool {
        self.alive == self.beyond
    }
}

/// How an end went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ended {
    /// How many there were at first.
    pub(super) found: usize,
    /// What could not be ended.
    pub(super) left: Count,
}

impl Scope {
    pub(super) fn new(marks: Marks, since: u64) -> Self {
        Self { marks, groups: Vec::new(), since, known: Mutex::default() }
    }

    /// With these processes.
    pub(super) fn knowing(self, known: impl IntoIterator<Item = Known>) -> Self {
        self.known().extend(known);
        self
    }

    /// With these groups, for where there is no process table.
    pub(super) fn with_groups(self, groups: Vec<Group>) -> Self {
        Self { groups, ..self }
    }

    fn known(&self) -> MutexGuard<'_, HashSet<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks, waits, kills, verifies.
    pub(super) async fn end(self, clock: &dyn Clock) -> Ended {
        let scope = Arc::new(self);
        let first = look(&scope, clock, &[Signal::SIGTERM, Signal::SIGCONT]).await;
        let mut ended = Ended { found: first.alive, left: first };
        let deadline = clock.monotonic().saturating_add(GRACE);
        let mut pause = Duration::from_millis(5);
        while !ended.left.is_done() {
            let now = clock.monotonic();
            let rest = deadline.saturating_since(now);
            clock.sleep_until(now.saturating_add(pause.min(rest))).await;
            ended.left = look(&scope, clock, &[]).await;
            if rest.is_zero() {
                break;
            }
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        for _ in 0..KILL_ROUNDS {
            if ended.left.is_done() {
                break;
            }
            ended.left = look(&scope, clock, &[Signal::SIGKILL]).await;
            clock.sleep(KILL_PAUSE).await;
        }
        ended
    }

    /// Kills once, without waiting for anything. How many there were.
    pub(super) fn kill(&self) -> usize {
        self.send(&[Signal::SIGKILL]).alive
    }

    /// Sends signals to all members, one after the other.
    fn send(&self, signals: &[Signal]) -> Count {
        let table = process_table::processes();
        if table.is_empty() {
            return self.send_to_groups(signals);
        }
        let members = self.members(&table);
        for signal in signals {
            // Those first whose whole group is here: it may grow between the look and the signal.
            for group in whole_groups(&table, &members) {
                let _ = killpg(Pid::from_raw(group), *signal);
            }
            for pid in members.iter().filter(|member| !member.ended).map(|member| member.pid) {
                let _ = kill(Pid::from_raw(pid), *signal);
            }
        }
        let alive = members.iter().filter(|member| !member.ended);
        let mut count = Count::default();
        for member in alive {
            count.alive += 1;
            count.beyond += usize::from(kill(Pid::from_raw(member.pid), None) == Err(Errno::EPERM));
        }
        count
    }

    fn send_to_groups(&self, signals: &[Signal]) -> Count {
        let ours = || self.groups.iter().filter(|group| group.is_ours() && group.exists());
        let alive = ours().count();
        for signal in signals {
            ours().for_each(|group| {
                let _ = killpg(Pid::from_raw(group.id), *signal);
            });
        }
        Count { alive, beyond: 0 }
    }

    /// What belongs to this scope, those that have ended but are not collected among it.
    fn members<'a>(&self, table: &'a [Process]) -> Vec<&'a Process> {
        let own = i32::try_from(std::process::id()).unwrap_or_default();
        let own_session = table.iter().find(|process| process.pid == own).map(|process| process.session);
        // Whoever was brought into a container from outside, and what it starts, is in session 0
        // here: such a session says nothing, and its members count like all others.
        let candidates: Vec<&Process> =
            table.iter().filter(|process| process.pid > 1 && process.started_ticks >= self.since).collect();
        let mut known = self.known();
        let is_seed = |process: &&&Process| {
            known.contains(&Known::of(process)) || (!process.ended && self.is_marked(process.pid))
        };
        let mut found: HashSet<i32> = candidates.iter().filter(is_seed).map(|process| process.pid).collect();
        let spared = match found.contains(&own) {
            true => descendants(table, own),
            false => HashSet::from([own]),
        };
        found.retain(|pid| !spared.contains(pid));
        loop {
            let before = found.len();
            let sessions: HashSet<i32> = candidates
                .iter()
                .filter(|process| found.contains(&process.pid))
                .map(|process| process.session)
                .filter(|session| *session > 1 && Some(*session) != own_session)
                .collect();
            let belongs =
                |process: &&&Process| found.contains(&process.parent) || sessions.contains(&process.session);
            let more: Vec<i32> = candidates.iter().filter(belongs).map(|process| process.pid).collect();
            found.extend(more.into_iter().filter(|pid| !spared.contains(pid)));
            if found.len() == before {
                break;
            }
        }
        let members: Vec<&Process> =
            candidates.into_iter().filter(|process| found.contains(&process.pid)).collect();
        known.extend(members.iter().map(|member| Known::of(member)));
        members
    }

    fn is_marked(&self, pid: i32) -> bool {
        process_table::environment_has(pid, |entry| self.marks.accept(entry))
    }
}

/// Sends signals, and does so again if nothing was there: in the middle of an exec a process shows
/// no environment.
async fn look(scope: &Arc<Scope>, clock: &dyn Clock, signals: &'static [Signal]) -> Count {
    let count = send(scope, signals).await;
    if !count.is_done() {
        return count;
    }
    clock.sleep(KILL_PAUSE).await;
    send(scope, signals).await
}

/// On a thread that may block, as the whole process table is read.
async fn send(scope: &Arc<Scope>, signals: &'static [Signal]) -> Count {
    let sending = Arc::clone(scope);
    match tokio::task::spawn_blocking(move || sending.send(signals)).await {
        Ok(count) => count,
        // The runtime ends; what must be done is done here.
        Err(_) => scope.send(signals),
    }
}

/// A process and all that descends from it.
fn descendants(table: &[Process], root: i32) -> HashSet<i32> {
    let mut found = HashSet::from([root]);
    loop {
        let before = found.len();
        let children = table.iter().filter(|process| found.contains(&process.parent));
        let children: Vec<i32> = children.map(|process| process.pid).collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

/// The groups all of whose processes are members.
fn whole_groups(table: &[Process], members: &[&Process]) -> Vec<i32> {
    let pids: HashSet<i32> = members.iter().map(|member| member.pid).collect();
    let mut groups: HashMap<i32, bool> =
        members.iter().map(|member| (member.group, member.group > 1)).collect();
    for process in table.iter().filter(|process| !pids.contains(&process.pid)) {
        groups.entry(process.group).and_modify(|whole| *whole = false);
    }
    groups.into_iter().filter(|(_, whole)| *whole).map(|(group, _)| group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of a container whose programs were brought in from outside: all are in session 0.
    #[test]
    fn processes_without_a_session_are_found_and_lead_to_no_others() {
        let row = |pid, parent, session| Process::new(pid, parent, session, 100);
        let table =
            [row(2, 0, 0), row(3, 2, 0), row(50, 1, 0), row(51, 50, 0), row(52, 1, 0), row(53, 51, 53)];
        let scope = Scope::new(Marks::Of(HashSet::new()), 1).knowing([Known { pid: 50, started: 100 }]);
        let found: Vec<i32> = scope.members(&table).iter().map(|process| process.pid).collect();
        assert_eq!(found, [50, 51, 53]);
    }
}

//! Processes that a session's tools start: how they are known, recorded and ended.
//!
//! [`Processes`] is what a tool asks for a [`Tree`] before it starts a program. The program gets
//! the tree's mark in its environment and is made the leader of a process session of its own.
//! [`ProcessLedger`] keeps on disk what runs, for a process that comes after this one, and
//! [`recover()`] is what that one does.
//!
//! Guarantees:
//! * Where there is a ledger, mark, process id, group, process session and start time are durable
//!   before a program does anything: it waits at a gate until [`Tree::started`] has returned. If
//!   this process dies before that, the gate ends by itself.
//! * At a session's end everything that belongs to its trees is asked to end, has two seconds, is
//!   killed, and is looked for again until nothing is found.
//! * [`recover()`] does the same for what a process that is gone has left, however it ended.
//! * To a tree belongs: what carries its mark; what is known by id and start time; what is in
//!   the process session of such a process, or descends from one. A process id alone, which the
//!   system may have given to somebody else, is no reason to end anything.
//!
//! Never here: what another service (a container engine, systemd) starts on behalf of a program,
//! processes of other users, and a process that has left its session, its parents and its
//! environment, all three. Without `/proc` in Linux's form process groups are all that is
//! known; then nothing can be recovered, and that is told.

mod ledger;
mod mark;
mod record;
mod recover;
mod scope;
mod tree;

#[cfg(feature = "sqlite")]
pub(crate) use ledger::folder as run_folder;
pub use ledger::{LedgerError, ProcessLedger, SessionLedger};
pub use mark::MARK;
pub use recover::{Recovery, recover};
pub use tree::{Closed, Processes, Tree};

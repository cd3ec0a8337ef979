//! How a program is started on behalf of a session.
//!
//! A [`Request`] says what shall run, where, with which [`Variables`] and in which
//! [`Confinement`]. [`run()`] takes it to its result; [`start()`] gives a [`Running`] program
//! with its input and outputs, for programs that live longer than one call.
//!
//! Guarantees: a program leads a process session of its own and belongs to a tree of the
//! session's processes; where the session has a ledger, the program is in there before it does
//! anything; it gets no variable that looks like a secret unless that is named; it runs in the
//! confinement that is asked for, or not at all. Whoever drops what runs kills its whole tree.
//! Never here: who may run what. Permissions are judged before, by whoever asks.

mod capture;
mod confinement;
mod error;
mod gate;
#[cfg(all(target_os = "linux", feature = "sandbox"))]
mod kernel;
mod launch;
mod run;
mod running;
pub mod standing;
mod variables;

pub use capture::Capture;
pub use confinement::{Confinement, Enforced, SandboxOff, Unavailable};
pub use error::RunError;
pub use launch::{Program, Request, find_program};
pub use run::{Ended, Report, run};
pub use running::{Running, start};
pub use variables::{Variables, is_secret};

//! A conversation with a session: what is said, who answers, how it is shown.
//!
//! [`Conversation`] holds it: turns, interrupts, the end and what goes on later. [`Input`] is where lines come from:
//! standard input, or the [`editor`] at a terminal. [`Plain`] and [`Screen`] show it. [`Desk`] says who has the terminal.
//! A program brings its slash commands and its requests, as a [`Program`].

mod command;
mod compact;
mod conversation;
mod desk;
pub mod editor;
mod goal;
mod input;
pub mod markdown;
mod plain;
mod screen;

pub use command::{Said, help, said};
pub use compact::summary;
pub use conversation::{Beginning, Conversation, Face, Figures, GIVE_UP, Next, Program, Turned, first_turn};
pub use desk::{AtDesk, Desk, GiveBack};
pub use editor::{Argument, Editor, Entry, Words};
pub use goal::{Goal, GoalCommand, GoalEnd, Step, pursue};
pub use input::{Input, Line, Lines};
pub use plain::Plain;
pub use screen::{Screen, Thinking};

use std::io::IsTerminal;

/// True if a person sits at a terminal that can be drawn on: all three streams are one, and it is not `dumb`.
pub fn is_attended() -> bool {
    let streams =
        std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && std::io::stderr().is_terminal();
    let term = std::env::var_os("TERM").filter(|term| !term.is_empty());
    streams && term.is_some_and(|term| term != "dumb")
}

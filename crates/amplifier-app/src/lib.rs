//! What the programs `amplifier` and `foreman` share.
//!
//! [`Setup`] makes a host of settings, keys and trust; [`terminal`] has exit codes, signals and output;
//! [`listen`] is the HTTP server, [`beside`] what an owner of background sessions has beside it.
//! [`owning`] runs such an owner to its end, and [`standing`] shows how background sessions stand.
//! Programs of others need none of it: they build their host themselves.
//!
//! [`command`] has the commands that both have, [`context`] where they work, [`exit`] how they end.
//!
//! [`chat`] is a conversation: its turns, the line editor, the screen.
//!
//! Never here: a command line, and what one program does alone.

#![warn(missing_docs)]

pub mod ask;
pub mod beside;
pub mod chat;
pub mod command;
pub mod completions;
pub mod context;
pub mod detach;
pub mod doctor;
pub mod exit;
pub mod inspect;
pub mod listen;
pub mod meant;
pub mod output_schema;
pub mod owning;
pub mod schema;
pub mod setup;
pub mod standing;
pub mod terminal;
pub mod toolbox;

pub use setup::Setup;

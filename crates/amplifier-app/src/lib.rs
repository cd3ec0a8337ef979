//! What the programs `amplifier` and `foreman` share.
//!
//! [`Setup`] makes a host of settings, keys and trust; [`terminal`] has exit codes, signals and output;
//! [`listen`] is the HTTP server, [`beside`] what an owner of background sessions has beside it.
//! [`standing`] shows how background sessions stand.
//! Programs of others need none of it: they build their host themselves.
//!
//! Never here: arguments, and what a command means.

#![warn(missing_docs)]

pub mod beside;
pub mod detach;
pub mod listen;
pub mod setup;
pub mod standing;
pub mod terminal;

pub use setup::Setup;

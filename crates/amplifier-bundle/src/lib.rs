//! All that Amplifier reads before a session exists: bundles and where they come from,
//! the files that a prompt mentions, and settings.
//!
//! [`bundle::parse_bundle`] reads one text; a [`bundle::BundleLoader`] finds a bundle,
//! fetches what it includes and composes it to a [`bundle::PreparedBundle`].
//!
//! Never here: a session, a module, a task of its own.

#![warn(missing_docs)]

pub mod bundle;
pub mod mention;
pub mod redact;
pub mod settings;
pub mod source;

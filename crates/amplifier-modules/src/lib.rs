//! Modules that come with Amplifier: one file each, behind the kernel's traits.

#![warn(missing_docs)]

#[cfg(feature = "http-providers")]
pub mod provider;

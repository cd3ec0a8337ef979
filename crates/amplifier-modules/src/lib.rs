//! Modules that come with Amplifier: one file each, behind the kernel's traits.

#![warn(missing_docs)]

pub mod tool;

//! What a process lends to its sessions.
//!
//! Guarantees: [`clock`] is the only module of the project that reads a clock, [`ids`] the
//! only one that draws random numbers; everything else asks through the kernel's ports.

pub mod clock;
pub mod ids;

pub use clock::SystemClock;
pub use ids::RandomIds;

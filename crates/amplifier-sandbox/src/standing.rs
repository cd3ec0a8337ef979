//! What this machine has of what modules need: how strong a sandbox can be.
//!
//! Guarantees: nothing is restricted, started or written by looking.

/// What the kernel offers to shut a command in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sandbox {
    /// This build has none, or it is another system than Linux.
    NotBuilt,
    /// The kernel has no Landlock, or it is switched off.
    None,
    /// Landlock of at least this version; commands need 3.
    Landlock(u32),
}

impl Sandbox {
    /// True if commands can be shut in.
    pub fn is_enough(self) -> bool {
        matches!(self, Self::Landlock(3..))
    }
}

/// Asks the kernel.
#[cfg(all(target_os = "linux", feature = "sandbox"))]
pub fn sandbox() -> Sandbox {
    use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    let files = |abi| strict().handle_access(AccessFs::from_all(abi)).and_then(Ruleset::create).is_ok();
    // What each version has brought.
    let steps: [&dyn Fn() -> bool; 6] = [
        &|| files(ABI::V1),
        &|| files(ABI::V2),
        &|| files(ABI::V3),
        &|| strict().handle_access(AccessNet::ConnectTcp).and_then(Ruleset::create).is_ok(),
        &|| files(ABI::V5),
        &|| strict().scope(Scope::Signal).and_then(Ruleset::create).is_ok(),
    ];
    match steps.iter().take_while(|has| has()).count() {
        0 => Sandbox::None,
        found => Sandbox::Landlock(u32::try_from(found).unwrap_or(u32::MAX)),
    }
}

/// There is none to ask for.
#[cfg(not(all(target_os = "linux", feature = "sandbox")))]
pub fn sandbox() -> Sandbox {
    Sandbox::NotBuilt
}

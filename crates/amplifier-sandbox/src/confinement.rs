//! Commands that may write in some folders only.
//!
//! Guarantees: a command that is started here, and whatever it starts, can create, change and
//! delete files only below the given folders and the folder for temporary files, and can write
//! to harmless devices; it can read and execute everything that the user can. Where the kernel
//! enforces less than that, nothing is started. Where the kernel can (Linux 6.12), it can signal
//! no process outside the sandbox either.
//! Never here: the network, and secrets: what the user can read, the command can. A kernel before 7.1 does not keep a command from talking to a
//! service through its Unix socket.

use std::io;
use std::path::PathBuf;

use amplifier_core::SessionEnv;
use amplifier_core::permission::Permissions;
use process_wrap::tokio::{ChildWrapper, CommandWrap};

/// A person has turned the sandbox off. Only a program that embeds sessions, on behalf of a person,
/// may put this capability into a session's coordinator; no bundle can.
#[derive(Debug, Clone, Copy, Default)]
pub struct SandboxOff;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[error(
    "sandbox not available on this kernel; it needs Landlock with ABI 3 (Linux 6.2 or later): {reason}; \
     allow the command with a permission rule such as `shell(cargo test)`, or run with \
     `--permission-mode bypassPermissions`"
)]
pub struct Unavailable {
    reason: String,
}

impl Unavailable {
    fn because(reason: impl Into<String>) -> io::Error {
        io::Error::new(io::ErrorKind::Unsupported, Self { reason: reason.into() })
    }
}

/// What a program may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confinement {
    /// `Some`: inside the sandbox, writing only there and where temporary files are.
    pub writable: Option<Vec<PathBuf>>,
}

impl Confinement {
    /// Outside the sandbox: the program may do what the user may.
    pub fn none() -> Self {
        Self::default()
    }

    /// Inside the sandbox, writing only below these folders.
    pub fn writing_below(folders: Vec<PathBuf>) -> Self {
        Self { writable: Some(folders) }
    }

    /// What a session's permissions ask for, where they let a program run: `sandboxed` says that they do so
    /// in the sandbox alone. None if a person has turned the sandbox off.
    pub fn of_session(env: &SessionEnv, permissions: &Permissions, sandboxed: bool) -> Self {
        let off = env.coordinator.capability::<SandboxOff>().is_some();
        Self { writable: (sandboxed && !off).then(|| permissions.writable_roots()) }
    }
}

/// Starts a command in its confinement. An error that holds [`Unavailable`] says that there is no sandbox.
pub(super) async fn spawn(
    mut command: CommandWrap,
    confinement: Confinement,
) -> io::Result<Box<dyn ChildWrapper>> {
    match confinement.writable {
        None => command.spawn(),
        Some(writable) => spawn_inside(command, writable).await,
    }
}

#[cfg(all(target_os = "linux", feature = "sandbox"))]
async fn spawn_inside(mut command: CommandWrap, writable: Vec<PathBuf>) -> io::Result<Box<dyn ChildWrapper>> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The restriction holds for the thread that asks for it and for what that thread starts,
    // and can never be lifted: so the thread is a fresh one and ends at once.
    let thread = std::thread::Builder::new().name("sandbox".into()).spawn(move || {
        let started = restrict(&writable).and_then(|()| {
            let _in_runtime = runtime.enter();
            command.spawn()
        });
        drop(command);
        let _ = sender.send(started.map(|child| Unclaimed(Some(child))));
    });
    thread?;
    let ended = || Unavailable::because("its thread ended");
    let mut unclaimed = receiver.await.map_err(|_| ended())??;
    unclaimed.0.take().ok_or_else(ended)
}

/// A child on its way to whoever waits for it; if nobody does any more, it is killed.
#[cfg(all(target_os = "linux", feature = "sandbox"))]
struct Unclaimed(Option<Box<dyn ChildWrapper>>);

#[cfg(all(target_os = "linux", feature = "sandbox"))]
impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.start_kill();
        }
    }
}

#[cfg(all(target_os = "linux", feature = "sandbox"))]
fn restrict(writable: &[PathBuf]) -> io::Result<()> {
    use landlock::{
        ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
        RulesetStatus, Scope, path_beneath_rules,
    };
    const DEVICES: [&str; 9] = [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
        "/dev/tty",
        "/dev/ptmx",
        "/dev/pts",
        "/dev/shm",
    ];
    let write = AccessFs::from_write(ABI::V9);
    let temporary = std::env::temp_dir();
    let rules = || -> Result<RulesetStatus, RulesetError> {
        let status = Ruleset::default()
            // Without ABI 3 a file anywhere could be emptied.
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(AccessFs::from_write(ABI::V3))?
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(write)?
            .scope(Scope::Signal)?
            .scope(Scope::AbstractUnixSocket)?
            .create()?
            .add_rules(path_beneath_rules(writable, write))?
            .add_rules(path_beneath_rules([&temporary], write))?
            .add_rules(path_beneath_rules(DEVICES, write))?
            .restrict_self()?;
        Ok(status.ruleset)
    };
    match rules() {
        Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => Ok(()),
        Ok(RulesetStatus::NotEnforced) => Err(Unavailable::because("it is not enabled")),
        Err(error) => Err(Unavailable::because(error.to_string())),
    }
}

/// There is no sandbox here, so nothing is started.
#[cfg(not(all(target_os = "linux", feature = "sandbox")))]
async fn spawn_inside(command: CommandWrap, writable: Vec<PathBuf>) -> io::Result<Box<dyn ChildWrapper>> {
    drop((command, writable));
    Err(Unavailable::because("this build has no sandbox"))
}

//! Programs that may write in some folders only, and reach no network.
//!
//! Guarantees: a program that is started here, and whatever it starts, can create, change and
//! delete files only below the given folders and the folder for temporary files, and can write
//! to harmless devices; it can read and execute everything that the user can. Where the kernel can
//! (Linux 6.12), it can signal no process outside the sandbox either. With the network closed it can open
//! no socket but those within this machine's kernel; where the kernel can close TCP alone, the
//! program runs and [`Enforced::TcpOnly`] says so. Where the kernel enforces less than that, nothing is started.
//! Never here: secrets: what the user can read, the program can. A kernel before 7.1 does not keep a program from
//! talking to a service through its Unix socket, and that service may reach the network.

use std::io;
use std::path::PathBuf;

use amplifier_core::SessionEnv;
use amplifier_core::permission::{Access, Permissions, Rule, RuleEffect, RuleKind, Ruling};
use process_wrap::tokio::{ChildWrapper, CommandWrap};

/// A person has turned the sandbox off. Only a program that embeds sessions, on behalf of a person,
/// may put this capability into a session's coordinator; no bundle can.
#[derive(Debug, Clone, Copy, Default)]
pub struct SandboxOff;

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
#[error(
    "sandbox not available on this kernel; it needs Landlock with ABI 3 (Linux 6.2 or later), and seccomp or ABI 4 \
     to close the network: {reason}; \
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
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Confinement {
    /// `Some`: inside the sandbox, writing only there and where temporary files are.
    pub writable: Option<Vec<PathBuf>>,
    /// False: it can reach no other machine, nor this one's ports.
    pub network: bool,
}

impl Default for Confinement {
    fn default() -> Self {
        Self::none()
    }
}

impl Confinement {
    /// Outside the sandbox: the program may do what the user may.
    pub fn none() -> Self {
        Self { writable: None, network: true }
    }

    /// Inside the sandbox, writing only below these folders, without the network.
    pub fn writing_below(folders: Vec<PathBuf>) -> Self {
        Self { writable: Some(folders), network: false }
    }

    /// The same with the network open, or closed.
    #[must_use]
    pub fn with_network(mut self, network: bool) -> Self {
        self.network = network;
        self
    }

    /// What a session's permissions ask for, where they let a program run: `sandboxed` says that they do so
    /// in the sandbox alone. A person may have turned the sandbox off.
    ///
    /// Inside the sandbox the network is open only if the permissions allow every host, as a program's
    /// connections cannot be told apart. Outside it is closed only if a rule denies every host.
    pub fn of_session(env: &SessionEnv, permissions: &Permissions, sandboxed: bool) -> Self {
        let off = env.coordinator.capability::<SandboxOff>().is_some();
        if !sandboxed || off {
            return Self::none().with_network(!denied_everywhere(permissions));
        }
        Self::writing_below(permissions.writable_roots()).with_network(allowed_everywhere(permissions))
    }
}

/// Every host at once.
fn every_host() -> Access {
    Access::Network("*".into())
}

fn rules(permissions: &Permissions) -> impl Iterator<Item = &Rule> {
    let rules = permissions.layers().iter().flat_map(|layer| &layer.rules);
    rules.filter(|rule| rule.kind() == RuleKind::Network)
}

fn denied_everywhere(permissions: &Permissions) -> bool {
    rules(permissions).any(|rule| rule.effect() == RuleEffect::Deny && rule.matches(&every_host()))
}

fn allowed_everywhere(permissions: &Permissions) -> bool {
    let limited = rules(permissions).any(|rule| rule.effect() != RuleEffect::Allow);
    !limited && permissions.decide(&every_host(), false).ruling == Ruling::Allow
}

/// What the kernel holds a program to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforced {
    /// All that was asked for.
    Whole,
    /// Of the network TCP alone is closed.
    TcpOnly,
}

/// Starts a command in its confinement. An error that holds [`Unavailable`] says that there is no sandbox.
pub(super) async fn spawn(
    mut command: CommandWrap,
    confinement: Confinement,
) -> io::Result<(Box<dyn ChildWrapper>, Enforced)> {
    match confinement {
        Confinement { writable: None, network: true } => Ok((command.spawn()?, Enforced::Whole)),
        confined => spawn_inside(command, confined).await,
    }
}

#[cfg(all(target_os = "linux", feature = "sandbox"))]
async fn spawn_inside(
    mut command: CommandWrap,
    confinement: Confinement,
) -> io::Result<(Box<dyn ChildWrapper>, Enforced)> {
    let runtime = tokio::runtime::Handle::current();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // The restriction holds for the thread that asks for it and for what that thread starts,
    // and can never be lifted: so the thread is a fresh one and ends at once.
    let thread = std::thread::Builder::new().name("sandbox".into()).spawn(move || {
        let started = super::kernel::restrict(&confinement, super::kernel::Seccomp::IfThere)
            .map_err(Unavailable::because)
            .and_then(|enforced| {
                let _in_runtime = runtime.enter();
                Ok((command.spawn()?, enforced))
            });
        drop(command);
        let _ = sender.send(started.map(|(child, enforced)| Unclaimed(Some(child), enforced)));
    });
    thread?;
    let ended = || Unavailable::because("its thread ended");
    let mut unclaimed = receiver.await.map_err(|_| ended())??;
    let enforced = unclaimed.1;
    unclaimed.0.take().map(|child| (child, enforced)).ok_or_else(ended)
}

/// A child on its way to whoever waits for it; if nobody does any more, it is killed.
#[cfg(all(target_os = "linux", feature = "sandbox"))]
struct Unclaimed(Option<Box<dyn ChildWrapper>>, Enforced);

#[cfg(all(target_os = "linux", feature = "sandbox"))]
impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.start_kill();
        }
    }
}

/// There is no sandbox here, so nothing is started.
#[cfg(not(all(target_os = "linux", feature = "sandbox")))]
async fn spawn_inside(
    command: CommandWrap,
    confinement: Confinement,
) -> io::Result<(Box<dyn ChildWrapper>, Enforced)> {
    drop((command, confinement));
    Err(Unavailable::because("this build has no sandbox"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::permission::{Layer, Mode};
    use std::path::Path;

    fn permissions(mode: Mode, rules: &[(RuleEffect, &str)]) -> Permissions {
        let root = Path::new("/p");
        let mut layer = Layer::of_mode("test", mode, vec![root.to_owned()]);
        let parse = |(effect, text): &(RuleEffect, &str)| Rule::parse(*effect, text, root, root).unwrap();
        layer.rules = rules.iter().map(parse).collect();
        Permissions::unrestricted().with(layer)
    }

    #[test]
    fn the_network_is_open_in_the_sandbox_only_if_every_host_is_allowed() {
        use RuleEffect::{Allow, Ask, Deny};
        for (rules, inside, outside) in [
            (&[][..], false, true),
            (&[(Allow, "network")], true, true),
            (&[(Allow, "network(*)")], true, true),
            (&[(Allow, "network(*.example.org)")], false, true),
            (&[(Allow, "network"), (Deny, "network(evil.example)")], false, true),
            (&[(Allow, "network"), (Ask, "network(evil.example)")], false, true),
            (&[(Allow, "network"), (Deny, "network(*)")], false, false),
            (&[(Deny, "network")], false, false),
            (&[(Deny, "shell(curl *)"), (Allow, "network")], true, true),
        ] {
            let permissions = permissions(Mode::DontAsk, rules);
            let found = (allowed_everywhere(&permissions), !denied_everywhere(&permissions));
            assert_eq!(found, (inside, outside), "{rules:?}");
            let narrower = permissions.with(Layer::of_mode("pool", Mode::DontAsk, Vec::new()));
            assert!(!allowed_everywhere(&narrower), "{rules:?}");
        }
        assert!(allowed_everywhere(&permissions(Mode::BypassPermissions, &[])));
    }
}

//! What the kernel is asked to hold a thread to: Landlock for files, seccomp for the network.
//!
//! Guarantees: what is asked for is enforced for the calling thread and for what it starts, for ever, or the
//! result is an error. Linux alone; safe code alone.
//! Never here: sockets of families that stay within the kernel (`AF_UNIX`, `AF_NETLINK`), and sockets
//! that are there already.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::confinement::{Confinement, Enforced};

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

/// The first system call of x86-64's second set, for programs with short pointers.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Whether seccomp is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seccomp {
    IfThere,
    /// As on a kernel without it.
    #[cfg(test)]
    Never,
}

/// Restricts the calling thread for ever. The error says what the kernel lacks.
pub(super) fn restrict(confinement: &Confinement, seccomp: Seccomp) -> Result<Enforced, String> {
    let filtered = confinement.network || (seccomp == Seccomp::IfThere && no_sockets().is_ok());
    let tcp = if filtered { BitFlags::EMPTY } else { AccessNet::from_all(ABI::V4) };
    if confinement.writable.is_some() || !tcp.is_empty() {
        match landlock(confinement, tcp) {
            Ok(RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced) => {}
            Ok(RulesetStatus::NotEnforced) => return Err("it is not enabled".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(if filtered { Enforced::Whole } else { Enforced::TcpOnly })
}

fn landlock(confinement: &Confinement, tcp: BitFlags<AccessNet>) -> Result<RulesetStatus, RulesetError> {
    let mut ruleset = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    if !tcp.is_empty() {
        ruleset = ruleset.handle_access(tcp)?;
    }
    let Some(writable) = &confinement.writable else {
        return Ok(ruleset.create()?.restrict_self()?.ruleset);
    };
    let write = AccessFs::from_write(ABI::V9);
    let status = ruleset
        // Without ABI 3 a file anywhere could be emptied.
        .handle_access(AccessFs::from_write(ABI::V3))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(write)?
        .scope(Scope::Signal)?
        .scope(Scope::AbstractUnixSocket)?
        .create()?
        .add_rules(path_beneath_rules(writable, write))?
        .add_rules(path_beneath_rules([std::env::temp_dir()], write))?
        .add_rules(path_beneath_rules(DEVICES, write))?
        .restrict_self()?;
    Ok(status.ruleset)
}

/// Refuses sockets that lead out, with `EPERM`.
fn no_sockets() -> Result<(), seccompiler::Error> {
    seccompiler::apply_filter(&filter()?)
}

/// Refuses all families of sockets but two, `io_uring`, which opens sockets without the call for it, and the
/// second set of system calls where there is one. The library ends a program that uses the calls of
/// another architecture.
fn filter() -> Result<BpfProgram, seccompiler::Error> {
    let other = |family: i32| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(family.unsigned_abs()))
    };
    let leads_out = || -> Result<_, seccompiler::BackendError> {
        Ok(vec![SeccompRule::new(vec![other(libc::AF_UNIX)?, other(libc::AF_NETLINK)?])?])
    };
    let mut calls = BTreeMap::from([
        (libc::SYS_socket, leads_out()?),
        (libc::SYS_socketpair, leads_out()?),
        (libc::SYS_io_uring_setup, Vec::new()),
    ]);
    #[cfg(target_arch = "x86_64")]
    for call in [libc::SYS_socket, libc::SYS_socketpair, libc::SYS_io_uring_setup] {
        calls.insert(X32 + call, Vec::new());
    }
    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(calls, SeccompAction::Allow, refused, architecture)?.try_into()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, UdpSocket};

    /// What a thread that is restricted like this can open: TCP, UDP, pairs of Unix sockets.
    fn opened(confinement: Confinement, seccomp: Seccomp) -> Option<(Enforced, [Result<(), ErrorKind>; 3])> {
        let thread = std::thread::spawn(move || {
            let enforced = restrict(&confinement, seccomp)?;
            let tcp = TcpListener::bind("127.0.0.1:0").map(drop);
            let udp = UdpSocket::bind("127.0.0.1:0").map(drop);
            let unix = std::os::unix::net::UnixStream::pair().map(drop);
            Ok::<_, String>((enforced, [tcp, udp, unix].map(|result| result.map_err(|error| error.kind()))))
        });
        match thread.join().unwrap() {
            Ok(opened) => Some(opened),
            Err(reason) => {
                eprintln!("skipped: the kernel cannot: {reason}");
                None
            }
        }
    }

    const DENIED: Result<(), ErrorKind> = Err(ErrorKind::PermissionDenied);

    #[test]
    fn seccomp_closes_everything_that_leads_out() {
        for confinement in
            [Confinement::none().with_network(false), Confinement::writing_below(vec!["/tmp".into()])]
        {
            let Some((enforced, found)) = opened(confinement, Seccomp::IfThere) else { return };
            if enforced == Enforced::TcpOnly {
                return eprintln!("skipped: the kernel has no seccomp");
            }
            assert_eq!(found, [DENIED, DENIED, Ok(())]);
        }
    }

    #[test]
    fn without_seccomp_landlock_closes_tcp_and_that_is_said() {
        for confinement in
            [Confinement::none().with_network(false), Confinement::writing_below(vec!["/tmp".into()])]
        {
            let Some(found) = opened(confinement, Seccomp::Never) else { return };
            assert_eq!(found, (Enforced::TcpOnly, [DENIED, Ok(()), Ok(())]));
        }
    }

    #[test]
    fn an_open_network_stays_open_in_the_sandbox() {
        let confinement = Confinement::writing_below(vec!["/tmp".into()]).with_network(true);
        let Some(found) = opened(confinement, Seccomp::IfThere) else { return };
        assert_eq!(found, (Enforced::Whole, [Ok(()), Ok(()), Ok(())]));
    }
}

//! What both programs need of the machine: the user's folder, disk, sandbox, git, the way they are found, the terminal.
//!
//! Guarantees: no program is started to find out.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use amplifier_foundation::fs::{mode, read};
use amplifier_foundation::settings::home::AmplifierHome;
use amplifier_modules::standing::{self, Sandbox};
use nix::sys::statvfs::statvfs;

use super::Checks;
use crate::context::Program;
use crate::terminal::columns;

/// Below this much room a session may not be able to write what it must.
const LITTLE_BYTES: u64 = 200 << 20;

/// The system, as it is named in reports.
pub(super) fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

pub(super) fn look(program: Program, home: Option<&AmplifierHome>, checks: &mut Checks) {
    if let Some(home) = home {
        rights(home, checks);
        room(home, checks);
    }
    sandbox(checks);
    git(checks);
    namesakes(program, checks);
    terminal(checks);
}

/// What lies in the user's folder is for the user alone.
fn rights(home: &AmplifierHome, checks: &mut Checks) {
    let path = home.path();
    if !read::is_dir(path) {
        return checks
            .ok("home", format!("{} is not there yet; it is made when it is needed", path.display()));
    }
    let before = checks.all.len();
    let files = [home.keys_file(), home.trust_file()];
    for (path, wanted) in std::iter::once((path.to_path_buf(), 0o700)).chain(files.map(|file| (file, 0o600)))
    {
        match mode::bits(&path) {
            Ok(bits) if bits & 0o077 != 0 => {
                let told = format!("{} has mode {bits:04o}: others than you can reach it", path.display());
                checks.warn("home", told, format!("chmod {wanted:o} {}", path.display()));
            }
            _ => {}
        }
    }
    if checks.all.len() == before {
        checks.ok("home", format!("{} is open to you alone", path.display()));
    }
}

/// The nearest folder that is there.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| read::is_dir(path))
}

fn room(home: &AmplifierHome, checks: &mut Checks) {
    let Some(folder) = existing(home.path()) else { return };
    match statvfs(folder) {
        Ok(found) => {
            let free = found.blocks_available().saturating_mul(found.fragment_size());
            let told = format!("{} MiB free for {}", free >> 20, home.path().display());
            match free < LITTLE_BYTES {
                true => {
                    checks.warn("disk", told, "make room: `amplifier session cleanup` deletes old sessions")
                }
                false => checks.ok("disk", told),
            }
        }
        Err(error) => checks.warn("disk", format!("the free room is not known: {error}"), ""),
    }
}

fn sandbox(checks: &mut Checks) {
    let help = "commands that nobody allows are refused where nobody can be asked; allow them by rules such as `shell(cargo test)`";
    match standing::sandbox() {
        found @ Sandbox::Landlock(abi) if found.is_enough() => {
            checks.ok("sandbox", format!("Landlock ABI {abi}, seccomp {}", seccomp()));
        }
        Sandbox::Landlock(abi) => {
            checks.warn("sandbox", format!("Landlock ABI {abi}, and commands need 3 (Linux 6.2)"), help);
        }
        Sandbox::None => checks.warn("sandbox", "the kernel has no Landlock, or it is switched off", help),
        _ => checks.warn("sandbox", "this build has no sandbox", help),
    }
}

fn seccomp() -> &'static str {
    match read::is_file(Path::new("/proc/sys/kernel/seccomp/actions_avail")) {
        true => "available",
        false => "not available",
    }
}

fn git(checks: &mut Checks) {
    match on_path("git").first() {
        Some(path) => checks.ok("git", path.display().to_string()),
        None => checks.warn(
            "git",
            "no `git` on PATH",
            "install git to fetch bundles from repositories and to use worktrees",
        ),
    }
}

/// Programs of this name on the PATH, the one that a shell takes first.
fn on_path(name: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let files =
        std::env::split_paths(&path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name));
    let runs = |file: &PathBuf| read::is_file(file) && mode::bits(file).is_ok_and(|bits| bits & 0o111 != 0);
    files.filter(runs).collect()
}

fn namesakes(program: Program, checks: &mut Checks) {
    let own = std::env::current_exe().ok().and_then(|path| read::canonical(&path).ok());
    let is_own = |path: &&PathBuf| read::canonical(path).ok() == own;
    let found = on_path("amplifier");
    let others: Vec<String> =
        found.iter().filter(|path| !is_own(path)).map(|path| path.display().to_string()).collect();
    let is_amplifier = program.name == "amplifier";
    match (found.first(), others.is_empty()) {
        (None, _) if is_amplifier => {
            checks.warn("path", "`amplifier` is not on PATH", "add its folder to PATH to call it by name");
        }
        (Some(first), false) if is_amplifier => {
            let told = match is_own(&first) {
                true => format!("another `amplifier` is on PATH behind this one: {}", others.join(", ")),
                false => format!("another `amplifier` is on PATH: a shell starts {}", first.display()),
            };
            checks.warn("path", told, "the Python program has the same name and reads the same folder; put the one that you mean first");
        }
        (Some(first), _) => checks.ok("path", first.display().to_string()),
        (None, _) => checks.ok("path", "no `amplifier` on PATH"),
    }
}

fn terminal(checks: &mut Checks) {
    let is = |name, terminal| format!("{name} {}", if terminal { "yes" } else { "no" });
    let streams = [
        is("stdin", std::io::stdin().is_terminal()),
        is("stdout", std::io::stdout().is_terminal()),
        is("stderr", std::io::stderr().is_terminal()),
    ];
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let term = variable("TERM").unwrap_or_else(|| "not set".to_owned());
    let width = columns().map_or_else(|| "unknown".to_owned(), |columns| columns.to_string());
    let colour = if variable("NO_COLOR").is_some() { ", NO_COLOR" } else { "" };
    checks.ok("terminal", format!("{}; TERM {term}, columns {width}{colour}", streams.join(", ")));
}

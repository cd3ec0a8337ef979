//! Starting programs, above all cargo, in the root of the workspace.
//!
//! Guarantees: a program that fails is an error that shows its command line.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::Error;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` in the root.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A cargo command in the root of the workspace.
pub(crate) fn cargo<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// Runs a command whose output goes straight to the terminal.
pub(crate) fn show(command: &mut Command) -> Result<(), Error> {
    let status = command.status().map_err(|source| Error::Start { command: line(command), source })?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { command: line(command), status: status.to_string(), stderr: String::new() })
}

/// Runs a command and returns what it wrote to standard output; standard error goes to the terminal.
pub(crate) fn read(command: &mut Command) -> Result<String, Error> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Start { command: line(command), source })?;
    if !output.status.success() {
        let status = output.status.to_string();
        return Err(Error::Failed { command: line(command), status, stderr: String::new() });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it; cargo by its short name.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}

/// The executables of `cargo … --message-format=json`: target name, kind and path.
pub(crate) fn built(command: &mut Command) -> Result<Vec<Executable>, Error> {
    let messages = read(command)?;
    Ok(messages.lines().filter_map(executable).collect())
}

/// A program that cargo has built.
#[derive(Debug)]
pub(crate) struct Executable {
    /// The package's folder name.
    pub(crate) package: String,
    /// The target's name.
    pub(crate) target: String,
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: String,
    /// True if it runs tests; `cargo test` builds the programs too that the tests call.
    pub(crate) has_tests: bool,
    /// Where it is.
    pub(crate) path: PathBuf,
}

fn executable(message: &str) -> Option<Executable> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let target = message.get("target")?;
    let manifest = Path::new(message.get("manifest_path")?.as_str()?);
    Some(Executable {
        package: manifest.parent()?.file_name()?.to_string_lossy().into_owned(),
        target: target.get("name")?.as_str()?.to_owned(),
        kind: target.get("kind")?.get(0)?.as_str()?.to_owned(),
        has_tests: message.get("profile").and_then(|profile| profile.get("test")?.as_bool()).unwrap_or(false),
        path: path.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_with_an_executable_count() {
        let built = r#"{"reason":"compiler-artifact","manifest_path":"/x/crates/foreman/Cargo.toml","target":{"kind":["bin"],"name":"foreman"},"executable":"/x/target/foreman"}"#;
        let found = executable(built).unwrap();
        assert_eq!((found.package.as_str(), found.kind.as_str()), ("foreman", "bin"));
        assert!(!found.has_tests, "a program that tests call answers no `--list`");
        let tests = built.replace("\"executable\"", "\"profile\":{\"test\":true},\"executable\"");
        assert!(executable(&tests).unwrap().has_tests);
        assert!(executable(&built.replace("\"/x/target/foreman\"", "null")).is_none());
        assert!(executable("{\"reason\":\"build-finished\"}").is_none());
    }

    #[test]
    fn a_command_that_fails_shows_its_line() {
        let error = show(Command::new("/bin/sh").args(["-c", "exit 3"])).unwrap_err().to_string();
        assert_eq!(error, "`sh -c exit 3` failed (exit status: 3)");
    }
}

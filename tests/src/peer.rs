//! A model service that somebody else wrote: `@copilotkit/aimock`, from npm, on loopback.
//!
//! Guarantees: it is installed once into the target folder, whole or not at all; where npm,
//! node or the registry is missing, that is told and no error.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::Value;

use crate::PATIENCE;

const PACKAGE: &str = "@copilotkit/aimock";
const VERSION: &str = "1.43.0";
/// How long the registry may take.
const INSTALL: Duration = Duration::from_secs(60);

/// A service that answers by fixtures. Dropped, it is gone.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    url: String,
    _fixtures: tempfile::NamedTempFile,
}

impl Peer {
    /// Starts a service with these fixtures. `Err` says why there can be none here.
    pub fn start(fixtures: &Value) -> Result<Self, String> {
        let program = installed()?;
        let file = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
        std::fs::write(file.path(), fixtures.to_string()).unwrap();
        let mut command = Command::new("node");
        command.arg(program).args(["--port", "0", "--strict", "--fixtures"]).arg(file.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| format!("node cannot be run: {error}"))?;
        let (sender, receiver) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            // Reads on to the end, so that the service never waits for its reader.
            for line in lines.map_while(Result::ok) {
                if let Some((_, url)) = line.split_once("listening on ") {
                    let _ = sender.send(url.trim().to_owned());
                }
            }
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(url) => Ok(Self { child, url, _fixtures: file }),
            Err(_) => {
                let _ = child.kill();
                panic!("{PACKAGE} did not start within {PATIENCE:?}")
            }
        }
    }

    /// The address of its root, without a slash at the end.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The service's program, installed on the first call.
fn installed() -> Result<&'static Path, String> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(install).as_deref().map_err(Clone::clone)
}

fn install() -> Result<PathBuf, String> {
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap().join("peer");
    let (home, program) = (folder.join(VERSION), Path::new("node_modules").join(PACKAGE).join("dist/cli.js"));
    if home.join(&program).is_file() {
        return Ok(home.join(program));
    }
    std::fs::create_dir_all(&folder).unwrap();
    let begun = tempfile::tempdir_in(&folder).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix"]).arg(begun.path());
    npm.arg(format!("{PACKAGE}@{VERSION}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = npm.spawn().map_err(|error| format!("npm cannot be run: {error}"))?;
    finished(child)?;
    if !begun.path().join(&program).is_file() {
        return Err(format!("{PACKAGE} {VERSION} holds no {}", program.display()));
    }
    // Another test process may have been faster; its folder is as good.
    let _ = std::fs::rename(begun.path(), &home);
    Ok(home.join(program))
}

fn finished(mut child: Child) -> Result<(), String> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait()));
    match receiver.recv_timeout(INSTALL) {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(status) => Err(format!("npm could not install {PACKAGE}: {status:?}")),
        Err(_) => {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
            Err(format!("the registry did not answer within {INSTALL:?}"))
        }
    }
}

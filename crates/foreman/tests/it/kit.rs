//! A home folder, a project, and calls of the binary that end.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A user's home and a project, gone after the test.
pub(crate) struct Place {
    dir: TempDir,
}

/// What a call has come to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("project").join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foreman"));
        command.args(args).current_dir(self.dir.path().join("project")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("AMPLIFIER_HOME", self.dir.path().join("home"));
        command.env("USER", "ada");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Calls, to be waited for.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        Running(Some(self.command(args).spawn().unwrap()))
    }

    /// Calls and waits.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.start(args).done()
    }

    /// The same with this folder ahead of the others in `PATH`.
    pub(crate) fn run_behind(&self, folder: &std::path::Path, args: &[&str]) -> Done {
        let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap_or_default());
        Running(Some(self.command(args).env("PATH", path).spawn().unwrap())).done()
    }

    /// The same with something on standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: &str) -> Done {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A program that reads no more than it wants closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Running(Some(child)).done()
    }

    /// The result of a call that succeeds.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat()).exits(0);
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// The ids of a list, in its order.
    pub(crate) fn ids(&self, args: &[&str]) -> String {
        let listed = self.json(&[&["issue", "list"], args].concat());
        let ids = listed.as_array().unwrap().iter().map(|issue| issue["id"].as_str().unwrap());
        ids.collect::<Vec<_>>().join(" ")
    }
}

/// A call that has begun; ended with the test, if it has not ended before.
pub(crate) struct Running(Option<Child>);

impl Running {
    pub(crate) fn done(mut self) -> Done {
        let output = self.0.take().unwrap().wait_with_output().unwrap();
        let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Done { code: output.status.code().unwrap_or(-1), stdout, stderr }
    }

    /// Reads stderr until a line holds this.
    pub(crate) fn says(&mut self, wanted: &str) {
        use std::io::Read;
        let stderr = self.0.as_mut().unwrap().stderr.as_mut().unwrap();
        let (mut seen, mut byte) = (Vec::new(), [0]);
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "{wanted}: {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Done {
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// One line on stderr begins so.
    pub(crate) fn says(self, wanted: &str) -> Self {
        assert!(self.stderr.contains(wanted), "{wanted}: {self:?}");
        self
    }
}

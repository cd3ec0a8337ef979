//! A home folder, a project, and calls of the binary that end.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// When a call that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A user's home and a project, gone after the test.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// A place without settings, keys, bundles or sessions.
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir_all(dir.path().join("project")).unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        Self { dir }
    }

    /// A place with the bundle `b`, whose script is this YAML list.
    pub(crate) fn scripted(script: &str) -> Self {
        let place = Self::new();
        place.bundle("b", script, "");
        place
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.dir.path().join("project")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home/.amplifier")
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.project().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// Writes a file of `$AMPLIFIER_HOME`.
    pub(crate) fn write_home(&self, path: &str, text: &str) {
        std::fs::create_dir_all(self.home()).unwrap();
        std::fs::write(self.home().join(path), text).unwrap();
    }

    /// A bundle of the project with a scripted provider; `more` are further YAML lines.
    pub(crate) fn bundle(&self, name: &str, script: &str, more: &str) {
        let script: String = script.lines().map(|line| format!("        {line}\n")).collect();
        let text = format!(
            "bundle: {{name: {name}, version: 1.0.0, description: for tests}}\n\
             session: {{orchestrator: loop-streaming, context: context-simple}}\n\
             providers:\n  - module: provider-scripted\n    config:\n      script:\n{script}{more}\n"
        );
        self.write(&format!(".amplifier/bundles/{name}.yaml"), &text);
    }

    /// A call of the binary in the project, with an environment of its own.
    pub(crate) fn call(&self, args: &[&str]) -> Call {
        self.call_program(&[&[env!("CARGO_BIN_EXE_amplifier")], args].concat())
    }

    /// A call of some program that ends up as the binary.
    pub(crate) fn call_program(&self, line: &[&str]) -> Call {
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).current_dir(self.project()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path().join("home")).env("AMPLIFIER_HOME", self.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Call { command, input: None, patience: PATIENCE }
    }

    /// Calls and waits.
    pub(crate) fn run(&self, args: &[&str]) -> Done {
        self.call(args).done()
    }

    /// The ids of all sessions, the latest first.
    pub(crate) fn sessions(&self) -> Vec<String> {
        let listed = self.run(&["session", "list", "--all", "--json"]).ok().json();
        let ids = listed.as_array().unwrap().iter();
        ids.map(|session| session["session_id"].as_str().unwrap().to_owned()).collect()
    }

    /// The folder of a session.
    pub(crate) fn session_folder(&self, id: &str) -> PathBuf {
        let shown = self.run(&["session", "show", id, "--json"]).ok().json();
        Path::new(shown["path"].as_str().unwrap()).to_path_buf()
    }
}

/// A call that was not made yet.
pub(crate) struct Call {
    command: Command,
    input: Option<Vec<u8>>,
    patience: Duration,
}

impl Call {
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Waits longer: what it calls fetches something.
    pub(crate) fn patient(mut self) -> Self {
        self.patience = Duration::from_secs(180);
        self
    }

    /// Calls in another directory.
    pub(crate) fn cwd(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Pipes this to standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self.command.stdin(Stdio::piped());
        self
    }

    /// Gives the child this as a stream.
    pub(crate) fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Gives the child this as its standard output.
    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Gives the child this as its standard error.
    pub(crate) fn stderr(mut self, stderr: impl Into<Stdio>) -> Self {
        self.command.stderr(stderr);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        // The parent's copies of the child's streams would keep them open.
        drop(self.command);
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let stdin = child.stdin.take();
        let feed = self.input.map(|input| feed(stdin, input));
        let (stderr, said) = collect(child.stderr.take());
        let stdout = child.stdout.take().map(BufReader::new);
        Running {
            pid,
            stdout,
            stderr,
            said,
            status: wait(child, pid, self.patience),
            feed,
            read: String::new(),
        }
    }

    pub(crate) fn done(self) -> Done {
        self.start().done()
    }
}

fn feed(stdin: Option<ChildStdin>, input: Vec<u8>) -> thread::JoinHandle<()> {
    let mut stdin = stdin.unwrap();
    thread::spawn(move || {
        // A child that refuses its input closes it.
        let _ = stdin.write_all(&input);
    })
}

/// Passes the lines of stderr on as they come, and returns them all at the end.
fn collect(stream: Option<ChildStderr>) -> (thread::JoinHandle<String>, mpsc::Receiver<String>) {
    let (send, said) = mpsc::channel();
    let all = thread::spawn(move || {
        let mut all = String::new();
        let Some(stream) = stream else { return all };
        for line in BufReader::new(stream).split(b'\n') {
            let line = String::from_utf8_lossy(&line.unwrap()).into_owned() + "\n";
            all.push_str(&line);
            // Nobody needs to listen.
            let _ = send.send(line);
        }
        all
    });
    (all, said)
}

/// The status of a child, which is killed if it does not end; `None` then.
fn wait(mut child: Child, pid: Pid, patience: Duration) -> thread::JoinHandle<Option<ExitStatus>> {
    let (send, ended) = mpsc::channel();
    thread::spawn(move || send.send(child.wait().unwrap()));
    thread::spawn(move || match ended.recv_timeout(patience) {
        Ok(status) => Some(status),
        Err(_) => {
            let _ = kill(pid, Signal::SIGKILL);
            None
        }
    })
}

/// A call that runs.
pub(crate) struct Running {
    pid: Pid,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: thread::JoinHandle<String>,
    said: mpsc::Receiver<String>,
    status: thread::JoinHandle<Option<ExitStatus>>,
    feed: Option<thread::JoinHandle<()>>,
    read: String,
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    /// Reads lines until one is such an event; the program writes it as it happens.
    pub(crate) fn until(&mut self, is_it: impl Fn(&Value) -> bool) -> Value {
        let stdout = self.stdout.as_mut().unwrap();
        loop {
            let mut line = String::new();
            let read = stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "the stream ended before the event came: {}", self.read);
            self.read.push_str(&line);
            let event: Value = serde_json::from_str(&line).unwrap();
            if is_it(&event) {
                return event;
            }
        }
    }

    /// Waits until a line of stderr holds this text.
    pub(crate) fn until_said(&self, text: &str) {
        while !self.said.recv_timeout(PATIENCE).unwrap().contains(text) {}
    }

    /// Reads no more of its output.
    pub(crate) fn close_stdout(&mut self) {
        self.stdout = None;
    }

    pub(crate) fn done(mut self) -> Done {
        let mut stdout = self.read;
        if let Some(mut rest) = self.stdout.take() {
            rest.read_to_string(&mut stdout).unwrap();
        }
        let stderr = self.stderr.join().unwrap();
        if let Some(feed) = self.feed {
            feed.join().unwrap();
        }
        let status = self.status.join().unwrap();
        let Some(status) = status else { panic!("the call did not end; it said:\n{stdout}\n{stderr}") };
        Done { code: status.code(), stdout, stderr }
    }
}

/// A call that ended.
#[derive(Debug)]
pub(crate) struct Done {
    /// The exit code; `None` if a signal killed it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// The same, if it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.code(0)
    }

    /// The same, if it ended with this code.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// The same, if stderr holds all of these.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in {self:#?}");
        }
        self
    }

    /// The one JSON document on stdout.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    /// The JSON lines on stdout.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }
}

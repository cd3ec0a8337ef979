//! The built `amplifier` and `foreman`, each run as a process of its own.
//!
//! Guarantees: a process sees the variables that a test gave it and no other; one that does
//! not end is killed with its group, and the test fails with what it has printed.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;

use crate::project::TempProject;

/// When a process that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The binary, built on the first call if it is older than its sources.
pub fn amplifier() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("amplifier-cli", "amplifier"))
}

/// The other binary, built likewise.
pub fn foreman() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| built("foreman", "foreman"))
}

fn built(package: &str, name: &str) -> PathBuf {
    let profile = profile_folder();
    let binary = profile.join(name);
    if is_stale(&binary, package) {
        build(&profile, package, name);
    }
    binary
}

/// `target/debug`, as of the test that runs.
fn profile_folder() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().and_then(Path::parent).expect("a test lies in target/<profile>/deps").to_owned()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn is_stale(binary: &Path, package: &str) -> bool {
    let Ok(built) = binary.metadata().and_then(|metadata| metadata.modified()) else { return true };
    // Any crate may be a part of it, but for the other program.
    let other = if package == "foreman" { "amplifier-cli" } else { "foreman" };
    let crates = std::fs::read_dir(workspace().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    let mut folders = crates.filter(|folder| !folder.ends_with(other));
    folders.any(|folder| newest(&folder.join("src")) > built)
}

fn newest(folder: &Path) -> SystemTime {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let one = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => newest(&entry.path()),
        false => entry.metadata().unwrap().modified().unwrap(),
    };
    entries.map(one).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Builds what `cargo test --workspace` would have built: features are those of the whole workspace.
fn build(profile: &Path, package: &str, binary: &str) {
    let name = profile.file_name().and_then(OsStr::to_str).unwrap();
    let name = if name == "debug" { "dev" } else { name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace()).args([
        "build",
        "--quiet",
        "-p",
        package,
        "--bin",
        binary,
        "--profile",
        name,
    ]);
    command.arg("--target-dir").arg(profile.parent().unwrap());
    let built = command.status().unwrap();
    assert!(built.success(), "{binary} could not be built");
}

/// True while a process runs; one that has ended and that nobody has collected does not.
pub fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

/// A call of the binary that was not made yet.
#[derive(Debug)]
#[must_use]
pub struct Call {
    command: Command,
    input: Option<Vec<u8>>,
    types: bool,
}

/// Calls `amplifier` in a project, with its home and nothing else of the machine.
pub fn call<S: AsRef<OsStr>>(project: &TempProject, args: impl IntoIterator<Item = S>) -> Call {
    call_binary(amplifier(), project, args)
}

/// Calls `foreman` likewise.
pub fn call_foreman<S: AsRef<OsStr>>(project: &TempProject, args: impl IntoIterator<Item = S>) -> Call {
    call_binary(foreman(), project, args)
}

fn call_binary<S: AsRef<OsStr>>(
    binary: &Path,
    project: &TempProject,
    args: impl IntoIterator<Item = S>,
) -> Call {
    let mut command = Command::new(binary);
    command.args(args).current_dir(project.path()).env_clear().process_group(0);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", project.around().join("user")).env("AMPLIFIER_HOME", project.home());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Call { command, input: None, types: false }
}

/// Calls `amplifier` and waits for it.
pub fn run<S: AsRef<OsStr>>(project: &TempProject, args: impl IntoIterator<Item = S>) -> Done {
    call(project, args).done()
}

impl Call {
    /// Sets a variable.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Calls in another directory.
    pub fn cwd(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Pipes this to standard input.
    pub fn input(mut self, text: &str) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(text.as_bytes().to_vec());
        self
    }

    /// Lets the test type while it runs, see [`Running::types`].
    pub fn interactive(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self.types = true;
        self
    }

    /// Starts it.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().unwrap();
        let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let stdin = if self.types { child.stdin.take() } else { None };
        if let (Some(input), Some(mut stdin)) = (self.input, child.stdin.take()) {
            std::thread::spawn(move || {
                let _ = std::io::Write::write_all(&mut stdin, &input);
            });
        }
        let shown = format!("{:?}", self.command);
        Running { group, ended: Some(waiter(child)), stdout, stderr, stdin, shown }
    }

    /// Starts it and waits for it.
    pub fn done(self) -> Done {
        self.start().wait()
    }
}

/// What came out of a pipe so far, and whether it is at its end.
#[derive(Debug, Default)]
struct Output {
    text: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Output {
    /// Waits until `enough` holds, at most this long; the text then.
    fn wait(&self, patience: Duration, enough: impl Fn(&str, bool) -> bool) -> String {
        let text = self.text.lock().unwrap();
        let few = |(bytes, ended): &mut (Vec<u8>, bool)| !enough(&String::from_utf8_lossy(bytes), *ended);
        let waited = self.changed.wait_timeout_while(text, patience, few).unwrap();
        String::from_utf8_lossy(&waited.0.0).into_owned()
    }

    fn change(&self, change: impl FnOnce(&mut (Vec<u8>, bool))) {
        change(&mut self.text.lock().unwrap());
        self.changed.notify_all();
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> Arc<Output> {
    let output = Arc::new(Output::default());
    let (mut pipe, filled) = (pipe.unwrap(), Arc::clone(&output));
    std::thread::spawn(move || {
        let mut buffer = [0; 8_192];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            filled.change(|(bytes, _)| bytes.extend_from_slice(&buffer[..count]));
        }
        filled.change(|(_, ended)| *ended = true);
    });
    output
}

fn waiter(mut child: Child) -> Receiver<ExitStatus> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || sender.send(child.wait().unwrap()));
    receiver
}

/// A process that runs. Dropped, it is killed with its group.
#[derive(Debug)]
pub struct Running {
    group: Pid,
    ended: Option<Receiver<ExitStatus>>,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    stdin: Option<ChildStdin>,
    shown: String,
}

impl Running {
    /// Types a line.
    pub fn types(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("the call is interactive");
        writeln!(stdin, "{line}").unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.group.as_raw()).unwrap()
    }

    /// Waits until it has told this on standard error.
    pub fn told(&self, text: &str) {
        let told = self.stderr.wait(PATIENCE, |told, ended| ended || told.contains(text));
        assert!(told.contains(text), "{}: {text:?} is not in:\n{told}", self.shown);
    }

    /// Waits until it has printed this.
    pub fn printed(&self, text: &str) {
        let printed = self.stdout.wait(PATIENCE, |printed, ended| ended || printed.contains(text));
        assert!(printed.contains(text), "{}: {text:?} is not in:\n{printed}", self.shown);
    }

    /// Waits until it has printed a line with this, and gives the first one.
    pub fn line(&self, text: &str) -> String {
        let found = |printed: &str| {
            let whole = printed.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            whole.map(str::trim_end).find(|line| line.contains(text)).map(str::to_owned)
        };
        let printed = self.stdout.wait(PATIENCE, |printed, ended| ended || found(printed).is_some());
        found(&printed).unwrap_or_else(|| panic!("{}: no line has {text:?}:\n{printed}", self.shown))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(self.group, signal).unwrap();
    }

    /// Kills the process alone, as a crash would, and waits until it is gone.
    pub fn crash(self) {
        self.signal(Signal::SIGKILL);
        let done = self.wait();
        assert_eq!(done.signal, Some(Signal::SIGKILL as i32));
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Done {
        drop(self.stdin.take());
        let ended = self.ended.take().unwrap();
        let status = ended.recv_timeout(PATIENCE);
        if status.is_err() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
        // A tool that outlives a crash may hold the pipes.
        let text = |pipe: &Output| pipe.wait(Duration::from_secs(2), |_, ended| ended);
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        let Ok(status) = status else {
            panic!("{} did not end within {PATIENCE:?}\nstdout: {stdout}\nstderr: {stderr}", self.shown)
        };
        Done { code: status.code(), signal: status.signal(), stdout, stderr, shown: self.shown.clone() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended.is_some() {
            let _ = killpg(self.group, Signal::SIGKILL);
        }
    }
}

/// What a process left.
#[derive(Debug)]
pub struct Done {
    /// Its exit code.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it told.
    pub stderr: String,
    shown: String,
}

impl Done {
    /// Asserts the exit code.
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\nstdout: {}\nstderr: {}", self.shown, self.stdout, self.stderr);
        self
    }

    /// Asserts that each of these stands in what it told.
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{}: {text:?} is not in:\n{}", self.shown, self.stderr);
        }
        self
    }

    /// What it printed, as one JSON value a line.
    pub fn json_lines(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line}\nstderr: {}", self.stderr))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// What it printed, as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

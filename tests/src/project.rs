//! A project directory and a home of its own, gone when the test is over.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A temporary project with a temporary home.
#[derive(Debug)]
pub struct TempProject {
    root: TempDir,
}

impl Default for TempProject {
    fn default() -> Self {
        Self::new()
    }
}

impl TempProject {
    /// An empty project and a home that does not exist yet.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("amplifier-").tempdir().unwrap();
        std::fs::create_dir(root.path().join("project")).unwrap();
        Self { root }
    }

    /// The project directory, links resolved.
    pub fn path(&self) -> PathBuf {
        std::fs::canonicalize(self.root.path().join("project")).unwrap()
    }

    /// `AMPLIFIER_HOME`.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The folder around both, for whatever else a test needs.
    pub fn around(&self) -> &Path {
        self.root.path()
    }

    /// Writes a file of the project, with its folders.
    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        write(&self.path().join(path), text.as_ref())
    }

    /// Writes a bundle that can be named in this project.
    pub fn bundle(&self, name: &str, text: impl ToString) -> PathBuf {
        self.write(&format!(".amplifier/bundles/{name}.md"), text.to_string())
    }

    /// Reads a file of the project.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path().join(path)).unwrap()
    }

    /// The folders of all sessions, sorted.
    pub fn sessions(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for project in entries(&self.home().join("projects")) {
            found.extend(entries(&project.join("sessions")));
        }
        found.sort();
        found
    }

    /// The folder of the only session.
    pub fn session(&self) -> PathBuf {
        let sessions = self.sessions();
        assert_eq!(sessions.len(), 1, "one session is expected: {sessions:?}");
        sessions[0].clone()
    }
}

fn write(path: &Path, text: &[u8]) -> PathBuf {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    path.to_owned()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// The messages in a session's folder, one JSON value each.
pub fn transcript(session: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(session.join("transcript.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The metadata in a session's folder.
pub fn metadata(session: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(session.join("metadata.json")).unwrap()).unwrap()
}

/// The conversation in short: `u:hello a:> t:ok a:bye`; `>` stands for tool calls.
pub fn shape(transcript: &[serde_json::Value]) -> String {
    let one = |message: &serde_json::Value| {
        let role = &message["role"].as_str().unwrap()[..1];
        let calls = message["tool_calls"].as_array().map_or(0, Vec::len);
        let text = message["content"].as_str().unwrap_or("…");
        let text =
            if text.starts_with("[interrupted") || text.starts_with("interrupted:") { "!" } else { text };
        format!("{role}:{text}{}", ">".repeat(calls))
    };
    transcript.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// A named pipe: what is under test opens one end, and the test hears of it.
#[derive(Debug)]
pub struct Pipe {
    path: PathBuf,
}

impl TempProject {
    /// A named pipe in the project.
    pub fn pipe(&self, name: &str) -> Pipe {
        let path = self.path().join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        Pipe { path }
    }
}

impl Pipe {
    /// Waits until somebody has written to it and closed it; what was written.
    pub fn heard(&self) -> String {
        let (sender, receiver) = std::sync::mpsc::channel();
        let path = self.path.clone();
        std::thread::spawn(move || sender.send(std::fs::read_to_string(path)));
        receiver.recv_timeout(crate::PATIENCE).expect("nobody wrote to the pipe").unwrap()
    }

    /// Lets whoever reads from it, now or in a moment, go on.
    pub fn release(&self) {
        let path = self.path.clone();
        // Waits for a reader as long as the test runs.
        std::thread::spawn(move || std::fs::OpenOptions::new().write(true).open(path));
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.release();
    }
}

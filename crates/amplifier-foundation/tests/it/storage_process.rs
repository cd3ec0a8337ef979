//! Two processes at one session, a process that is killed, a disk that is full.
//!
//! The other process is this test binary again, started for one test with a role in its
//! environment.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, fs};

use amplifier_core::Activation;
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::storage::{FileStorage, ProjectPaths, SessionQuery, SessionStorage, StorageError};

use crate::storage::{Place, described, id, texts, users};

const ROLE: &str = "AMPLIFIER_TEST_ROLE";
const ROOT: &str = "AMPLIFIER_TEST_ROOT";

/// This test binary, to run `test` in a role.
pub(crate) fn other_process(program: &[&str], test: &str, role: &str, root: &Path) -> Command {
    let binary = env::current_exe().unwrap();
    let mut command = match program {
        [] => Command::new(binary),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary);
            command
        }
    };
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(ROLE, role).env(ROOT, root);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}

pub(crate) fn role() -> Option<(String, FileStorage)> {
    let root = env::var_os(ROOT)?;
    let root = Path::new(&root);
    let paths = ProjectPaths::resolve(&root.join("home"), &root.join("project")).unwrap();
    Some((env::var(ROLE).unwrap(), FileStorage::new(paths, Redactor::default())))
}

struct Holder(Child);

impl Holder {
    /// Another process that has opened the session `s`.
    fn start(root: &Path) -> Self {
        let mut command = other_process(&[], "storage_process::holds_a_session", "hold", root);
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let held = lines.map_while(Result::ok).any(|line| line.contains("HELD"));
        assert!(held, "the other process did not open the session");
        Self(child)
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The other process of the tests below; by itself it does nothing.
#[tokio::test]
async fn holds_a_session() {
    let Some((_, storage)) = role() else { return };
    storage.open(&id("s"), Activation(2)).await.unwrap();
    storage.append(&id("s"), Activation(2), &users(&["from the other"])).await.unwrap();
    println!("HELD");
    std::io::stdout().flush().unwrap();
    // Until the pipe closes with the parent, or the parent kills this process.
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[tokio::test]
async fn a_session_that_another_process_has_open_is_refused_until_it_dies() {
    let place = Place::new();
    let storage = place.storage();
    storage.create(&id("s"), &described(&id("s"))).await.unwrap();
    storage.close(&id("s")).await.unwrap();
    let mut holder = Holder::start(place.root.path());
    let process = holder.0.id();

    let refused = storage.open(&id("s"), Activation(3)).await.unwrap_err();
    assert!(
        matches!(refused, StorageError::Locked { holder: Some(pid), .. } if pid == process),
        "{refused:?}"
    );
    assert!(refused.to_string().contains(&format!("process {process}")), "{refused}");
    assert_eq!(storage.holder(&id("s")).await.unwrap().unwrap().process, Some(process));
    let deleted = storage.delete(&id("s")).await;
    assert!(matches!(deleted, Err(StorageError::Locked { .. })), "{deleted:?}");
    let exists = storage.create(&id("s"), &described(&id("s"))).await;
    assert!(matches!(exists, Err(StorageError::Exists { .. })), "{exists:?}");
    assert_eq!(texts(&storage.load(&id("s")).await.unwrap().transcript), ["from the other"]);

    holder.kill();
    assert_eq!(storage.holder(&id("s")).await.unwrap(), None);
    let opened = storage.open(&id("s"), Activation(3)).await.unwrap();
    assert_eq!(texts(&opened.transcript), ["from the other"]);
}

#[tokio::test]
async fn a_second_storage_in_the_same_process_is_refused_too() {
    let place = Place::new();
    let (first, second) = (place.storage(), place.storage());
    first.create(&id("s"), &described(&id("s"))).await.unwrap();
    let refused = second.open(&id("s"), Activation(2)).await.unwrap_err();
    let own = std::process::id();
    assert!(matches!(refused, StorageError::Locked { holder: Some(pid), .. } if pid == own), "{refused:?}");
    drop(first);
    second.open(&id("s"), Activation(2)).await.unwrap();
}

/// Fills the disk under the home and checks each step; run in a mount namespace of its own.
#[tokio::test]
async fn fills_a_disk() {
    let Some((_, storage)) = role() else { return };
    storage.create(&id("s"), &described(&id("s"))).await.unwrap();
    storage.append(&id("s"), Activation::FIRST, &users(&["kept"])).await.unwrap();
    let big = "x".repeat(4 << 20);
    for _ in 0..2 {
        let error = storage.append(&id("s"), Activation::FIRST, &users(&[&big])).await.unwrap_err();
        assert!(error.to_string().ends_with("; free some space and resume the session"), "{error}");
        let loaded = storage.load(&id("s")).await.unwrap();
        assert_eq!((texts(&loaded.transcript), loaded.warnings), (vec!["kept".to_owned()], vec![]));
    }
    let mut metadata = described(&id("s"));
    Arc::make_mut(&mut metadata).description = Some(big.clone());
    assert!(storage.describe(&id("s"), Activation::FIRST, &metadata).await.is_err());
    assert_eq!(storage.load(&id("s")).await.unwrap().metadata, *described(&id("s")));
    let mut other = described(&id("t"));
    Arc::make_mut(&mut other).description = Some(big);
    assert!(storage.create(&id("t"), &other).await.is_err());
    assert!(!storage.exists(&id("t")).await.unwrap(), "a session that was not made exists");

    storage.append(&id("s"), Activation::FIRST, &users(&["after"])).await.unwrap();
    storage.close(&id("s")).await.unwrap();
    let opened = storage.open(&id("s"), Activation(2)).await.unwrap();
    assert_eq!((texts(&opened.transcript), opened.warnings), (vec!["kept".into(), "after".into()], vec![]));
    println!("DONE");
}

#[test]
fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let place = Place::new();
    let home = place.root.path().join("home");
    fs::create_dir(&home).unwrap();
    let mount = format!("mount -t tmpfs -o size=1m tmpfs '{}' && exec \"$@\"", home.display());
    in_own_mounts(&place, &mount, "storage_process::fills_a_disk");
}

/// Looks at, and tries to change, a home that was mounted for reading only.
#[tokio::test]
async fn meets_a_read_only_home() {
    let Some((_, storage)) = role() else { return };
    assert_eq!(texts(&storage.load(&id("s")).await.unwrap().transcript), ["kept"]);
    assert_eq!(storage.list(&SessionQuery::default()).await.unwrap().len(), 1);
    for refused in [
        storage.create(&id("t"), &described(&id("t"))).await,
        storage.open(&id("s"), Activation(2)).await.map(|_| ()),
        storage.delete(&id("s")).await,
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error:?}");
        assert!(error.to_string().contains("home/projects"), "{error}");
        assert!(error.to_string().ends_with("or set AMPLIFIER_HOME to a folder that is"), "{error}");
    }
    println!("DONE");
}

#[tokio::test]
async fn a_read_only_home_can_be_read_and_says_what_to_do_otherwise() {
    let place = Place::new();
    let storage = place.storage();
    storage.create(&id("s"), &described(&id("s"))).await.unwrap();
    storage.append(&id("s"), Activation::FIRST, &users(&["kept"])).await.unwrap();
    storage.close(&id("s")).await.unwrap();
    let home = place.root.path().join("home").display().to_string();
    let mount = format!("mount --bind '{home}' '{home}' && mount -o remount,ro,bind '{home}' && exec \"$@\"");
    in_own_mounts(&place, &mount, "storage_process::meets_a_read_only_home");
}

/// Runs one test in another process with mounts of its own, if this user may do that.
fn in_own_mounts(place: &Place, mount: &str, test: &str) {
    let program = ["unshare", "-rm", "sh", "-c", mount, "sh"];
    let probe = Command::new(program[0]).args(&program[1..]).arg("true").output();
    if !probe.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped {test}: this user may not mount");
        return;
    }
    finish(other_process(&program, test, "mounted", place.root.path()));
}

/// Waits for another process and expects that it went through its part.
pub(crate) fn finish(mut command: Command) {
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("DONE"), "{said}\n{complained}");
}

/// As on a full disk, with a limit on the size of files, which needs no rights: a write stops half way.
#[tokio::test]
async fn writes_half_a_line() {
    let Some((_, storage)) = role() else { return };
    storage.open(&id("s"), Activation(2)).await.unwrap();
    let big = "x".repeat(1 << 20);
    for _ in 0..2 {
        let error = storage.append(&id("s"), Activation(2), &users(&[&big])).await.unwrap_err();
        assert!(matches!(error, StorageError::Io { action: "append to", .. }), "{error:?}");
    }
    storage.append(&id("s"), Activation(2), &users(&["after"])).await.unwrap();
    println!("DONE");
}

#[tokio::test]
async fn half_a_line_gets_no_neighbour() {
    let place = Place::new();
    let storage = place.storage();
    storage.create(&id("s"), &described(&id("s"))).await.unwrap();
    storage.append(&id("s"), Activation::FIRST, &users(&["kept"])).await.unwrap();
    storage.close(&id("s")).await.unwrap();
    // 64 blocks of 512 bytes; the signal that goes with it is ignored, so the write fails instead.
    let program = ["sh", "-c", "trap '' XFSZ; ulimit -f 64; exec \"$@\"", "sh"];
    finish(other_process(&program, "storage_process::writes_half_a_line", "half", place.root.path()));
    let loaded = storage.load(&id("s")).await.unwrap();
    assert_eq!((texts(&loaded.transcript), loaded.warnings), (vec!["kept".into(), "after".into()], vec![]));
}

//! A process that writes to a store is killed at a system call, or its disk fails, and another one looks.
//!
//! The calls are those on the database's files, counted by a run that nobody disturbs. By default some
//! of them are tried, spread over all; with `AMPLIFIER_CRASH_POINTS=all`, or a number, as many. Needs
//! `strace`, and the right to trace one's own children.

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;

use amplifier_foundation::store::{Instance, OwnerId, Store};
use amplifier_tests::history::{self, Flaw, Told};
use amplifier_tests::workload::Writer;
use amplifier_tests::{PATIENCE, on_disk, skipped};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Who writes, and how much each of them: 300 operations together.
const WRITERS: [&str; 3] = ["a", "b", "c"];
const EACH: usize = 100;
/// The calls that change the database's files.
const CALLS: &str = "write,pwrite64,fsync,fdatasync,rename,ftruncate,unlink";
/// Points that are tried unless more are asked for.
const SAMPLE: usize = 32;

fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

fn writers() -> Vec<Writer> {
    WRITERS.iter().map(|name| Writer::new(name, &owner("worker"))).collect()
}

/// The worker, traced where the database is concerned.
fn traced(folder: &Path, inject: Option<&str>) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(folder.join("trace")).args(["-e", &format!("trace={CALLS}")]);
    for file in ["amplifier.db", "amplifier.db-wal", "amplifier.db-shm"] {
        command.arg("-P").arg(folder.join(file));
    }
    command.args(inject.map(|inject| format!("--inject={inject}")));
    command.arg(env!("CARGO_BIN_EXE_store-worker"));
    command
}

fn plain() -> Command {
    Command::new(env!("CARGO_BIN_EXE_store-worker"))
}

/// What a worker said, and whether it was killed. It has a process group of its own.
fn work(mut command: Command, folder: &Path, how: &str) -> (Told, bool) {
    command.arg("work").arg(folder).args(["worker", &EACH.to_string(), how]).args(WRITERS);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, told) = channel();
    std::thread::spawn(move || {
        let (mut said, mut complained) = (String::new(), String::new());
        let read = stdout.read_to_string(&mut said).and(stderr.read_to_string(&mut complained));
        done.send(read.map(|_| (said, complained))).unwrap();
    });
    let Ok(read) = told.recv_timeout(PATIENCE) else {
        killpg(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGKILL).unwrap();
        panic!("the worker did not end");
    };
    let ((said, complained), status) = (read.unwrap(), child.wait().unwrap());
    let killed = status.signal() == Some(9) || status.code() == Some(137);
    assert!(killed || status.success(), "{status} {complained}");
    (Told::read(&said), killed)
}

fn can_trace(test: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("strace");
    let probe = command.args(["-f", "-qq", "-o"]).arg(folder.path().join("trace")).arg("true").output();
    let can = probe.is_ok_and(|output| output.status.success());
    if !can {
        skipped(test, "there is no strace, or it may not trace");
    }
    can
}

/// Every call of an undisturbed run, as often as the thread that makes it most often does.
fn points() -> Vec<(String, usize)> {
    let folder = tempfile::tempdir().unwrap();
    work(traced(folder.path(), None), folder.path(), "honestly");
    let trace = std::fs::read_to_string(folder.path().join("trace")).unwrap();
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let Some((call, _)) = call.trim_start().split_once('(') else { continue };
        *counts.entry((call, thread)).or_default() += 1;
    }
    let mut most: BTreeMap<&str, usize> = BTreeMap::new();
    for ((call, _), count) in counts {
        let most = most.entry(call).or_default();
        *most = count.max(*most);
    }
    most.into_iter().flat_map(|(call, most)| (1..=most).map(move |n| (call.to_owned(), n))).collect()
}

/// As many as are asked for, spread evenly.
fn sample(points: Vec<(String, usize)>) -> Vec<(String, usize)> {
    let wanted = match std::env::var("AMPLIFIER_CRASH_POINTS").as_deref() {
        Ok("all") => points.len(),
        Ok(number) => number.parse().expect("a number, or `all`"),
        Err(_) => SAMPLE,
    };
    let every = points.len().div_ceil(wanted.max(1)).max(1);
    points.into_iter().skip(every / 2).step_by(every).collect()
}

/// Everything that is wrong with what a worker left. This process has never had the database open.
async fn flaws(folder: &Path, told: &Told) -> Vec<Flaw> {
    let store = on_disk::shared(folder, &owner("checker"));
    let damage = store.check().await.unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    let (mut flaws, present) = history::check(&store, &writers(), told, EACH).await.unwrap();
    if flaws.is_empty() {
        flaws.extend(goes_on(&store, told, &present).await);
        let lives = |owner: &OwnerId| Instance::lives_in(&folder.join("run"), owner);
        flaws.extend(history::settle_the_lost(&store, lives).await.unwrap());
    }
    flaws
}

/// The next operations, as if nothing had happened.
async fn goes_on(store: &dyn Store, told: &Told, present: &BTreeMap<String, usize>) -> Vec<Flaw> {
    let mut told = told.clone();
    for writer in writers() {
        let next = present[writer.name()];
        if next > 0 {
            told.acknowledged(writer.name(), next - 1);
        }
        told.begins(writer.name(), next);
        writer.perform(store, next).await.unwrap();
        told.acknowledged(writer.name(), next);
    }
    history::check(store, &writers(), &told, EACH + 1).await.unwrap().0
}

async fn killed_at(call: &str, n: usize, how: &str) -> (TempDir, Told, bool) {
    let folder = tempfile::tempdir().unwrap();
    let inject = format!("{call}:signal=SIGKILL:when={n}");
    let (told, killed) = work(traced(folder.path(), Some(&inject)), folder.path(), how);
    (folder, told, killed)
}

#[tokio::test]
async fn killed_at_any_call_nothing_that_was_acknowledged_is_lost_and_nothing_is_half() {
    if !can_trace("killed_at_any_call") {
        return;
    }
    let points = points();
    let (all, points) = (points.len(), sample(points));
    assert!(all > 500 && points.len() > 10, "{all} calls are too few to be the workload's");
    let (mut kills, mut told_of) = (0, Vec::new());
    for (call, n) in &points {
        let (folder, told, killed) = killed_at(call, *n, "honestly").await;
        let flaws = flaws(folder.path(), &told).await;
        assert!(flaws.is_empty(), "killed at {call} number {n}: {flaws:#?}");
        kills += usize::from(killed);
        told_of.push(told.total());
    }
    eprintln!("{kills} of {} points hit, of {all}; acknowledged before: {told_of:?}", points.len());
    // Batches differ from run to run, so the last calls of one may not come in another.
    assert!(kills * 2 > points.len(), "only {kills} of {} runs were cut off", points.len());
    assert!(told_of.iter().any(|total| (1..EACH * WRITERS.len()).contains(total)));
}

#[tokio::test]
async fn an_acknowledgement_before_the_commit_is_found_out() {
    if !can_trace("an_acknowledgement_before_the_commit") {
        return;
    }
    let mut found = Vec::new();
    for n in [40, 150, 300] {
        let (folder, told, killed) = killed_at("pwrite64", n, "early").await;
        assert!(killed);
        found.extend(flaws(folder.path(), &told).await);
    }
    assert!(found.iter().any(|flaw| matches!(flaw, Flaw::Lost(_))), "{found:?}");
}

#[tokio::test]
async fn a_worker_that_cheats_is_found_out() {
    let lost = |flaw: &Flaw| matches!(flaw, Flaw::Lost(what) if what.contains("/60.0"));
    let twice = |flaw: &Flaw| matches!(flaw, Flaw::Differs(what, ..) if what.contains("/60.0"));
    let half = |flaw: &Flaw| matches!(flaw, Flaw::Lost(what) | Flaw::Unasked(what) if what.contains("/66."));
    let order = |flaw: &Flaw| matches!(flaw, Flaw::Differs(what, ..) if what.contains("/61.0"));
    type Sees = dyn Fn(&Flaw) -> bool;
    let cheats: [(&str, &Sees); 4] =
        [("forgets:60", &lost), ("twice:60", &twice), ("half:66", &half), ("swaps:60", &order)];
    for (how, expect) in cheats {
        let folder = tempfile::tempdir().unwrap();
        let (told, _) = work(plain(), folder.path(), how);
        let flaws = flaws(folder.path(), &told).await;
        assert!(flaws.iter().any(expect), "{how}: {flaws:#?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (told, _) = work(plain(), folder.path(), "honestly");
    assert_eq!(flaws(folder.path(), &told).await, [], "and an honest one is not");
    assert_eq!(told.total(), EACH * WRITERS.len());
}

/// The kinds of errors that a worker met, which carries on until each operation is there.
async fn failing(inject: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (told, killed) = work(traced(folder.path(), Some(inject)), folder.path(), "honestly");
    assert!(!killed && told.others.iter().any(|line| line == "end"), "{inject}: {:?}", told.others);
    assert_eq!(told.total(), EACH * WRITERS.len(), "{inject}");
    let flaws = flaws(folder.path(), &told).await;
    assert!(flaws.is_empty(), "{inject}: {flaws:#?}");
    let kinds = told.others.iter().filter_map(|line| line.strip_prefix("error "));
    kinds.map(|line| line.split(' ').skip(2).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_told_and_loses_nothing() {
    if !can_trace("a_disk_that_is_full_for_a_while") {
        return;
    }
    for n in [25, 200, 555] {
        let errors = failing(&format!("pwrite64:error=ENOSPC:when={n}..{}", n + 6)).await;
        assert!(!errors.is_empty(), "no call failed");
        assert!(errors.iter().all(|error| error.starts_with("Full:")), "{errors:#?}");
    }
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_is_told_and_loses_nothing() {
    if !can_trace("a_disk_that_fails_for_a_while") {
        return;
    }
    let mut injects: Vec<String> =
        [30, 400].map(|n| format!("pwrite64:error=EIO:when={n}..{}", n + 4)).into();
    injects.extend([2, 20, 61].map(|n| format!("fsync,fdatasync:error=EIO:when={n}..{}", n + 2)));
    for inject in injects {
        let errors = failing(&inject).await;
        assert!(!errors.is_empty(), "{inject}: no call failed");
        // `Full`: SQLite does not say why the shared memory beside its log cannot grow.
        let kinds = ["Backend:", "InDoubt:", "Full:"];
        let typed = |error: &String| kinds.iter().any(|kind| error.starts_with(kind));
        assert!(errors.iter().all(typed), "{inject}: {errors:#?}");
    }
}

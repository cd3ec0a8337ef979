//! A writer of a store, killed at a system call or with a disk that fails, and another process that looks.
//!
//! Guarantees: the workload is that of [`workload`](crate::workload), 300 operations of three writers; what is
//! found is judged by [`history`].
//! Never here: sessions and their files.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use amplifier_foundation::store::{Instance, OwnerId, Store};
use tempfile::TempDir;

use super::judge::{self, Case};
use super::points::{Point, Tracer, Wanted, can_trace};
use super::{Report, Worker, folder, program};
use crate::history::{self, Flaw, Told};
use crate::workload::Writer;
use crate::{PATIENCE, on_disk};

/// Who writes, and how much each of them: 300 operations together.
pub const WRITERS: [&str; 3] = ["a", "b", "c"];
/// Operations of each writer.
pub const EACH: usize = 100;
/// The calls that change the database's files.
const CALLS: &str = "write,pwrite64,fsync,fdatasync,rename,ftruncate,unlink";

fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

fn writers() -> Vec<Writer> {
    WRITERS.iter().map(|name| Writer::new(name, &owner("worker"))).collect()
}

/// Traces the worker where the database is concerned.
fn tracer(folder: &Path) -> Tracer {
    let files = ["amplifier.db", "amplifier.db-wal", "amplifier.db-shm"].map(|file| folder.join(file));
    Tracer::on_files(CALLS, files.into(), folder.join("trace"))
}

/// The worker, traced.
pub fn traced(folder: &Path, inject: Option<&str>) -> Command {
    tracer(folder).command(&program("store-worker"), inject)
}

/// The worker, left alone.
pub fn plain() -> Command {
    Command::new(program("store-worker"))
}

/// What a worker said, and whether it was killed.
pub fn work(mut command: Command, folder: &Path, how: &str) -> (Told, bool) {
    command.arg("work").arg(folder).args(["worker", &EACH.to_string(), how]).args(WRITERS);
    let (said, complained, status) = Worker::start(command).end(PATIENCE);
    let status = status.expect("the worker did not end");
    let killed = super::was_killed(status);
    assert!(killed || status.success(), "{status} {complained:?}");
    let said: String = said.iter().map(|line| format!("{line}\n")).collect();
    (Told::read(&said), killed)
}

/// Every call of an undisturbed run.
pub fn points() -> Vec<Point> {
    let folder = folder();
    work(traced(folder.path(), None), folder.path(), "honestly");
    // One thread makes nearly all of them; the numbers of the others are among its own.
    let mut most = BTreeMap::<String, usize>::new();
    for point in tracer(folder.path()).points(folder.path()) {
        let most = most.entry(point.call).or_default();
        *most = point.n.max(*most);
    }
    let all = |(call, most): (String, usize)| (1..=most).map(move |n| Point { call: call.clone(), n });
    most.into_iter().flat_map(all).collect()
}

/// Everything that is wrong with what a worker left. This process has never had the database open.
pub async fn flaws(folder: &Path, told: &Told) -> Vec<Flaw> {
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

/// The same, as another process says it.
pub fn judged(folder: &Path, told: &Told) -> Vec<String> {
    judge::ask(&Case::Store { folder: folder.to_owned(), said: told.text.clone() }).flaws
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

/// A worker that is killed at a point: what it left, what it said, and whether it came there.
pub fn killed_at(point: &Point, how: &str) -> (TempDir, Told, bool) {
    let folder = folder();
    let (told, killed) = work(traced(folder.path(), Some(&point.kill())), folder.path(), how);
    (folder, told, killed)
}

/// Kills a worker at some of its points, or all, and looks at what each has left.
pub async fn kill_at_points(wanted: Wanted, progress: impl Fn(usize, usize)) -> Report {
    let began = Instant::now();
    if let Err(why) = can_trace() {
        return Report::skipped("store, killed at its calls", why);
    }
    let mut report = Report::of("store, killed at its calls");
    let points = points();
    report.of = points.len();
    let points = wanted.of(points);
    for point in &points {
        let (folder, told, killed) = killed_at(point, "honestly");
        let flaws = judged(folder.path(), &told);
        report.tried += 1;
        report.hit += usize::from(killed);
        report.acknowledged += told.total();
        report.judge(point.to_string(), flaws, folder);
        progress(report.tried, points.len());
    }
    report.checked = "rows of all kinds against a store in memory; order; integrity; going on".to_owned();
    report.seconds = began.elapsed().as_secs_f64();
    report
}

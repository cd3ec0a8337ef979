//! Background sessions whose process is killed at a system call, or whose disk fails for a while.
//!
//! The workload is 300 durable operations: 16 events that are emitted, 48 firings that are taken in, 50 sessions
//! that are opened and settled for them, two of them second attempts, and 138 messages.
//!
//! Guarantees: another process finishes what was left, and a third looks at the closed files.
//! Never here: a kill at random; that is [`kills`](super::kills).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use amplifier_core::Clock;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::storage::ProjectPaths;

use super::fleet::{Place, Timers};
use super::judge::{self, Case, Judgement};
use super::points::{Point, Tracer, Wanted, can_trace};
use super::verdict::{Acknowledged, Looked};
use super::{Report, Worker, folder, program, was_killed};

/// Firings and events, each.
pub const EACH: usize = 16;
/// The calls that change the database's files.
const ON_DATABASE: &str = "write,pwrite64,fsync,fdatasync,rename,ftruncate,unlink";
/// The calls that change other files.
const ON_FILES: &str =
    "write,fsync,fdatasync,rename,renameat,renameat2,ftruncate,unlink,unlinkat,mkdir,mkdirat,link,linkat";
/// When a process that does not end is killed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Which files a point is about. One thread writes the database, another one the rest: told apart, so that no
/// call of the one hides those of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The database with its log.
    Database,
    /// Sessions, and whatever else there is.
    Files,
}

impl Side {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Database, Self::Files];

    fn tracer(self, place: &Place) -> Tracer {
        let trace = place.around().join("trace");
        match self {
            Self::Files => Tracer::new(ON_FILES, trace),
            Self::Database => database_tracer(place, trace),
        }
    }

    /// Every call of this side in an undisturbed run.
    pub async fn points(self) -> Vec<Point> {
        let life = live(self, None);
        let (flaws, _) = life.judged().await;
        assert!(!life.killed && flaws.is_empty(), "undisturbed: {flaws:#?}");
        let place = Place::in_folder(life.folder.path());
        self.tracer(&place).points(place.around())
    }

    /// Its name in what is printed.
    pub fn name(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Files => "files",
        }
    }
}

/// What traces the calls on the database of a place.
pub(super) fn database_tracer(place: &Place, trace: PathBuf) -> Tracer {
    let folder = ProjectPaths::resolve(&place.home(), &place.project()).unwrap().project();
    let files = ["amplifier.db", "amplifier.db-wal", "amplifier.db-shm"];
    Tracer::on_files(ON_DATABASE, files.map(|file| folder.join(file)).into(), trace)
}

/// One life of the workload.
#[derive(Debug)]
pub struct Life {
    /// Where it was.
    pub folder: tempfile::TempDir,
    /// What was acknowledged in it.
    pub told: Acknowledged,
    /// True if it was cut off.
    pub killed: bool,
    /// What is wrong with it already.
    pub flaws: Vec<String>,
    quick: String,
}

/// Lets the workload live, with what `strace` is to do to it.
pub fn live(side: Side, inject: Option<&str>) -> Life {
    let folder = folder();
    let place = made(folder.path());
    let mut command = side.tracer(&place).command(&program("background-worker"), inject);
    let quick = format!("quick={}", SystemClock::new().now().as_micros());
    command.arg("work").arg(place.around()).args(["1", &EACH.to_string(), &quick]);
    let (said, complaints, status) = Worker::start(command).end(PATIENCE);
    let mut told = Acknowledged::default();
    told.hear(&said);
    let killed = status.is_some_and(was_killed);
    let well = killed || status.is_some_and(|status| status.success());
    let flaws = (!well).then(|| format!("it ended with {status:?}: {said:?} {complaints:?}"));
    Life { folder, told, killed, flaws: flaws.into_iter().collect(), quick }
}

fn made(folder: &Path) -> Place {
    std::fs::create_dir_all(folder.join("project")).unwrap();
    let place = Place::in_folder(folder);
    place.declare(Timers::Off);
    place
}

impl Life {
    /// Lets another process finish what is left, and looks at what came of it.
    pub async fn judged(&self) -> (Vec<String>, Looked) {
        let place = Place::in_folder(self.folder.path());
        let mut command = std::process::Command::new(program("background-worker"));
        command.arg("finish").arg(place.around()).arg(&self.quick);
        let (said, complaints, status) = Worker::start(command).end(PATIENCE);
        let mut found = self.flaws.clone();
        if !status.is_some_and(|status| status.success()) {
            found.push(format!("what was left was not finished: {status:?} {said:?} {complaints:?}"));
        }
        let around = place.around().to_owned();
        let Judgement { flaws: more, looked } =
            judge::ask(&Case::Background { around, told: self.told.clone() });
        found.extend(more);
        (found, looked)
    }
}

/// Kills the workload at some of the points of one side, or all, and looks at what each has left.
pub async fn kill_at_points(side: Side, wanted: Wanted, progress: impl Fn(&Report)) -> Report {
    let began = Instant::now();
    let mut report = Report::of(&format!("background, killed at calls on {}", side.name()));
    if let Err(why) = can_trace() {
        return Report::skipped(&report.campaign, why);
    }
    let points = side.points().await;
    report.of = points.len();
    let mut looked = Looked::default();
    for point in wanted.of(points) {
        looked.add(kill_at(side, &point, &mut report).await);
        progress(&report);
    }
    report.checked = looked.to_string();
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Kills the workload at one point.
pub async fn kill_at(side: Side, point: &Point, report: &mut Report) -> Looked {
    let life = live(side, Some(&point.kill()));
    let (flaws, looked) = life.judged().await;
    report.tried += 1;
    report.hit += usize::from(life.killed);
    report.acknowledged += life.told.total();
    report.judge(format!("{}/{point}", side.name()), flaws, life.folder);
    looked
}

/// Lets calls fail for a while: as a full disk, or a broken one. What failed is told by a typed error, nothing
/// acknowledged is lost, and the same process goes on to the end.
pub async fn fail_for_a_while(injects: &[(Side, String)], progress: impl Fn(&Report)) -> Report {
    let began = Instant::now();
    let mut report = Report::of("background, disk full or broken");
    if let Err(why) = can_trace() {
        return Report::skipped(&report.campaign, why);
    }
    let mut looked = Looked::default();
    report.of = injects.len();
    for (side, inject) in injects {
        let life = live(*side, Some(inject));
        let (mut flaws, seen) = life.judged().await;
        if life.killed {
            flaws.push("it was killed".to_owned());
        }
        report.tried += 1;
        let trace = std::fs::read_to_string(life.folder.path().join("trace")).unwrap_or_default();
        report.hit += usize::from(trace.contains("(INJECTED)"));
        report.acknowledged += life.told.total();
        looked.add(seen);
        report.judge(format!("{}/{inject}", side.name()), flaws, life.folder);
        progress(&report);
    }
    report.checked = looked.to_string();
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Faults at `count` places of a run, by turns: a disk that is full or broken, below the database or other files.
pub fn faults(count: usize) -> Vec<(Side, String)> {
    let at = |n: usize| 3 + n * n * 5 / 2;
    let one = |n: usize| match n % 5 {
        0 => (Side::Database, format!("pwrite64:error=ENOSPC:when={}..{}", 2 * at(n), 2 * at(n) + 6)),
        1 => (Side::Files, format!("fdatasync:error=ENOSPC:when={}..{}", at(n), at(n) + 3)),
        2 => (Side::Database, format!("fsync:error=EIO:when={}..{}", 2 + n, n + 4)),
        3 => (Side::Database, format!("pwrite64:error=EIO:when={}..{}", 2 * at(n), 2 * at(n) + 4)),
        _ => (Side::Files, format!("mkdir,rename:error=EIO:when={}..{}", 2 + n, n + 3)),
    };
    (0..count).map(one).collect()
}

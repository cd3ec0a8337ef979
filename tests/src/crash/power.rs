//! A writer of a store, and a loss of power at each moment at which it was told that something is durable.
//!
//! One honest run is traced with all that it writes; [`disk`] says what would be left at each
//! acknowledgement, and another process looks at it as at the remains of a kill.
//!
//! Guarantees: what is judged is what the disk surely holds, and what it may hold besides, drawn by a seed.
//! Never here: power that is really cut, a disk that lies.

use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use super::disk::{self, Disk, Step};
use super::points::{Wanted, can_trace};
use super::store::{EACH, WRITERS, judged};
use super::{Dice, Report, Worker, folder, program};
use crate::PATIENCE;
use crate::history::Told;

/// Draws of what is left besides what is sure, for each moment.
const DRAWS: u64 = 2;
const NAME: &str = "store, power lost at acknowledgements";

/// How the worker is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fsyncs {
    /// As it is.
    Made,
    /// No fsync reaches the disk, and none fails: what the campaign must find out.
    Dropped,
}

impl Fsyncs {
    /// What `strace --inject` takes.
    pub(super) fn injected(self) -> Option<&'static str> {
        (self == Self::Dropped).then_some("fsync,fdatasync:retval=0")
    }
}

/// A run of the worker that nobody disturbed, and all that it did.
#[derive(Debug)]
pub struct Life {
    folder: TempDir,
    steps: Vec<Step>,
}

impl Life {
    /// Traces one; `how` is the worker's.
    pub fn live(fsyncs: Fsyncs, how: &str) -> Self {
        let folder = folder();
        let trace = folder.path().join("trace");
        let mut command = disk::traced(&program("store-worker"), &trace, fsyncs.injected());
        command.arg("work").arg(folder.path()).args(["worker", &EACH.to_string(), how]).args(WRITERS);
        let (_, complained, status) = Worker::start(command).end(PATIENCE);
        assert!(status.is_some_and(|status| status.success()), "{status:?} {complained:?}");
        let text = std::fs::read_to_string(&trace).unwrap();
        let steps = disk::steps(&text);
        std::fs::remove_file(trace).unwrap();
        Self { folder, steps }
    }

    /// The moments at which something is said to be durable: places among its steps.
    fn moments(&self) -> Vec<usize> {
        let tells = |step: &Step| matches!(step, Step::Said(line) if line.contains("ok "));
        (0..self.steps.len()).filter(|at| tells(&self.steps[*at])).collect()
    }
}

/// Lets the power fail at some of the moments, or at all of them, and looks at what is left.
pub fn lose(fsyncs: Fsyncs, how: &str, wanted: Wanted, seed: u64, progress: impl Fn(usize, usize)) -> Report {
    let began = Instant::now();
    if let Err(why) = can_trace() {
        return Report::skipped(NAME, why);
    }
    let (life, mut report) = (Life::live(fsyncs, how), Report::of(NAME));
    let moments = life.moments();
    report.of = moments.len();
    let moments = wanted.spread(&moments);
    let (mut disk, mut said, mut at) = (Disk::default(), String::new(), 0);
    for moment in &moments {
        for step in &life.steps[at..=*moment] {
            disk.takes(step);
            if let Step::Said(line) = step {
                said.push_str(line);
            }
        }
        at = moment + 1;
        let told = Told::read(&said);
        for draw in 0..=DRAWS {
            let left = folder();
            let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(*moment as u64 * 16 + draw));
            disk.lose_power(life.folder.path(), left.path(), is_database, (draw > 0).then_some(&mut dice));
            let found = judged(left.path(), &told);
            report.judge(format!("step {moment}, draw {draw}, --seed {seed}"), found, left);
        }
        report.tried += 1;
        report.acknowledged += told.total();
        progress(report.tried, moments.len());
    }
    report.hit = report.tried;
    report.checked = format!(
        "each as the last fsyncs left it, and with {DRAWS} draws of what came after; rows of all kinds against a store in memory; order; integrity; going on"
    );
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// The shared memory beside the log is made anew at each start.
fn is_database(name: &str) -> bool {
    let file = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    file.starts_with("amplifier.db") && !file.ends_with("-shm")
}

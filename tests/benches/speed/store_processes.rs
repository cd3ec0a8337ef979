//! What processes that share a store wait for each other.
//!
//! The other processes are `store-worker` of this package.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use amplifier_foundation::host::SystemClock;
use amplifier_foundation::store::{Instance, OwnerId, Store, Write};
use amplifier_tests::on_disk;
use amplifier_tests::workload::Writer;
use tempfile::TempDir;

use crate::kit::Wanted::{self, AtMost, Nothing};
use crate::kit::{Call, row};

/// Operations of the paced writer, and events that are heard, in one run.
const OPERATIONS: usize = 200;
const PAUSE: Duration = Duration::from_millis(5);
/// How long the turnstile and an idle listener are watched.
const WHILE: Duration = Duration::from_secs(2);
/// Rings that go to the other process and back, timed together.
const RINGS: u32 = 2_000;

struct Worker {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_store-worker"));
        command.arg(args[0]).arg(folder).args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The lines up to the first that begins so, that one included.
    fn until(&mut self, beginning: &str) -> Vec<String> {
        let mut read = Vec::new();
        loop {
            let line = self.lines.next().expect("the worker ended").unwrap();
            let last = line.starts_with(beginning);
            read.push(line);
            if last {
                return read;
            }
        }
    }

    /// Lets it end; the lines that it still says.
    fn end(mut self) -> Vec<String> {
        drop(self.child.stdin.take());
        let rest = self.lines.by_ref().map_while(Result::ok).collect();
        self.child.wait().unwrap();
        rest
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn measure(call: &Call) {
    // Each run has hundreds of operations of its own.
    let runs = call.runs.min(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    beside_a_flood(runs);
    runtime.block_on(heard_elsewhere(runs));
    idle(runs);
    turnstile(runs);
    doorbell(runs);
}

fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

fn percentile(times: &mut [f64], percent: usize) -> f64 {
    times.sort_by(f64::total_cmp);
    times[(times.len() - 1) * percent / 100]
}

/// Tells the median and the 99th percentile of each run, in milliseconds.
fn latencies(what: &str, bound: f64, mut runs: Vec<Vec<f64>>) {
    let mut tell = |percent: usize, wanted: Wanted| {
        let figures: Vec<f64> = runs.iter_mut().map(|times| percentile(times, percent)).collect();
        row(&format!("{what}, p{percent}"), "ms", wanted, &figures);
    };
    tell(50, Nothing);
    tell(99, AtMost(bound));
}

/// A writer with pauses beside two that have none, in another process.
fn beside_a_flood(runs: usize) {
    let (mut paced, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let folder = folder();
        let mut flood = Worker::start(folder.path(), &["flood", "one", "f", "g"]);
        flood.until("ok");
        let began = Instant::now();
        let mut pace = Worker::start(folder.path(), &["pace", "two", &OPERATIONS.to_string(), "p"]);
        let told = pace.until("end");
        let took = began.elapsed().as_secs_f64();
        let micros = told.iter().filter_map(|line| line.strip_prefix("took ")?.parse::<f64>().ok());
        paced.push(micros.map(|micros| micros / 1e3).collect());
        let rest = flood.end();
        rates.push(rest.iter().filter(|line| line.starts_with("ok")).count() as f64 / took);
    }
    latencies("a paced commit beside a flood of another process", 50.0, paced);
    row("commits of the flood meanwhile", "per s", Nothing, &rates);
}

/// From an emit here to the listener there.
async fn heard_elsewhere(runs: usize) {
    let mut heard = Vec::new();
    for _ in 0..runs {
        let folder = folder();
        let mut listener = Worker::start(folder.path(), &["listen", "listener"]);
        listener.until("ready");
        let store = on_disk::shared(folder.path(), &owner("emitter"));
        let writer = Writer::new("w", &owner("emitter"));
        store.tail().await.unwrap();
        let mut micros = Vec::new();
        for n in 0..OPERATIONS {
            tokio::time::sleep(PAUSE).await;
            let mut event = writer.event(n, 0, "work:noted", 0);
            event.at = amplifier_core::Timestamp::from_micros(on_disk::now_micros());
            let _ = store.commit(Write::Append(event).into()).await.unwrap();
            let line = listener.until("heard").pop().unwrap();
            let mut times = line.split(' ').skip(1).map(|time| time.parse::<f64>().unwrap());
            let (emitted, arrived) = (times.next().unwrap(), times.next().unwrap());
            micros.push((arrived - emitted) / 1e3);
        }
        heard.push(micros);
    }
    latencies("from an emit to a listener in another process", 25.0, heard);
}

/// Time on processors, of all threads of a process.
fn busy(process: u32) -> Duration {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let nanos = tasks.filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn idle(runs: usize) {
    let folder = folder();
    let mut listener = Worker::start(folder.path(), &["listen", "listener"]);
    listener.until("ready");
    std::thread::sleep(WHILE);
    let mut micros = Vec::new();
    for _ in 0..runs {
        let (before, began) = (busy(listener.child.id()), Instant::now());
        std::thread::sleep(WHILE);
        let used = busy(listener.child.id()) - before;
        micros.push(used.as_secs_f64() * 1e6 / began.elapsed().as_secs_f64());
    }
    // A thousandth of a core.
    row("processor time of an idle listener, each second", "µs", AtMost(1_000.0), &micros);
}

fn turnstile(runs: usize) {
    let (mut rates, mut shares, mut alone) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let folder = folder();
        let passes = |parts: &[&str]| -> Vec<f64> {
            let mut all: Vec<Worker> =
                parts.iter().map(|part| Worker::start(folder.path(), &["turn", part])).collect();
            all.iter_mut().for_each(|worker| drop(worker.until("ready")));
            let began = Instant::now();
            std::thread::sleep(WHILE);
            let took = began.elapsed().as_secs_f64();
            all.iter_mut().for_each(|worker| drop(worker.child.stdin.take()));
            let passed =
                |worker: Worker| worker.end().pop().unwrap()["passed ".len()..].parse::<f64>().unwrap();
            all.into_iter().map(|worker| passed(worker) / took).collect()
        };
        alone.push(passes(&["one"])[0]);
        let both = passes(&["one", "two"]);
        rates.push(both[0] + both[1]);
        shares.push(both[0].max(both[1]) / both[0].min(both[1]));
    }
    row("passes through the turnstile, alone", "per s", Nothing, &alone);
    row("passes through the turnstile, two processes", "per s", Nothing, &rates);
    row("passes of the one against the other", "times", AtMost(2.0), &shares);
}

fn doorbell(runs: usize) {
    let folder = folder();
    let own = Instance::enter(&folder.path().join("run"), owner("own")).unwrap();
    let ring = |count: u32| {
        let began = Instant::now();
        (0..count).for_each(|_| own.ring());
        began.elapsed().as_secs_f64() * 1e6 / f64::from(count)
    };
    let nobody: Vec<f64> = (0..runs).map(|_| ring(RINGS)).collect();
    let mut other = Worker::start(folder.path(), &["echo", "other"]);
    other.until("ready");
    let there_and_back = (0..runs).map(|_| {
        let began = Instant::now();
        for _ in 0..RINGS {
            own.ring();
            assert!(own.wait(Duration::from_secs(5)));
        }
        began.elapsed().as_secs_f64() * 1e6 / f64::from(RINGS) / 2.0
    });
    let there: Vec<f64> = there_and_back.collect();
    row("a ring that nobody is there to hear", "µs", Nothing, &nobody);
    row("from a ring to the end of a wait in another process", "µs", Nothing, &there);
    // Both processes end before the folder goes.
    drop(other.end());
    assert!(own.pass(&SystemClock::new(), Duration::ZERO).is_ok());
}

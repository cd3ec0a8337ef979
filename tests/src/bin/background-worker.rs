//! A process with background sessions of a project, to be killed.
//!
//! `background-worker own <folder>` owns the triggers until stdin ends; `feed <folder> <name> <first>` works on
//! the runs beside it, fires and emits, numbered from `first`; `work <folder> <seed> <count>` owns, fires and
//! emits so often, and ends when nothing is left to do; `finish <folder>` owns until then. A last argument
//! `quick=<microseconds>` makes time pass faster. Each line on stdout says what is begun or acknowledged.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "this is a test's other process")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplifier_background::trigger::TriggerRegistry;
use amplifier_background::{BackgroundError, BackgroundSessionManager};
use amplifier_core::{Ids, Timestamp};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::{Host, Shutdown};
use amplifier_tests::crash::caller;
use amplifier_tests::crash::fleet::{Place, QuickClock, Seen, WORK, data, name, thought};
use amplifier_tests::ids::SeededIds;
use serde_json::{Value, json};

/// How often a look is taken at what is left.
const LOOK: Duration = Duration::from_millis(20);
/// Sessions at once beside which nothing more is fired.
const BUSY: usize = 4;
/// How often something is tried again that the store has not taken in.
const TRIES: usize = 200;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let quick = args.last().and_then(|last| last.strip_prefix("quick=")).map(quick_clock);
    let args: Vec<&str> = args.iter().map(String::as_str).filter(|arg| !arg.starts_with("quick=")).collect();
    // One thread for sessions and one for files, so that a thread's calls are all there are of their kind.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if args.first() == Some(&"work") {
        runtime = tokio::runtime::Builder::new_current_thread();
        runtime.max_blocking_threads(1);
    }
    runtime.enable_all().build().unwrap().block_on(act(&args, quick));
}

fn quick_clock(text: &str) -> QuickClock {
    let (began, times) = text.split_once('x').unwrap_or((text, ""));
    let clock = QuickClock::since(Timestamp::from_micros(began.parse().unwrap()));
    if times.is_empty() { clock } else { clock.times(times.parse().unwrap()) }
}

async fn act(args: &[&str], quick: Option<QuickClock>) {
    match args {
        ["own", folder] => {
            let fleet = Fleet::open(folder, quick, None).await;
            fleet.start().await;
            println!("{}", json!({"type": "listening", "address": caller::serve(fleet.manager.hooks())}));
            println!("ready");
            until_stdin_ends().await;
            fleet.end().await;
        }
        ["feed", folder, writer, first] => {
            let fleet = Fleet::open(folder, quick, None).await;
            fleet.work().await;
            println!("ready");
            fleet.feed(writer, first.parse().unwrap(), data).await;
            fleet.end().await;
        }
        ["share", part, folder, writer, first] => {
            let fleet = Fleet::open(folder, quick, None).await;
            match *part {
                "own" => fleet.start().await,
                _ => fleet.work().await,
            }
            println!("owner {}", fleet.host.owner());
            println!("ready");
            fleet.feed(writer, first.parse().unwrap(), thought).await;
            fleet.end().await;
        }
        ["work", folder, seed, count] => {
            let fleet = Fleet::open(folder, quick, Some(seed.parse().unwrap())).await;
            fleet.start().await;
            for n in 0..count.parse().unwrap() {
                fleet.room().await;
                fleet.fire("hand", n, data(n, false)).await;
                fleet.emit("emit", n).await;
            }
            fleet.quiet().await;
            fleet.end().await;
        }
        ["finish", folder] => {
            let fleet = Fleet::open(folder, quick, None).await;
            fleet.start().await;
            fleet.quiet().await;
            fleet.end().await;
        }
        other => panic!("{other:?} is nothing to do"),
    }
    println!("end");
}

async fn until_stdin_ends() {
    let ended = stdin_ended();
    while !ended.load(Ordering::Relaxed) {
        tokio::time::sleep(LOOK).await;
    }
}

fn stdin_ended() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&ended);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        told.store(true, Ordering::Relaxed);
    });
    ended
}

struct Fleet {
    place: Place,
    host: Host,
    manager: BackgroundSessionManager,
}

impl Fleet {
    async fn open(folder: &str, quick: Option<QuickClock>, seed: Option<u64>) -> Self {
        let place = Place::in_folder(Path::new(folder));
        let ids: Arc<dyn Ids> = match seed {
            Some(seed) => Arc::new(SeededIds::new(seed)),
            None => Arc::new(RandomIds::new()),
        };
        let builder = Host::builder().modules(amplifier_modules::builtin()).home(place.home()).ids(ids);
        let builder = match quick {
            Some(clock) => builder.clock(Arc::new(clock)),
            None => builder.clock(Arc::new(SystemClock::new())),
        };
        let host = builder.open(place.project()).await.unwrap();
        let secret = |name: &str| (name == caller::SECRET_ENV).then(|| caller::SECRET.to_owned());
        let manager = BackgroundSessionManager::with(&host, TriggerRegistry::new(), secret);
        Self { place, host, manager }
    }

    /// Starts all; one that cannot be started now is told and tried again.
    async fn start(&self) {
        for config in self.place.configs() {
            let mut tries = 0;
            while let Err(error) = self.manager.start(config.clone()).await {
                println!("error start {} {error:?}", config.name);
                tries += 1;
                assert!(tries < TRIES, "{} was tried {TRIES} times: {error:?}", config.name);
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Works on the runs of all, beside their owner.
    async fn work(&self) {
        for config in self.place.configs() {
            self.manager.work(config).await.unwrap();
        }
    }

    /// Waits until few sessions run, so that what fires and what runs are spread over each other.
    async fn room(&self) {
        let busy = || self.manager.statuses().iter().map(|status| status.active.len()).sum::<usize>() >= BUSY;
        while busy() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Fires until it is acknowledged.
    async fn fire(&self, writer: &str, n: usize, data: Value) {
        println!("begin {writer} {n}");
        for _ in 0..TRIES {
            match self.manager.fire(&name("hand"), data.clone()).await {
                Ok(run) => {
                    println!("run {writer} {n} {run}");
                    println!("ok {writer} {n}");
                    return;
                }
                Err(error) => {
                    let kind = match &error {
                        BackgroundError::Store(error) => format!("{error:?}"),
                        other => format!("{other:?}"),
                    };
                    println!("error {writer} {n} {kind}");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        panic!("firing {n} was tried {TRIES} times");
    }

    /// Emits until it is acknowledged.
    async fn emit(&self, writer: &str, n: usize) {
        println!("begin {writer} {n}");
        for _ in 0..TRIES {
            match self.host.router().emit(WORK, json!({"writer": writer, "n": n})).await {
                Ok(event) => {
                    println!("event {writer} {n} {}", event.0);
                    println!("ok {writer} {n}");
                    return;
                }
                Err(error) => {
                    println!("error {writer} {n} {error:?}");
                    tokio::time::sleep(LOOK).await;
                }
            }
        }
        panic!("event {n} was tried {TRIES} times");
    }

    async fn feed(&self, writer: &str, first: usize, data: impl Fn(usize, bool) -> Value) {
        let (stop, emitter) = (stdin_ended(), format!("{writer}-events"));
        let mut n = first;
        while !stop.load(Ordering::Relaxed) {
            self.fire(writer, n, data(n, true)).await;
            self.emit(&emitter, n).await;
            n += 1;
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }

    /// Waits until nothing is left to do.
    async fn quiet(&self) {
        loop {
            match Seen::read(self.host.store().as_ref()).await {
                Ok(seen) if seen.is_quiet() => return,
                Ok(_) => {}
                Err(error) => println!("error look 0 {error:?}"),
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn end(self) {
        let within = Duration::from_secs(600);
        let ended = self.manager.shutdown(Shutdown::Drain { within }).await;
        let report = self.host.shutdown(Shutdown::Drain { within }).await;
        assert!(report.stuck.is_empty(), "{report:?} {ended:?}");
    }
}

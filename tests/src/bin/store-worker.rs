//! A process that writes to the store of a project, to be killed.
//!
//! `store-worker work <folder> <owner> <operations> <how> <writer>...`: each writer carries out its
//! operations, and each line on stdout says what is begun or acknowledged. `flood` does so until
//! stdin ends, `pace` with a pause of 5 ms, `listen` says what it hears of; `turn` goes through the
//! turnstile and `echo` rings whenever it is rung, until stdin ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by a panic")]
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "this is a test's other process")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplifier_core::SessionEvent;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::store::{
    Commit, Cursor, Instance, LogListener, OwnerId, SqliteStore, Store, Write,
};
use amplifier_tests::on_disk;
use amplifier_tests::workload::{Failed, Writer};

/// How often an operation is tried again that the store has not carried out.
const TRIES: usize = 40;
/// The pause of a paced writer.
const PAUSE: Duration = Duration::from_millis(5);

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Honestly,
    /// Says that it was acknowledged, and then commits.
    Early,
    /// Says so of this one, and commits nothing.
    Forgets(usize),
    /// Commits this one's event once more.
    Twice(usize),
    /// Commits half of this one, and ends.
    Half(usize),
    /// Commits this one after the next.
    Swaps(usize),
}

impl How {
    fn parse(text: &str) -> Self {
        let number = |number: &str| number.parse().expect("a number");
        match text.split_once(':') {
            None if text == "honestly" => Self::Honestly,
            None if text == "early" => Self::Early,
            Some(("forgets", n)) => Self::Forgets(number(n)),
            Some(("twice", n)) => Self::Twice(number(n)),
            Some(("half", n)) => Self::Half(number(n)),
            Some(("swaps", n)) => Self::Swaps(number(n)),
            _ => panic!("no way to work is called {text}"),
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["work", folder, owner, operations, how, writers @ ..] => {
            let (operations, how) = (operations.parse().expect("a number"), How::parse(how));
            let work = |store, writer| async move { work(&store, &writer, operations, how).await };
            all(folder, owner, writers, work).await;
        }
        ["flood", folder, owner, writers @ ..] => {
            let stop = until_stdin_ends();
            let flood = |store, writer| flood(store, writer, Arc::clone(&stop));
            all(folder, owner, writers, flood).await;
        }
        ["pace", folder, owner, operations, writer] => {
            let operations: usize = operations.parse().expect("a number");
            let pace = |store, writer| async move { pace(&store, &writer, operations).await };
            all(folder, owner, &[writer], pace).await;
        }
        ["listen", folder, owner] => {
            let (store, _) = open(folder, owner);
            let ear: Arc<dyn LogListener> = Arc::new(Ear);
            store.listen(Arc::downgrade(&ear));
            store.tail().await.unwrap();
            println!("ready");
            std::io::stdin().read_line(&mut String::new()).unwrap();
        }
        ["turn", folder, owner] => turn(folder, owner),
        ["echo", folder, owner] => echo(folder, owner),
        other => panic!("{other:?} is nothing to do"),
    }
}

/// Lets all writers work at the same time.
async fn all<F>(folder: &str, owner: &str, writers: &[&str], work: impl Fn(SqliteStore, Writer) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (store, owner) = open(folder, owner);
    let mut tasks = tokio::task::JoinSet::new();
    for writer in writers {
        tasks.spawn(work(store.clone(), Writer::new(writer, &owner)));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    println!("end");
}

async fn flood(store: SqliteStore, writer: Writer, stop: Arc<AtomicBool>) {
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        honest(&store, &writer, n).await;
        n += 1;
    }
}

async fn pace(store: &SqliteStore, writer: &Writer, operations: usize) {
    store.tail().await.unwrap();
    for n in 0..operations {
        tokio::time::sleep(PAUSE).await;
        let began = std::time::Instant::now();
        honest(store, writer, n).await;
        println!("took {}", began.elapsed().as_micros());
    }
}

fn turn(folder: &str, owner: &str) {
    let (instance, stop, clock) = (enter(folder, owner), until_stdin_ends(), SystemClock::new());
    let mut passed = 0_u64;
    println!("ready");
    while !stop.load(Ordering::Relaxed) {
        drop(instance.pass(&clock, Duration::from_secs(5)).unwrap());
        passed += 1;
    }
    println!("passed {passed}");
}

fn echo(folder: &str, owner: &str) {
    let (instance, stop) = (enter(folder, owner), until_stdin_ends());
    println!("ready");
    while !stop.load(Ordering::Relaxed) {
        if instance.wait(Duration::from_millis(100)) {
            instance.ring();
        }
    }
}

fn open(folder: &str, owner: &str) -> (SqliteStore, OwnerId) {
    let owner = OwnerId::new(owner).unwrap();
    (on_disk::shared(Path::new(folder), &owner), owner)
}

fn enter(folder: &str, owner: &str) -> Arc<Instance> {
    Instance::enter(&Path::new(folder).join("run"), OwnerId::new(owner).unwrap()).unwrap()
}

fn until_stdin_ends() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        told.store(true, Ordering::Relaxed);
    });
    stop
}

async fn work(store: &SqliteStore, writer: &Writer, operations: usize, how: How) {
    let name = writer.name();
    let mut n = 0;
    while n < operations {
        match how {
            How::Early => {
                println!("begin {name} {n}");
                println!("ok {name} {n}");
                carry_out(store, writer, n).await;
            }
            How::Forgets(which) if which == n => println!("begin {name} {n}\nok {name} {n}"),
            How::Twice(which) if which == n => {
                honest(store, writer, n).await;
                let again = Write::Append(writer.event(n, 0, "work:noted", 0));
                let _ = store.commit(again.into()).await.unwrap();
            }
            How::Half(which) if which == n => {
                println!("begin {name} {n}");
                let mut whole: Commit = writer.commit(store, n).await.unwrap();
                whole.writes.truncate(1);
                let _ = store.commit(whole).await.unwrap();
                return;
            }
            How::Swaps(which) if which == n => {
                println!("begin {name} {n}");
                writer.perform(store, n + 1).await.unwrap();
                writer.perform(store, n).await.unwrap();
                println!("ok {name} {n}\nbegin {name} {}\nok {name} {}", n + 1, n + 1);
                n += 1;
            }
            _ => honest(store, writer, n).await,
        }
        n += 1;
    }
}

async fn honest(store: &SqliteStore, writer: &Writer, n: usize) {
    println!("begin {} {n}", writer.name());
    carry_out(store, writer, n).await;
    println!("ok {} {n}", writer.name());
}

/// Tries until the operation is there, and says why it was not.
async fn carry_out(store: &SqliteStore, writer: &Writer, n: usize) {
    for _ in 0..TRIES {
        match writer.perform(store, n).await {
            Ok(()) => return,
            Err(error) => {
                let kind = format!("{error:?}");
                let kind =
                    kind.split([' ', '(', '{']).find(|word| !matches!(*word, "Store" | "")).unwrap_or("?");
                println!("error {} {n} {kind}: {error}", writer.name());
                if in_doubt(&error) && is_there(store, writer, n).await {
                    return;
                }
            }
        }
    }
    panic!("operation {n} was tried {TRIES} times");
}

fn in_doubt(error: &Failed) -> bool {
    matches!(error, Failed::Store(error) if !error.wrote_nothing())
}

async fn is_there(store: &SqliteStore, writer: &Writer, n: usize) -> bool {
    for _ in 0..TRIES {
        match writer.has(store, n).await {
            Ok(there) => return there,
            Err(error) => println!("error {} {n} on reading: {error}", writer.name()),
        }
    }
    panic!("whether operation {n} is there cannot be read");
}

/// Says when it heard of an event, and when that was emitted, in microseconds since 1970.
struct Ear;

impl LogListener for Ear {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        let now = on_disk::now_micros();
        events.iter().for_each(|event| println!("heard {} {now}", event.at.as_micros()));
    }

    fn missed(&self, resume: Cursor) {
        println!("missed {}", resume.sequence);
    }

    fn commanded(&self) {
        println!("commanded");
    }
}

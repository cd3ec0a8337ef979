//! A process that is killed while it commits: every acknowledged commit is there, in order, once.
//!
//! The other process is this test binary again, started for one test with a folder in its
//! environment.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use amplifier_core::{EventId, EventType, NewEvent, Payload, SessionEvent, Timestamp};
use amplifier_store::{Commit, CounterName, Cursor, Store, Write};

use crate::store::Fixed;
use crate::store_sqlite::sqlite;

const FOLDER: &str = "AMPLIFIER_TEST_FOLDER";
const WRITERS: usize = 8;

/// Event `number` of writer `writer`, which says so.
fn numbered(writer: usize, number: usize) -> Write {
    let new = NewEvent::of(EventType::ToolPost, Payload::from(serde_json::json!([writer, number])));
    let (id, at) = (EventId(uuid::Uuid::nil()), Timestamp::from_micros(0));
    Write::Append(Box::new(SessionEvent::seal(new, id, None, "p".into(), at)))
}

/// The other process of the test below; by itself it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = sqlite(Path::new(&folder), &Arc::new(Fixed::default()));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0.. {
                    let counter = CounterName::new(format!("writer-{writer}")).unwrap();
                    let count = Write::AddCounter { counter, by: 1 };
                    let commit = Commit::new().write(numbered(writer, number)).write(count);
                    let applied = store.commit(commit).await.unwrap().applied().unwrap();
                    let sequence = applied.events[0].sequence.unwrap();
                    // One write, so that a kill leaves whole lines and at most one torn one.
                    let line = format!("ACK {writer} {number} {sequence}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Kills and reaps also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the other process, kills it after `acks` acknowledgements, and returns all that it gave.
fn acknowledged(folder: &Path, acks: usize) -> Vec<[usize; 3]> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "store_crash::writes_until_it_is_killed", "--nocapture", "--test-threads=1"]);
    command.env(FOLDER, folder).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut other = Killed(command.spawn().unwrap());
    let mut lines = BufReader::new(other.0.stdout.take().unwrap()).split(b'\n').map_while(Result::ok);
    let parse = |line: Vec<u8>| {
        let text = String::from_utf8(line).ok()?;
        let numbers: Vec<usize> =
            text.split("ACK ").nth(1)?.split(' ').filter_map(|n| n.parse().ok()).collect();
        <[usize; 3]>::try_from(numbers).ok()
    };
    let mut found: Vec<_> = lines.by_ref().filter_map(parse).take(acks).collect();
    assert_eq!(found.len(), acks, "the other process ended by itself");
    // SIGKILL.
    other.0.kill().unwrap();
    // The last line may be torn: then its number is too, so it is left out.
    let rest: Vec<_> = lines.filter_map(parse).collect();
    found.extend(&rest[..rest.len().saturating_sub(1)]);
    other.0.wait().unwrap();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_outlives_a_kill_in_order_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (mut all, mut before) = (0, 0);
    for acks in [1, 40, 300, 7, 800] {
        let found = acknowledged(folder.path(), acks);
        let store = sqlite(folder.path(), &Arc::new(Fixed::default()));
        let tail = store.tail().await.unwrap();
        let page = store.events(Cursor { sequence: before + 1, ..tail }, usize::MAX).await.unwrap();
        let log: Vec<[usize; 2]> = page.events.iter().map(|event| event.payload.decode().unwrap()).collect();
        // Of each writer: all up to some number, in order, once.
        let mut next = [0; WRITERS];
        for [writer, number] in &log {
            assert_eq!(*number, next[*writer], "writer {writer}");
            next[*writer] += 1;
        }
        for [writer, number, sequence] in &found {
            let place = sequence - usize::try_from(before).unwrap() - 1;
            assert_eq!(log.get(place), Some(&[*writer, *number]), "sequence {sequence}");
        }
        all += log.len();
        let mut counted = 0;
        for writer in 0..WRITERS {
            counted += store.counter(&CounterName::new(format!("writer-{writer}")).unwrap()).await.unwrap();
        }
        assert_eq!(counted, all as u64, "a commit is whole");
        assert!(
            found.len() >= acks && log.len() <= found.len() + 2 * WRITERS,
            "{} {}",
            found.len(),
            log.len()
        );
        assert!(store.check().await.unwrap().is_empty());
        before = tail.sequence - 1;
    }
}

//! Processes that write to one store at the same time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use amplifier_foundation::store::{OwnerId, Store, Write};
use amplifier_tests::history::{self, Told};
use amplifier_tests::workload::Writer;
use amplifier_tests::{PATIENCE, on_disk};

/// Operations of who comes now and then.
const PACED: usize = 30;

/// Workers that say what they do through one pipe, so that what they say has one order.
struct Workers {
    children: Vec<Child>,
    lines: Receiver<String>,
    said: String,
}

impl Workers {
    fn start(folder: &Path, parts: &[&[&str]]) -> Self {
        let (from, to) = std::io::pipe().unwrap();
        let start = |part: &&[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_store-worker"));
            command.arg(part[0]).arg(folder).args(&part[1..]);
            command.stdin(Stdio::piped()).stdout(to.try_clone().unwrap()).spawn().unwrap()
        };
        let children = parts.iter().map(start).collect();
        drop(to);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let all = BufReader::new(from).lines().map_while(Result::ok);
            all.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Self { children, lines, said: String::new() }
    }

    /// Reads on until a line begins so.
    fn says(&mut self, beginning: &str) -> String {
        let began = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(began.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("nobody said {beginning}"));
            self.said.push_str(&line);
            self.said.push('\n');
            if line.starts_with(beginning) {
                return line;
            }
        }
    }

    /// Lets them end, and takes all that they said.
    fn end(mut self) -> Told {
        self.children.iter_mut().for_each(|child| drop(child.stdin.take()));
        let began = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(PATIENCE.saturating_sub(began.elapsed())) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        assert!(self.children.iter_mut().all(|child| child.wait().unwrap().success()));
        Told::read(&self.said)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn owner(name: &str) -> OwnerId {
    OwnerId::new(name).unwrap()
}

#[tokio::test]
async fn a_flood_and_a_paced_writer_share_a_store_and_neither_is_starved_nor_anything_lost() {
    let folder = tempfile::tempdir().unwrap();
    let paced = PACED.to_string();
    let parts: [&[&str]; 2] = [&["flood", "one", "f", "g"], &["pace", "two", &paced, "p"]];
    let mut workers = Workers::start(folder.path(), &parts);
    workers.says("ok f 0");
    // The flood goes on until it is told to stop, so whoever it starves never gets there.
    workers.says(&format!("ok p {}", PACED - 1));
    let told = workers.end();

    let flood = told.progress("f").acknowledged + told.progress("g").acknowledged;
    assert!(flood > PACED, "the flood was starved: {flood} operations");
    let writers =
        [Writer::new("f", &owner("one")), Writer::new("g", &owner("one")), Writer::new("p", &owner("two"))];
    let most = writers.iter().map(|writer| told.progress(writer.name()).begun).max().unwrap();
    let store = on_disk::shared(folder.path(), &owner("checker"));
    let (flaws, _) = history::check(&store, &writers, &told, most).await.unwrap();
    assert!(flaws.is_empty(), "{flaws:#?}");
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn what_one_process_commits_another_hears_of_once_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut workers = Workers::start(folder.path(), &[&["listen", "listener"]]);
    workers.says("ready");
    let store = on_disk::shared(folder.path(), &owner("emitter"));
    let writer = Writer::new("w", &owner("emitter"));
    for n in 0..100 {
        let mut event = writer.event(n, 0, "work:noted", 0);
        event.at = amplifier_core::Timestamp::from_micros(n.try_into().unwrap());
        let _ = store.commit(Write::Append(event).into()).await.unwrap();
    }
    let heard: Vec<i64> =
        (0..100).map(|_| workers.says("heard").split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert_eq!(heard, (0..100).collect::<Vec<i64>>());
    assert!(workers.end().others.iter().all(|line| !line.starts_with("missed")));
}

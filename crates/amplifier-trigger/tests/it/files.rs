//! Changes of real files, seen by the real system.

use std::fs;
use std::path::Path;
use std::time::Duration;

use amplifier_core::CancelToken;
use amplifier_core::Clock;
use amplifier_trigger::{SourceEnv, TriggerEvent, TriggerRegistry, TriggerRow, TriggerStream};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::{RealClock, context, one, soon};

/// A project whose files are watched.
struct Watched {
    dir: TempDir,
    events: TriggerStream,
    cancel: CancelToken,
    marks: u32,
}

/// Watches a project; `more` is added to a configuration that wants all files and waits 20 ms.
fn watched(more: Value, before: &[(&str, &str)]) -> Watched {
    let dir = TempDir::new().unwrap();
    for (path, text) in before {
        write(dir.path(), path, text);
    }
    let mut config = json!({"paths": ["**"], "debounce": "20ms"});
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let config = one(json!({"type": "file_change", "name": "files", "config": config}));
    let clock = RealClock::new();
    let env = SourceEnv::new(dir.path().join("p"), clock.clone(), |_| None);
    fs::create_dir_all(dir.path().join("p")).unwrap();
    let context = context(TriggerRow::first(&config, clock.now()), clock);
    let cancel = context.cancel.clone();
    let events = TriggerRegistry::new().build(&config, &env).unwrap().source.watch(context);
    Watched { dir, events, cancel, marks: 0 }
}

/// Writes a file of the project.
fn write(dir: &Path, path: &str, text: &str) {
    let path = dir.join("p").join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn changes(event: &TriggerEvent) -> Vec<(String, String)> {
    let payload: Value = event.payload.decode().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let change = |change: &Value| (text(&change["path"]), text(&change["change"]));
    payload["changes"].as_array().unwrap().iter().map(change).collect()
}

impl Watched {
    fn write(&self, path: &str, text: &str) {
        write(self.dir.path(), path, text);
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.dir.path().join("p").join(path)
    }

    /// Everything that has changed up to now: reads events until one tells of a mark that is written
    /// here. What is wanted of the mark's name fits every test: it counts in all of them.
    async fn changed(&mut self) -> Vec<(String, String)> {
        self.marks += 1;
        let mark = format!("mark{}.rs", self.marks);
        let mut all = Vec::new();
        self.write(&mark, "");
        loop {
            let event = soon("a change", self.events.next()).await.unwrap().unwrap();
            let found = changes(&event);
            let done = found.iter().any(|(path, _)| *path == mark);
            all.extend(found.into_iter().filter(|(path, _)| !path.starts_with("mark")));
            if done {
                all.sort();
                return all;
            }
        }
    }

    /// Starts the stream: the first look is made when it is first polled.
    async fn start(&mut self) {
        let mut tries = 0;
        // The first look may come after the first mark: then only a later one is seen.
        loop {
            tries += 1;
            let mark = format!("mark-start{tries}.rs");
            self.write(&mark, "");
            let next = tokio::time::timeout(Duration::from_millis(80), self.events.next());
            if next.await.is_ok() {
                break;
            }
            assert!(tries < 200, "no change was ever seen");
        }
        self.changed().await;
    }
}

fn is(found: Vec<(String, String)>, expect: &[(&str, &str)]) {
    let expect: Vec<(String, String)> =
        expect.iter().map(|(path, change)| ((*path).to_owned(), (*change).to_owned())).collect();
    assert_eq!(found, expect);
}

async fn created_modified_deleted(more: Value) {
    let mut files = watched(more, &[("a.txt", "1"), ("b.txt", "1"), ("same.txt", "1")]);
    files.start().await;
    files.write("a.txt", "22");
    fs::remove_file(files.path("b.txt")).unwrap();
    files.write("c/d/e.txt", "1");
    fs::read(files.path("same.txt")).unwrap();
    is(files.changed().await, &[("a.txt", "modified"), ("b.txt", "deleted"), ("c/d/e.txt", "created")]);
    // In a directory that was new, and by a rename.
    files.write("c/d/f.txt", "1");
    fs::rename(files.path("a.txt"), files.path("g.txt")).unwrap();
    is(files.changed().await, &[("a.txt", "deleted"), ("c/d/f.txt", "created"), ("g.txt", "created")]);
    fs::remove_dir_all(files.path("c")).unwrap();
    is(files.changed().await, &[("c/d/e.txt", "deleted"), ("c/d/f.txt", "deleted")]);
    // What was removed is watched again once it is back.
    files.write("c/d/e.txt", "2");
    is(files.changed().await, &[("c/d/e.txt", "created")]);
    files.write("c/d/e.txt", "33");
    is(files.changed().await, &[("c/d/e.txt", "modified")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_change_are_told_and_others_are_not() {
    created_modified_deleted(json!({})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_tells_the_same() {
    created_modified_deleted(json!({"poll": "50ms"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn globs_ignore_lists_and_ignore_files_choose() {
    let before = [(".gitignore", "*.log\n/out/\n!keep.log\n"), ("src/.gitignore", "gen.rs\n")];
    let more = json!({"paths": ["**/*.rs", "**/*.log"], "ignore": ["target", "docs/**"]});
    let mut files = watched(more, &before);
    files.start().await;
    for path in [
        "src/a.rs",
        "src/gen.rs",
        "target/b.rs",
        "deep/target/c.rs",
        "docs/d.rs",
        "out/e.rs",
        "f.log",
        "keep.log",
        "g.txt",
        ".git/h.rs",
    ] {
        files.write(path, "1");
    }
    is(files.changed().await, &[("keep.log", "created"), ("src/a.rs", "created")]);
    // Rules that change make no file change.
    files.write("src/.gitignore", "a.rs\n");
    is(files.changed().await, &[]);
    files.write("src/a.rs", "22");
    files.write("src/gen.rs", "22");
    is(files.changed().await, &[("src/gen.rs", "modified")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_wanted_changes_are_told() {
    let mut files = watched(json!({"changes": ["created"]}), &[("a.txt", "1")]);
    files.start().await;
    files.write("a.txt", "22");
    files.write("b.txt", "1");
    is(files.changed().await, &[("b.txt", "created")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_is_one_event_and_a_file_that_comes_and_goes_is_none() {
    let mut files = watched(json!({"debounce": "300ms"}), &[]);
    files.start().await;
    for n in 0..500 {
        files.write(&format!("burst/{n}.txt"), "1");
    }
    files.write("gone.txt", "1");
    fs::remove_file(files.path("gone.txt")).unwrap();
    let event = soon("the burst", files.events.next()).await.unwrap().unwrap();
    let mut found = changes(&event);
    // A machine that is slow may part it; all of it comes all the same.
    if found.len() < 500 {
        found.extend(files.changed().await);
    }
    assert_eq!(found.len(), 500);
    assert!(event.id.as_str().starts_with("bg/files/1/f-"), "{}", event.id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_changes_than_are_noted_one_by_one_are_all_found() {
    let mut files = watched(json!({}), &[]);
    files.start().await;
    // Directories beyond the bound of notices, then one change in each of them.
    for n in 0..1_500 {
        files.write(&format!("many/{n}/a"), "1");
    }
    let event_total =
        |event: &TriggerEvent| -> u64 { event.payload.decode::<Value>().unwrap()["total"].as_u64().unwrap() };
    let mut total = 0;
    while total < 1_500 {
        total += event_total(&soon("changes", files.events.next()).await.unwrap().unwrap());
    }
    assert_eq!(total, 1_500);
    for n in 0..1_500 {
        files.write(&format!("many/{n}/a"), "22");
    }
    let mut total = 0;
    while total < 1_500 {
        let event = soon("changes", files.events.next()).await.unwrap().unwrap();
        assert!(changes(&event).iter().all(|(_, change)| change == "modified"));
        total += event_total(&event);
    }
    // A file may be seen while it is written, and once more after.
    assert!(total < 1_600, "{total}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_that_is_removed_and_made_again_is_watched_again() {
    let mut files = watched(json!({}), &[("a.txt", "1")]);
    files.start().await;
    fs::remove_dir_all(files.path("")).unwrap();
    let gone = soon("the removal", files.events.next()).await.unwrap().unwrap();
    assert!(changes(&gone).contains(&("a.txt".to_owned(), "deleted".to_owned())));
    files.write("b.txt", "1");
    is(files.changed().await, &[("b.txt", "created")]);
    files.write("b.txt", "22");
    is(files.changed().await, &[("b.txt", "modified")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_after_it_was_prepared_is_told_though_nobody_looks_yet() {
    let dir = TempDir::new().unwrap();
    write(dir.path(), "before.txt", "1");
    let config = json!({"paths": ["**"], "debounce": "20ms"});
    let config = one(json!({"type": "file_change", "name": "files", "config": config}));
    let clock = RealClock::new();
    let env = SourceEnv::new(dir.path().join("p"), clock.clone(), |_| None);
    let mut built = TriggerRegistry::new().build(&config, &env).unwrap();
    built.source.prepare().await;
    write(dir.path(), "after.txt", "1");
    let mut events = built.source.watch(context(TriggerRow::first(&config, clock.now()), clock));
    let event = soon("the change", events.next()).await.unwrap().unwrap();
    is(changes(&event), &[("after.txt", "created")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_watch_ends() {
    let mut files = watched(json!({}), &[]);
    files.start().await;
    files.cancel.cancel(amplifier_core::CancelLevel::Graceful, amplifier_core::CancelReason::Shutdown);
    assert!(soon("the end", files.events.next()).await.is_none());
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_out_of_the_project_is_not_followed() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("x.txt"), "1").unwrap();
    let mut files = watched(json!({}), &[]);
    std::os::unix::fs::symlink(outside.path(), files.path("link")).unwrap();
    files.start().await;
    fs::write(outside.path().join("x.txt"), "22").unwrap();
    fs::write(outside.path().join("y.txt"), "1").unwrap();
    is(files.changed().await, &[]);
}

//! What the libraries cost inside one process: storage and bundles.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use amplifier_core::{Activation, Message, SessionId, Timestamp};
use amplifier_foundation::bundle::{BundleLoader, LoaderOptions};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::storage::{FileStorage, ProjectPaths, SessionMetadata};
use amplifier_foundation::{SessionStorage, spawn_bundle};

use crate::kit::Wanted::{AtMost, Nothing};
use crate::kit::{self, Call, Rival, against, row};

/// Files of the bundle that is composed, its own among them.
const BUNDLE_FILES: usize = 100;
/// Appends that are timed together.
const APPENDS: usize = 20;

pub(crate) fn measure(call: &Call) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        append(call.runs).await;
        compose(call.runs).await;
        spawn(call.runs).await;
    });
}

/// Appends to a transcript of 10 messages and to one of 10,000, in turn.
async fn append(runs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("project");
    std::fs::create_dir(&project).unwrap();
    let paths = ProjectPaths::resolve(&folder.path().join("home"), &project).unwrap();
    let storage = FileStorage::new(paths, Redactor::default());
    let short = session(&storage, "short", 10).await;
    let long = session(&storage, "long", 10_000).await;
    let (mut at_10, mut at_10_000) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        at_10.push(timed(&storage, &short).await);
        at_10_000.push(timed(&storage, &long).await);
    }
    let rival = Rival { what: "at 10 messages", runs: &at_10, wanted: AtMost(1.2) };
    against("append at 10,000 messages, flush included", "ms", Nothing, &at_10_000, &rival);
}

fn message() -> Arc<Message> {
    Arc::new(Message::assistant("x".repeat(400)))
}

async fn session(storage: &FileStorage, name: &str, messages: usize) -> SessionId {
    let id = SessionId::new(name).unwrap();
    let metadata = SessionMetadata::new(id.clone(), Timestamp::from_micros(0));
    storage.create(&id, &Arc::new(metadata)).await.unwrap();
    let all: Vec<Arc<Message>> = (0..messages).map(|_| message()).collect();
    storage.append(&id, Activation::FIRST, &all).await.unwrap();
    id
}

async fn timed(storage: &FileStorage, id: &SessionId) -> f64 {
    let began = Instant::now();
    for _ in 0..APPENDS {
        storage.append(id, Activation::FIRST, &[message()]).await.unwrap();
    }
    began.elapsed().as_secs_f64() * 1_000.0 / APPENDS as f64
}

/// Loads and composes a bundle of a hundred files whose pages are in the kernel's cache.
async fn compose(runs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let root = write_bundle(folder.path());
    let source = root.to_string_lossy().into_owned();
    let (mut fresh, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let clock = Arc::new(SystemClock::new());
        let loader = BundleLoader::new(LoaderOptions::new(folder.path().join("home"), folder.path(), clock));
        let began = Instant::now();
        let prepared = loader.prepare(&source).await.unwrap();
        fresh.push(began.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(prepared.files.len(), BUNDLE_FILES);
        let began = Instant::now();
        loader.prepare(&source).await.unwrap();
        kept.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    row("load and compose a bundle of 100 files", "ms", AtMost(10.0), &fresh[1..]);
    row("the same again, checked by stat", "ms", Nothing, &kept[1..]);
}

/// One root that includes 99 behaviors, each with a tool, a hook and a description.
fn write_bundle(folder: &Path) -> std::path::PathBuf {
    let mut includes = String::new();
    for number in 1..BUNDLE_FILES {
        includes.push_str(&format!("  - bundle: ./behaviors/b{number}.yaml\n"));
        let text = format!(
            "bundle:\n  name: behavior-{number}\n  version: 1.0.0\n  description: |\n    Behavior {number}.\n\
             tools:\n  - module: tool-{number}\n    config: {{a: {number}, list: [x, y, {number}]}}\n\
             hooks:\n  - module: hooks-{number}\n    config: {{b: {{c: {number}}}}}\n"
        );
        let path = folder.join(format!("behaviors/b{number}.yaml"));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let root = folder.join("bundle.md");
    std::fs::write(&root, format!("---\nbundle:\n  name: root\nincludes:\n{includes}---\n\nBe brief.\n"))
        .unwrap();
    root
}

/// A whole session in memory: spawn, one turn of the scripted provider, outcome.
async fn spawn(runs: usize) {
    const SESSIONS: usize = 200;
    let (host, bundle) = kit::in_memory().await;
    let mut each = Vec::new();
    for _ in 0..runs {
        let began = Instant::now();
        for _ in 0..SESSIONS {
            spawn_bundle(&host, (Arc::clone(&bundle), "hi")).await.unwrap().output().await.unwrap();
        }
        each.push(began.elapsed().as_secs_f64() * 1e6 / SESSIONS as f64);
    }
    row("spawn, one turn, outcome; in memory", "µs", Nothing, &each);
}

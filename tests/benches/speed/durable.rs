//! Durable sessions on disk, against a plain loop that does with files what a session does with them.
//!
//! The loop runs on as many threads as sessions run at once and writes the same bytes to the same
//! files with the same fsyncs, those of folders included; it has no session, no lock and no check.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};

use crate::kit::Wanted::{AtMost, Nothing};
use crate::kit::{Rival, against, builder};

/// Sessions, or threads of the loop, at once.
const AT_ONCE: usize = 64;
/// Sessions of each of them, one after the other.
const EACH: usize = 4;

/// Sessions and the loop, in turn, each in a fresh folder.
pub(crate) fn measure(runs: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut sessions, mut loops) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (took, files) = runtime.block_on(of_sessions(folder.path()));
        sessions.push(took * 1e3);
        loops.push(of_loop(&folder.path().join("loop"), &files, AT_ONCE, EACH) * 1e3);
    }
    let rival =
        Rival { what: "64 threads, the same files and syncs", runs: &loops[1..], wanted: AtMost(1.5) };
    against("256 durable sessions on disk, 64 at once", "ms", Nothing, &sessions[1..], &rival);
}

/// What a session leaves in its folder.
pub(crate) struct Files {
    /// The metadata at first and at last.
    metadata: [Vec<u8>; 2],
    lines: Vec<Vec<u8>>,
}

async fn of_sessions(folder: &Path) -> (f64, Files) {
    let project = folder.join("project");
    std::fs::create_dir(&project).unwrap();
    let home = folder.join("home");
    let host = builder().home(&home).open(&project).await.unwrap();
    let bundle = host.prepare("bench").await.unwrap();
    // The first one makes the folders of the project.
    let id = one(&host, &bundle).await;
    let began = Instant::now();
    let work: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (host, bundle) = (host.clone(), Arc::clone(&bundle));
            tokio::spawn(async move {
                for _ in 0..EACH {
                    one(&host, &bundle).await;
                }
            })
        })
        .collect();
    for work in work {
        work.await.unwrap();
    }
    let took = began.elapsed().as_secs_f64();
    let paths = amplifier_foundation::storage::ProjectPaths::resolve(&home, &project).unwrap();
    (took, files(&paths.session(&id)))
}

async fn one(host: &Host, bundle: &Arc<PreparedBundle>) -> amplifier_core::SessionId {
    let session = spawn_bundle(host, SpawnRequest::new(Arc::clone(bundle), "hi")).await.unwrap();
    session.output().await.unwrap();
    session.id().clone()
}

pub(crate) fn files(session: &Path) -> Files {
    let last = std::fs::read(session.join("metadata.json")).unwrap();
    let text = std::fs::read(session.join("transcript.jsonl")).unwrap();
    let lines: Vec<Vec<u8>> = text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    assert_eq!(lines.len(), 2, "a session here has one turn");
    // At first the outcome was not there; its length is close enough for a write of one page.
    Files { metadata: [last.clone(), last], lines }
}

/// So many threads, each of which does it so often, in seconds.
pub(crate) fn of_loop(folder: &Path, files: &Files, at_once: usize, each: usize) -> f64 {
    std::fs::create_dir(folder).unwrap();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..at_once {
            scope.spawn(move || {
                for number in 0..each {
                    one_loop(&folder.join(format!("{thread}-{number}")), files);
                }
            });
        }
    });
    began.elapsed().as_secs_f64()
}

/// Seven fsyncs: metadata, its folder, the folder above; two messages; metadata again, its folder.
fn one_loop(session: &Path, files: &Files) {
    DirBuilder::new().mode(0o700).create(session).unwrap();
    create(&session.join(".lock")).unwrap();
    replace(session, &files.metadata[0]);
    let mut transcript = create(&session.join("transcript.jsonl")).unwrap();
    sync(session);
    sync(session.parent().unwrap());
    for line in &files.lines {
        transcript.write_all(line).unwrap();
        transcript.sync_data().unwrap();
    }
    replace(session, &files.metadata[1]);
    sync(session);
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn replace(session: &Path, content: &[u8]) {
    let temporary = session.join(".metadata.json.tmp");
    let mut file = create(&temporary).unwrap();
    file.write_all(content).unwrap();
    file.sync_data().unwrap();
    std::fs::rename(&temporary, session.join("metadata.json")).unwrap();
}

fn sync(folder: &Path) {
    File::open(folder).unwrap().sync_all().unwrap();
}

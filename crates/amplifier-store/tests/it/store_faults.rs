//! Databases that are damaged, foreign, too new, full or locked: a typed error, never a hang, and
//! nothing that was acknowledged is lost.

use std::io::{Seek, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{EventId, EventType, NewEvent, Payload, SessionEvent, Timestamp};
use amplifier_store::{Commit, Cursor, Instance, OwnerId, SqliteStore, Store, StoreError, Write};
use futures_util::FutureExt;
use rusqlite::Connection;

use crate::store::{Fixed, note};
use crate::store_sqlite::{applied, options, place, sequences, sqlite};

fn large(bytes: usize) -> Write {
    let payload = Payload::from(serde_json::json!("x".repeat(bytes)));
    let new = NewEvent::of(EventType::ToolPost, payload);
    let at = Timestamp::from_micros(0);
    let id = EventId(uuid::Uuid::nil());
    Write::Append(Box::new(SessionEvent::seal(new, id, None, "p".into(), at)))
}

fn path(folder: &Path) -> std::path::PathBuf {
    folder.join("project/amplifier.db")
}

/// A store with 300 events of a page each, put away in one file.
async fn filled() -> (tempfile::TempDir, Arc<Fixed>) {
    let (folder, fixed, store) = place();
    for _ in 0..300 {
        applied(&store, large(4_000)).await;
    }
    drop(store);
    (folder, fixed)
}

#[tokio::test]
async fn a_database_of_a_later_version_is_left_alone() {
    let (folder, fixed) = filled().await;
    let conn = Connection::open(path(folder.path())).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(path(folder.path())).unwrap();
    let store = sqlite(folder.path(), &fixed);
    let error = store.commit(note().into()).await.unwrap_err();
    let says = "the store is of version 99, and this program knows versions up to 4; update it";
    assert_eq!(error.to_string(), says);
    assert!(matches!(store.tail().await, Err(StoreError::Newer { found: 99, known: 4 })));
    assert!(matches!(store.ready().await, Err(StoreError::Newer { .. })));
    drop(store);
    assert_eq!(std::fs::read(path(folder.path())).unwrap(), before);
}

#[tokio::test]
async fn a_file_that_is_no_database_of_ours_is_damage_and_stays_as_it_is() {
    for foreign in [false, true] {
        let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        match foreign {
            true => {
                Connection::open(path(folder.path())).unwrap().execute_batch("CREATE TABLE t (a)").unwrap()
            }
            false => std::fs::write(path(folder.path()), "no database at all ".repeat(500)).unwrap(),
        }
        let store = sqlite(folder.path(), &fixed);
        let error = store.commit(note().into()).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().ends_with("restore a backup"), "{error}");
        drop(store);
        match foreign {
            true => drop(Connection::open(path(folder.path())).unwrap().prepare("SELECT a FROM t").unwrap()),
            false => {
                assert!(std::fs::read_to_string(path(folder.path())).unwrap().starts_with("no database"))
            }
        }
    }
}

#[tokio::test]
async fn a_corrupted_page_is_damage_where_it_is_read_and_is_found_by_a_check() {
    let (folder, fixed) = filled().await;
    let mut file = std::fs::OpenOptions::new().write(true).open(path(folder.path())).unwrap();
    file.seek(SeekFrom::Start(100 * 4_096)).unwrap();
    file.write_all(&[0xff; 40 * 4_096]).unwrap();
    drop(file);
    let store = sqlite(folder.path(), &fixed);
    let tail = store.tail().await.unwrap();
    let error = store.events(Cursor { sequence: 1, ..tail }, 300).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(!store.check().await.unwrap().is_empty());
    // What lies elsewhere is still there.
    assert_eq!(store.events(Cursor { sequence: 290, ..tail }, 300).await.unwrap().events.len(), 11);
    applied(&store, note()).await;
}

#[tokio::test]
async fn a_truncated_file_is_damage() {
    let (folder, fixed) = filled().await;
    let file = std::fs::OpenOptions::new().write(true).open(path(folder.path())).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let store = sqlite(folder.path(), &fixed);
    let error = store.commit(note().into()).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(matches!(store.tail().await, Err(StoreError::Damaged { .. })));
}

#[tokio::test]
async fn a_file_that_was_cut_to_nothing_is_damage_and_one_that_was_removed_is_begun_anew() {
    let (folder, fixed) = filled().await;
    let file = std::fs::OpenOptions::new().write(true).open(path(folder.path())).unwrap();
    file.set_len(0).unwrap();
    let store = sqlite(folder.path(), &fixed);
    let error = store.commit(note().into()).await.unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    assert!(error.to_string().contains("its file was cut to nothing (to begin anew, remove it"), "{error}");
    assert!(error.to_string().ends_with("restore a backup"), "{error}");
    drop(store);
    assert_eq!(file.metadata().unwrap().len(), 0, "it stays as it is");
    std::fs::remove_file(path(folder.path())).unwrap();
    let store = sqlite(folder.path(), &fixed);
    applied(&store, note()).await;
    drop(store);
    assert_eq!(sqlite(folder.path(), &fixed).tail().await.unwrap().sequence, 2);
}

#[tokio::test]
async fn a_post_that_is_refused_later_is_counted() {
    let (folder, fixed) = filled().await;
    let store = sqlite(folder.path(), &fixed);
    store.post(note().into()).unwrap();
    store.post(crate::store::settle("nobody", 1, "").into()).unwrap();
    applied(&store, note()).await;
    assert_eq!((store.refused_posts(), store.tail().await.unwrap().sequence), (1, 303));
    let (_, memory) = crate::store::recording();
    memory.post(crate::store::settle("nobody", 1, "").into()).unwrap();
    memory.post(note().into()).unwrap();
    assert_eq!(memory.refused_posts(), 1);
}

#[tokio::test]
async fn a_check_finds_what_breaks_our_own_promises() {
    let (folder, fixed) = filled().await;
    let conn = Connection::open(path(folder.path())).unwrap();
    conn.execute("DELETE FROM events WHERE sequence = 7", []).unwrap();
    conn.execute("UPDATE events SET kind = 'session_error', source = 's' WHERE sequence = 9", []).unwrap();
    conn.execute("INSERT INTO outcomes VALUES ('s', 1, zeroblob(16), 8, 0, '{}')", []).unwrap();
    drop(conn);
    let store = sqlite(folder.path(), &fixed);
    let found = store.check().await.unwrap();
    let wrong = [
        "the log has 299 events from 1 to 301",
        "a settled activation has another terminal event than its outcome says: s/1",
        "a terminal event has no outcome: 9",
        "an outcome is of an activation that its session never had: s/1",
    ];
    assert_eq!(found, wrong);
    let from = Cursor { sequence: 1, ..store.tail().await.unwrap() };
    let error = store.events(from, 10).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is damaged: event 7 is missing; restore a backup");
}

async fn until_full(store: &SqliteStore) -> (u64, StoreError) {
    for count in 0..10_000 {
        if let Err(error) = store.commit(large(20_000).into()).await {
            return (count, error);
        }
    }
    panic!("it never gets full");
}

#[tokio::test]
async fn a_full_disk_refuses_commits_and_keeps_what_it_has() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let mut small = options(folder.path(), &fixed);
    small.max_bytes = Some(1 << 20);
    let store = SqliteStore::open(small).unwrap();
    let (count, error) = until_full(&store).await;
    assert!(matches!(error, StoreError::Full { .. }) && error.wrote_nothing(), "{error:?}");
    assert_eq!(error.to_string(), "the disk of the store is full; free some space and try again");
    assert!(count > 10, "{count}");
    assert_eq!(sequences(&store).await.len() as u64, count);
    // Who makes room goes on.
    applied(&store, Write::Prune { before: count }).await;
    applied(&store, large(20_000)).await;
    assert!(store.check().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_full_file_system_refuses_commits_and_keeps_what_it_has() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let folder = tempfile::tempdir().unwrap();
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    if let Err(error) = mount(Some("tmpfs"), folder.path(), Some("tmpfs"), flags, Some("size=4m")) {
        eprintln!("skipped: no file system can be mounted here: {error}");
        return;
    }
    let fixed = Arc::new(Fixed::default());
    let store = sqlite(folder.path(), &fixed);
    let (count, error) = until_full(&store).await;
    let kept = sequences(&store).await.len() as u64;
    drop(store);
    let store = sqlite(folder.path(), &fixed);
    let after = sequences(&store).await.len() as u64;
    drop(store);
    umount2(folder.path(), MntFlags::MNT_DETACH).unwrap();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!((kept, after), (count, count));
}

#[tokio::test]
async fn a_foreign_lock_is_waited_for_and_then_refused_as_busy() {
    let (folder, fixed) = filled().await;
    let mut hasty = options(folder.path(), &fixed);
    hasty.patience = Duration::from_millis(50);
    let store = SqliteStore::open(hasty).unwrap();
    applied(&store, note()).await;
    let foreign = Connection::open(path(folder.path())).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = store.commit(note().into()).await.unwrap_err();
    assert!(matches!(error, StoreError::Busy { holder: None }), "{error:?}");
    assert_eq!(error.to_string(), "the store is busy; another process writes, try again");
    assert_eq!(sequences(&store).await.len(), 301, "reading goes on");
    foreign.execute_batch("ROLLBACK").unwrap();
    applied(&store, note()).await;
    assert_eq!(sequences(&store).await.len(), 302);
}

#[tokio::test]
async fn what_was_posted_while_the_store_was_busy_is_written_after() {
    let (folder, fixed) = filled().await;
    let mut hasty = options(folder.path(), &fixed);
    hasty.patience = Duration::from_millis(20);
    let store = SqliteStore::open(hasty).unwrap();
    applied(&store, note()).await;
    let foreign = Connection::open(path(folder.path())).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    store.post(note().into()).unwrap();
    for _ in 0..3 {
        assert!(matches!(store.commit(note().into()).await, Err(StoreError::Busy { .. })));
    }
    foreign.execute_batch("ROLLBACK").unwrap();
    applied(&store, note()).await;
    assert_eq!(sequences(&store).await.len(), 303);
}

#[tokio::test]
async fn a_store_that_waits_behind_a_lock_bounds_what_is_posted_and_what_is_committed() {
    let (folder, fixed) = filled().await;
    let mut small = options(folder.path(), &fixed);
    (small.post_limit, small.queue_bytes) = (3, 2_048);
    let store = SqliteStore::open(small).unwrap();
    store.ready().await.unwrap();
    let foreign = Connection::open(path(folder.path())).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut commits: Vec<_> = (0..5).map(|_| Box::pin(store.commit(note().into()))).collect();
    for commit in &mut commits {
        assert!(commit.now_or_never().is_none(), "it waits");
    }
    let posted = (0..100).filter(|_| store.post(note().into()).is_ok()).count();
    // The writer may have taken some into the transaction that waits, so that there was room again.
    assert!((3..=6).contains(&posted), "{posted}");
    assert!(matches!(store.post(note().into()), Err(StoreError::Busy { .. })));
    foreign.execute_batch("ROLLBACK").unwrap();
    for commit in commits {
        assert!(commit.await.unwrap().applied().is_some());
    }
    drop(store);
    assert_eq!(sequences(&sqlite(folder.path(), &fixed)).await.len(), 305 + posted);
}

#[tokio::test]
async fn who_is_kept_out_by_a_process_of_the_project_is_told_by_whom() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let run = folder.path().join("run");
    let enter = |name| Instance::enter(&run, OwnerId::new(name).unwrap()).unwrap();
    let (a, b) = (enter("a"), enter("b"));
    let mut hasty = options(folder.path(), &fixed).instance(b);
    hasty.patience = Duration::ZERO;
    let store = SqliteStore::open(hasty).unwrap();
    applied(&store, note()).await;
    let passage = a.pass(fixed.as_ref(), Duration::from_secs(60)).unwrap();
    let error = store.commit(note().into()).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Busy { holder: Some(holder) } if holder.as_str() == "a"),
        "{error:?}"
    );
    drop(passage);
    applied(&store, note()).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_is_read_only() {
    use nix::mount::{MntFlags, MsFlags, mount, umount2};
    let (folder, fixed) = filled().await;
    let inside = folder.path().join("project");
    let bind = MsFlags::MS_BIND;
    if let Err(error) = mount(Some(&inside), &inside, None::<&str>, bind, None::<&str>) {
        eprintln!("skipped: no file system can be mounted here: {error}");
        return;
    }
    let flags = bind | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    let sealed = mount(None::<&str>, &inside, None::<&str>, flags, None::<&str>);
    let error = match &sealed {
        Ok(()) => sqlite(folder.path(), &fixed).commit(note().into()).await.err(),
        Err(_) => None,
    };
    umount2(&inside, MntFlags::MNT_DETACH).unwrap();
    if sealed.is_err() {
        eprintln!("skipped: no file system can be made read-only here");
        return;
    }
    let error = error.unwrap();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    let says = "the store is read-only; make its file and the folder that it lies in writable";
    assert_eq!(error.to_string(), says);
}

#[tokio::test]
async fn a_place_where_nothing_can_be_made_is_an_error_of_the_first_use_and_is_tried_again() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    std::fs::write(folder.path().join("project"), "a file").unwrap();
    let store = sqlite(folder.path(), &fixed);
    for _ in 0..2 {
        let error = store.commit(note().into()).await.unwrap_err();
        assert!(matches!(error, StoreError::Backend { .. }), "{error:?}");
    }
    assert!(store.tail().await.is_err());
    std::fs::remove_file(folder.path().join("project")).unwrap();
    applied(&store, note()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_open_a_new_file_at_once_make_one_store() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let stores: Vec<_> = (0..12).map(|_| sqlite(folder.path(), &fixed)).collect();
    let mut logs = Vec::new();
    for store in &stores {
        applied(store, note()).await;
        logs.push(store.tail().await.unwrap().log);
    }
    logs.dedup();
    assert_eq!(logs.len(), 1);
    assert_eq!(sequences(&stores[0]).await, (1..=12).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_database_whose_making_was_cut_off_is_made() {
    let (folder, fixed) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    std::fs::create_dir_all(folder.path().join("project")).unwrap();
    let conn = Connection::open(path(folder.path())).unwrap();
    conn.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
    conn.execute_batch("BEGIN; CREATE TABLE meta (one); ROLLBACK").unwrap();
    drop(conn);
    applied(&sqlite(folder.path(), &fixed), note()).await;
}

#[tokio::test]
async fn a_refused_commit_leaves_those_of_the_same_transaction_alone() {
    let (folder, fixed) = filled().await;
    let store = sqlite(folder.path(), &fixed);
    store.ready().await.unwrap();
    let foreign = Connection::open(path(folder.path())).unwrap();
    foreign.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // All of these wait for the lock, and become one transaction.
    let refused = || Commit::new().write(note()).write(crate::store::settle("nobody", 1, ""));
    let mut commits: Vec<_> = (0..9)
        .map(|number| Box::pin(store.commit(if number % 3 == 1 { refused() } else { note().into() })))
        .collect();
    for commit in &mut commits {
        assert!(commit.now_or_never().is_none(), "it waits");
    }
    foreign.execute_batch("ROLLBACK").unwrap();
    let mut given = Vec::new();
    for (number, commit) in commits.into_iter().enumerate() {
        match commit.await {
            Ok(receipt) => given.push(receipt.applied().unwrap().events[0].sequence.unwrap()),
            Err(error) => assert!(number % 3 == 1 && matches!(error, StoreError::Stale { .. }), "{error}"),
        }
    }
    assert_eq!(given, (301..=306).collect::<Vec<_>>());
    assert_eq!(sequences(&store).await.len(), 306);
}

//! Issues in a file: what is there when it is opened anew, in a copy, after a retention; what a check finds.

use amplifier_core::{IssueId, Payload, RunId};
use amplifier_store::{
    Commit, Expect, IssueFilter, IssueRow, IssueStatus, NoteKind, Retention, SqliteStore, Store, StoreError,
    Write,
};
use rusqlite::Connection;

use crate::store::note;
use crate::store_sqlite::{applied, place, sqlite};

fn id(name: &str) -> IssueId {
    IssueId::new(name).unwrap()
}

fn row(name: &str, needs: &[&str]) -> IssueRow {
    let mut row = IssueRow::new(id(name), "task", 2, Payload::from(serde_json::json!({ "title": name })));
    row.needs = needs.iter().map(|name| id(name)).collect();
    row.unmet = u32::try_from(needs.len()).unwrap();
    row
}

fn put(row: IssueRow) -> Write {
    Write::PutIssue(Box::new(row))
}

fn comment(issue: &str, text: &str) -> Write {
    let (kind, body) = (NoteKind::Comment, Payload::from(serde_json::json!(text)));
    Write::NoteIssue { issue: id(issue), kind, actor: "ada".into(), session: None, body }
}

/// Everything of the issues that can be seen.
async fn seen(store: &SqliteStore) -> String {
    let rows = store.issues(&IssueFilter::default()).await.unwrap();
    let mut notes = Vec::new();
    for row in &rows {
        notes.push(store.issue_notes(&row.id, 0, 100).await.unwrap());
    }
    let needing = store.issues(&IssueFilter::needing(id("a"))).await.unwrap();
    format!("{rows:?} {notes:?} {needing:?} {:?}", store.count_issues().await.unwrap())
}

async fn fill(store: &SqliteStore) {
    let mut claimed = row("b", &["a"]);
    claimed.run = Some(RunId::new("r").unwrap());
    let mut failed = row("c", &["a", "b"]);
    failed.status = IssueStatus::Failed;
    let first = Commit::from(put(row("a", &[]))).write(put(claimed)).write(comment("a", "one"));
    applied(store, first).await;
    let expects = Expect::IssueRevision { issue: id("a"), revision: 1 };
    applied(store, Commit::from(put(row("a", &[]))).when(expects).write(put(failed)).write(note())).await;
    applied(store, Commit::from(comment("c", "two")).write(comment("a", "three"))).await;
}

#[tokio::test]
async fn issues_and_their_notes_are_there_when_the_file_is_opened_anew_and_in_a_copy() {
    let (folder, fixed, store) = place();
    fill(&store).await;
    let (before, counts) = (seen(&store).await, store.count_issues().await.unwrap());
    assert_eq!((counts.total(), counts.ready, counts.claimed), (3, 1, 1));
    let copy = folder.path().join("copy/project/amplifier.db");
    std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
    store.backup(&copy).await.unwrap();
    drop(store);
    for folder in [folder.path().to_owned(), folder.path().join("copy")] {
        let store = sqlite(&folder, &fixed);
        assert_eq!(seen(&store).await, before);
        assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
        // Places go on behind those that were given away.
        let receipt = store.commit(put(row("z", &[])).into()).await.unwrap();
        assert_eq!(receipt.applied().unwrap().issues, [(id("z"), 4, 1)]);
        let stale = Commit::from(put(row("a", &[])));
        let stale = stale.when(Expect::IssueRevision { issue: id("a"), revision: 1 });
        let error = store.commit(stale).await.unwrap_err();
        assert!(matches!(error, StoreError::IssueIs { expected: 1, revision: 2, .. }), "{error:?}");
        assert_eq!(error.to_string(), "issue `a` is at revision 2, not at revision 1; read it again");
    }
}

#[tokio::test]
async fn a_retention_that_keeps_nothing_keeps_issues_and_the_last_notes_of_each() {
    let (_folder, fixed, store) = place();
    fill(&store).await;
    for number in 0..5 {
        applied(&store, comment("b", &number.to_string())).await;
    }
    fixed.micros.store(i64::MAX / 2, std::sync::atomic::Ordering::SeqCst);
    let mut retention = Retention::default();
    retention.events = amplifier_store::Keep::FOR_EVER.count(0);
    assert_eq!(store.retain(&retention).await.unwrap().notes, 0);
    retention.notes = 2;
    let retained = store.retain(&retention).await.unwrap();
    assert_eq!((retained.notes, retained.events), (3, 0), "the event was dropped the first time");
    let left = |notes: Vec<amplifier_store::IssueNote>| {
        notes.iter().map(|note| String::from_utf8(note.body.as_bytes().to_vec()).unwrap()).collect::<String>()
    };
    for (issue, notes) in [("a", r#""one""three""#), ("b", r#""3""4""#), ("c", r#""two""#)] {
        assert_eq!(left(store.issue_notes(&id(issue), 0, 9).await.unwrap()), notes);
    }
    // None is no bound that can be asked for: the last one says how it came to stand so.
    retention.notes = 0;
    assert_eq!(store.retain(&retention).await.unwrap().notes, 2);
    assert_eq!(store.count_issues().await.unwrap().total(), 3);
    assert_eq!(store.check().await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_check_finds_issues_that_no_commit_has_left_so() {
    let (folder, fixed, store) = place();
    fill(&store).await;
    drop(store);
    let conn = Connection::open(folder.path().join("project/amplifier.db")).unwrap();
    conn.execute("UPDATE issues SET run = NULL WHERE id = 'b'", []).unwrap();
    conn.execute("UPDATE issues SET status = 'walking' WHERE id = 'c'", []).unwrap();
    conn.execute("UPDATE issue_notes SET issue = 7 WHERE issue = 3", []).unwrap();
    conn.execute("UPDATE meta SET note = 1", []).unwrap();
    drop(conn);
    let found = sqlite(folder.path(), &fixed).check().await.unwrap();
    let wrong = [
        "a number was used that was not given away: note 2",
        "a number was used that was not given away: note 3",
        "an issue is counted wrong: claimed",
        "an issue is counted wrong: failed",
        "an issue is counted wrong: walking",
        "a note is of no issue: 2",
        "an issue cannot be read: c",
        "issues need 1 others and are listed under 3",
    ];
    assert_eq!(found, wrong);
    let error = sqlite(folder.path(), &fixed).issue(&id("c")).await.unwrap_err();
    assert_eq!(error.to_string(), "the store is damaged: an issue is `walking`; restore a backup");
}

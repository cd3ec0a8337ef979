//! A database that cannot be used, as whoever types a command sees it: one clear error with what to do, the
//! right code, nothing changed, and no hang.

use std::path::PathBuf;

use amplifier_tests::process::run;
use amplifier_tests::project::TempProject;
use rusqlite::Connection;

/// A project with three events, each of them larger than a page.
fn project() -> TempProject {
    let project = TempProject::new();
    let data = format!("\"{}\"", "x".repeat(20_000));
    project.write("data.json", data);
    for name in ["one", "two", "three"] {
        run(&project, ["event", "emit", name, "@data.json"]).exits(0);
    }
    project
}

fn database(project: &TempProject) -> PathBuf {
    let projects = project.home().join("projects");
    let folder = std::fs::read_dir(projects).unwrap().next().unwrap().unwrap().path();
    folder.join("amplifier.db")
}

fn emit(project: &TempProject) -> amplifier_tests::process::Done {
    run(project, ["event", "emit", "four", "4"])
}

#[test]
fn a_database_of_a_later_version_is_named_and_left_alone() {
    let project = project();
    let conn = Connection::open(database(&project)).unwrap();
    conn.pragma_update(None, "user_version", 99).unwrap();
    drop(conn);
    let before = std::fs::read(database(&project)).unwrap();
    for command in [&["event", "emit", "four"][..], &["event", "replay"], &["event", "wait", "x"]] {
        let done = run(&project, command).exits(1).says(&["is of version 99", "update it"]);
        assert_eq!((done.stdout.as_str(), done.stderr.matches("error:").count()), ("", 1), "{done:?}");
    }
    // What the files say is still shown.
    run(&project, ["session", "list"]).exits(0);
    assert_eq!(std::fs::read(database(&project)).unwrap(), before);
}

#[test]
fn a_locked_database_can_be_read_and_who_writes_is_told_to_try_again() {
    let project = project();
    let conn = Connection::open(database(&project)).unwrap();
    conn.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let done = emit(&project).exits(75).says(&["the store is busy", "try again"]);
    assert_eq!(done.stdout, "");
    let read = run(&project, ["event", "replay", "--json"]).exits(0);
    assert_eq!(read.json_lines().len(), 3);
    conn.execute_batch("ROLLBACK").unwrap();
    emit(&project).exits(0);
}

#[test]
fn a_corrupted_page_is_told_where_it_is_read_and_nowhere_else() {
    let project = project();
    // Without a log beside it all of it lies in the file.
    let conn = Connection::open(database(&project)).unwrap();
    conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(conn);
    let mut bytes = std::fs::read(database(&project)).unwrap();
    let text = bytes.windows(16).rposition(|part| part == [b'x'; 16]).unwrap();
    let page = (text - 8_192) / 4_096 * 4_096;
    // A page in the middle of the text of the last event: where it goes on then is no page.
    bytes[page..page + 4].copy_from_slice(&[0xff; 4]);
    std::fs::write(database(&project), bytes).unwrap();
    let done = run(&project, ["event", "replay", "--from", "3"]);
    let done = done.exits(1).says(&["the store is damaged", "restore a backup"]);
    assert_eq!((done.stdout.as_str(), done.stderr.matches("error:").count()), ("", 1), "{done:?}");
    emit(&project).exits(0);
}

#[test]
fn a_database_that_was_cut_to_nothing_is_not_begun_anew() {
    let project = project();
    std::fs::write(database(&project), "").unwrap();
    let remedy = "remove it and call `amplifier session reindex`";
    for command in [&["event", "emit", "four"][..], &["event", "replay"]] {
        run(&project, command).exits(1).says(&["its file was cut to nothing", remedy]);
    }
    assert_eq!(std::fs::metadata(database(&project)).unwrap().len(), 0);
    std::fs::remove_file(database(&project)).unwrap();
    emit(&project).exits(0);
    assert_eq!(run(&project, ["event", "replay", "--json"]).exits(0).json_lines().len(), 1);
}

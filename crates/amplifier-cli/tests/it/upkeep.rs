//! `session cleanup`, `store backup`, `completions`, and what is said to a name that is none.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::kit::Place;

/// Makes all that a session has written look old.
fn age(place: &Place, id: &str, days: u64) {
    let then = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    let folder = place.session_folder(id);
    for entry in std::fs::read_dir(&folder).unwrap() {
        let file = std::fs::File::options().append(true).open(entry.unwrap().path()).unwrap();
        file.set_modified(then).unwrap();
    }
    let path = folder.join("metadata.json");
    let mut metadata: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    metadata["created"] = "2020-01-01T00:00:00Z".into();
    std::fs::write(&path, metadata.to_string()).unwrap();
    std::fs::File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
}

#[test]
fn old_sessions_are_deleted_and_others_stay() {
    let place = Place::scripted("[{text: hello}]");
    for id in ["old-one", "old-two", "new"] {
        place.run(&["run", "-B", "b", "--session-id", id, "hi"]).ok();
    }
    age(&place, "old-one", 40);
    age(&place, "old-two", 31);
    place.run(&["session", "cleanup"]).code(2).says(&["delete 2 sessions", "--force"]);
    let told = place.run(&["session", "cleanup", "--dry-run", "--json"]).ok().json();
    assert_eq!(told.as_array().unwrap().len(), 2);
    assert_eq!(place.sessions().len(), 3, "a dry run deletes nothing");
    assert_eq!(place.run(&["session", "cleanup", "-d", "35", "-f"]).ok().stdout, "old-one\n");
    let mut left = place.sessions();
    left.sort();
    assert_eq!(left, ["new", "old-two"]);
    place.run(&["session", "cleanup", "-f"]).ok().says(&["deleted 1 session"]);
    place.run(&["session", "cleanup", "-f"]).ok().says(&["no session ended more than 30 days ago"]);
    assert_eq!(place.sessions(), ["new"]);
}

#[test]
fn a_session_that_runs_is_never_cleaned_up() {
    let place = Place::scripted("[{text: slow, delay_ms: 60000}]");
    place.run(&["run", "-B", "b", "--background", "--session-id", "runs", "hi"]).ok();
    age(&place, "runs", 40);
    place.run(&["session", "cleanup", "-f"]).ok().says(&["no session ended"]);
    assert_eq!(place.sessions(), ["runs"]);
    place.run(&["session", "cancel", "runs", "--now"]).ok();
    place.run(&["session", "wait", "runs", "--timeout", "15s"]).code(1);
}

#[test]
fn a_backup_is_a_database_and_writes_over_nothing() {
    let place = Place::scripted("[{text: hello}]");
    let backup = |file: &str| place.run(&["store", "backup", file]);
    backup("copy.db").code(2).says(&["is not there", "first session"]);
    place.run(&["run", "-B", "b", "--session-id", "kept", "hi"]).ok();
    backup("copy.db").ok().says(&["copy.db is a copy of", "amplifier.db"]);
    let copy = place.project().join("copy.db");
    assert!(std::fs::read(&copy).unwrap().starts_with(b"SQLite format 3\0"));
    let before = std::fs::read(&copy).unwrap();
    backup("copy.db").code(2).says(&["is there already"]);
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    backup("no/such/folder/copy.db").code(1);
    // In the place of the database it is one.
    let folder = std::fs::read_dir(place.home().join("projects")).unwrap().next().unwrap().unwrap().path();
    for name in ["amplifier.db-wal", "amplifier.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    std::fs::copy(&copy, folder.join("amplifier.db")).unwrap();
    let listed = place.run(&["session", "list", "--json"]).ok().json();
    assert_eq!((&listed[0]["session_id"], &listed[0]["status"]), (&"kept".into(), &"completed".into()));
}

#[test]
fn each_shell_gets_its_script() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.run(&["completions", shell]).ok().stdout;
        assert!(script.contains("amplifier") && script.contains("cleanup"), "{shell}: {script}");
    }
    let script = place.run(&["completions", "bash"]).ok().stdout;
    place.write("complete.sh", &script);
    let path = place.project().join("complete.sh");
    let checked = place.call_program(&["bash", "-n", path.to_str().unwrap()]).done();
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""));
    place.run(&["completions", "tcsh"]).code(2).says(&["bash, elvish, fish, powershell, zsh"]);
}

#[test]
fn a_name_that_is_none_is_answered_with_what_was_meant() {
    let place = Place::scripted("[{text: hello}]");
    place.run(&["run", "-B", "b", "--session-id", "morning", "--name", "early bird", "hi"]).ok();
    let check = |args: &[&str], says: &str| {
        place.run(args).code(2).says(&[says]);
    };
    check(&["sesion", "list"], "'session'");
    check(&["session", "lits"], "'list'");
    check(&["run", "--bundel", "b"], "'--bundle'");
    check(&["session", "show", "mornign"], "did you mean `morning`?");
    check(&["session", "delete", "early bird"], "session morning has that name");
    check(&["run", "--resume", "mornin9", "hi"], "did you mean `morning`?");
    check(&["agents", "show", "explorr", "-B", "default"], "did you mean `explorer`?");
    check(&["run", "-B", "defalt", "hi"], "did you mean `default`");
    check(&["module", "show", "tool-tod"], "did you mean `tool-todo`?");
}

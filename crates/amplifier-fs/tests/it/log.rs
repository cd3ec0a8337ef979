//! The log file: lines that stay whole.

use amplifier_fs::log::LogFile;

#[test]
fn a_log_is_opened_at_its_first_line_and_grows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let mut log = LogFile::new(&path);
    assert!(!path.exists());
    log.line(b"one").unwrap();
    log.line(b"two").unwrap();
    LogFile::new(&path).line(b"three").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nthree\n");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_half_line_gets_no_neighbour() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    std::fs::write(&path, "whole\nha").unwrap();
    LogFile::new(&path).line(b"next").unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nha\nnext\n");
}

#[test]
fn a_folder_that_comes_late_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = LogFile::new(folder.path().join("later/events.jsonl"));
    assert!(log.line(b"lost").is_err());
    std::fs::create_dir(folder.path().join("later")).unwrap();
    log.line(b"kept").unwrap();
    assert_eq!(std::fs::read_to_string(log.path()).unwrap(), "kept\n");
}

#[test]
fn a_full_log_is_moved_aside_and_takes_the_place_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let (path, aside) = (folder.path().join("owner.log"), folder.path().join("owner.log.1"));
    std::fs::write(&path, "there before\n").unwrap();
    let mut log = LogFile::new(&path).bounded(30);
    for line in ["first", "second, which is longer", "third"] {
        log.line(line.as_bytes()).unwrap();
    }
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(
        (read(&aside), read(&path)),
        ("there before\nfirst\n".into(), "second, which is longer\nthird\n".into())
    );
    log.line(b"fourth").unwrap();
    assert_eq!((read(&aside), read(&path)), ("second, which is longer\nthird\n".into(), "fourth\n".into()));
}

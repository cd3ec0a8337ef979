//! Bounded reads and whole-file replacement.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use amplifier_fs::tool_io::{self, Kind, Staged, Window};

fn names(folder: &Path) -> Vec<String> {
    tool_io::list(folder, 100).unwrap().0.into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_replacement_keeps_the_mode_and_leaves_nothing_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.sh");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
    tool_io::replace(&path, b"new").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
    assert_eq!(names(folder.path()), ["run.sh"]);
}

#[test]
fn what_is_staged_and_dropped_was_never_there() {
    let folder = tempfile::tempdir().unwrap();
    drop(Staged::write(&folder.path().join("a/b/c"), b"x").unwrap());
    assert!(names(folder.path()).is_empty());
    tool_io::replace(&folder.path().join("a/b/c"), b"x").unwrap();
    assert_eq!(tool_io::kind(&folder.path().join("a/b/c")).unwrap(), Kind::File(1));
}

#[test]
fn a_read_only_file_a_folder_and_a_device_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("fixed");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    assert_eq!(tool_io::replace(&path, b"y").unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(tool_io::replace(folder.path(), b"y").unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(tool_io::read(folder.path(), 9).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(tool_io::read(Path::new("/dev/zero"), 9).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(tool_io::replace(Path::new("/dev/null"), b"").unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn reads_are_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text");
    std::fs::write(&path, format!("one\r\ntwo\n{}\nfour", "x".repeat(200_000))).unwrap();
    assert_eq!(tool_io::read(&path, 10).unwrap_err().kind(), ErrorKind::FileTooLarge);
    let window = |first, max_lines| Window { first, max_lines, max_bytes: 1_000, max_line_bytes: 5 };
    let check = |first, max_lines, expect: &[&str], cut: &[usize], more, seen| {
        let found = tool_io::read_lines(&path, window(first, max_lines)).unwrap();
        let text: Vec<_> = found.lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(
            (text, found.cut, found.more, found.seen),
            (expect.iter().map(|line| (*line).into()).collect(), cut.to_vec(), more, seen)
        );
    };
    check(1, 2, &["one", "two"], &[], true, 2);
    check(2, 9, &["two", "xxxxx", "four"], &[1], false, 4);
    check(4, 1, &["four"], &[], false, 4);
    check(9, 1, &[], &[], false, 4);
    let tight = Window { first: 1, max_lines: 9, max_bytes: 4, max_line_bytes: 5 };
    assert_eq!(tool_io::read_lines(&path, tight).unwrap().lines.len(), 1);
}

//! The built `foreman` says what is not there yet.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::process::Command;

fn check(arguments: &[&str], code: i32, says: &str) {
    let output = Command::new(env!("CARGO_BIN_EXE_foreman")).args(arguments).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
    assert!(text.contains(says), "{arguments:?}: {text}");
}

#[test]
fn what_is_missing_exits_2_and_says_so() {
    check(&["--version"], 0, env!("CARGO_PKG_VERSION"));
    check(&["--help"], 0, "Not there yet");
    check(&["run", "ISSUES.jsonl"], 2, "`foreman run` is not there yet");
    check(&["rnu"], 2, "there is no command `rnu`");
    check(&[], 2, "a command is missing");
}

//! Each program runs offline in a project with bundles of scripted answers, and prints what it should.

#![allow(clippy::disallowed_methods, reason = "a test outside of the workspace looks at real files")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// A fresh project with the bundles of this crate.
fn project(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("consumer").join(name);
    let _ = fs::remove_dir_all(&root);
    let (bundles, src) = (root.join("project/.amplifier/bundles"), root.join("project/src"));
    fs::create_dir_all(&bundles).unwrap();
    fs::create_dir_all(&src).unwrap();
    fs::write(src.join("lib.rs"), "pub fn subtract(a: i32, b: i32) -> i32 { a + b }\n").unwrap();
    for entry in fs::read_dir(Path::new(HERE).join("bundles")).unwrap() {
        let file = entry.unwrap().path();
        fs::copy(&file, bundles.join(file.file_name().unwrap())).unwrap();
    }
    root
}

/// Runs a program, which prints what is expected.
fn check(name: &str, program: &str, expect: &str) {
    assert_eq!(printed(name, program), expect, "{name}");
}

/// Runs a program; what it printed.
fn printed(name: &str, program: &str) -> String {
    let root = project(name);
    let mut command = Command::new(program);
    command.current_dir(root.join("project")).env_clear().env("AMPLIFIER_HOME", root.join("home"));
    let output = command.output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name}: {} {stdout} {stderr}", output.status);
    stdout
}

#[test]
fn one_off() {
    let expect = "src/lib.rs:1 adds where it says that it subtracts\n";
    check("one_off", env!("CARGO_BIN_EXE_one_off"), expect);
}

#[test]
fn background_and_wait() {
    let expect = "completed: caches: Survey caches\ncompleted: tests: Find flaky tests\n";
    check("background_and_wait", env!("CARGO_BIN_EXE_background_and_wait"), expect);
}

#[test]
fn subscribe_and_react() {
    let expect = "found a leak and a race\nbuilt: false\n";
    check("subscribe_and_react", env!("CARGO_BIN_EXE_subscribe_and_react"), expect);
}

#[test]
fn many_turns() {
    check("many_turns", env!("CARGO_BIN_EXE_many_turns"), "you said and now?\ncompleted after 2 turns\n");
}

#[test]
fn tool_that_spawns() {
    let expect = "Who is customer 7?\n\nsummary of customer 7\nI looked it up\n";
    check("tool_that_spawns", env!("CARGO_BIN_EXE_tool_that_spawns"), expect);
}

#[test]
fn storage_of_mine() {
    check("storage_of_mine", env!("CARGO_BIN_EXE_storage_of_mine"), "2 messages, good day\n");
}

#[test]
fn trigger_of_mine() {
    let printed = printed("trigger_of_mine", env!("CARGO_BIN_EXE_trigger_of_mine"));
    // Two triggers fire at once: which one is first is left open.
    let mut lines: Vec<&str> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["\"manual\": \"threshold passed\"", "\"sqs\": \"a\"", "\"sqs\": \"b\""]);
}

#[test]
fn each_program_is_as_short_as_promised() {
    let mut programs = 0;
    for entry in fs::read_dir(Path::new(HERE).join("src/bin")).unwrap() {
        let file = entry.unwrap().path();
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("//!")).count();
        assert!(lines <= 30, "{}: {lines} lines", file.display());
        programs += 1;
    }
    assert_eq!(programs, 7);
}

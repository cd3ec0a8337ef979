//! The built `foreman`: its command line.

#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]

mod external;
mod issues;
mod kit;

use std::process::Command;

struct Told {
    stdout: String,
    stderr: String,
}

fn check(arguments: &[&str], code: i32) -> Told {
    let output = Command::new(env!("CARGO_BIN_EXE_foreman")).args(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
    Told { stdout, stderr }
}

#[test]
fn help_and_version_are_results() {
    let version = check(&["--version"], 0);
    assert_eq!(version.stdout, format!("foreman {}\n", env!("CARGO_PKG_VERSION")));
    let help = check(&["--help"], 0);
    assert!(help.stdout.contains("Talk to the foreman") && help.stderr.is_empty());
    let run = check(&["run", "--help"], 0).stdout;
    for flag in ["--max-concurrent", "--bundle", "--json", "--max-budget-usd", "--timeout", "--cwd"] {
        assert!(run.contains(flag), "{flag}: {run}");
    }
}

#[test]
fn a_command_line_that_is_wrong_exits_2() {
    for wrong in [
        &[][..],
        &["rnu"],
        &["run"],
        &["run", "a", "b"],
        &["run", "a", "--max-concurrent", "0"],
        &["run", "a", "--max-budget-usd", "much"],
        &["run", "a", "--timeout", "5"],
    ] {
        let told = check(wrong, 2);
        assert!(told.stdout.is_empty() && !told.stderr.is_empty(), "{wrong:?}");
    }
}

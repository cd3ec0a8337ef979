//! `foreman`: hands issues to a crew of workers.
//!
//! The commands are known, so that a typing error is told from a command that is
//! not there yet. Never pretends to have done something: what is missing exits 2.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a binary speaks to its user")]

use std::process::ExitCode;

const COMMANDS: &[&str] = &[
    "init", "start", "stop", "drain", "pause", "resume", "status", "doctor", "run", "add", "issue", "import",
    "export", "ps", "logs", "wait", "runs", "trigger", "open", "token", "chat",
];

const USAGE: &str = "usage: foreman <command> [options]; see `foreman --help`";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--version" | "-V") => println!("foreman {}", env!("CARGO_PKG_VERSION")),
        Some("--help" | "-h" | "help") => println!("{}", help()),
        Some(command) if COMMANDS.contains(&command) => {
            eprintln!("error: `foreman {command}` is not there yet; use `amplifier run` for single sessions");
            return ExitCode::from(2);
        }
        Some(other) => {
            eprintln!("error: there is no command `{other}`; {USAGE}");
            return ExitCode::from(2);
        }
        None => {
            eprintln!("error: a command is missing; {USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn help() -> String {
    let list = COMMANDS.join(", ");
    format!("Hands issues to a crew of workers.\n\n{USAGE}\n\nNot there yet, each exits with 2: {list}")
}

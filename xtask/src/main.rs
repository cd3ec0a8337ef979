//! Development tasks, run as `cargo xtask <task>`.
//!
//! Guarantees: exit 0 when the task found nothing wrong, 1 when it did, 2 for a
//! wrong command line. Never needs more than Rust and a C compiler: what is
//! missing beyond that is skipped with a line that says so.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a tool for developers: it prints, and it has no session whose clock or files it must respect"
)]

mod bench;
mod ci;
mod crash;
mod docs;
mod error;
mod fuzz;
mod mcp;
mod pages;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

use error::Error;

const USAGE: &str = "\
Usage: cargo xtask <task>

  test [args]               all tests, doc tests included; args go to `cargo test --workspace`
  ci [--without-tests]      format, clippy, tidy, builds of single crates, tests, documentation
  tidy                      the rules of the architecture that a compiler does not check
  bench [area…] [options]   measure a release build; prints one table, writes target/bench/bench.json, in which
                            areas that are not measured again stay as they were
      --runs N              runs of each measurement (default: 15)
      --quick               in short: 3 runs, small sizes
      --out FILE            write that file instead
      --against FILE        compare with the file of an earlier run
      --from FILE           measure nothing, show what is in that file
      --markdown            print the figures as Markdown
      --into FILE           write them into this document, between its marks
      --list                name the areas
  crash [options]           kill processes at each system call and at random, and look at what is left;
                            prints a table, keeps the folder of what was wrong
      --points N|all        system calls that are tried of each campaign (default: all)
      --kills N             kills of a busy owner of background sessions (default: 1000)
      --seed S              of the moments of these kills (default: 1)
      --damages N           of each format of files (default: 40)
      --only store|background|foreman|power|damage|controls
      --owner program|library   who is killed: `amplifier background start`, or the library alone
  fuzz [target…] [options]  attack what reads files and requests with damaged ones; prints a table
      --executions N        of each target (default: 1000000)
      --seed S              repeat the one case of a seed
  pages [FOLDER]            the dashboard in headless Chromium, both themes, desk and phone; pictures go to
                            FOLDER (default: target/pages)
  mcp                       MCP with official servers, conformance suite and inspector, fetched with npm and pip
  docs                      number of tests of each program and suite; fails below the floors of docs/promises.md
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if matches!(error, Error::Usage(_)) {
                eprint!("\n{USAGE}");
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn dispatch(args: &[String]) -> Result<(), Error> {
    let (task, rest) = args.split_first().ok_or_else(|| Error::Usage("no task given".into()))?;
    match task.as_str() {
        "test" => test::run(rest),
        "ci" => ci::run(rest),
        "tidy" => no_arguments(task, rest).and_then(|()| tidy::run()),
        "bench" => bench::run(rest),
        "crash" => crash::run(rest),
        "fuzz" => fuzz::run(rest),
        "mcp" => no_arguments(task, rest).and_then(|()| mcp::run()),
        "pages" => pages::run(rest),
        "docs" => no_arguments(task, rest).and_then(|()| docs::run()),
        bench::process::MEASURE => bench::process::measure_here(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        other => Err(Error::Usage(format!("no task `{other}`"))),
    }
}

fn no_arguments(task: &str, rest: &[String]) -> Result<(), Error> {
    match rest.first() {
        None => Ok(()),
        Some(word) => Err(Error::Usage(format!("`{task}` takes no argument `{word}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_exits_2() {
        for line in [
            "",
            "nonsense",
            "tidy --fast",
            "docs x",
            "mcp x",
            "ci --fast",
            "crash --fast",
            "fuzz --fast",
            "bench --runs",
            "bench --runs x",
        ] {
            let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let error = dispatch(&args).unwrap_err();
            assert_eq!(error.exit_code(), 2, "`{line}`: {error}");
        }
    }
}

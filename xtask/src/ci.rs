//! `cargo xtask ci`: everything that must hold before a change is taken in.
//!
//! Guarantees: steps run in a fixed order, each prints its name and its
//! duration, the first failure stops, and what is skipped is named.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::{docs, run, tidy};

/// What a step does.
enum Work {
    /// A cargo command: its arguments, and variables of its environment.
    Cargo(&'static [&'static str], &'static [(&'static str, &'static str)]),
    /// The rules of [`tidy`].
    Tidy,
    /// The counts of [`docs`].
    Counts,
    /// `cargo test` of the crate that uses the library from outside the workspace.
    Consumer,
}

/// One step.
struct Step {
    name: &'static str,
    /// True for what `--without-tests` leaves out.
    is_test: bool,
    work: Work,
}

const fn check(name: &'static str, args: &'static [&'static str]) -> Step {
    Step { name, is_test: false, work: Work::Cargo(args, &[]) }
}

const CONSUMER: &str = "tests/consumer/Cargo.toml";

const STEPS: &[Step] = &[
    check("format", &["fmt", "--all", "--check"]),
    Step { name: "tidy", is_test: false, work: Work::Tidy },
    check("clippy", &["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]),
    check("kernel alone", &["build", "-p", "amplifier-core"]),
    check("bundles without features", &["build", "-p", "amplifier-bundle", "--no-default-features"]),
    check("foundation without features", &["build", "-p", "amplifier-foundation", "--no-default-features"]),
    Step {
        name: "tests",
        is_test: true,
        work: Work::Cargo(&["test", "--workspace", "--lib", "--bins", "--tests", "--examples"], &[]),
    },
    Step { name: "doc tests", is_test: true, work: Work::Cargo(&["test", "--workspace", "--doc"], &[]) },
    Step { name: "counts of tests", is_test: false, work: Work::Counts },
    Step { name: "consumer", is_test: false, work: Work::Consumer },
    Step {
        name: "documentation",
        is_test: false,
        work: Work::Cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")]),
    },
];

/// How a step ended.
enum Ended {
    Done,
    Skipped(String),
}

/// Runs the steps; `--without-tests` leaves out what `cargo xtask test` has run.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let with_tests = match args {
        [] => true,
        [flag] if flag == "--without-tests" => false,
        [word, ..] => return Err(Error::Usage(format!("`ci` takes no argument `{word}`"))),
    };
    let mut durations = Vec::new();
    for step in STEPS {
        println!("==> {}", step.name);
        let began = Instant::now();
        let ended = match step.is_test && !with_tests {
            true => Ok(Ended::Skipped("--without-tests".into())),
            false => work(&step.work),
        };
        durations.push((step.name, began.elapsed(), outcome(&ended)));
        println!("<== {}: {} in {}", step.name, outcome(&ended), seconds(began.elapsed()));
        if let Err(error) = ended {
            table(&durations);
            return Err(error);
        }
    }
    table(&durations);
    Ok(())
}

fn work(work: &Work) -> Result<Ended, Error> {
    match work {
        Work::Cargo(args, variables) => {
            run::show(run::cargo(*args).envs(variables.iter().copied()))?;
        }
        Work::Tidy => tidy::run()?,
        Work::Counts => docs::run()?,
        Work::Consumer if !Path::new(&run::root()).join(CONSUMER).exists() => {
            return Ok(Ended::Skipped(format!("{CONSUMER} is not there yet")));
        }
        Work::Consumer => {
            let mut test =
                run::cargo(["test", "--locked", "--manifest-path", CONSUMER, "--test", "programs"]);
            run::show(test.env("CARGO_TARGET_DIR", run::target_dir()))?;
        }
    }
    Ok(Ended::Done)
}

fn outcome(ended: &Result<Ended, Error>) -> String {
    match ended {
        Ok(Ended::Done) => "ok".into(),
        Ok(Ended::Skipped(why)) => format!("skipped ({why})"),
        Err(_) => "FAILED".into(),
    }
}

fn table(durations: &[(&str, Duration, String)]) {
    println!();
    for (name, took, outcome) in durations {
        println!("{name:<30} {:>9}  {outcome}", seconds(*took));
    }
    let total = durations.iter().map(|(_, took, _)| *took).sum();
    println!("{:<30} {:>9}", "total", seconds(total));
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

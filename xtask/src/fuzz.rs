//! `cargo xtask fuzz`: every fuzz target of the workspace, a million executions each.
//!
//! Guarantees: targets are found by asking the built test programs, so a new one is never forgotten; each runs in a
//! process of its own, at low priority, one after the other; each ends with a row: executions, time, the
//! slowest one, what was found. Never here: what a target does; that stands beside its format, in a module `fuzz`.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::error::Error;
use crate::run;

/// The crates that own formats.
const PACKAGES: [&str; 8] = [
    "amplifier-core",
    "amplifier-trigger",
    "amplifier-bundle",
    "amplifier-foundation",
    "amplifier-issue",
    "amplifier-background",
    "amplifier-crew",
    "amplifier-modules",
];
const EXECUTIONS: u64 = 1_000_000;
/// Lines of a failure that are shown.
const SHOWN: usize = 60;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// Parts of names; none: every target.
    targets: Vec<String>,
    executions: u64,
    /// Of one case that is to be repeated.
    seed: Option<u128>,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self, Error> {
        let mut asked = Self { targets: Vec::new(), executions: EXECUTIONS, seed: None };
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let usage = || Error::Usage(format!("`fuzz {arg}` needs a number"));
            let value = |rest: &mut std::slice::Iter<'_, String>| rest.next().cloned().unwrap_or_default();
            match arg.as_str() {
                "--executions" => asked.executions = value(&mut rest).parse().map_err(|_| usage())?,
                "--seed" => asked.seed = Some(value(&mut rest).parse().map_err(|_| usage())?),
                flag if flag.starts_with('-') => {
                    return Err(Error::Usage(format!("`fuzz` takes no argument `{flag}`")));
                }
                target => asked.targets.push(target.to_owned()),
            }
        }
        Ok(asked)
    }

    fn wants(&self, target: &str) -> bool {
        self.targets.is_empty() || self.targets.iter().any(|part| target.contains(part.as_str()))
    }
}

/// A target in its test program.
struct Target {
    package: String,
    test: String,
    program: PathBuf,
}

/// How one ended.
struct Row {
    target: String,
    executions: u64,
    slowest_us: u64,
    seconds: f64,
    /// What it printed, if it failed.
    failure: Option<String>,
}

/// Runs the targets that were asked for.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let asked = Asked::parse(args)?;
    let targets: Vec<Target> = targets()?.into_iter().filter(|one| asked.wants(&name(one))).collect();
    if targets.is_empty() {
        return Err(Error::Usage(format!("no fuzz target is named {}", asked.targets.join(" or "))));
    }
    println!("{:<55} {:>10} {:>9} {:>12}  result", "target", "executions", "time", "slowest");
    let mut rows = Vec::with_capacity(targets.len());
    for target in &targets {
        let row = attack(target, &asked)?;
        let Row { target, executions, slowest_us, seconds, .. } = &row;
        let result = if row.failure.is_some() { "FAILED" } else { "ok" };
        let slowest_ms = *slowest_us as f64 / 1_000.0;
        println!("{target:<55} {executions:>10} {seconds:>7.1} s {slowest_ms:>9.2} ms  {result}");
        rows.push(row);
    }
    let failed: Vec<(&Row, &String)> =
        rows.iter().filter_map(|row| Some((row, row.failure.as_ref()?))).collect();
    for (row, failure) in &failed {
        println!("\n{}:", row.target);
        failure.lines().take(SHOWN).for_each(|line| println!("  {line}"));
        println!("  repeat it: cargo xtask fuzz {} --seed <BOLERO_RANDOM_SEED of above>", row.target);
    }
    match failed.len() {
        0 => Ok(()),
        count => Err(Error::Found { check: "fuzz", count }),
    }
}

fn name(target: &Target) -> String {
    let package = target.package.trim_start_matches("amplifier-");
    format!("{package}::{}", target.test)
}

/// Builds the test programs, and asks them.
fn targets() -> Result<Vec<Target>, Error> {
    let packages = PACKAGES.iter().flat_map(|package| ["-p", package]);
    let args = ["test", "--profile", "fuzz", "--lib", "--no-run", "--quiet", "--message-format=json"];
    let mut targets = Vec::new();
    for suite in run::built(&mut run::cargo(args.into_iter().chain(packages)))? {
        let listing = run::read(Command::new(&suite.path).args(["--list", "--format", "terse"]))?;
        let tests = listing.lines().filter_map(|line| line.strip_suffix(": test"));
        let fuzzed = tests.filter(|test| test.split("::").any(|part| part == "fuzz"));
        targets.extend(fuzzed.map(|test| Target {
            package: suite.package.clone(),
            test: test.to_owned(),
            program: suite.path.clone(),
        }));
    }
    targets.sort_by_key(name);
    Ok(targets)
}

fn attack(target: &Target, asked: &Asked) -> Result<Row, Error> {
    let mut command = Command::new("nice");
    command.args(["-n", "15"]).arg(&target.program);
    command.args([target.test.as_str(), "--exact", "--nocapture", "--test-threads=1"]).stdin(Stdio::null());
    // The environment stands above what a target says of its ordinary run.
    let executions = if asked.seed.is_some() { 0 } else { asked.executions };
    command.env("BOLERO_RANDOM_ITERATIONS", executions.to_string());
    command.env("BOLERO_RANDOM_TEST_TIME_MS", u64::from(u32::MAX).to_string());
    if let Some(seed) = asked.seed {
        command.env("BOLERO_RANDOM_SEED", seed.to_string());
    }
    let begun = Instant::now();
    let output = command.output().map_err(|source| Error::Start { command: run::line(&command), source })?;
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let [said, complained] = &printed;
    let (executions, slowest_us) = counted(said).unwrap_or_default();
    let failure = (!output.status.success()).then(|| format!("{complained}\n{said}"));
    Ok(Row { target: name(target), executions, slowest_us, seconds: begun.elapsed().as_secs_f64(), failure })
}

/// What a target says at its end: `fuzzed 1000000 slowest_us 512`.
fn counted(said: &str) -> Option<(u64, u64)> {
    let line = said.lines().find_map(|line| line.split_once("fuzzed ").map(|(_, rest)| rest))?;
    let (count, slowest) = line.split_once(" slowest_us ")?;
    Some((count.parse().ok()?, slowest.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked, Error> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_line_chooses_targets_and_how_often_they_run() {
        let asked = parse("webhook cron --executions 5000").unwrap();
        assert_eq!((asked.executions, asked.seed), (5_000, None));
        assert!(asked.wants("trigger::webhook::fuzz::webhook_calls") && !asked.wants("core::fuzz::messages"));
        let all = parse("--seed 18941062287044942462312765863378128962").unwrap();
        assert!(all.wants("anything") && all.seed.is_some());
        for line in ["--executions", "--executions many", "--seed x", "--fast"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn what_a_target_says_is_read() {
        assert_eq!(counted("running 1 test\ntest a ... fuzzed 2000 slowest_us 17\nok"), Some((2_000, 17)));
        assert_eq!(counted("running 0 tests"), None);
    }

    #[test]
    fn the_crates_that_have_targets_are_known() {
        let crates = run::root().join("crates");
        for entry in std::fs::read_dir(crates).unwrap() {
            let folder = entry.unwrap().path();
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let package = folder.file_name().unwrap().to_string_lossy().into_owned();
            assert_eq!(
                manifest.contains("amplifier-fuzz"),
                PACKAGES.contains(&package.as_str()),
                "{package}"
            );
        }
    }
}

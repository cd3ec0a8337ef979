//! `cargo xtask crash`: processes that are killed at each system call and at random, and what is left of their work.
//!
//! Guarantees: programs are built once, before anything is killed; each campaign ends with a row that says what
//! was tried, hit and looked at; what was wrong is printed with what repeats it and the folder that was kept.
//! Every process that a campaign starts has a group of its own, and ends with it.
//! Never here: what is judged, and how; that is the test kit's.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::error::Error;
use crate::run;

/// The program of the test kit that runs one campaign.
const CAMPAIGN: &str = "crash-campaign";
/// What is built: package and programs.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("amplifier-tests", &[CAMPAIGN, "store-worker", "background-worker"]),
    ("amplifier-cli", &["amplifier"]),
    ("foreman", &["foreman"]),
];
/// The campaigns of each `--only`.
const ONLY: &[(&str, &[&str])] = &[
    ("store", &["store"]),
    ("background", &["database", "files", "faults", "kills", "hangs"]),
    ("foreman", &["foreman"]),
    ("power", &["power", "turns"]),
    ("damage", &["damage"]),
    ("controls", &["controls"]),
];

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    campaigns: Vec<&'static str>,
    /// Flags that every campaign gets.
    flags: Vec<String>,
}

impl Asked {
    fn parse(args: &[String]) -> Result<Self, Error> {
        let all = ONLY.iter().flat_map(|(_, campaigns)| *campaigns).copied().collect();
        let mut asked = Self { campaigns: all, flags: Vec::new() };
        let mut rest = args.iter();
        while let Some(flag) = rest.next() {
            let usage = |wanted: &str| Error::Usage(format!("`crash {flag}` needs {wanted}"));
            let value = rest.next().map(String::as_str).unwrap_or_default();
            match flag.as_str() {
                "--only" => {
                    let known = ONLY.iter().find(|(name, _)| *name == value);
                    asked.campaigns = known
                        .ok_or_else(|| usage("store, background, foreman, power, damage or controls"))?
                        .1
                        .to_vec();
                }
                "--points" if value == "all" || value.parse::<usize>().is_ok() => asked.pass(flag, value),
                "--points" => return Err(usage("a number, or `all`")),
                "--kills" | "--hangs" | "--damages" | "--seed" if value.parse::<u64>().is_ok() => {
                    asked.pass(flag, value)
                }
                "--kills" | "--hangs" | "--damages" | "--seed" => return Err(usage("a number")),
                "--owner" if matches!(value, "library" | "program") => asked.pass(flag, value),
                "--owner" => return Err(usage("library or program")),
                _ => return Err(Error::Usage(format!("`crash` takes no argument `{flag}`"))),
            }
        }
        Ok(asked)
    }

    fn pass(&mut self, flag: &str, value: &str) {
        self.flags.extend([flag.to_owned(), value.to_owned()]);
    }
}

/// One campaign, as its program tells it.
#[derive(Debug, Deserialize)]
struct Row {
    campaign: String,
    of: usize,
    tried: usize,
    hit: usize,
    acknowledged: usize,
    checked: String,
    violations: Vec<Violation>,
    skipped: Option<String>,
    seconds: f64,
}

#[derive(Debug, Deserialize)]
struct Violation {
    at: String,
    flaws: Vec<String>,
    kept: Option<PathBuf>,
}

/// Runs the campaigns. By default the long form: each point, 1,000 kills, 100 hangs, and 200 kills of a foreman.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let asked = Asked::parse(args)?;
    let folder = build()?;
    let mut rows = Vec::new();
    for campaign in &asked.campaigns {
        println!("==> {campaign}");
        rows.push(row(&folder, campaign, &asked.flags)?);
    }
    table(&rows);
    let violations: Vec<(&Row, &Violation)> =
        rows.iter().flat_map(|row| row.violations.iter().map(move |one| (row, one))).collect();
    for (row, violation) in &violations {
        println!("\n{}, at {}", row.campaign, violation.at);
        violation.flaws.iter().for_each(|flaw| println!("  {flaw}"));
        if let Some(kept) = &violation.kept {
            println!("  kept: {}", kept.display());
        }
    }
    match violations.len() {
        0 => Ok(()),
        count => Err(Error::Found { check: "crash", count }),
    }
}

/// Builds the programs; the folder that they lie in.
fn build() -> Result<PathBuf, Error> {
    for (package, programs) in PROGRAMS {
        let bins = programs.iter().flat_map(|name| ["--bin", name]);
        run::show(&mut run::cargo(["build", "--quiet", "-p", package].into_iter().chain(bins)))?;
    }
    Ok(run::target_dir().join("debug"))
}

fn row(folder: &Path, campaign: &str, flags: &[String]) -> Result<Row, Error> {
    let mut command = Command::new(folder.join(CAMPAIGN));
    command.arg(campaign).args(flags).stdin(Stdio::null()).stderr(Stdio::inherit());
    // Its exit code says what its row says.
    let output = command.output();
    let output = output.map_err(|source| Error::Start { command: run::line(&command), source })?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let last = printed.lines().last().unwrap_or_default();
    serde_json::from_str(last).map_err(|_| Error::Failed {
        command: run::line(&command),
        status: output.status.to_string(),
        stderr: "it told no result".to_owned(),
    })
}

fn table(rows: &[Row]) {
    println!(
        "\n{:<40} {:>6} {:>6} {:>6} {:>8} {:>9} {:>8}",
        "campaign", "of", "tried", "hit", "acked", "wrong", "took"
    );
    for row in rows {
        let Row { campaign, of, tried, hit, acknowledged, .. } = row;
        let (wrong, took) = (row.violations.len(), row.seconds);
        println!("{campaign:<40} {of:>6} {tried:>6} {hit:>6} {acknowledged:>8} {wrong:>9} {took:>6.1} s");
        let more = row.skipped.as_ref().map_or_else(|| row.checked.clone(), |why| format!("SKIPPED: {why}"));
        println!("    {more}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked, Error> {
        Asked::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_line_chooses_campaigns_and_how_much_of_them() {
        let asked = parse("--only background --points 20 --kills 5 --seed 7").unwrap();
        assert_eq!(asked.campaigns, ["database", "files", "faults", "kills", "hangs"]);
        assert_eq!(asked.flags, ["--points", "20", "--kills", "5", "--seed", "7"]);
        assert_eq!(parse("").unwrap().campaigns.len(), 11);
        assert_eq!(parse("--only foreman").unwrap().campaigns, ["foreman"]);
        assert_eq!(parse("--only background --hangs 9").unwrap().flags, ["--hangs", "9"]);
        assert_eq!(parse("--only damage --damages 9").unwrap().flags, ["--damages", "9"]);
        for line in ["--only nothing", "--points few", "--kills", "--damages x", "--seed x", "--fast"] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}

//! `cargo xtask bench`: what a release build costs, as one table and as one file.
//!
//! Guarantees: each figure is the median of its runs with the least and the most
//! beside it, and its rival was measured in the same run; what cannot be measured here is named with the reason. A
//! figure that misses what is wanted is marked and does not fail the task: times differ between machines.

mod background;
mod cli;
mod figure;
mod foreman;
mod growth;
mod http;
mod library;
mod machine;
mod markdown;
pub(crate) mod process;
mod report;
mod router;
mod spawn;
mod startup;
mod store;
mod stored;
mod streams;
mod table;
mod terminal;

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run;
use machine::Machine;
use report::Report;
use stored::Stored;

/// Something that can be measured. To add one: a file beside this, and a line in [`AREAS`].
struct Area {
    /// The word on the command line, and the heading of its figures.
    name: &'static str,
    /// One clause for `--list`.
    about: &'static str,
    /// Fills the report, with this many runs for each figure.
    measure: fn(usize, &mut Report) -> Result<(), Error>,
}

const AREAS: &[Area] = &[
    Area { name: "startup", about: "whole processes of `amplifier`", measure: startup::measure },
    Area {
        name: "cli",
        about: "the chat at a terminal, single commands, MCP servers, size of the program",
        measure: cli::measure,
    },
    Area { name: "http", about: "whole processes against a server on loopback", measure: http::measure },
    Area {
        name: "library",
        about: "storage, bundles and spawning in one process",
        measure: library::measure,
    },
    Area { name: "spawn", about: "rate and memory of sessions in one process", measure: spawn::measure },
    Area { name: "router", about: "events to their readers in one process", measure: router::measure },
    Area {
        name: "store",
        about: "the store in a file, alone and shared by processes",
        measure: store::measure,
    },
    Area {
        name: "background",
        about: "runs, pools and timers of background sessions in one process",
        measure: background::measure,
    },
    Area {
        name: "foreman",
        about: "a crew with many issues, its daemon and its dashboard",
        measure: foreman::measure,
    },
    Area {
        name: "growth",
        about: "what a log, subscribers, sessions, issues and a queue cost as they grow",
        measure: growth::measure,
    },
];

/// Runs of each figure, and the same in short.
const RUNS: usize = 15;
const QUICK_RUNS: usize = 3;

#[derive(Debug, Default, PartialEq)]
struct Options {
    areas: Vec<String>,
    runs: Option<usize>,
    quick: bool,
    against: Option<PathBuf>,
    from: Option<PathBuf>,
    out: Option<PathBuf>,
    into: Option<PathBuf>,
    markdown: bool,
    list: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Error> {
        let mut options = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Error::Usage(format!("`{arg}` wants a value")));
            match arg.as_str() {
                "--runs" => options.runs = Some(positive(value()?)?),
                "--quick" => options.quick = true,
                "--against" => options.against = Some(value()?.into()),
                "--from" => options.from = Some(value()?.into()),
                "--out" => options.out = Some(value()?.into()),
                "--into" => options.into = Some(value()?.into()),
                "--markdown" => options.markdown = true,
                "--list" => options.list = true,
                area if AREAS.iter().any(|known| known.name == area) => options.areas.push(area.to_owned()),
                other => {
                    return Err(Error::Usage(format!("no area or option `{other}`; see `bench --list`")));
                }
            }
        }
        Ok(options)
    }

    fn wants(&self, area: &str) -> bool {
        self.areas.is_empty() || self.areas.iter().any(|name| name == area)
    }
}

fn positive(text: &str) -> Result<usize, Error> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::Usage(format!("`{text}` is no number of runs")))
}

/// Measures the areas that are named, or all; or shows what was measured before.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let options = Options::parse(args)?;
    if options.list {
        AREAS.iter().for_each(|area| println!("{:<12} {}", area.name, area.about));
        return Ok(());
    }
    let before = options.against.as_deref().map(Stored::read).transpose()?;
    let run = match &options.from {
        Some(path) => {
            let run = Stored::read(path)?;
            show(&run, before.as_ref(), &options);
            run
        }
        None => measure(&options, before.as_ref())?,
    };
    if options.markdown {
        print!("{}", markdown::of(&run));
    }
    if let Some(document) = &options.into {
        markdown::put_into(document, &run)?;
    }
    let areas = run.areas.iter().filter(|area| options.wants(&area.area));
    match areas.map(|area| area.failed.len()).sum() {
        0 => Ok(()),
        count => Err(Error::Found { check: "bench", count }),
    }
}

/// Shows what was measured before.
fn show(run: &Stored, before: Option<&Stored>, options: &Options) {
    if options.markdown {
        return;
    }
    print!("{}\n{}", run.machine, table::head(before.is_some()));
    for area in run.areas.iter().filter(|area| options.wants(&area.area)) {
        print!("{}", table::report(area, before));
    }
}

/// Measures, and writes the file anew after each area.
fn measure(options: &Options, before: Option<&Stored>) -> Result<Stored, Error> {
    let runs = options.runs.unwrap_or(if options.quick { QUICK_RUNS } else { RUNS });
    let path = options.out.clone().map_or_else(|| folder().map(|folder| folder.join("bench.json")), Ok)?;
    let machine = Machine::look(&folder()?);
    let kept = Stored::read(&path).ok().filter(|kept| kept.machine.is_like(&machine));
    let areas = kept.map(|kept| kept.areas).unwrap_or_default();
    let mut run = Stored { machine, areas };
    print!("{}\n{}", run.machine, table::head(before.is_some()));
    for area in AREAS.iter().filter(|area| options.wants(area.name)) {
        let mut report = Report::new(area.name, options.quick);
        (area.measure)(runs, &mut report)?;
        print!("{}", table::report(&report, before));
        run.put(report);
        run.write(&path)?;
    }
    println!("\nwritten to {}", path.display());
    Ok(run)
}

/// `target/bench`, made if it is not there.
fn folder() -> Result<PathBuf, Error> {
    let folder = run::target_dir().join("bench");
    std::fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
    Ok(folder)
}

/// A folder that goes away with the value.
struct TempFolder(PathBuf);

impl TempFolder {
    /// Makes an empty folder in `parent`. Names are unique within this process.
    fn new(parent: &Path) -> Result<Self, Error> {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("xtask-bench-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(Error::file(&path))?;
        Ok(Self(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("warning: {} is left behind: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_options_mix() {
        let args = ["--runs", "3", "startup", "--against", "old.json", "--quick"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        let (areas, against) = (vec!["startup".to_owned()], Some("old.json".into()));
        let expect = Options { areas, runs: Some(3), quick: true, against, ..Options::default() };
        assert_eq!(options, expect);
        assert!(options.wants("startup") && !options.wants("http") && Options::default().wants("http"));
        assert!(Options::parse(&["--runs".into(), "0".into()]).is_err());
    }

    #[test]
    fn a_temporary_folder_goes_away() {
        let folder = TempFolder::new(&std::env::temp_dir()).unwrap();
        let path = folder.path().to_owned();
        assert!(path.is_dir());
        drop(folder);
        assert!(!path.exists());
    }
}

//! `cargo xtask bench`: what a release build costs, as a table and as JSON.
//!
//! Guarantees: each figure is the median of its runs with the least and the most
//! beside it; what cannot be measured here is named with the reason. A figure over
//! its bound is marked and does not fail the task: times differ between machines.

mod background;
mod foreman;
mod http;
mod library;
pub(crate) mod process;
mod report;
mod router;
mod spawn;
mod startup;
mod store;
mod streams;

use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::run;
use report::Report;

/// Something that can be measured. To add one: a file beside this, and a line in [`AREAS`].
struct Area {
    /// The word on the command line, and the name of the JSON file.
    name: &'static str,
    /// One clause for `--list`.
    about: &'static str,
    /// Fills the report, with this many runs for each figure.
    measure: fn(usize, &mut Report) -> Result<(), Error>,
}

const AREAS: &[Area] = &[
    Area { name: "startup", about: "whole processes of `amplifier`", measure: startup::measure },
    Area { name: "http", about: "whole processes against a server on loopback", measure: http::measure },
    Area {
        name: "library",
        about: "storage, bundles and spawning in one process",
        measure: library::measure,
    },
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
    Area { name: "spawn", about: "rate and memory of sessions in one process", measure: spawn::measure },
    Area { name: "router", about: "events to their readers in one process", measure: router::measure },
];

#[derive(Debug, Default, PartialEq)]
struct Options {
    areas: Vec<String>,
    runs: usize,
    against: Option<PathBuf>,
    list: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, Error> {
        let mut options = Self { runs: 15, ..Self::default() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| Error::Usage(format!("`{arg}` wants a value")));
            match arg.as_str() {
                "--runs" => options.runs = positive(value()?)?,
                "--against" => options.against = Some(value()?.into()),
                "--list" => options.list = true,
                area if AREAS.iter().any(|known| known.name == area) => options.areas.push(area.to_owned()),
                other => {
                    return Err(Error::Usage(format!("no area or option `{other}`; see `bench --list`")));
                }
            }
        }
        Ok(options)
    }
}

fn positive(text: &str) -> Result<usize, Error> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| Error::Usage(format!("`{text}` is no number of runs")))
}

/// Measures the areas that are named, or all.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let options = Options::parse(args)?;
    if options.list {
        AREAS.iter().for_each(|area| println!("{:<12} {}", area.name, area.about));
        return Ok(());
    }
    let before = options.against.as_deref().map(report::Stored::read).transpose()?;
    let mut failures = 0;
    for area in AREAS {
        if !options.areas.is_empty() && !options.areas.iter().any(|name| name == area.name) {
            continue;
        }
        let mut report = Report::new(area.name);
        (area.measure)(options.runs, &mut report)?;
        print!("{}", report.table(before.as_ref()));
        let path = folder()?.join(format!("{}.json", area.name));
        std::fs::write(&path, report.json()).map_err(Error::file(&path))?;
        println!("written to {}", path.display());
        failures += report.failures();
    }
    match failures {
        0 => Ok(()),
        count => Err(Error::Found { check: "bench", count }),
    }
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
        let args = ["--runs", "3", "startup", "--against", "old.json"].map(str::to_owned);
        let options = Options::parse(&args).unwrap();
        let areas = vec!["startup".to_owned()];
        assert_eq!(options, Options { areas, runs: 3, against: Some("old.json".into()), list: false });
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

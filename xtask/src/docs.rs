//! `cargo xtask docs`: the numbers of tests that the documents quote.
//!
//! Guarantees: tests are counted by asking the built test programs, so those
//! that a macro makes count too. It fails if a suite has fewer tests than its
//! floor, or fewer than `docs/promises.md` says that it has.

use std::process::Command;

use crate::error::Error;
use crate::run;

/// A suite of `amplifier-tests`: the module in which its tests stand, and how many there must be.
const SUITES: [(&str, usize); 3] = [("spawn_scenarios", 35), ("router_events", 20), ("consumers", 122)];

/// How many tests there must be in all.
const FLOOR: usize = 500;

/// The name that all tests together have in the page.
const ALL: &str = "all tests";

/// The page that quotes the counts.
const PAGE: &str = "docs/promises.md";

/// Prints the number of tests of each program and suite, and looks whether they are as many as promised.
pub(crate) fn run() -> Result<(), Error> {
    let args = ["test", "--workspace", "--no-run", "--message-format=json", "--quiet"];
    let (mut rows, mut suites) = (Vec::new(), Vec::new());
    for program in run::built(&mut run::cargo(args))?.into_iter().filter(|program| program.has_tests) {
        let listing = run::read(Command::new(&program.path).args(["--list", "--format", "terse"]))?;
        let kind = if program.kind == "test" { "integration" } else { "unit" };
        rows.push((format!("{} {kind} ({})", program.package, program.target), count(&listing, "")));
        if program.package == "tests" && program.kind == "test" {
            suites =
                SUITES.map(|(suite, floor)| (suite, floor, count(&listing, &format!("{suite}::")))).into();
        }
    }
    let listing = run::read(&mut run::cargo(["test", "--workspace", "--doc", "--quiet", "--", "--list"]))?;
    rows.push(("doc tests".into(), count(&listing, "")));
    rows.sort();
    for (program, tests) in rows.iter().filter(|(_, tests)| *tests > 0) {
        println!("{program:<50} {tests:>6}");
    }
    suites.push((ALL, FLOOR, rows.iter().map(|(_, tests)| tests).sum::<usize>()));
    println!();
    for (suite, floor, tests) in &suites {
        println!("{suite:<50} {tests:>6}  of {floor}");
    }
    let page = run::root().join(PAGE);
    let page = std::fs::read_to_string(&page).map_err(Error::file(&page))?;
    let faults = faults(&page, &suites);
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() { Ok(()) } else { Err(Error::Found { check: "docs", count: faults.len() }) }
}

/// The tests of a listing in a module; `""` stands for all.
fn count(listing: &str, module: &str) -> usize {
    listing.lines().filter(|line| line.ends_with(": test") && line.starts_with(module)).count()
}

/// What is less than promised.
fn faults(page: &str, suites: &[(&str, usize, usize)]) -> Vec<String> {
    let mut faults: Vec<String> = SUITES
        .iter()
        .filter(|(suite, _)| suites.iter().all(|(known, ..)| known != suite))
        .map(|(suite, _)| format!("{suite} is in no test program"))
        .collect();
    for (suite, floor, tests) in suites {
        if tests < floor {
            faults.push(format!("{suite} has {tests} tests; its floor is {floor}"));
        }
        match quoted(page, suite) {
            None => faults.push(format!("{PAGE} has no row for {suite}")),
            Some(row) if row != (*floor, row.1) => {
                faults.push(format!("{PAGE} says that the floor of {suite} is {}; it is {floor}", row.0));
            }
            Some((_, quoted)) if tests < &quoted => {
                faults.push(format!("{PAGE} says that {suite} has at least {quoted} tests; it has {tests}"));
            }
            Some(_) => {}
        }
    }
    faults
}

/// Floor and count that the page's row of a suite says.
fn quoted(page: &str, suite: &str) -> Option<(usize, usize)> {
    let row = |line: &str| -> Option<(usize, usize)> {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        match cells.as_slice() {
            [_, name, floor, count, _] if *name == suite => Some((floor.parse().ok()?, count.parse().ok()?)),
            _ => None,
        }
    };
    page.lines().find_map(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_its_tests_only() {
        let listing = "a::b: test\nc: benchmark\nsrc/lib.rs - f (line 3): test\n\n2 tests, 1 benchmark\n";
        assert_eq!((count(listing, ""), count(listing, "a::"), count(listing, "b::")), (2, 1, 0));
    }

    #[test]
    fn what_is_less_than_promised_is_told() {
        let page = "| suite | floor | at least |\n|---|---|---|\n| `spawn_scenarios` | 35 | 40 |\n\
                    | `router_events` | 20 | 20 |\n| `consumers` | 100 | 130 |\n| all tests | 500 | 900 |\n";
        let counted = |spawn, router, consumers, all| {
            faults(
                page,
                &[
                    ("spawn_scenarios", 35, spawn),
                    ("router_events", 20, router),
                    ("consumers", 122, consumers),
                    (ALL, FLOOR, all),
                ],
            )
        };
        let floor = format!("{PAGE} says that the floor of consumers is 100; it is 122");
        assert_eq!(counted(40, 20, 140, 901), [floor.as_str()]);
        let told = counted(39, 19, 140, 901);
        assert_eq!(told[0], format!("{PAGE} says that spawn_scenarios has at least 40 tests; it has 39"));
        assert_eq!(told[1], "router_events has 19 tests; its floor is 20");
        assert_eq!(faults("", &[])[2], "consumers is in no test program");
        assert_eq!(faults("", &[(ALL, FLOOR, 600)])[3], format!("{PAGE} has no row for {ALL}"));
    }

    #[test]
    fn the_page_has_a_row_for_each_suite() {
        let page = std::fs::read_to_string(run::root().join(PAGE)).unwrap();
        for (suite, floor) in SUITES.into_iter().chain([(ALL, FLOOR)]) {
            assert_eq!(quoted(&page, suite).unwrap().0, floor, "{suite}");
        }
    }
}

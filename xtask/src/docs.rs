//! `cargo xtask docs`: the numbers that the documents quote.
//!
//! Guarantees: tests are counted by asking the built test programs, so those
//! that a macro makes count too.

use std::process::Command;

use crate::error::Error;
use crate::run;

/// Prints the number of tests of each suite.
pub(crate) fn run() -> Result<(), Error> {
    let args = ["test", "--workspace", "--no-run", "--message-format=json", "--quiet"];
    let mut rows = Vec::new();
    for suite in run::built(&mut run::cargo(args))?.into_iter().filter(|program| program.has_tests) {
        let listing = run::read(Command::new(&suite.path).args(["--list", "--format", "terse"]))?;
        let kind = if suite.kind == "test" { "integration" } else { "unit" };
        rows.push((format!("{} {kind} ({})", suite.package, suite.target), count(&listing)));
    }
    let listing = run::read(&mut run::cargo(["test", "--workspace", "--doc", "--quiet", "--", "--list"]))?;
    rows.push(("doc tests".into(), count(&listing)));
    rows.sort();
    for (suite, tests) in rows.iter().filter(|(_, tests)| *tests > 0) {
        println!("{suite:<50} {tests:>6}");
    }
    println!("{:<50} {:>6}", "total", rows.iter().map(|(_, tests)| tests).sum::<usize>());
    Ok(())
}

fn count(listing: &str) -> usize {
    listing.lines().filter(|line| line.ends_with(": test")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_counts_its_tests_only() {
        assert_eq!(
            count("a::b: test\nc: benchmark\nsrc/lib.rs - f (line 3): test\n\n2 tests, 1 benchmark\n"),
            2
        );
    }
}

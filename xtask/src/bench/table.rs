//! The figures as a table in a terminal.

use std::fmt::Write as _;

use super::figure::{Figure, Spread, number};
use super::report::Report;
use super::stored::Stored;

/// The columns, and how wide they are; the first is at the left.
const COLUMNS: [(&str, usize); 8] = [
    ("median", 11),
    ("min", 11),
    ("max", 11),
    ("rival", 11),
    ("ratio", 7),
    ("wanted", 18),
    ("verdict", 8),
    ("runs", 5),
];
/// How wide what is measured may be.
const WHAT: usize = 62;

/// The head of the table.
pub(crate) fn head(compared: bool) -> String {
    let mut text = pad("figure", WHAT);
    for (name, width) in COLUMNS {
        let _ = write!(text, " {name:>width$}");
    }
    text.push_str(if compared { "      before  change\n" } else { "\n" });
    text
}

/// What a report has, with the medians of an earlier run beside it.
pub(crate) fn report(report: &Report, before: Option<&Stored>) -> String {
    let mut text = format!("\n{}{}\n", report.area, if report.quick { " (in short)" } else { "" });
    let alone = report.figures.iter().filter(|figure| figure.size.is_none());
    for figure in alone {
        text.push_str(&line(figure));
        if let Some(before) = before {
            text.push_str(&change(before.median(&report.area, figure), figure.spread().median));
        }
        text.push('\n');
        if let Some(rival) = &figure.rival {
            let _ = writeln!(text, "    rival: {}", rival.what);
        }
    }
    for series in series(&report.figures) {
        text.push_str(&grown(&series, &report.area, before));
    }
    for note in &report.skipped {
        let _ = writeln!(text, "{} skipped: {}", pad(&note.what, WHAT), note.why);
    }
    for note in &report.failed {
        let _ = writeln!(text, "{} FAILED: {}", pad(&note.what, WHAT), note.why);
    }
    text
}

/// Figures of the same thing at several sizes, in the order in which they were measured.
pub(crate) fn series(figures: &[Figure]) -> Vec<Vec<&Figure>> {
    let mut all: Vec<Vec<&Figure>> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.size.is_some()) {
        let same = |known: &&mut Vec<&Figure>| known.iter().any(|known| known.what == figure.what);
        match all.iter_mut().find(same) {
            Some(known) => known.push(figure),
            None => all.push(vec![figure]),
        }
    }
    all
}

/// `10^3` for a thousand.
pub(crate) fn power(size: u64) -> String {
    match size.checked_ilog10() {
        Some(power) if 10_u64.pow(power) == size && power > 1 => format!("10^{power}"),
        _ => size.to_string(),
    }
}

fn line(figure: &Figure) -> String {
    let Spread { median, min, max } = figure.spread();
    let rival = figure.rival.as_ref();
    let cells = [
        number(median),
        number(min),
        number(max),
        rival.map_or_else(String::new, |rival| number(Spread::of(&rival.runs).median)),
        rival.map_or_else(String::new, |rival| number(Spread::of(&rival.ratios).median)),
        figure.wanted(),
        figure.verdict().shown().to_owned(),
        figure.runs.len().to_string(),
    ];
    let mut text = pad(&format!("{} [{}]", figure.what, figure.unit), WHAT);
    for (cell, (_, width)) in cells.iter().zip(COLUMNS) {
        let _ = write!(text, " {cell:>width$}");
    }
    text
}

fn change(before: Option<f64>, now: f64) -> String {
    match before {
        Some(before) => format!(" {:>11} {:>+6.0}%", number(before), (now / before - 1.0) * 100.0),
        None => format!(" {:>11} {:>7}", "-", "-"),
    }
}

/// One line for what grows: a cell for each size.
fn grown(series: &[&Figure], area: &str, before: Option<&Stored>) -> String {
    let Some(first) = series.first() else { return String::new() };
    let mut text = pad(&format!("{} [{}]", first.what, first.unit), WHAT);
    for figure in series {
        let median = figure.spread().median;
        let _ = write!(text, "  {}: {}", power(figure.size.unwrap_or(0)), number(median));
        if let Some(before) = before.and_then(|before| before.median(area, figure)) {
            let _ = write!(text, " ({:+.0}%)", (median / before - 1.0) * 100.0);
        }
    }
    text.push('\n');
    text
}

fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Rival, Wanted};
    use super::super::machine::Machine;
    use super::*;

    fn example(runs: &[f64]) -> Report {
        let mut report = Report::new("area", false);
        report.row("a", "ms", Some(5.0), runs.to_vec());
        report
    }

    fn words(text: &str, line: usize) -> Vec<String> {
        text.trim_start().lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_line_has_median_extremes_bound_and_verdict() {
        let check = |runs: &[f64], expect: &[&str]| {
            assert_eq!(words(&super::report(&example(runs), None), 1), expect);
        };
        check(&[3.0, 1.0, 2.0], &["a", "[ms]", "2", "1", "3", "≤", "5", "met", "3"]);
        check(&[6.0], &["a", "[ms]", "6", "6", "6", "≤", "5", "MISSED", "1"]);
    }

    #[test]
    fn a_rival_stands_beside_its_figure() {
        let mut report = Report::new("area", true);
        let mut figure = Figure::new("fast", "per s", Wanted::default(), vec![80.0]);
        let wanted = Wanted { at_most: None, at_least: Some(0.7) };
        figure.rival = Some(Rival { what: "bare".into(), runs: vec![100.0], ratios: vec![0.8], wanted });
        report.add(figure);
        let text = super::report(&report, None);
        assert_eq!(words(&text, 0).join(" "), "area (in short)");
        assert_eq!(words(&text, 1).join(" "), "fast [per s] 80 80 80 100 0.800 ≥ 0.7 × met 1");
        assert_eq!(words(&text, 2).join(" "), "rival: bare");
    }

    #[test]
    fn what_grows_is_one_line() {
        let mut report = Report::new("area", false);
        for (size, cost) in [(10, 1.0), (1_000, 2.0)] {
            let mut figure = Figure::new("open", "ms", Wanted::default(), vec![cost]);
            figure.size = Some(size);
            report.add(figure);
        }
        assert_eq!(words(&super::report(&report, None), 1).join(" "), "open [ms] 10: 1 10^3: 2");
    }

    #[test]
    fn a_stored_run_is_compared_line_by_line() {
        let before = Stored { machine: Machine::default(), areas: vec![example(&[2.0])] };
        let mut now = example(&[3.0]);
        now.row("new", "ms", None, vec![1.0]);
        let table = super::report(&now, Some(&before));
        assert_eq!(words(&table, 1)[9..], ["2", "+50%"]);
        assert_eq!(words(&table, 2)[6..], ["-", "-"]);
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut report = Report::new("area", false);
        report.row("never ran", "ms", None, Vec::new());
        report.skip("fsyncs", "no strace");
        report.fail("run", "exit 2");
        let table = super::report(&report, None);
        assert_eq!(words(&table, 1).join(" "), "fsyncs skipped: no strace");
        assert_eq!(words(&table, 2).join(" "), "run FAILED: exit 2");
        assert!(!table.contains("never ran"));
    }
}

//! Figures of one area: collected, printed, written, compared.
//!
//! Guarantees: a row keeps every run; the JSON has what the table has and the runs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::Error;

/// What is wanted of a median.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bound {
    /// Of what costs.
    AtMost(f64),
    /// Of what is got done in a time.
    AtLeast(f64),
}

impl Bound {
    fn is_missed(self, median: f64) -> bool {
        match self {
            Self::AtMost(most) => median > most,
            Self::AtLeast(least) => median < least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => f.pad(&most.to_string()),
            Self::AtLeast(least) => f.pad(&format!(">={least}")),
        }
    }
}

/// One line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// `ms`, `MiB`, `calls`, …
    pub(crate) unit: &'static str,
    /// The median that is wanted.
    pub(crate) bound: Option<Bound>,
    /// One number for each run.
    pub(crate) runs: Vec<f64>,
}

impl Row {
    fn spread(&self) -> Spread {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Spread { median: f64::midpoint(low, high), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

/// All figures of one area.
#[derive(Debug)]
pub(crate) struct Report {
    area: &'static str,
    rows: Vec<Row>,
    skipped: Vec<(String, String)>,
    failed: Vec<(String, String)>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(area: &'static str) -> Self {
        Self { area, rows: Vec::new(), skipped: Vec::new(), failed: Vec::new() }
    }

    /// Adds figures of a cost, whose median shall be at most `bound`; nothing if there was no run.
    pub(crate) fn row(&mut self, what: &str, unit: &'static str, bound: Option<f64>, runs: Vec<f64>) {
        self.bounded(what, unit, bound.map(Bound::AtMost), runs);
    }

    /// Adds figures; nothing if there was no run.
    pub(crate) fn bounded(&mut self, what: &str, unit: &'static str, bound: Option<Bound>, runs: Vec<f64>) {
        if !runs.is_empty() {
            self.rows.push(Row { what: what.to_owned(), unit, bound, runs });
        }
    }

    /// Notes what this machine cannot measure.
    pub(crate) fn skip(&mut self, what: &str, why: impl ToString) {
        self.skipped.push((what.to_owned(), why.to_string()));
    }

    /// Notes what went wrong while it was measured.
    pub(crate) fn fail(&mut self, what: &str, why: impl ToString) {
        self.failed.push((what.to_owned(), why.to_string()));
    }

    /// Number of measurements that went wrong.
    pub(crate) fn failures(&self) -> usize {
        self.failed.len()
    }

    /// The table, with the medians of an earlier run beside it.
    pub(crate) fn table(&self, before: Option<&Stored>) -> String {
        let mut text = format!(
            "\n{:<54} {:>10} {:>10} {:>10} {:>5} {:>8}",
            self.area, "median", "min", "max", "runs", "bound"
        );
        text.push_str(if before.is_some() { "     before   ratio\n" } else { "\n" });
        for row in &self.rows {
            let Spread { median, min, max } = row.spread();
            let what = format!("{} [{}]", row.what, row.unit);
            let bound = row.bound.map_or_else(|| "-".to_owned(), |bound| bound.to_string());
            let _ = write!(
                text,
                "{what:<54} {median:>10.2} {min:>10.2} {max:>10.2} {:>5} {bound:>8}",
                row.runs.len()
            );
            if let Some(stored) = before {
                text.push_str(&stored.compare(self.area, &row.what, median));
            }
            text.push_str(match row.bound.filter(|bound| bound.is_missed(median)) {
                None => "\n",
                Some(Bound::AtMost(_)) => "  OVER\n",
                Some(Bound::AtLeast(_)) => "  UNDER\n",
            });
        }
        for (what, why) in &self.skipped {
            let _ = writeln!(text, "{what:<54} skipped: {why}");
        }
        for (what, why) in &self.failed {
            let _ = writeln!(text, "{what:<54} FAILED: {why}");
        }
        text
    }

    /// The report as JSON text.
    pub(crate) fn json(&self) -> String {
        let rows: Vec<Value> = self.rows.iter().map(row_json).collect();
        let pairs = |pairs: &[(String, String)]| -> Vec<Value> {
            pairs.iter().map(|(what, why)| json!({ "what": what, "why": why })).collect()
        };
        let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let report = json!({
            "area": self.area,
            "cpus": cpus,
            "rows": rows,
            "skipped": pairs(&self.skipped),
            "failed": pairs(&self.failed),
        });
        format!("{report:#}\n")
    }
}

fn row_json(row: &Row) -> Value {
    let Spread { median, min, max } = row.spread();
    let (bound, least) = match row.bound {
        Some(Bound::AtMost(most)) => (Some(most), None),
        Some(Bound::AtLeast(least)) => (None, Some(least)),
        None => (None, None),
    };
    json!({
        "what": row.what,
        "unit": row.unit,
        "bound": bound,
        "least": least,
        "median": median,
        "min": min,
        "max": max,
        "runs": row.runs,
    })
}

/// Medians of an earlier run.
#[derive(Debug)]
pub(crate) struct Stored {
    area: String,
    medians: BTreeMap<String, f64>,
}

impl Stored {
    /// Reads the JSON of an earlier run.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
        Self::parse(&text).ok_or_else(|| Error::Format {
            what: path.display().to_string(),
            message: "is no report of `cargo xtask bench`; take one from target/bench".into(),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let report: Value = serde_json::from_str(text).ok()?;
        let row = |row: &Value| Some((row.get("what")?.as_str()?.to_owned(), row.get("median")?.as_f64()?));
        let medians = report.get("rows")?.as_array()?.iter().filter_map(row).collect();
        Some(Self { area: report.get("area")?.as_str()?.to_owned(), medians })
    }

    fn compare(&self, area: &str, what: &str, median: f64) -> String {
        match self.medians.get(what) {
            Some(before) if area == self.area => format!(" {before:>10.2} {:>7.2}", median / before),
            _ => format!(" {:>10} {:>7}", "-", "-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(runs: &[f64]) -> Report {
        let mut report = Report::new("area");
        report.row("a", "ms", Some(5.0), runs.to_vec());
        report
    }

    fn words(text: &str, line: usize) -> Vec<String> {
        text.trim_start().lines().nth(line).unwrap().split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_row_shows_median_and_extremes() {
        let check = |runs: &[f64], expect: &[&str]| assert_eq!(words(&report(runs).table(None), 1), expect);
        check(&[3.0, 1.0, 2.0], &["a", "[ms]", "2.00", "1.00", "3.00", "3", "5"]);
        check(&[1.0, 4.0], &["a", "[ms]", "2.50", "1.00", "4.00", "2", "5"]);
        check(&[6.0], &["a", "[ms]", "6.00", "6.00", "6.00", "1", "5", "OVER"]);
    }

    #[test]
    fn a_rate_shall_be_at_least_its_bound() {
        let mut report = Report::new("area");
        report.bounded("fast", "per s", Some(Bound::AtLeast(5.0)), vec![6.0]);
        report.bounded("slow", "per s", Some(Bound::AtLeast(5.0)), vec![4.0]);
        let table = report.table(None);
        assert_eq!(words(&table, 1)[6..], ["1", ">=5"]);
        assert_eq!(words(&table, 2)[6..], ["1", ">=5", "UNDER"]);
        assert!(report.json().contains("\"least\": 5.0"));
    }

    #[test]
    fn a_stored_report_is_compared_row_by_row() {
        let stored = Stored::parse(&report(&[2.0]).json()).unwrap();
        let mut now = report(&[4.0]);
        now.row("new", "ms", None, vec![1.0]);
        let table = now.table(Some(&stored));
        assert_eq!(words(&table, 1)[6..], ["5", "2.00", "2.00"]);
        assert_eq!(words(&table, 2)[6..], ["-", "-", "-"]);
        assert!(Stored::parse("{}").is_none());
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut report = Report::new("area");
        report.row("never ran", "ms", None, Vec::new());
        report.skip("fsyncs", "no strace");
        report.fail("run", "exit 2");
        let table = report.table(None);
        assert_eq!(words(&table, 1).join(" "), "fsyncs skipped: no strace");
        assert_eq!(words(&table, 2).join(" "), "run FAILED: exit 2");
        assert_eq!(report.failures(), 1);
        assert!(!table.contains("never ran"));
    }
}

//! One figure: its runs, what is wanted of it, and its rival in the same run.
//!
//! Guarantees: a figure keeps every run; what a benchmark prints as a line of JSON and what is stored of it have the
//! same shape. A verdict is about medians.

use serde::{Deserialize, Serialize};

/// What is wanted of a median; nothing if both are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    /// Of what costs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_most: Option<f64>,
    /// Of what is got done in a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<f64>,
}

impl Wanted {
    /// A bound of what costs, if there is one.
    pub(crate) fn at_most(bound: Option<f64>) -> Self {
        Self { at_most: bound, at_least: None }
    }

    /// `None`: nothing is wanted.
    fn is_met(self, median: f64) -> Option<bool> {
        let most = self.at_most.map(|most| median <= most);
        let least = self.at_least.map(|least| median >= least);
        most.or(least)
    }

    fn shown(self, unit: &str) -> Option<String> {
        let most = self.at_most.map(|most| format!("≤ {}{unit}", exact(most)));
        most.or_else(|| self.at_least.map(|least| format!("≥ {}{unit}", exact(least))))
    }
}

/// Something else that does the same, measured turn by turn with a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rival {
    /// What it is.
    pub(crate) what: String,
    /// One number for each run, in the unit of the figure.
    pub(crate) runs: Vec<f64>,
    /// The figure divided by it, run by run.
    pub(crate) ratios: Vec<f64>,
    /// What is wanted of the ratio.
    #[serde(default)]
    pub(crate) wanted: Wanted,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// `ms`, `MiB`, `calls`, …
    pub(crate) unit: String,
    /// How much there was of what it grows with; `None` for a figure of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// One number for each run.
    pub(crate) runs: Vec<f64>,
    /// The median that is wanted.
    #[serde(default)]
    pub(crate) wanted: Wanted,
    /// What it is compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rival: Option<Rival>,
}

/// How a figure stands to what is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Met,
    Missed,
    /// Nothing is wanted.
    None,
}

impl Verdict {
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::None => "",
        }
    }
}

impl Figure {
    pub(crate) fn new(what: &str, unit: &str, wanted: Wanted, runs: Vec<f64>) -> Self {
        Self { what: what.to_owned(), unit: unit.to_owned(), size: None, runs, wanted, rival: None }
    }

    /// True if the other one measures the same.
    pub(crate) fn is_as(&self, other: &Self) -> bool {
        (&self.what, &self.unit, self.size) == (&other.what, &other.unit, other.size)
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread::of(&self.runs)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        let own = self.wanted.is_met(self.spread().median);
        let of_rival = |rival: &Rival| rival.wanted.is_met(Spread::of(&rival.ratios).median);
        let against = self.rival.as_ref().and_then(of_rival);
        match (own, against) {
            (None, None) => Verdict::None,
            (own, against) if own.unwrap_or(true) && against.unwrap_or(true) => Verdict::Met,
            _ => Verdict::Missed,
        }
    }

    /// What is wanted, in words.
    pub(crate) fn wanted(&self) -> String {
        let own = self.wanted.shown("");
        let against = self.rival.as_ref().and_then(|rival| rival.wanted.shown(" ×"));
        own.into_iter().chain(against).collect::<Vec<_>>().join(", ")
    }
}

/// A median with the least and the most beside it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(runs: &[f64]) -> Self {
        let mut sorted = runs.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let (low, high) = (at(sorted.len().saturating_sub(1) / 2), at(sorted.len() / 2));
        Self { median: f64::midpoint(low, high), min: at(0), max: at(sorted.len().saturating_sub(1)) }
    }
}

/// A number with three digits that count, thousands apart: `0.213`, `14.4`, `65,800`.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    if size < 1_000.0 {
        let digits = match size {
            _ if value == value.round() => 0,
            0.0..1.0 => 3,
            1.0..10.0 => 2,
            10.0..100.0 => 1,
            _ => 0,
        };
        return format!("{value:.digits$}");
    }
    let step = 10_f64.powf(size.log10().floor() - 2.0);
    exact((value / step).round() * step)
}

/// A number as it is, thousands apart.
fn exact(value: f64) -> String {
    if value.abs() < 1_000.0 {
        return value.to_string();
    }
    let whole = format!("{value:.0}");
    let first = whole.len() % 3;
    let mut text = String::with_capacity(whole.len() + whole.len() / 3);
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_median_with_its_extremes() {
        let check = |runs: &[f64], expect: [f64; 3]| {
            let Spread { median, min, max } = Spread::of(runs);
            assert_eq!([median, min, max], expect, "{runs:?}");
        };
        check(&[3.0, 1.0, 2.0], [2.0, 1.0, 3.0]);
        check(&[1.0, 4.0], [2.5, 1.0, 4.0]);
        check(&[6.0], [6.0, 6.0, 6.0]);
        assert!(Spread::of(&[]).median.is_nan());
    }

    #[test]
    fn numbers_keep_what_counts() {
        let check = |value: f64, expect: &str| assert_eq!(number(value), expect);
        check(0.213_4, "0.213");
        check(14.42, "14.4");
        check(5.0, "5");
        check(999.4, "999");
        check(1_234.0, "1,230");
        check(65_812.0, "65,800");
        check(1_648_000.0, "1,650,000");
        check(f64::NAN, "-");
        assert_eq!((exact(0.8), exact(4_096.0)), ("0.8".to_owned(), "4,096".to_owned()));
    }

    #[test]
    fn a_figure_is_met_if_all_that_is_wanted_of_it_is() {
        let figure = |own: Wanted, against: Option<Wanted>, runs: f64, ratio: f64| {
            let mut figure = Figure::new("a", "ms", own, vec![runs]);
            figure.rival = against.map(|wanted| Rival {
                what: "b".into(),
                runs: vec![1.0],
                ratios: vec![ratio],
                wanted,
            });
            figure.verdict()
        };
        let (most, least) = (Wanted::at_most(Some(5.0)), Wanted { at_most: None, at_least: Some(0.8) });
        assert_eq!(figure(Wanted::default(), None, 9.0, 0.0), Verdict::None);
        assert_eq!(figure(most, None, 5.0, 0.0), Verdict::Met);
        assert_eq!(figure(most, None, 6.0, 0.0), Verdict::Missed);
        assert_eq!(figure(Wanted::default(), Some(least), 9.0, 0.7), Verdict::Missed);
        assert_eq!(figure(most, Some(least), 4.0, 0.9), Verdict::Met);
        assert_eq!(figure(most, Some(least), 4.0, 0.7), Verdict::Missed);
        assert_eq!(figure(most, Some(Wanted::default()), 4.0, 0.1), Verdict::Met);
    }
}

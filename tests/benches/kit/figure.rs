//! How a figure is told: one JSON object a line, `{what, unit, size, wanted, runs, rival}`.

use serde_json::{Value, json};

/// What is wanted of a median.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every benchmark wants everything")]
pub(crate) enum Wanted {
    Nothing,
    AtMost(f64),
    AtLeast(f64),
}

impl Wanted {
    fn json(self) -> Value {
        match self {
            Self::Nothing => json!({}),
            Self::AtMost(bound) => json!({ "at_most": bound }),
            Self::AtLeast(least) => json!({ "at_least": least }),
        }
    }
}

/// Something else that does the same, measured turn by turn with a figure.
#[allow(dead_code, reason = "not every benchmark has one")]
pub(crate) struct Rival<'a> {
    pub(crate) what: &'a str,
    /// In the unit of the figure.
    pub(crate) runs: &'a [f64],
    /// What is wanted of the figure divided by it.
    pub(crate) wanted: Wanted,
}

/// Prints a figure.
pub(crate) fn row(what: &str, unit: &str, wanted: Wanted, runs: &[f64]) {
    println!("{}", json!({"what": what, "unit": unit, "wanted": wanted.json(), "runs": runs}));
}

/// Prints a figure beside its rival, run by run; alone, where the rival is nothing that can be measured.
#[allow(dead_code, reason = "not every benchmark has a rival")]
pub(crate) fn against(what: &str, unit: &str, wanted: Wanted, runs: &[f64], rival: &Rival<'_>) {
    if rival.runs.contains(&0.0) {
        return row(what, unit, wanted, runs);
    }
    let ratios: Vec<f64> = runs.iter().zip(rival.runs).map(|(own, other)| own / other).collect();
    with_ratios(what, unit, (wanted, runs), rival, &ratios);
}

/// The same where a ratio is more than the quotient of two runs.
pub(crate) fn with_ratios(
    what: &str,
    unit: &str,
    (wanted, runs): (Wanted, &[f64]),
    rival: &Rival<'_>,
    ratios: &[f64],
) {
    let other =
        json!({"what": rival.what, "runs": rival.runs, "ratios": ratios, "wanted": rival.wanted.json()});
    println!(
        "{}",
        json!({"what": what, "unit": unit, "wanted": wanted.json(), "runs": runs, "rival": other})
    );
}

/// Prints what something costs where there is so much of what it depends on.
#[allow(dead_code, reason = "memory is measured at one size")]
pub(crate) fn sized(what: &str, unit: &str, size: usize, runs: &[f64]) {
    println!("{}", json!({"what": what, "unit": unit, "size": size, "runs": runs}));
}

//! How a figure is told.

/// What is wanted of a figure's median.
#[derive(Clone, Copy)]
#[allow(dead_code, reason = "not every benchmark wants everything")]
pub(crate) enum Wanted {
    Nothing,
    AtMost(f64),
    AtLeast(f64),
}

/// Prints one figure as a JSON object: `{what, unit, bound, least, runs}`.
pub(crate) fn row(what: &str, unit: &str, wanted: Wanted, runs: &[f64]) {
    let (bound, least) = match wanted {
        Wanted::Nothing => (None, None),
        Wanted::AtMost(bound) => (Some(bound), None),
        Wanted::AtLeast(least) => (None, Some(least)),
    };
    let row = serde_json::json!({"what": what, "unit": unit, "bound": bound, "least": least, "runs": runs});
    println!("{row}");
}

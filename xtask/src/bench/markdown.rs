//! The figures as Markdown, and as part of a document.
//!
//! Guarantees: of a document that is what stands between two marks alone; nothing else of it is touched.

use std::fmt::Write as _;
use std::path::Path;

use super::figure::{Figure, Spread, Verdict, number};
use super::stored::Stored;
use super::table::{power, series};
use crate::error::Error;

/// What stands around the figures in a document.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench --into` -->";
const END: &str = "<!-- end of figures -->";

/// All figures.
pub(crate) fn of(run: &Stored) -> String {
    let mut text = format!("Measured on: {}.\n", run.machine);
    for area in &run.areas {
        let short = if area.quick { " (in short: few runs, small sizes)" } else { "" };
        let _ = write!(text, "\n### {}{short}\n\n", area.area);
        let alone: Vec<&Figure> = area.figures.iter().filter(|figure| figure.size.is_none()).collect();
        if !alone.is_empty() {
            text.push_str("| figure | median [min..max] | rival in the same run | ratio | wanted | |\n");
            text.push_str("|---|---|---|---|---|---|\n");
            alone.iter().for_each(|figure| text.push_str(&line(figure)));
        }
        let grown = series(&area.figures);
        if !grown.is_empty() {
            text.push_str(&sizes(&grown));
        }
        for note in area.skipped.iter().chain(&area.failed) {
            let _ = writeln!(text, "\nNot measured: {} ({}).", note.what, note.why);
        }
    }
    text
}

fn line(figure: &Figure) -> String {
    let Spread { median, min, max } = figure.spread();
    let unit = &figure.unit;
    let (rival, ratio) = figure.rival.as_ref().map_or_else(Default::default, |rival| {
        let runs = number(Spread::of(&rival.runs).median);
        (format!("{}: {runs}", rival.what), format!("{} ×", number(Spread::of(&rival.ratios).median)))
    });
    let verdict = match figure.verdict() {
        Verdict::Missed => "**missed**",
        met => met.shown(),
    };
    format!(
        "| {} | {} {unit} [{}..{}] | {rival} | {ratio} | {} | {verdict} |\n",
        figure.what,
        number(median),
        number(min),
        number(max),
        figure.wanted(),
    )
}

/// What grows: one line each, a column for each size.
fn sizes(all: &[Vec<&Figure>]) -> String {
    let mut sizes: Vec<u64> = all.iter().flatten().filter_map(|figure| figure.size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let head: String = sizes.iter().map(|size| format!(" {} |", power(*size))).collect();
    let mut text = format!("| cost at a size of |{head}\n|---|{}\n", "---|".repeat(sizes.len()));
    for series in all {
        let Some(first) = series.first() else { continue };
        let _ = write!(text, "| {}, {} |", first.what, first.unit);
        for size in &sizes {
            let cell = series.iter().find(|figure| figure.size == Some(*size));
            let _ = write!(text, " {} |", cell.map_or_else(String::new, |cell| number(cell.spread().median)));
        }
        text.push('\n');
    }
    text
}

/// Writes the figures into a document, between its marks.
pub(crate) fn put_into(path: &Path, run: &Stored) -> Result<(), Error> {
    let text = std::fs::read_to_string(path).map_err(Error::file(path))?;
    let text = replaced(&text, &of(run)).ok_or_else(|| Error::Format {
        what: path.display().to_string(),
        message: format!("has no place for figures; write `{BEGIN}` and `{END}` where they belong"),
    })?;
    std::fs::write(path, text).map_err(Error::file(path))
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{figures}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::figure::Wanted;
    use super::super::machine::Machine;
    use super::super::report::Report;
    use super::*;

    #[test]
    fn a_document_keeps_what_is_its_own() {
        let old = format!("one\n{BEGIN}\nold\n{END}\ntwo\n");
        assert_eq!(replaced(&old, "new\n").unwrap(), format!("one\n{BEGIN}\n\nnew\n\n{END}\ntwo\n"));
        assert_eq!(replaced("one", "new"), None);
        assert_eq!(replaced(&format!("{END}{BEGIN}"), "new"), None);
    }

    #[test]
    fn figures_and_sizes_are_tables() {
        let mut area = Report::new("area", false);
        area.row("a", "ms", Some(5.0), vec![6.0]);
        for (size, cost) in [(10, 1.0), (100, 2.0)] {
            let mut figure = Figure::new("open", "ms", Wanted::default(), vec![cost]);
            figure.size = Some(size);
            area.add(figure);
        }
        let text = of(&Stored { machine: Machine::default(), areas: vec![area] });
        for line in [
            "| a | 6 ms [6..6] |  |  | ≤ 5 | **missed** |",
            "| cost at a size of | 10 | 10^2 |",
            "| open, ms | 1 | 2 |",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in {text}");
        }
    }
}

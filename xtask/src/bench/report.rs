//! Figures of one area, as they are collected.
//!
//! Guarantees: what was not measured is named with the reason; a figure without a run is none.

use serde::{Deserialize, Serialize};

use super::figure::{Figure, Wanted};

/// Something that has no figure, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Note {
    pub(crate) what: String,
    pub(crate) why: String,
}

/// All figures of one area.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The area's name.
    pub(crate) area: String,
    /// True if it was measured in short.
    pub(crate) quick: bool,
    pub(crate) figures: Vec<Figure>,
    /// What this machine cannot measure.
    pub(crate) skipped: Vec<Note>,
    /// What went wrong while it was measured.
    pub(crate) failed: Vec<Note>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(area: &str, quick: bool) -> Self {
        let (figures, skipped, failed) = (Vec::new(), Vec::new(), Vec::new());
        Self { area: area.to_owned(), quick, figures, skipped, failed }
    }

    /// Adds a figure of a cost, whose median shall be at most `bound`; nothing if there was no run.
    pub(crate) fn row(&mut self, what: &str, unit: &str, bound: Option<f64>, runs: Vec<f64>) {
        self.add(Figure::new(what, unit, Wanted::at_most(bound), runs));
    }

    /// Adds a figure; nothing if there was no run.
    pub(crate) fn add(&mut self, figure: Figure) {
        if !figure.runs.is_empty() {
            self.figures.push(figure);
        }
    }

    /// Notes what this machine cannot measure.
    pub(crate) fn skip(&mut self, what: &str, why: impl ToString) {
        self.skipped.push(Note { what: what.to_owned(), why: why.to_string() });
    }

    /// Notes what went wrong while it was measured.
    pub(crate) fn fail(&mut self, what: &str, why: impl ToString) {
        self.failed.push(Note { what: what.to_owned(), why: why.to_string() });
    }
}

//! How wide a person's terminal is.

use std::io::IsTerminal;

/// Narrower than this nothing is readable; a terminal that says so is taken to be this wide.
const LEAST: usize = 40;

/// The columns of the terminal behind standard output, `COLUMNS` before what the terminal says; `None` where it is
/// no terminal.
pub fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let set = std::env::var("COLUMNS").ok().and_then(|text| text.trim().parse::<usize>().ok());
    let asked = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    set.filter(|columns| *columns > 0)
        .or_else(asked)
        .filter(|columns| *columns > 0)
        .map(|columns| columns.max(LEAST))
}

//! Finding lines in a text, and what is nearest where they are not found.
//!
//! Guarantees: only the lines of a hunk change; every other byte of the text stays, line ends
//! too. New lines get the line end that the text uses.

use super::is_crlf;
use super::patch::{Hunk, HunkLine};

/// Longest text in which the nearest line is looked for, in lines.
const MAX_HINT_LINES: usize = 50_000;

/// The text after the hunks; `Err` is the number of the hunk that does not fit and why.
pub(super) fn apply(text: &str, hunks: &[Hunk]) -> Result<String, (usize, String)> {
    let end = if is_crlf(text) { "\r\n" } else { "\n" };
    let old: Vec<&str> = text.split_inclusive('\n').collect();
    let mut new = String::with_capacity(text.len());
    let mut at = 0;
    for (index, hunk) in hunks.iter().enumerate() {
        let start = place(&old, at, hunk).map_err(|reason| (index + 1, reason))?;
        old[at..start].iter().for_each(|line| push_line(&mut new, line, end));
        at = start;
        for line in &hunk.lines {
            match line {
                HunkLine::Keep(_) => {
                    push_line(&mut new, old[at], end);
                    at += 1;
                }
                HunkLine::Remove(_) => at += 1,
                HunkLine::Add(added) => push_line(&mut new, &format!("{added}{end}"), end),
            }
        }
    }
    old[at..].iter().for_each(|line| push_line(&mut new, line, end));
    let unended = !text.is_empty() && !text.ends_with('\n');
    if unended && new.ends_with(end) {
        new.truncate(new.len() - end.len());
    }
    Ok(new)
}

/// Adds a line; the one before it gets an end if it was the text's last and had none.
fn push_line(text: &mut String, line: &str, end: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push_str(end);
    }
    text.push_str(line);
}

/// The line at which the hunk applies, not before `from`.
fn place(lines: &[&str], from: usize, hunk: &Hunk) -> Result<usize, String> {
    let mut from = from;
    for anchor in &hunk.anchors {
        let found = (from..lines.len()).find(|at| lines[*at].trim() == anchor.trim());
        let starts = || (from..lines.len()).find(|at| lines[*at].trim().starts_with(anchor.trim()));
        match found.or_else(starts) {
            Some(at) => from = at + 1,
            None => return Err(format!("there is no line `{anchor}`{}", hint(lines, anchor))),
        }
    }
    let wanted: Vec<&str> = hunk.lines.iter().filter_map(HunkLine::old).collect();
    if wanted.is_empty() {
        return Ok(if hunk.anchors.is_empty() { lines.len() } else { from });
    }
    let last = lines.len().checked_sub(wanted.len());
    for same in [same_but_end, same_but_trailing, same_but_blanks] {
        let fits = |at: &usize| wanted.iter().zip(&lines[*at..]).all(|(want, line)| same(line, want));
        // An anchor that is the hunk's own first line was already passed.
        let begin = from.saturating_sub(usize::from(!hunk.anchors.is_empty()));
        let found = match last {
            None => None,
            Some(last) if hunk.at_end => Some(last).filter(|at| *at >= begin && fits(at)),
            Some(last) => (from..=last).find(fits).or_else(|| (begin..=last).find(fits)),
        };
        if let Some(at) = found {
            return Ok(at);
        }
    }
    let first = wanted.iter().find(|line| !line.trim().is_empty()).copied().unwrap_or_default();
    let before = if from > 0 { format!(" after line {from}") } else { String::new() };
    Err(format!("its {} old lines are not in the file{before}{}", wanted.len(), hint(lines, first)))
}

fn same_but_end(line: &str, wanted: &str) -> bool {
    line.trim_end_matches(['\n', '\r']) == wanted.trim_end_matches('\r')
}

fn same_but_trailing(line: &str, wanted: &str) -> bool {
    line.trim_end() == wanted.trim_end()
}

fn same_but_blanks(line: &str, wanted: &str) -> bool {
    line.trim() == wanted.trim()
}

/// `; the nearest is line N: …` for the first line of `wanted` that is not blank.
pub(super) fn nearest_line(text: &str, wanted: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let first = wanted.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    hint(&lines, first)
}

fn hint(lines: &[&str], wanted: &str) -> String {
    let wanted = wanted.trim();
    let score = |line: &str| (likeness(line.trim(), wanted) * 1_000.0) as u32;
    let best = lines.iter().take(MAX_HINT_LINES).enumerate().map(|(at, line)| (score(line), at));
    // Of equal ones the first.
    match best.max_by_key(|(score, at)| (*score, std::cmp::Reverse(*at))) {
        Some((score, at)) if score >= 400 => {
            let line: String = lines[at].trim_end().chars().take(200).collect();
            format!("; the nearest is line {}: `{line}`", at + 1)
        }
        _ => "; read the file again".into(),
    }
}

/// Dice's coefficient over pairs of bytes: 1 for equal texts, 0 for texts without a common pair.
fn likeness(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    let pairs = |text: &str| {
        let mut pairs: Vec<[u8; 2]> = text.as_bytes().windows(2).take(400).map(|w| [w[0], w[1]]).collect();
        pairs.sort_unstable();
        pairs
    };
    let (a, b) = (pairs(a), pairs(b));
    let (mut i, mut j, mut common) = (0, 0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match x.cmp(y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, common) = (i + 1, j + 1, common + 1),
        }
    }
    2.0 * f64::from(common) / (a.len() + b.len()).max(1) as f64
}

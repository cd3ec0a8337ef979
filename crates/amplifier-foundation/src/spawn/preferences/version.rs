//! Which of two models is the newer one, by their names.
//!
//! The order, of which each step counts only where the steps before it find no difference:
//! 1. the **version**: the name's first number, and the numbers that follow it directly behind a `.`, `-`
//!    or `_` and in front of no letter; compared number by number, a longer one is higher
//!    (`5.10` over `5.9`, `4-5` over `4`);
//! 2. the **rest**, word by word and number by number: a number is higher than the end of the name, the
//!    end is higher than a word. So a dated name is over the plain one, and the plain one over its
//!    variants (`gpt-5-2025-08-07` over `gpt-5` over `gpt-5-mini`); words by alphabet, numbers by value;
//! 3. the names themselves, byte by byte.
//!
//! A number of four or more digits, or with a leading zero, is a date or a build (`20250514`, `0613`,
//! `001`) and never a part of the version. Separators and case count in step 3 alone.
//! Guarantees: a total order; equal are only names that are the same.

use std::cmp::Ordering;

/// Most digits of a number of a version.
const VERSION_DIGITS: usize = 3;

/// Compares two names of models; the greater one is newer.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    key(a).cmp(&key(b)).then_with(|| a.cmp(b))
}

/// A piece of a name. The order of the variants is a part of the order of names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Word(String),
    End,
    Number(Number),
}

/// A number of any length: of two without leading zeros, the longer one is greater.
type Number = (usize, String);

fn number(digits: &str) -> Number {
    let digits = digits.trim_start_matches('0');
    (digits.len(), digits.to_owned())
}

/// Runs of digits and of other alphanumeric characters, in lower case; each with what parts it from the
/// one before.
fn runs(name: &str) -> Vec<(String, String)> {
    let mut runs: Vec<(String, String)> = Vec::new();
    let mut gap = String::new();
    let mut last: Option<bool> = None;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            gap.push(c);
            last = None;
            continue;
        }
        let digit = c.is_ascii_digit();
        match runs.last_mut().filter(|_| last == Some(digit)) {
            Some((_, run)) => run.extend(c.to_lowercase()),
            None => runs.push((std::mem::take(&mut gap), c.to_lowercase().collect())),
        }
        last = Some(digit);
    }
    runs
}

fn is_number(run: &str) -> bool {
    run.starts_with(|c: char| c.is_ascii_digit())
}

fn is_version(run: &str) -> bool {
    is_number(run) && run.len() <= VERSION_DIGITS && (run.len() == 1 || !run.starts_with('0'))
}

fn key(name: &str) -> (Vec<Number>, Vec<Piece>) {
    let runs = runs(name);
    // True if a letter follows run `at` directly: `32k`.
    let measures = |at: usize| runs.get(at + 1).is_some_and(|(gap, run)| gap.is_empty() && !is_number(run));
    let start = runs.iter().position(|(_, run)| is_version(run)).unwrap_or(runs.len());
    let more = runs.iter().enumerate().skip(start + 1);
    let more = more.take_while(|(at, (gap, run))| {
        is_version(run) && [".", "-", "_"].contains(&gap.as_str()) && !measures(*at)
    });
    let end = (start + 1 + more.count()).min(runs.len());
    let version = runs[start..end].iter().map(|(_, run)| number(run)).collect();
    let rest = runs[..start].iter().chain(&runs[end..]).map(|(_, run)| match is_number(run) {
        true => Piece::Number(number(run)),
        false => Piece::Word(run.clone()),
    });
    (version, rest.chain([Piece::End]).collect())
}

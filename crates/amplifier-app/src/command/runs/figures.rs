//! Numbers and times as people read them in a column.
//!
//! Guarantees: none is wider than eight characters, a time has seventeen.

use std::time::Duration;

use amplifier_background::report::Spent;
use amplifier_core::Timestamp;

/// Columns of a terminal that nobody has made wider.
pub const WIDTH: usize = 80;

/// A span: `340ms`, `12.3s`, `1m12s`, `2h05m`, `3d04h`.
pub fn span(span: Duration) -> String {
    let (millis, seconds) = (span.as_millis(), span.as_secs());
    match seconds {
        0 => format!("{millis}ms"),
        1..60 => format!("{seconds}.{}s", millis % 1_000 / 100),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Tokens: `999`, `12.3k`, `4.5M`.
pub fn tokens(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}.{}k", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

/// A cost: `$0.41`, `$0.0012`; a `+` behind it where there is more that nobody knows, `?` where nothing is
/// known, `-` where there was no session.
pub fn cost(spent: &Spent) -> String {
    let known = spent.known_micro_usd;
    if spent.sessions == 0 {
        return "-".to_owned();
    }
    if spent.cost_micro_usd.is_none() && known == 0 {
        return "?".to_owned();
    }
    let more = if spent.cost_micro_usd.is_none() { "+" } else { "" };
    match known {
        0 => format!("$0{more}"),
        1..100_000 => format!("${}.{:04}{more}", known / 1_000_000, known % 1_000_000 / 100),
        _ => format!("${}.{:02}{more}", known / 1_000_000, known % 1_000_000 / 10_000),
    }
}

/// To the minute, in UTC: `2026-11-22 03:00Z`.
pub fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, rest)) if rest.len() >= 5 => format!("{day} {}Z", &rest[..5]),
        _ => text,
    }
}

/// To the second, in UTC: `2026-11-22 03:00:07Z`.
pub fn second(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('T') {
        Some((day, rest)) if rest.len() >= 8 => format!("{day} {}Z", &rest[..8]),
        _ => text,
    }
}

/// At most so many characters of one line; `…` for the rest.
pub fn cut(text: &str, width: usize) -> String {
    let line = crate::terminal::plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= width {
        return line;
    }
    let mut short: String = line.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_tokens_are_short() {
        let check = |millis: u64, expect: &str| assert_eq!(span(Duration::from_millis(millis)), expect);
        check(0, "0ms");
        check(999, "999ms");
        check(12_340, "12.3s");
        check(72_000, "1m12s");
        check(7_500_000, "2h05m");
        check(270_000_000, "3d03h");
        for (count, expect) in
            [(0, "0"), (999, "999"), (1_000, "1.0k"), (12_345, "12.3k"), (4_560_000, "4.5M")]
        {
            assert_eq!(tokens(count), expect);
        }
    }

    #[test]
    fn a_cost_says_what_nobody_knows() {
        let check = |sessions, cost_micro_usd, known_micro_usd, expect: &str| {
            let mut spent = Spent::default();
            (spent.sessions, spent.cost_micro_usd, spent.known_micro_usd) =
                (sessions, cost_micro_usd, known_micro_usd);
            assert_eq!(cost(&spent), expect);
        };
        check(0, Some(0), 0, "-");
        check(1, Some(0), 0, "$0");
        check(1, Some(1_234), 1_234, "$0.0012");
        check(1, Some(410_000), 410_000, "$0.41");
        check(1, Some(12_340_000), 12_340_000, "$12.34");
        check(2, None, 410_000, "$0.41+");
        check(2, None, 0, "?");
    }

    #[test]
    fn a_cut_line_is_as_wide_as_it_may_be() {
        assert_eq!(cut("one  two\nthree", 20), "one two three");
        assert_eq!(cut("one two three", 8), "one two…");
        assert_eq!(cut("a\u{1b}[31mb", 80), "a[31mb");
    }
}

//! Patterns over event names.
//!
//! Segments are parted by `:` or `.`. `*` stays within one segment, except when it
//! is the whole pattern: then it matches every name. `**` crosses segments.
//! Names are compared as written; a kernel event is tried in both its spellings.

use std::fmt;
use std::sync::Arc;

use crate::event::{EventType, InvalidName};

/// Longest pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 200;

/// A pattern over event names, checked when it is made.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventPattern {
    text: Arc<str>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    All,
    Exact,
    Wild,
}

impl EventPattern {
    /// Checks a pattern: characters of event names and `*`.
    pub fn new(text: impl AsRef<str>) -> Result<Self, InvalidName> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > MAX_PATTERN_BYTES {
            return Err(InvalidName::Length {
                name: text.escape_debug().take(40).collect(),
                max: MAX_PATTERN_BYTES,
            });
        }
        let allowed = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, ':' | '.' | '_' | '-' | '*')
        };
        if let Some(found) = text.chars().find(|c| !allowed(*c)) {
            return Err(InvalidName::Character { name: text.escape_debug().to_string(), found });
        }
        let kind = match text {
            "*" | "**" => Kind::All,
            _ if text.contains('*') => Kind::Wild,
            _ => Kind::Exact,
        };
        Ok(Self { text: Arc::from(text), kind })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True if the pattern matches every event.
    pub fn is_all(&self) -> bool {
        self.kind == Kind::All
    }

    /// True if an event of this type matches in either of its spellings.
    pub fn matches(&self, event: &EventType) -> bool {
        match self.kind {
            Kind::All => true,
            _ => event.aliases().any(|name| self.matches_name(name)),
        }
    }

    /// True if this very name matches.
    pub fn matches_name(&self, name: &str) -> bool {
        match self.kind {
            Kind::All => true,
            Kind::Exact => *self.text == *name,
            Kind::Wild => wild(self.text.as_bytes(), name.as_bytes()),
        }
    }
}

/// Greedy match with one point to fall back to for `*` and one for `**`: linear
/// in pattern times name, no recursion.
fn wild(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut single: Option<(usize, usize)> = None;
    let mut double: Option<(usize, usize)> = None;
    loop {
        if p < pattern.len() && pattern[p] == b'*' {
            let stars = pattern[p..].iter().take_while(|byte| **byte == b'*').count();
            p += stars;
            match stars {
                1 => single = Some((p, n)),
                _ => (double, single) = (Some((p, n)), None),
            }
            continue;
        }
        if p == pattern.len() && n == name.len() {
            return true;
        }
        if p < pattern.len() && n < name.len() && pattern[p] == name[n] {
            (p, n) = (p + 1, n + 1);
            continue;
        }
        let crosses = |at: usize| at >= name.len() || matches!(name[at], b':' | b'.');
        match (single, double) {
            (Some((back, at)), _) if !crosses(at) => {
                (p, n) = (back, at + 1);
                single = Some((back, n));
            }
            (_, Some((back, at))) if at < name.len() => {
                (p, n) = (back, at + 1);
                (double, single) = (Some((back, n)), None);
            }
            _ => return false,
        }
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventPattern({})", self.text)
    }
}

impl TryFrom<&str> for EventPattern {
    type Error = InvalidName;
    fn try_from(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expect: bool) {
        let got = EventPattern::new(pattern).unwrap().matches_name(name);
        assert_eq!(got, expect, "{pattern} against {name}");
    }

    #[test]
    fn one_star_stays_in_its_segment() {
        check("*", "a:b:c", true);
        check("work:*", "work:done", true);
        check("work:*", "work:", true);
        check("work:*", "work:a:b", false);
        check("*:done", "work:done", true);
        check("*:done", "a:work:done", false);
        check("a*c", "abbbc", true);
        check("a*c", "ab.c", false);
        check("a*b*c", "axxbyyc", true);
        check("work_*", "work_item_done", true);
    }

    #[test]
    fn two_stars_cross_segments() {
        check("work:**", "work:a:b", true);
        check("**:done", "a:work:done", true);
        check("a**z", "a:b.c:z", true);
        check("a**:*z", "a:b:c:yz", true);
        check("a**:*z", "a:b:c:yz:", false);
        check("**x*y", "a:xb:xcy", true);
    }

    #[test]
    fn a_kernel_event_matches_in_both_spellings() {
        let event = EventType::ToolPre;
        for text in ["tool:pre", "tool_pre", "tool:*", "tool_*", "*"] {
            assert!(EventPattern::new(text).unwrap().matches(&event), "{text}");
        }
        assert!(!EventPattern::new("tool:post").unwrap().matches(&event));
    }

    #[test]
    fn session_end_stands_for_both_terminal_events() {
        let pattern = EventPattern::new("session:end").unwrap();
        assert!(pattern.matches(&EventType::SessionCompleted));
        assert!(pattern.matches(&EventType::SessionError));
    }

    #[test]
    fn other_characters_are_refused() {
        for bad in ["", "A", "a b", "a/b", "ä"] {
            assert!(EventPattern::new(bad).is_err(), "{bad:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_a_plain_recursive_matcher(pattern in "[ab:*]{1,8}", name in "[ab:]{0,8}") {
            fn slow(p: &[u8], n: &[u8]) -> bool {
                match p {
                    [] => n.is_empty(),
                    [b'*', b'*', rest @ ..] => {
                        let rest = &rest[rest.iter().take_while(|b| **b == b'*').count()..];
                        (0..=n.len()).any(|k| slow(rest, &n[k..]))
                    }
                    [b'*', rest @ ..] => (0..=n.len())
                        .take_while(|k| *k == 0 || n[k - 1] != b':')
                        .any(|k| slow(rest, &n[k..])),
                    [c, rest @ ..] => n.first() == Some(c) && slow(rest, &n[1..]),
                }
            }
            let parsed = EventPattern::new(&pattern).unwrap();
            if !parsed.is_all() {
                proptest::prop_assert_eq!(parsed.matches_name(&name), slow(pattern.as_bytes(), name.as_bytes()));
            }
        }
    }
}

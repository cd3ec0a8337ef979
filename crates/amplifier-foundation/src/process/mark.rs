//! Marks: what makes a process known by its environment.
//!
//! Guarantees: a mark is found only under its own name and as a whole. A program that Amplifier
//! starts inside another Amplifier's command carries the marks of both, so the end of the outer
//! one finds it too.

use std::collections::HashSet;

/// The variable that marks each process of a command's tree: `<uuid>.<number>`, the uuid the
/// session's, the number the command's; behind a blank those that this process carries itself.
pub const MARK: &str = "AMPLIFIER_PROCESS_MARK";

/// Longest list of outer marks that is passed on, in bytes.
const MAX_OUTER_BYTES: usize = 2_048;
/// A uuid, a dot and a digit: nothing shorter was ever a mark.
const MIN_BYTES: usize = 38;

/// The marks that are looked for.
#[derive(Debug, Clone)]
pub(super) enum Marks {
    /// All that begin so: those of one session.
    Beginning(String),
    /// These.
    Of(HashSet<String>),
}

impl Marks {
    /// The marks of all commands of the session with this uuid.
    pub(super) fn of_session(uuid: &str) -> Self {
        Self::Beginning(format!("{uuid}."))
    }

    /// True if an entry of an environment carries one of these marks.
    pub(super) fn accept(&self, entry: &[u8]) -> bool {
        let Some(value) = entry.strip_prefix(MARK.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) else {
            return false;
        };
        let Ok(value) = std::str::from_utf8(value) else { return false };
        value.split(' ').any(|mark| match self {
            Self::Beginning(beginning) => mark.starts_with(beginning.as_str()),
            Self::Of(marks) => marks.contains(mark),
        })
    }
}

/// True if a text from a file may be a mark: one that is too short would fit too much.
pub(super) fn is_mark(text: &str) -> bool {
    text.len() >= MIN_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-.".contains(&byte))
}

/// The marks that this process was started with.
pub(super) fn outer() -> Option<String> {
    let value = std::env::var(MARK).ok()?;
    (value.len() <= MAX_OUTER_BYTES && value.split(' ').all(is_mark)).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0190b8a4-7c1e-4a5b-9d2f-3e4a5b6c7d8e";

    #[test]
    fn a_mark_is_found_as_a_whole_and_under_its_name() {
        let mark = format!("{A}.7");
        let marks = [Marks::of_session(A), Marks::Of(HashSet::from([mark.clone()]))];
        for (entry, expect) in [
            (format!("{MARK}={mark}"), true),
            (format!("{MARK}=x.1 {mark}"), true),
            (format!("{MARK}={mark} x.1"), true),
            (format!("{MARK}="), false),
            (format!("{MARK}S={mark}"), false),
            (format!("X{MARK}={mark}"), false),
            (format!("NOTE={MARK}={mark}"), false),
            (format!("{MARK}=x{mark}"), false),
            (format!("{MARK}=\u{a0}{mark}"), false),
        ] {
            for marks in &marks {
                assert_eq!(marks.accept(entry.as_bytes()), expect, "{entry}");
            }
        }
        let others = [format!("{MARK}={A}.70"), format!("{MARK}={A}.6")];
        assert!(others.iter().all(|other| marks[0].accept(other.as_bytes())));
        assert!(!others.iter().any(|other| marks[1].accept(other.as_bytes())));
    }

    #[test]
    fn what_is_no_mark_is_not_looked_for() {
        assert!(is_mark(&format!("{A}.0")));
        for text in ["", "1.2", "*", "0190b8a4-7c1e-4a5b-9d2f-3e4a5b6c7d8e.", &format!("{A}/../../..")] {
            assert!(!is_mark(text), "{text}");
        }
    }
}

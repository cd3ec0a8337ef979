//! Front matter: YAML between two lines `---` at the very top of a text.
//!
//! A text without it is all body. Line ends may be `\n` or `\r\n`; a byte order mark is passed over.

/// A text in its two parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split<'a> {
    /// The YAML; `None` when there is no front matter.
    pub(super) front: Option<&'a str>,
    /// How many lines of the file come before the YAML.
    pub(super) front_lines_before: u32,
    /// The text after it, without the white space around it.
    pub(super) body: &'a str,
    /// The line on which the body begins.
    pub(super) body_line: u32,
    /// Whether a first line `---` has no second one.
    pub(super) unterminated: bool,
}

/// Splits a text.
pub(super) fn split(text: &str) -> Split<'_> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| is_fence(line) && line.ends_with('\n')) else {
        return whole(text, false);
    };
    let begin = first.len();
    let mut end = begin;
    for line in lines {
        if is_fence(line) {
            let (front, rest) = (&text[begin..end], &text[end + line.len()..]);
            let body_line = body_line(&text[..end + line.len()], rest);
            let body = rest.trim();
            return Split { front: Some(front), front_lines_before: 1, body, body_line, unterminated: false };
        }
        end += line.len();
    }
    whole(text, true)
}

fn whole(text: &str, unterminated: bool) -> Split<'_> {
    let body_line = body_line("", text);
    Split { front: None, front_lines_before: 0, body: text.trim(), body_line, unterminated }
}

fn is_fence(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty())
}

fn body_line(before: &str, rest: &str) -> u32 {
    let blank = &rest[..rest.len() - rest.trim_start().len()];
    let lines = before.matches('\n').count() + blank.matches('\n').count() + 1;
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, front: Option<&str>, body: &str, body_line: u32) {
        let split = split(text);
        assert_eq!((split.front, split.body, split.body_line), (front, body, body_line), "{text:?}");
    }

    #[test]
    fn fences_part_the_text() {
        check("---\na: 1\n---\nbody\n", Some("a: 1\n"), "body", 4);
        check("---\na: 1\n---\n\n\n body \n\n", Some("a: 1\n"), "body", 6);
        check("---  \na: 1\n--- \t\nbody", Some("a: 1\n"), "body", 4);
        check("---\r\na: 1\r\n---\r\nbody\r\n", Some("a: 1\r\n"), "body", 4);
        check("\u{feff}---\na: 1\n---\nbody", Some("a: 1\n"), "body", 4);
        check("---\na: 1\n---", Some("a: 1\n"), "", 3);
        check("---\n---\n", Some(""), "", 3);
        check("---\n---\nbody", Some(""), "body", 3);
    }

    #[test]
    fn rules_in_the_body_stay_in_it() {
        check("---\na: 1\n---\none\n\n---\n\ntwo\n", Some("a: 1\n"), "one\n\n---\n\ntwo", 4);
    }

    #[test]
    fn only_a_bare_fence_at_the_line_begin_closes() {
        check("---\na: |\n  ---\n  x\n---\n", Some("a: |\n  ---\n  x\n"), "", 6);
        check("---\na: 1\n----\nb: 2\n---\n", Some("a: 1\n----\nb: 2\n"), "", 6);
    }

    #[test]
    fn a_text_without_front_matter_is_all_body() {
        check("# title\n\n---\nx", None, "# title\n\n---\nx", 1);
        check("", None, "", 1);
        check("\n---\na: 1\n---\n", None, "---\na: 1\n---", 2);
        check("--- a\n---\n", None, "--- a\n---", 1);
        check("---", None, "---", 1);
    }

    #[test]
    fn a_missing_second_fence_is_noticed() {
        let split = split("---\na: 1\n");
        assert!(split.unterminated && split.front.is_none());
        assert!(!super::split("# x\n").unterminated);
    }
}

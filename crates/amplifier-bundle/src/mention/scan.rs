//! Finding mentions in a text.
//!
//! Guarantees: linear in the text; what stands in fenced or inline code is no
//! mention; the order is that of the text, each mention once.
//! Never here: whether a mention leads anywhere.

use std::borrow::Cow;
use std::collections::HashSet;

/// The mentions of a text, with the `@`, each once.
pub fn mentions(text: &str) -> Vec<String> {
    if !text.contains('@') {
        return Vec::new();
    }
    let text = without_fences(text);
    let text = without_inline_code(&text);
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut rest = text.as_ref();
    while let Some(at) = rest.find('@') {
        rest = &rest[at + 1..];
        if begins_address(rest) {
            continue;
        }
        let end = rest.find(|c| !is_mention(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        if !name.is_empty() && seen.insert(name) {
            found.push(format!("@{name}"));
        }
    }
    found
}

fn is_mention(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_:./~-".contains(c)
}

/// Whether `user@host.tld` begins here.
fn begins_address(text: &str) -> bool {
    let user = text.find(|c: char| !(c.is_ascii_alphanumeric() || "._%+-".contains(c))).unwrap_or(text.len());
    let Some(host) = text[user..].strip_prefix('@').filter(|_| user > 0) else {
        return false;
    };
    let end = host.find(|c: char| !(c.is_ascii_alphanumeric() || ".-".contains(c))).unwrap_or(host.len());
    let letters = |part: &str| part.chars().take_while(char::is_ascii_alphabetic).count();
    host[..end].match_indices('.').any(|(dot, _)| dot > 0 && letters(&host[dot + 1..end]) >= 2)
}

/// Removes blocks between two lines that begin with three backticks. One that is never closed stays.
fn without_fences(text: &str) -> Cow<'_, str> {
    if !text.contains("```") {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = fence(rest, 0) {
        let body = rest[open..].find('\n').map(|end| open + end + 1);
        let Some(close) = body.and_then(|body| fence(rest, body)) else {
            break;
        };
        kept.push_str(&rest[..open]);
        kept.push('\n');
        rest = &rest[close + 3..];
        // What follows a closing fence on its line is text, but opens no other one.
        let line = rest.find('\n').unwrap_or(rest.len());
        kept.push_str(&rest[..line]);
        rest = &rest[line..];
    }
    kept.push_str(rest);
    Cow::Owned(kept)
}

/// Where the next line that begins with a fence starts, at or after `from` (itself the start of a line).
fn fence(text: &str, from: usize) -> Option<usize> {
    if text[from..].starts_with("```") {
        return Some(from);
    }
    text[from..].find("\n```").map(|at| from + at + 1)
}

/// Removes what stands between two single backticks.
fn without_inline_code(text: &str) -> Cow<'_, str> {
    if !text.contains('`') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let tick = |at: usize| bytes.get(at) == Some(&b'`');
    let single = |at: usize| tick(at) && !tick(at + 1) && (at == 0 || !tick(at - 1));
    let mut kept = String::with_capacity(text.len());
    let (mut copied, mut at) = (0, 0);
    while let Some(open) = text[at..].find('`').map(|found| at + found) {
        let close = text[open + 1..].find('`').map(|found| open + 1 + found);
        match close {
            Some(close) if single(open) && single(close) => {
                kept.push_str(&text[copied..open]);
                copied = close + 1;
                at = close + 1;
            }
            _ => at = open + 1,
        }
    }
    kept.push_str(&text[copied..]);
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mentions_are_found_and_code_is_not() {
        let check = |text: &str, expect: &[&str]| assert_eq!(mentions(text), expect, "{text:?}");
        check("see @a/b.md and @ns:ctx/x, @~/n", &["@a/b.md", "@ns:ctx/x", "@~/n"]);
        check("@a @b @a", &["@a", "@b"]);
        check("`@a` @b", &["@b"]);
        check("`` `@a` ``", &[]);
        check("(```) @a", &["@a"]);
        check("```\n@a\n```\n@b", &["@b"]);
        check("x\n```rust\n@a\n```\n@b\n```\n@c\n```", &["@b"]);
        check("```\n```\n@a", &["@a"]);
        check("```\n@a never closed", &["@a"]);
        check("  ```\n@a\n  ```", &["@a"]);
        check("mail @joe@example.com", &["@example.com"]);
        check("@ @@ @,", &[]);
        check("a`b @c", &["@c"]);
        check("`a\n@b` @c", &["@c"]);
        check("ä@ö @é", &[]);
    }

    proptest! {
        #[test]
        fn scanning_never_panics(text in "(@|`|```|\n|[a-z.:/~-]|\\PC){0,64}") {
            for mention in mentions(&text) {
                prop_assert!(mention.len() > 1 && mention[1..].chars().all(is_mention));
            }
        }
    }
}

//! Front matter that is no YAML, as people write it: a description with `: ` in it, or over several lines.
//!
//! A line that begins with a key that Claude Code knows opens an entry, whatever follows belongs to it.
//! Places stay those of the file.

use std::fmt::Write as _;
use std::path::Path;

use super::super::frontmatter;
use super::super::keys;
use super::super::reader::Level;
use crate::bundle::node::Node;
use crate::bundle::yaml;

/// The front matter, its texts quoted; `None` if it is no YAML then either.
pub(super) fn front_matter(text: &str, file: &Path) -> Option<Node> {
    if text.len() > yaml::MAX_BYTES {
        return None;
    }
    let split = frontmatter::split(text);
    yaml::parse_from(&quoted(split.front?)?, file, split.front_lines_before).ok()
}

/// The text behind the front matter.
pub(super) fn body(text: &str) -> Option<String> {
    let split = frontmatter::split(text);
    (split.front.is_some() && !split.body.is_empty()).then(|| split.body.to_owned())
}

fn quoted(front: &str) -> Option<String> {
    let known = keys::known(Level::ClaudeAgent);
    let key_of = |line: &str| {
        let (key, _) = line.split_once(':')?;
        known.contains(&key).then(|| key.to_owned())
    };
    let mut yaml = String::new();
    let mut lines = front.lines().peekable();
    while let Some(line) = lines.next() {
        let key = match key_of(line) {
            Some(key) => key,
            None if line.trim().is_empty() => {
                yaml.push('\n');
                continue;
            }
            None => return None,
        };
        let mut value = vec![&line[key.len() + 1..]];
        while let Some(more) = lines.next_if(|line| key_of(line).is_none()) {
            value.push(more);
        }
        let count = value.len();
        let value = value.join("\n");
        if matches!(key.as_str(), "name" | "description") {
            let text = serde_json::to_string(unquoted(value.trim())).ok()?;
            let _ = write!(yaml, "{key}: {text}{}", "\n".repeat(count));
        } else {
            let _ = writeln!(yaml, "{key}:{value}");
        }
    }
    Some(yaml)
}

/// The text without the quotes around it.
fn unquoted(text: &str) -> &str {
    let inner = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn known_keys_open_entries_and_lines_keep_their_numbers() {
        let front = "name: a\ndescription: Use it: <example>\nuser: \"hi\"\n</example>\ntools: Read, Bash\nmaxTurns: 3\n";
        let expect = "name: \"a\"\ndescription: \"Use it: <example>\\nuser: \\\"hi\\\"\\n</example>\"\n\n\ntools: Read, Bash\nmaxTurns: 3\n";
        assert_eq!(quoted(front).unwrap(), expect);
        assert!(quoted("what: ever\n").is_none());
    }
}

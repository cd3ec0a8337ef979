//! Slash commands: which one a line is, and what they do, in a table.

use super::editor::{Argument, Entry};

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// A command, and what stands behind it.
    Command(&'static str, &'a str),
    /// A command that there is not, and one that may be meant.
    Unknown(&'a str, Option<&'static str>),
    /// Something for the model.
    Text,
}

/// Tells a command from what is said. A path such as `/etc/hosts` is said, and so is a command that takes nothing
/// with something behind it.
pub fn said<'a>(text: &'a str, commands: &'static [Entry]) -> Said<'a> {
    let Some(line) = text.trim().strip_prefix('/') else { return Said::Text };
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let is_word = |c: char| c.is_ascii_alphabetic() || c == '-' || c == '?';
    if word.is_empty() || !word.chars().all(is_word) {
        return Said::Text;
    }
    let name = word.to_lowercase();
    match commands.iter().find(|entry| entry.name == name) {
        Some(entry) if entry.argument == Argument::None && !rest.is_empty() => Said::Text,
        Some(entry) => Said::Command(entry.name, rest),
        None => Said::Unknown(word, similar(&name, commands)),
    }
}

/// The command that is least different, if it is not far.
fn similar(word: &str, commands: &'static [Entry]) -> Option<&'static str> {
    let far = |entry: &&Entry| distance(word, entry.name);
    let nearest = commands.iter().min_by_key(far)?;
    let beginning = commands.iter().find(|entry| entry.name.starts_with(word) && word.len() > 1);
    match far(&nearest) {
        0..=2 => Some(nearest.name),
        _ => beginning.map(|entry| entry.name),
    }
}

/// How many letters differ; two that changed places count as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

/// All commands, one a line.
pub fn help(commands: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let space = if entry.takes.is_empty() { "" } else { " " };
        format!("/{}{space}{}", entry.name, entry.takes)
    };
    let width = commands.iter().map(|entry| line(entry).chars().count()).max().unwrap_or(0);
    let lines = commands.iter().map(|entry| format!("{:<width$}  {}", line(entry), entry.help));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMANDS: [Entry; 4] = [
        Entry { name: "status", takes: "", argument: Argument::None, help: "how it stands" },
        Entry { name: "help", takes: "", argument: Argument::None, help: "this" },
        Entry { name: "fork", takes: "[turn]", argument: Argument::Text, help: "a copy" },
        Entry { name: "allowed-dirs", takes: "", argument: Argument::None, help: "where" },
    ];

    #[test]
    fn commands_are_told_from_what_is_said() {
        let check = |line: &str, expect: Said<'_>| assert_eq!(said(line, &COMMANDS), expect, "{line}");
        check("hello there", Said::Text);
        check("/status\r\n", Said::Command("status", ""));
        check("/Help", Said::Command("help", ""));
        check("/fork  3 ", Said::Command("fork", "3"));
        check("/allowed-dirs", Said::Command("allowed-dirs", ""));
        check("/stauts", Said::Unknown("stauts", Some("status")));
        check("/allowed", Said::Unknown("allowed", Some("allowed-dirs")));
        check("/xyzzy now", Said::Unknown("xyzzy", None));
        check("/etc/hosts is wrong", Said::Text);
        check("/status please", Said::Text);
        check("/ what", Said::Text);
        check("a /status", Said::Text);
    }

    #[test]
    fn help_is_in_line() {
        let text = help(&COMMANDS[1..3]);
        assert_eq!(text, "/help         this\n/fork [turn]  a copy");
    }
}

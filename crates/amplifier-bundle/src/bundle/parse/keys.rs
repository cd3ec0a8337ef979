//! The keys that are known, level by level, and what may have been meant by one that is not.

use super::reader::Level;

/// Sections that other parts read, kept as they are.
pub(super) const DECLARED: [&str; 3] = ["background_sessions", "limits", "permissions"];

const TOP: [&str; 12] = [
    "bundle",
    "includes",
    "session",
    "providers",
    "tools",
    "hooks",
    "agents",
    "context",
    "spawn",
    "background_sessions",
    "limits",
    "permissions",
];
const HEADER: [&str; 4] = ["name", "version", "description", "namespace_root"];
const SESSION: [&str; 8] = [
    "orchestrator",
    "context",
    "raw",
    "metadata",
    "injection_budget_per_turn",
    "injection_size_limit",
    "orchestrator_source",
    "context_source",
];
const MODULE: [&str; 5] = ["module", "source", "config", "id", "instance_id"];
const INCLUDE: [&str; 1] = ["bundle"];
const SPAWN: [&str; 2] = ["exclude_tools", "tools"];
const AGENT: [&str; 16] = [
    "meta",
    "name",
    "description",
    "instruction",
    "instructions",
    "tools",
    "providers",
    "hooks",
    "session",
    "provider_preferences",
    "model_role",
    "agents",
    "permissions",
    "allowed_tools",
    "denied_tools",
    "max_turns",
];
const CLAUDE_AGENT: [&str; 18] = [
    "name",
    "description",
    "tools",
    "disallowedTools",
    "model",
    "permissionMode",
    "maxTurns",
    "color",
    "skills",
    "mcpServers",
    "hooks",
    "memory",
    "background",
    "effort",
    "isolation",
    "initialPrompt",
    "version",
    "author",
];
const PREFERENCE: [&str; 3] = ["provider", "model", "config"];

/// The keys of a level.
pub(super) fn known(level: Level) -> &'static [&'static str] {
    match level {
        Level::Top => &TOP,
        Level::Header => &HEADER,
        Level::Session => &SESSION,
        Level::Module => &MODULE,
        Level::Include => &INCLUDE,
        Level::Spawn => &SPAWN,
        Level::Agent => &AGENT,
        Level::ClaudeAgent => &CLAUDE_AGENT,
        Level::Preference => &PREFERENCE,
    }
}

/// What to do about a key that its level does not know.
pub(super) fn advice(key: &str, level: Level) -> String {
    let known = known(level);
    if level == Level::Top {
        for (keys, owner) in [(HEADER.as_slice(), "bundle"), (&SESSION, "session"), (&SPAWN, "spawn")] {
            if keys.contains(&key) {
                return format!("write it under `{owner}`");
            }
        }
    }
    if let Some(near) = nearest(key, known) {
        return format!("did you mean `{near}`?");
    }
    if level == Level::Module {
        return "put the module's own settings under `config`".to_owned();
    }
    format!("remove it; known here: {}", known.join(", "))
}

/// The known key that differs least, if it differs little.
pub fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let limit = (key.chars().count() / 3).clamp(1, 3);
    let near = known.iter().map(|name| (distance(key, name), *name)).min();
    near.filter(|(distance, _)| *distance <= limit).map(|(_, name)| name)
}

/// Insertions, deletions, replacements and swaps of neighbours between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                let swapped: &Vec<usize> = &before;
                best = best.min(swapped[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, expect) in [
            ("", "abc", 3),
            ("tool", "tools", 1),
            ("tolos", "tools", 1),
            ("hooks", "hooks", 0),
            ("x", "tools", 5),
        ] {
            assert_eq!(distance(a, b), expect, "{a} {b}");
        }
    }

    #[test]
    fn advice_names_the_near_key_or_its_place() {
        for (key, level, expect) in [
            ("tool", Level::Top, "did you mean `tools`?"),
            ("include", Level::Top, "did you mean `includes`?"),
            ("orchestrator", Level::Top, "write it under `session`"),
            ("version", Level::Top, "write it under `bundle`"),
            ("confg", Level::Module, "did you mean `config`?"),
            ("timeout", Level::Module, "put the module's own settings under `config`"),
            ("bundel", Level::Include, "did you mean `bundle`?"),
            ("colour", Level::Include, "remove it; known here: bundle"),
        ] {
            assert_eq!(advice(key, level), expect, "{key}");
        }
    }
}

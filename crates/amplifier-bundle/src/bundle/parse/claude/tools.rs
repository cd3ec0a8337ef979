//! The names of Claude Code's tools, and what they are called here.

/// Whether a name gives a tool or takes it away: what is taken away is meant as widely as it could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bundle::parse) enum Side {
    /// The agent may use it.
    Allowed,
    /// The agent must not use it.
    Denied,
}

/// What a name means here; `None` if there is nothing like it. A part of a tool (`Bash(git *)`) is no tool that can be
/// given, and takes the whole tool away.
pub(in crate::bundle::parse) fn named(written: &str, side: Side) -> Option<Vec<String>> {
    let (name, part) = match written.split_once('(') {
        Some((name, _)) => (name.trim(), true),
        None => (written, false),
    };
    if part && side == Side::Allowed {
        return None;
    }
    if name.starts_with("mcp__") {
        return Some(vec![name.to_owned()]);
    }
    let (allowed, besides): (&[&str], &[&str]) = match name {
        "Bash" => (&["bash"], &[]),
        "Read" => (&["read_file"], &[]),
        "Write" => (&["write_file"], &["apply_patch"]),
        "Edit" | "MultiEdit" => (&["edit_file"], &["apply_patch"]),
        "Grep" => (&["grep"], &[]),
        "Glob" => (&["glob"], &[]),
        "WebFetch" => (&["web_fetch"], &[]),
        "TodoWrite" | "TodoRead" => (&["todo"], &[]),
        "Task" | "Agent" => (&["delegate"], &["spawn"]),
        "Skill" => (&["load_skill"], &[]),
        _ => return None,
    };
    let besides = if side == Side::Denied { besides } else { &[] };
    Some(allowed.iter().chain(besides).map(|name| (*name).to_owned()).collect())
}

/// Whom `Task(a, b)` lets the agent delegate to; the inner `None` is everybody.
pub(super) fn delegates(written: &str) -> Option<Option<Vec<String>>> {
    let (name, rest) = written.split_once('(').unwrap_or((written, ""));
    if !matches!(name.trim(), "Task" | "Agent") {
        return None;
    }
    let names = rest.trim_end_matches(')').split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(str::to_owned).collect();
    Some((!names.is_empty()).then_some(names))
}

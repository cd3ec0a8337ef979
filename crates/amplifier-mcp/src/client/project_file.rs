//! `.mcp.json`: servers that a project brings along, as other programs of the field read it too.
//!
//! Guarantees: it counts in a trusted directory alone; elsewhere it is left out with one line. What cannot be read
//! is a line, and no failure.

use std::path::Path;

use amplifier_foundation::fs::read;
use serde_json::{Map, Value};

/// Its name.
pub(super) const NAME: &str = ".mcp.json";
/// Longest file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The servers of a directory's file; `Err` is a line for a person.
pub(super) fn servers(dir: &Path, trusted: bool) -> Result<Map<String, Value>, String> {
    let path = dir.join(NAME);
    if !read::is_file(&path) {
        return Ok(Map::new());
    }
    if !trusted {
        return Err(format!(
            "{} is left out, because the directory is not trusted; run `amplifier trust`",
            path.display()
        ));
    }
    let (text, _) = read::text(&path, MAX_BYTES).map_err(|error| error.to_string())?;
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let value: Value = serde_json::from_str(&text).map_err(|error| {
        wrong(&format!("it is no JSON (line {}, column {})", error.line(), error.column()))
    })?;
    match value.get("mcpServers").or_else(|| value.get("servers")) {
        Some(Value::Object(servers)) => Ok(servers.clone()),
        _ => Err(wrong("it has no map `mcpServers`")),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "tests look at real files")]
mod tests {
    use super::*;

    #[test]
    fn a_projects_file_counts_where_somebody_trusts_it() {
        let dir = tempfile::tempdir().unwrap();
        let check = |text: &str, trusted: bool, expect: Result<usize, &str>| {
            std::fs::write(dir.path().join(NAME), text).unwrap();
            match (servers(dir.path(), trusted), expect) {
                (Ok(found), Ok(count)) => assert_eq!(found.len(), count, "{text}"),
                (Err(said), Err(part)) => assert!(said.contains(part), "{said}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        };
        assert!(servers(dir.path(), false).unwrap().is_empty());
        check(r#"{"mcpServers": {"a": {}, "b": {}}}"#, true, Ok(2));
        check(r#"{"mcpServers": {"a": {}}}"#, false, Err("not trusted"));
        check("{", true, Err("no JSON (line 1"));
        check("[]", true, Err("no map `mcpServers`"));
    }
}

//! Names that Claude Code and Codex give to tools and their arguments, beside our own.
//!
//! Guarantees: whatever a script is offered beside a tool's own arguments is taken back out of what it
//! gives; what it changed of it counts.

use std::path::Path;

use serde_json::{Map, Value};

/// Our tools under the names that scripts know; the first is the one that scripts are told.
const ALIASES: [(&str, &[&str]); 10] = [
    ("bash", &["Bash"]),
    ("read_file", &["Read"]),
    ("write_file", &["Write"]),
    ("edit_file", &["Edit", "MultiEdit"]),
    // A rule about changes to files must not be passed by with a patch.
    ("apply_patch", &["Edit", "Write", "MultiEdit"]),
    ("grep", &["Grep"]),
    ("glob", &["Glob"]),
    ("web_fetch", &["WebFetch"]),
    ("delegate", &["Task", "Agent"]),
    ("todo", &["TodoWrite"]),
];

/// Arguments under a second name: tool, own name, name that scripts know, whether it is a path.
const ARGUMENTS: [(&str, &str, &str, bool); 5] = [
    ("read_file", "path", "file_path", true),
    ("write_file", "path", "file_path", true),
    ("edit_file", "path", "file_path", true),
    ("delegate", "agent", "subagent_type", false),
    ("delegate", "instruction", "prompt", false),
];

/// The names that scripts know a tool by, beside its own.
pub(crate) fn aliases(tool: &str) -> &'static [&'static str] {
    ALIASES.iter().find(|(own, _)| *own == tool).map_or(&[], |(_, others)| others)
}

/// A call's arguments with those under second names.
pub(super) fn offered(tool: &str, input: &Value, cwd: &Path) -> Value {
    let mut offered = input.clone();
    let Some(map) = offered.as_object_mut() else { return offered };
    for (_, own, other, is_path) in ARGUMENTS.iter().filter(|(of, ..)| *of == tool) {
        if let Some(value) = map.get(*own).filter(|_| !map.contains_key(*other)) {
            let value = match value.as_str() {
                Some(path) if *is_path && !path.starts_with('~') => {
                    cwd.join(path).to_string_lossy().into_owned().into()
                }
                _ => value.clone(),
            };
            map.insert((*other).to_owned(), value);
        }
    }
    if tool == "apply_patch"
        && let Some(patch) = map.get("patch").and_then(Value::as_str)
    {
        let paths: Vec<Value> = patched(patch, cwd).map(Value::from).collect();
        if let Some(first) = paths.first().cloned() {
            map.insert("file_path".to_owned(), first);
            map.insert("file_paths".to_owned(), paths.into());
        }
    }
    offered
}

/// What a script made of the arguments that it was offered, as the tool's own.
pub(super) fn taken_back(tool: &str, input: &Value, offered: &Value, updated: Value) -> Value {
    let Value::Object(mut updated) = updated else { return updated };
    let was_given = |key: &str| input.get(key).is_some();
    for (_, own, other, _) in ARGUMENTS.iter().filter(|(of, ..)| *of == tool) {
        if was_given(other) {
            continue;
        }
        if let Some(value) = updated.shift_remove(*other)
            && offered.get(*other) != Some(&value)
        {
            updated.insert((*own).to_owned(), value);
        }
    }
    if tool == "apply_patch" {
        remove_unless(&mut updated, &["file_path", "file_paths"], was_given);
    }
    Value::Object(updated)
}

fn remove_unless(map: &mut Map<String, Value>, keys: &[&str], keep: impl Fn(&str) -> bool) {
    for key in keys.iter().filter(|key| !keep(key)) {
        map.shift_remove(*key);
    }
}

/// The files that a patch names.
fn patched<'a>(patch: &'a str, cwd: &'a Path) -> impl Iterator<Item = String> + 'a {
    const HEADS: [&str; 4] = ["*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: "];
    let named = |line: &'a str| HEADS.iter().find_map(|head| line.strip_prefix(head));
    patch.lines().filter_map(named).map(|path| cwd.join(path.trim()).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn second_names_are_offered_and_taken_back() {
        let cwd = Path::new("/w");
        let check = |tool: &str, input: Value, expect: Value| {
            let offer = offered(tool, &input, cwd);
            assert_eq!(offer, expect, "{tool}");
            assert_eq!(taken_back(tool, &input, &offer, offer.clone()), input, "{tool}");
        };
        check(
            "write_file",
            json!({"path": "a", "content": "x"}),
            json!({"path": "a", "content": "x", "file_path": "/w/a"}),
        );
        check("read_file", json!({"file_path": "a"}), json!({"file_path": "a"}));
        check("bash", json!({"command": "ls"}), json!({"command": "ls"}));
        check(
            "apply_patch",
            json!({"patch": "*** Begin Patch\n*** Add File: a/b\n+x\n*** Delete File: /c\n"}),
            json!({"patch": "*** Begin Patch\n*** Add File: a/b\n+x\n*** Delete File: /c\n",
                   "file_path": "/w/a/b", "file_paths": ["/w/a/b", "/c"]}),
        );
        check("odd", json!("text"), json!("text"));
    }

    #[test]
    fn what_a_script_changes_counts_under_either_name() {
        let cwd = Path::new("/w");
        let input = json!({"path": "a", "content": "x"});
        let offer = offered("write_file", &input, cwd);
        let back = |updated: Value| taken_back("write_file", &input, &offer, updated);
        assert_eq!(
            back(json!({"file_path": "/w/b", "content": "y"})),
            json!({"content": "y", "path": "/w/b"})
        );
        assert_eq!(
            back(json!({"path": "c", "file_path": "/w/a", "content": "x"})),
            json!({"path": "c", "content": "x"})
        );
    }
}

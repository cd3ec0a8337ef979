//! What each tool says it will touch: resolved, before it runs.

use std::os::unix::fs::symlink;

use amplifier_core::permission::{Access, Ruling};
use serde_json::{Value, json};

use crate::support_tools::Bench;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    std::fs::create_dir(bench.root.join("outside")).unwrap();
    symlink("../outside", bench.cwd().join("out")).unwrap();
    symlink("../outside/new", bench.cwd().join("dangling")).unwrap();
    bench
}

fn accesses(bench: &Bench, tool: &str, arguments: &Value) -> Vec<String> {
    let accesses = bench.tools.get(tool).unwrap().access(arguments, &bench.env).unwrap();
    let root = format!("{}/", bench.root.display());
    accesses.iter().map(|access| access.to_string().replace(&root, "")).collect()
}

#[tokio::test]
async fn every_tool_names_resolved_paths() {
    let bench = bench().await;
    let patch = "*** Begin Patch\n*** Add File: out/a\n+x\n*** Update File: b\n*** Move to: ../c\n@@\n-x\n+y\n\
        *** Delete File: d\n*** End Patch";
    for (tool, arguments, expect) in [
        ("read_file", json!({"path": "a/../b"}), vec!["read cwd/b"]),
        ("read_file", json!({"file_path": "out/x"}), vec!["read outside/x"]),
        ("read_file", json!({"path": "~/x"}), vec!["read home/x"]),
        ("write_file", json!({"path": "dangling", "content": ""}), vec!["write outside/new"]),
        ("write_file", json!({"path": "new/deep/x", "content": ""}), vec!["write cwd/new/deep/x"]),
        (
            "edit_file",
            json!({"path": "../x", "old_string": "a", "new_string": "b"}),
            vec!["read x", "write x"],
        ),
        (
            "apply_patch",
            json!({ "patch": patch }),
            vec!["write outside/a", "read cwd/b", "write cwd/b", "write c", "read cwd/d", "write cwd/d"],
        ),
        ("bash", json!({"command": "ls"}), vec!["run `ls`"]),
        ("bash", json!({"command": "ls", "cwd": "out"}), vec!["run `ls`", "read outside"]),
        ("grep", json!({"pattern": "x", "path": "out"}), vec!["read outside"]),
        ("grep", json!({"pattern": "x"}), vec!["read cwd"]),
        ("glob", json!({"pattern": "*", "path": ".."}), vec![]),
        ("todo", json!({"action": "list"}), vec![]),
    ] {
        let found = accesses(&bench, tool, &arguments);
        let expect: Vec<String> = match (tool, arguments["path"].as_str()) {
            ("glob", Some("..")) => vec![format!("read {}", bench.root.display())],
            _ => expect.into_iter().map(str::to_owned).collect(),
        };
        assert_eq!(found, expect, "{tool} {arguments}");
    }
}

#[tokio::test]
async fn a_link_that_points_out_is_judged_by_its_target() {
    let bench = bench().await;
    for (path, expect) in [("in", Ruling::Allow), ("out/x", Ruling::Deny), ("dangling", Ruling::Deny)] {
        let arguments = json!({"path": path, "content": ""});
        let accesses = bench.tools.get("write_file").unwrap().access(&arguments, &bench.env).unwrap();
        assert!(matches!(accesses[..], [Access::Write(_)]));
        assert_eq!(bench.permissions.decide(&accesses[0], false).ruling, expect, "{path}");
    }
}

#[tokio::test]
async fn arguments_that_make_no_sense_are_refused_before_anything_is_asked() {
    let bench = bench().await;
    for (tool, arguments, expect) in [
        ("read_file", json!({}), "path"),
        ("read_file", json!({"path": ""}), "empty"),
        ("write_file", json!({"path": "x"}), "content"),
        ("edit_file", json!({"path": "x", "old_string": "a"}), "new_string"),
        ("apply_patch", json!({"patch": "nonsense"}), "Begin Patch"),
        ("bash", json!({"cmd": 3}), "string"),
        ("bash", json!({"command": "x", "timeout": 1.5}), "whole number"),
        ("read_file", json!({"path": "x", "offset": -1}), "whole number"),
        ("grep", json!({"pattern": "x", "output_mode": "loud"}), "loud"),
    ] {
        let error = bench.tools.get(tool).unwrap().access(&arguments, &bench.env).unwrap_err().to_string();
        assert!(error.starts_with("invalid arguments") && error.contains(expect), "{tool}: {error}");
    }
}

#[tokio::test]
async fn a_link_that_changes_after_the_judgement_is_not_followed() {
    let patch = "*** Begin Patch\n*** Add File: dir/new\n+x\n*** End Patch";
    let move_out = "*** Begin Patch\n*** Update File: safe\n*** Move to: dir/new\n*** End Patch";
    for (tool, arguments) in [
        ("read_file", json!({"path": "dir/secret"})),
        ("write_file", json!({"path": "dir/new", "content": "x"})),
        ("edit_file", json!({"path": "dir/secret", "old_string": "secret", "new_string": "x"})),
        ("apply_patch", json!({ "patch": patch })),
        ("apply_patch", json!({ "patch": move_out })),
        ("grep", json!({"pattern": "secret", "path": "dir"})),
        ("glob", json!({"pattern": "*", "path": "dir"})),
        ("bash", json!({"command": "cat secret", "cwd": "dir"})),
    ] {
        let bench = bench().await;
        std::fs::write(bench.root.join("outside/secret"), "secret").unwrap();
        bench.file("safe", "x\n");
        bench.file("dir/secret", "secret, but harmless");
        let dir = bench.cwd().join("dir");
        let swap = || {
            std::fs::rename(&dir, bench.root.join("away")).unwrap();
            symlink("../outside", &dir).unwrap();
        };
        let error = bench.call_after(tool, arguments.clone(), false, swap).await.unwrap_err().to_string();
        assert!(error.contains("a link in the path has changed"), "{tool} {arguments}: {error}");
        assert_eq!(std::fs::read_to_string(bench.root.join("outside/secret")).unwrap(), "secret");
        assert!(!bench.root.join("outside/new").exists(), "{tool}");
    }
}

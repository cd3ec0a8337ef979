//! What a request pays for the tools, and under which names bundles find them.

use amplifier_core::module::tool::Repeat;
use serde_json::json;

use crate::support_tools::Bench;

#[tokio::test]
async fn all_schemas_together_are_small() {
    let bench = Bench::new().await;
    let functions: Vec<_> = bench
        .tools
        .schemas()
        .iter()
        .map(|tool| {
            json!({"type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.input_schema,
            }})
        })
        .collect();
    let names: Vec<_> = bench.tools.schemas().iter().map(|tool| tool.name.clone()).collect();
    let mut expect = vec![
        "read_file",
        "write_file",
        "edit_file",
        "apply_patch",
        "bash",
        "grep",
        "glob",
        "load_skill",
        "todo",
        "delegate",
        "emit_event",
        "wait_for_event",
        "spawn",
        "wait",
        "issue_manager",
    ];
    if cfg!(feature = "web") {
        expect.insert(7, "web_fetch");
    }
    assert_eq!(names, expect);
    let bytes = serde_json::to_string(&functions).unwrap().len();
    assert!(bytes <= 7_900, "{bytes} bytes");
}

/// A file may have changed between the two calls: what writes does harm when it comes again later.
#[tokio::test]
async fn only_what_does_no_harm_may_be_called_again_after_a_cut() {
    let bench = Bench::new().await;
    for tool in bench.tools.iter() {
        let expect = match tool.schema().name.as_str() {
            "read_file" | "grep" | "glob" | "web_fetch" | "load_skill" => Repeat::Pure,
            "todo" => Repeat::Idempotent,
            _ => Repeat::Never,
        };
        assert_eq!(tool.repeat(), expect, "{}", tool.schema().name);
    }
}

#[test]
fn modules_have_the_reference_s_names() {
    let infos: Vec<_> = amplifier_modules::tool::tools().iter().map(|module| module.info()).collect();
    let ids: Vec<_> = infos.iter().map(|info| info.id).filter(|id| *id != "tool-web").collect();
    assert_eq!(
        ids,
        [
            "tool-filesystem",
            "tool-bash",
            "tool-search",
            "tool-skills",
            "tool-todo",
            "tool-delegate",
            "tool-events",
            "tool-issue"
        ]
    );
    assert!(infos[0].aliases.contains(&"tool-apply-patch"));
    let delegate = infos.iter().find(|info| info.id == "tool-delegate").unwrap();
    assert!(delegate.aliases.contains(&"tool-task"));
}

//! What a request pays for the tools, and under which names bundles find them.

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
    let expect =
        ["read_file", "write_file", "edit_file", "apply_patch", "bash", "grep", "glob", "todo", "delegate"];
    assert_eq!(names, expect);
    let bytes = serde_json::to_string(&functions).unwrap().len();
    assert!(bytes <= 3_110, "{bytes} bytes");
}

#[test]
fn modules_have_the_reference_s_names() {
    let infos: Vec<_> = amplifier_modules::tool::tools().iter().map(|module| module.info()).collect();
    let ids: Vec<_> = infos.iter().map(|info| info.id).collect();
    assert_eq!(ids, ["tool-filesystem", "tool-bash", "tool-search", "tool-todo", "tool-delegate"]);
    assert!(infos[0].aliases.contains(&"tool-apply-patch"));
    assert!(infos[4].aliases.contains(&"tool-task"));
}

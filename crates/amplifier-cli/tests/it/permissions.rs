//! What a run may do where nobody can be asked.

use serde_json::{Value, json};

use crate::kit::Place;

fn writing(path: &str) -> Place {
    let place = Place::new();
    let script = format!(
        "- {{when: {{turn: 1}}, tool_calls: [{{tool: write_file, arguments: {{path: '{path}', content: x}}}}]}}\n\
         - {{when: {{after_tool: write_file}}, text: I tried}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    place
}

#[test]
fn a_write_elsewhere_is_denied_and_the_run_says_so_with_code_4() {
    let place = writing("../outside.txt");
    let done = place.run(&["run", "-B", "b", "--output-format", "stream-json", "go"]).code(4);
    let end = done.lines().pop().unwrap();
    assert_eq!((&end["subtype"], &end["result"]), (&json!("error_permission"), &json!("I tried")));
    assert!(!place.project().join("../outside.txt").exists());
    done.says(&["nobody could be asked"]);
}

#[test]
fn flags_and_directories_widen() {
    let check = |path: &str, args: &[&str], written: bool, code: i32| {
        let place = writing(path);
        std::fs::create_dir(place.project().join("../other")).unwrap();
        let mut all = vec!["run", "-B", "b", "go"];
        all.extend(args);
        place.run(&all).code(code);
        assert_eq!(place.project().join(path).exists(), written, "{path} {args:?}");
    };
    check("in.txt", &[], true, 0);
    check("in.txt", &["--permission-mode", "plan"], false, 0);
    check("../other/out.txt", &["--permission-mode", "dontAsk"], false, 0);
    check("../other/out.txt", &["--permission-mode", "acceptEdits"], false, 4);
    check("../other/out.txt", &["--add-dir", "../other"], true, 0);
    check("../other/out.txt", &["--permission-mode", "bypassPermissions"], true, 0);
}

#[test]
fn keys_do_not_show_in_what_is_written() {
    let place = Place::scripted("- text: 'got {{prompt}}'");
    place.write_home("keys.env", "ANTHROPIC_API_KEY=sk-ant-0123456789abcdef\n");
    let shown: Value = place.run(&["bundle", "show", "b", "--json"]).ok().json();
    assert!(!shown.to_string().contains("sk-ant-0123456789"));
    place.run(&["run", "-B", "b", "--name", "sk-ant-0123456789abcdef", "hi"]).ok();
    let metadata =
        std::fs::read_to_string(place.session_folder(&place.sessions()[0]).join("metadata.json")).unwrap();
    assert!(!metadata.contains("sk-ant-0123456789"), "{metadata}");
}

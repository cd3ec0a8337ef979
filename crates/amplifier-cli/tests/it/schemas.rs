//! `run --output-schema`, and the schemas of our own files.

use serde_json::{Value, json};

use crate::kit::Place;

const SCHEMA: &str = r#"{"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}"#;

fn place(script: &str) -> Place {
    let place = Place::scripted(script);
    place.write("schema.json", SCHEMA);
    place
}

const RUN: [&str; 5] = ["run", "-B", "b", "--output-schema", "schema.json"];

fn run<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&RUN[..], more].concat()
}

#[test]
fn an_answer_that_fits_is_told_as_a_value() {
    let place = place("- text: \"```json\\n{\\\"n\\\": 7}\\n```\"");
    assert_eq!(place.run(&run(&["how many?"])).ok().stdout, "{\"n\": 7}\n");
    let told = place.run(&run(&["--output-format", "json", "how many?"])).ok().json();
    assert_eq!((&told["structured_output"], &told["num_turns"]), (&json!({"n": 7}), &json!(1)));
    let lines = place.run(&run(&["--output-format", "stream-json", "how many?"])).ok().lines();
    assert_eq!(lines.last().unwrap()["structured_output"], json!({"n": 7}));
    let plain = place.run(&["run", "-B", "b", "--output-format", "json", "how many?"]).ok().json();
    assert_eq!(plain.get("structured_output"), None);
    let transcript =
        std::fs::read_to_string(place.session_folder(&place.sessions()[1]).join("transcript.jsonl"));
    assert!(transcript.unwrap().contains("additionalProperties"), "the model is told of the schema");
}

#[test]
fn the_model_is_asked_again_and_each_call_is_a_turn() {
    let script = "- {text: many, times: 1}\n- {text: '{\"n\": \"x\"}', times: 1}\n- {text: '{\"n\": 3}'}";
    let place = place(script);
    let told = place.run(&run(&["--output-format", "json", "--session-id", "s", "how many?"])).ok().json();
    assert_eq!((&told["structured_output"], &told["num_turns"]), (&json!({"n": 3}), &json!(3)));
    let transcript = std::fs::read_to_string(place.session_folder("s").join("transcript.jsonl")).unwrap();
    assert!(transcript.contains("the answer is no JSON") && transcript.contains("/n: "), "{transcript}");
    // A session that goes on is checked too.
    place.bundle("b", "- text: still words", "");
    let resumed = ["continue", "--output-schema", "schema.json", "--output-schema-retries", "0", "and now?"];
    place.run(&resumed).code(1).says(&["no answer fits it", "the answer is no JSON"]);
}

#[test]
fn an_answer_that_never_fits_is_a_failure() {
    let place = place("- text: many");
    let told = place.run(&run(&["--output-format", "stream-json", "how many?"])).code(1);
    let result = told.lines().last().unwrap().clone();
    assert_eq!(result["subtype"], "error_during_execution");
    assert_eq!((&result["structured_output"], &result["num_turns"]), (&Value::Null, &json!(3)));
    assert!(told.stderr.contains("no answer fits it"), "{told:#?}");
    // The limit of turns counts these too.
    place.run(&run(&["--max-turns", "2", "how many?"])).code(3);
}

#[test]
fn a_schema_that_is_none_is_refused_before_a_model_is_asked() {
    let check = |text: &str, says: &str| {
        let place = place("- text: '{}'");
        place.write("schema.json", text);
        place.run(&run(&["hi"])).code(2).says(&[says]);
        assert_eq!(place.sessions(), Vec::<String>::new());
    };
    check("{", "schema.json: it is no JSON");
    check(r#"{"type": "numbr"}"#, "it is no JSON Schema");
    check("[]", "it is no JSON Schema");
    check(r#"{"$ref": "http://127.0.0.1:9/x.json"}"#, "it cannot be used");
    check(r#"{"$ref": "file:///etc/passwd"}"#, "it cannot be used");
    place("- text: x")
        .run(&["run", "-B", "b", "--output-schema", "nowhere.json", "hi"])
        .code(2)
        .says(&["nowhere.json"]);
}

#[test]
fn the_schemas_of_our_files_are_printed() {
    let place = Place::new();
    for kind in ["bundle", "settings", "background", "foreman"] {
        let schema = place.run(&["schema", kind]).ok().json();
        assert_eq!(schema["$id"], format!("urn:amplifier:schema:{kind}"));
    }
    place.run(&["schema", "nothing"]).code(2).says(&["bundle, settings, background, foreman"]);
}

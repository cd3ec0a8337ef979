//! Tests of the parent module.

use serde::Deserialize;
use serde_json::json;

use super::*;

/// How it is sorted.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Order {
    Oldest,
    Newest,
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read by the schema alone")]
struct Range {
    from: u64,
    to: Option<f32>,
}

/// Not for the model.
#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "read by the schema alone")]
struct Rich {
    /// The customer's number.
    id: u32,
    title: String,
    tags: Vec<String>,
    order: Option<Order>,
    /// From which page on.
    range: Option<Range>,
    limit: Option<i64>,
    #[serde(default)]
    deep: bool,
}

#[test]
fn a_schema_is_whole_small_and_without_references() {
    let expect = json!({
        "type": "object",
        "properties": {
            "id": {"description": "The customer's number.", "type": "integer", "minimum": 0},
            "title": {"type": "string"},
            "tags": {"type": "array", "items": {"type": "string"}},
            "order": {"description": "How it is sorted.", "type": "string", "enum": ["oldest", "newest"]},
            "range": {
                "description": "From which page on.",
                "type": "object",
                "properties": {"from": {"type": "integer", "minimum": 0}, "to": {"type": "number"}},
                "required": ["from"],
            },
            "limit": {"type": "integer"},
            "deep": {"type": "boolean", "default": false},
        },
        "required": ["id", "title", "tags"],
    });
    let schema = input_schema::<Rich>();
    assert_eq!(schema, expect);
    let fields: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        ["id", "title", "tags", "order", "range", "limit", "deep"],
        "in the order of the type"
    );
}

#[test]
fn arguments_without_fields_are_an_empty_object() {
    #[derive(Deserialize, JsonSchema)]
    struct Nothing {}
    let schema = input_schema::<Nothing>();
    assert_eq!((&schema["type"], &schema["properties"]), (&json!("object"), &json!({})));
}

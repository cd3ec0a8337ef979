//! The JSON Schema of `foreman.yaml`, for editors. What no schema can say, reading it says.

use serde_json::{Value, json};

use super::{MAX_CONCURRENT, MAX_POOLS, STATUSES};

/// The schema, as JSON text.
pub fn schema() -> String {
    format!("{:#}", root())
}

pub(super) fn root() -> Value {
    let text = |about: &str| json!({"type": "string", "minLength": 1, "description": about});
    let texts = |about: &str| {
        json!({"description": about, "oneOf": [
            {"type": "string"}, {"type": "array", "items": {"type": "string"}, "maxItems": 100}]})
    };
    let span =
        |about: &str| json!({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$", "description": about});
    let mut properties = json!({
        "worker_pools": {"type": "array", "maxItems": MAX_POOLS, "items": pool(),
            "description": "Pools of workers; each is a background session."},
        "routing": routing(),
        "background_sessions": {"type": "array", "items": {"type": "object"},
            "description": "Background sessions beside the pools, as in .amplifier/background.yaml."},
        "retry": map(&[("attempts", json!({"type": "integer", "minimum": 1, "maximum": 100,
            "description": "Attempts at an issue in one pool, before it has failed. Default 3."}))]),
        "limits": {"type": "object", "description": "Bounds of every worker."},
        "permissions": permissions(),
        "notify": {"type": "array", "items": {"type": "object"}, "description": "Who is told of which events."},
    });
    let more = json!({
        "listen": text("Where the HTTP server listens: an address and a port."),
        "allowed_hosts": texts("Hosts that requests may name besides loopback."),
        "retention": map(&[
            ("events", span("How long events are kept.")), ("runs", span("How long runs are kept.")),
            ("sessions", span("How long the rows of sessions are kept.")),
            ("commands", span("How long commands are kept.")),
        ]),
        "max_iterations": {"type": "integer", "minimum": 1, "maximum": 10_000,
            "description": "Model calls of a turn of the conversational foreman."},
        "extended_thinking": {"type": "boolean", "description": "The conversational foreman thinks at length."},
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut properties, more) {
        all.extend(more);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "foreman.yaml",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn map(properties: &[(&str, Value)]) -> Value {
    let properties: serde_json::Map<String, Value> =
        properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}

fn permissions() -> Value {
    json!({"enum": ["default", "plan", "acceptEdits", "dontAsk"], "description": "What workers may do. Default dontAsk."})
}

fn pool() -> Value {
    let text = |about: &str| json!({"type": "string", "minLength": 1, "description": about});
    let mut pool = map(&[
        ("name", text("The name of the pool.")),
        ("worker_bundle", text("The bundle of its workers: a name, a path or an address.")),
        (
            "max_concurrent",
            json!({"type": "integer", "minimum": 1, "maximum": MAX_CONCURRENT, "description": "Workers at once. Default 1."}),
        ),
        (
            "route_types",
            json!({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                "description": "Types of issues that it asks for."}),
        ),
        ("limits", json!({"type": "object", "description": "Bounds of its workers."})),
        ("permissions", permissions()),
        ("worktree", json!({"type": "boolean", "description": "Each worker has a git worktree of its own."})),
        ("on_lost", json!({"enum": ["resume", "restart"], "description": "After a crash. Default resume."})),
    ]);
    pool["required"] = json!(["name", "worker_bundle"]);
    pool
}

fn routing() -> Value {
    let one_or_more = |items: Value| json!({"oneOf": [items, {"type": "array", "items": items}]});
    let mut rule = map(&[
        ("if_metadata_type", one_or_more(json!({"type": "string"}))),
        ("if_status", one_or_more(json!({"enum": STATUSES}))),
        ("and_retry_count_gte", json!({"type": "integer", "minimum": 0, "maximum": 1_000})),
        ("then_pool", json!({"type": "string"})),
    ]);
    rule["required"] = json!(["then_pool"]);
    map(&[
        ("default_pool", json!({"type": "string", "description": "For types that no pool asks for."})),
        ("rules", json!({"type": "array", "items": rule, "description": "The first that fits counts."})),
    ])
}

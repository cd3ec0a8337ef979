//! Schemas of tools' arguments, as servers give them.
//!
//! Guarantees: what goes to a model service is an object's schema of bounded size that the services can read;
//! anything else is refused with the reason. Never here: a judgement whether arguments fit; the server does that.

use serde_json::{Map, Value};

/// Longest schema of one tool, in bytes of JSON.
const MAX_BYTES: usize = 64 * 1024;
/// Levels of a schema.
const MAX_DEPTH: usize = 32;
const TYPES: [&str; 7] = ["object", "array", "string", "number", "integer", "boolean", "null"];
/// Keys that hold one schema.
const ONE: [&str; 8] =
    ["items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"];
/// Keys that hold several, by name.
const NAMED: [&str; 5] = ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"];
/// Keys that hold several, in a row.
const ROW: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];

/// The schema as it goes to a model service. `Err` says what is wrong with it.
pub(crate) fn checked(given: &Value) -> Result<Value, String> {
    let Value::Object(map) = given else { return Err("its input schema is no object".to_owned()) };
    let bytes = given.to_string().len();
    if bytes > MAX_BYTES {
        return Err(format!("its input schema has {bytes} bytes, of {MAX_BYTES} at most"));
    }
    let mut map = map.clone();
    match map.get("type") {
        None => drop(map.insert("type".to_owned(), Value::from("object"))),
        Some(Value::String(kind)) if kind == "object" => {}
        Some(_) => return Err("its input schema does not describe an object".to_owned()),
    }
    check_map(&map, 0)?;
    if !map.contains_key("properties") {
        map.insert("properties".to_owned(), Value::Object(Map::new()));
    }
    Ok(Value::Object(map))
}

fn check(schema: &Value, depth: usize) -> Result<(), String> {
    match schema {
        Value::Bool(_) => Ok(()),
        Value::Object(_) if depth > MAX_DEPTH => Err(format!("its input schema has over {MAX_DEPTH} levels")),
        Value::Object(map) => check_map(map, depth),
        _ => Err("a part of its input schema is no schema".to_owned()),
    }
}

fn check_map(map: &Map<String, Value>, depth: usize) -> Result<(), String> {
    let wrong = |key: &str| Err(format!("`{key}` in its input schema is malformed"));
    let is_type = |kind: &Value| kind.as_str().is_some_and(|kind| TYPES.contains(&kind));
    for (key, value) in map {
        match (key.as_str(), value) {
            ("type", Value::Array(kinds)) if !kinds.is_empty() && kinds.iter().all(is_type) => {}
            ("type", kind) if is_type(kind) => {}
            ("type", _) => return wrong(key),
            ("required", Value::Array(names)) if names.iter().all(Value::is_string) => {}
            // Of a property the old drafts had a boolean here.
            ("required", Value::Bool(_)) if depth > 0 => {}
            ("required", _) => return wrong(key),
            ("items", Value::Array(schemas)) => row(schemas, depth)?,
            (one, schema) if ONE.contains(&one) => check(schema, depth + 1)?,
            (named, Value::Object(schemas)) if NAMED.contains(&named) => {
                schemas.values().try_for_each(|schema| check(schema, depth + 1))?;
            }
            (several, Value::Array(schemas)) if ROW.contains(&several) => row(schemas, depth)?,
            (several, _) if NAMED.contains(&several) || ROW.contains(&several) => return wrong(key),
            _ => {}
        }
    }
    Ok(())
}

fn row(schemas: &[Value], depth: usize) -> Result<(), String> {
    schemas.iter().try_for_each(|schema| check(schema, depth + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_a_schema_passes_and_what_is_none_is_refused_with_its_fault() {
        let fine = |given: Value| checked(&given).unwrap();
        assert_eq!(fine(json!({})), json!({"type": "object", "properties": {}}));
        let whole = json!({
            "type": "object", "required": ["a"], "additionalProperties": false,
            "properties": {"a": {"type": ["string", "null"]}, "b": {"anyOf": [{"type": "integer"}, true]}},
            "$defs": {"x": {"items": {"type": "string"}}},
        });
        assert_eq!(fine(whole.clone()), whole);
        let wrong = |given: Value, part: &str| {
            let said = checked(&given).unwrap_err();
            assert!(said.contains(part), "{said}");
        };
        wrong(json!("string"), "no object");
        wrong(json!([]), "no object");
        wrong(json!({"type": "string"}), "not describe an object");
        wrong(json!({"type": 7}), "not describe an object");
        wrong(json!({"properties": []}), "`properties`");
        wrong(json!({"properties": {"a": "text"}}), "no schema");
        wrong(json!({"properties": {"a": {"type": "strnig"}}}), "`type`");
        wrong(json!({"required": "a"}), "`required`");
        wrong(json!({"anyOf": {}}), "`anyOf`");
        wrong(json!({"x": "y".repeat(MAX_BYTES)}), "bytes");
        let deep = (0..40).fold(json!({}), |inner, _| json!({"items": inner}));
        wrong(deep, "levels");
    }
}

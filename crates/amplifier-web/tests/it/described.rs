//! The description of the API against the API.

use std::collections::BTreeSet;

use amplifier_tests::fake::Step;
use amplifier_web::{OPENAPI, Web};
use serde_json::{Value, json};

use super::stage::Served;

fn document() -> Value {
    serde_json::from_str(OPENAPI).unwrap()
}

#[test]
fn each_route_is_described_and_each_description_is_a_route() {
    let document = document();
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert(format!("{method} {path}"));
            let role = if method == "get" { "read" } else { "write" };
            assert_eq!(operation["x-role"], role, "{method} {path}");
            let told: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let named = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
            assert_eq!(told, named.collect(), "{method} {path}");
        }
    }
    let routes = Web::described().into_iter().map(|route| format!("{} {}", route.method, route.path));
    assert_eq!(described, routes.collect());
    let mut names = BTreeSet::new();
    for operation in
        document["paths"].as_object().unwrap().values().flat_map(|path| path.as_object().unwrap().values())
    {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "an operation's id is its own");
    }
}

/// Where a value is not what a schema says; the little of JSON Schema that the description uses.
fn misfit(document: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let found =
            document.pointer(reference.strip_prefix('#').unwrap()).expect("a reference leads somewhere");
        return misfit(document, found, value, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let all = any.iter().map(|one| misfit(document, one, value, at));
        return all.reduce(|one, other| one.and(other)).flatten();
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |name: &Value| name == kind || (name == "number" && kind == "integer");
    let fits = match &schema["type"] {
        Value::Null => true,
        Value::Array(kinds) => kinds.iter().any(is),
        one => is(one),
    };
    if !fits || schema["enum"].as_array().is_some_and(|values| !values.contains(value)) {
        return Some(format!("{at}: {value} is no {}", schema));
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        return values
            .iter()
            .enumerate()
            .find_map(|(n, one)| misfit(document, items, one, &format!("{at}/{n}")));
    }
    let fields = value.as_object()?;
    for required in schema["required"].as_array().into_iter().flatten() {
        if !fields.contains_key(required.as_str().unwrap()) {
            return Some(format!("{at}: {required} is missing"));
        }
    }
    fields.iter().find_map(|(name, one)| {
        let at = format!("{at}/{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(schema), _) => misfit(document, schema, one, &at),
            (None, Value::Bool(false)) => Some(format!("{at} is not described")),
            (None, other @ Value::Object(_)) => misfit(document, other, one, &at),
            _ => None,
        }
    })
}

impl Served {
    /// Asks, and compares the answer with what the description says of it.
    pub(crate) async fn as_described(
        &self,
        method: &str,
        route: &str,
        id: &str,
        query: &str,
        body: &Value,
    ) -> Value {
        let document = document();
        let path = format!("{}{query}", route.replace("{name}", id).replace("{id}", id));
        let answer = match method {
            "get" => self.get(&path).await,
            _ => {
                self.ask(&method.to_uppercase(), &path, &super::stage::bearer(&self.write), &body.to_string())
                    .await
            }
        };
        let responses = &document["paths"][route][method]["responses"];
        let response = responses.get(answer.status.to_string()).unwrap_or(&responses["default"]);
        let said: Value = serde_json::from_str(&answer.body).unwrap();
        let schema = &response["content"]["application/json"]["schema"];
        if let Some(misfit) = misfit(&document, schema, &said, &path) {
            panic!("{misfit}\n{said:#}");
        }
        said
    }
}

#[tokio::test]
async fn answers_are_as_described() {
    let served = Served::new().await;
    let post = json!({});
    served.stage.brain.then(Step::Say("fine".into()));
    let fired = served.as_described("post", "/api/v1/background/{name}/fire", "night", "", &post).await;
    let id = fired["run_id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/runs/{id}");
    let run = served.until(&path, |said| said["run"]["state"] == "completed").await;
    let session = run["run"]["session_id"].as_str().unwrap();
    let issue = served.open(json!({"title": "one", "description": "more"})).await;
    served.act(&issue, "link", json!({"to": "x", "kind": "related"})).await.json(200);
    for (route, id, query) in [
        ("/api/v1/issues", "", ""),
        ("/api/v1/issues/counts", "", ""),
        ("/api/v1/issues/{id}", &issue, ""),
        ("/api/v1/issues/{id}", "none", ""),
        ("/api/v1/status", "", ""),
        ("/api/v1/cost", "", ""),
        ("/api/v1/background", "", ""),
        ("/api/v1/background/{name}", "night", ""),
        ("/api/v1/background/{name}", "none", ""),
        ("/api/v1/triggers", "", ""),
        ("/api/v1/runs", "", "?limit=5"),
        ("/api/v1/runs/{id}", &id, ""),
        ("/api/v1/runs/{id}", "none", ""),
        ("/api/v1/sessions", "", "?limit=1"),
        ("/api/v1/sessions/{id}", session, ""),
        ("/api/v1/sessions/{id}", "none", ""),
        ("/api/v1/openapi.json", "", ""),
    ] {
        served.as_described("get", route, id, query, &post).await;
    }
    for (route, id) in [
        ("/api/v1/background/{name}/pause", "night"),
        ("/api/v1/background/{name}/resume", "night"),
        ("/api/v1/pause", ""),
        ("/api/v1/resume", ""),
        ("/api/v1/drain", ""),
        ("/api/v1/runs/{id}/retry", &id),
        ("/api/v1/runs/{id}/drop", &id),
        ("/api/v1/sessions/{id}/cancel", session),
        ("/api/v1/issues/{id}/close", &issue),
        ("/api/v1/issues/{id}/reopen", &issue),
        ("/api/v1/issues/{id}/cancel", &issue),
        ("/api/v1/issues/{id}/retry", &issue),
        ("/api/v1/issues/{id}/comment", &issue),
    ] {
        served.as_described("post", route, id, "", &post).await;
    }
    served.end().await;
}

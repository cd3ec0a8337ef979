//! How two values become one: the later one wins, maps recurse, lists are joined.
//!
//! Lists are concatenated and each value kept once, its first place; values of different types differ, and
//! the order of a map's keys does not matter. A list cannot be replaced, only added to.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::model::ModuleEntry;
use super::provenance::extend_unique;

/// Merges a map into another one.
pub(crate) fn maps(base: &mut Map<String, Value>, later: &Map<String, Value>) {
    for (key, value) in later {
        match base.get_mut(key) {
            Some(known) => values(known, value),
            None => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

fn values(base: &mut Value, later: &Value) {
    match (base, later) {
        (Value::Object(base), Value::Object(later)) => maps(base, later),
        (Value::Array(base), Value::Array(later)) => {
            base.extend(later.iter().cloned());
            unique(base, canonical);
        }
        (base, later) => *base = later.clone(),
    }
}

/// Keeps the first of all items that have the same key.
pub(crate) fn unique<T>(items: &mut Vec<T>, key: impl Fn(&T) -> String) {
    let mut seen = HashSet::new();
    items.retain(|item| seen.insert(key(item)));
}

/// A text that is the same for equal values and for no others. JSON's own notation tells types apart.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{}:{}", Value::from(key.as_str()), canonical(value)))
                .collect();
            entries.sort();
            format!("{{{}}}", entries.join(","))
        }
        scalar => scalar.to_string(),
    }
}

/// Merges a module entry into one of the same key. A bare name replaces; a map is merged key by key.
pub(crate) fn entry(base: &mut ModuleEntry, later: &ModuleEntry) {
    if later.short {
        base.clone_from(later);
        return;
    }
    if !later.spec.module.is_empty() {
        base.spec.module.clone_from(&later.spec.module);
    }
    replace(&mut base.spec.id, &later.spec.id);
    replace(&mut base.spec.source, &later.spec.source);
    maps(&mut base.spec.config, &later.spec.config);
    maps(&mut base.extra.0, &later.extra.0);
    base.short = false;
    extend_unique(&mut base.origins, &later.origins);
}

/// Merges entries that may be absent.
pub(crate) fn slot(base: &mut Option<ModuleEntry>, later: &Option<ModuleEntry>) {
    match (base.as_mut(), later) {
        (Some(base), Some(later)) => entry(base, later),
        (None, Some(later)) => *base = Some(later.clone()),
        (_, None) => {}
    }
}

/// Merges lists of modules: the same key is merged in its place, a new one appended.
pub(crate) fn entries(base: &mut Vec<ModuleEntry>, later: &[ModuleEntry]) {
    for item in later {
        match base.iter_mut().find(|known| known.key() == item.key()) {
            Some(known) => entry(known, item),
            None => base.push(item.clone()),
        }
    }
}

/// Replaces a value by one that is there. Says whether it did.
pub(crate) fn replace<T: Clone>(base: &mut Option<T>, later: &Option<T>) -> bool {
    if later.is_some() {
        base.clone_from(later);
    }
    later.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(base: Value, later: Value, expect: Value) {
        let mut merged = base.clone();
        values(&mut merged, &later);
        assert_eq!(merged, expect, "{base} + {later}");
    }

    #[test]
    fn maps_recurse_lists_join_and_scalars_are_replaced() {
        check(json!({"a": {"b": 1, "c": 2}}), json!({"a": {"c": 3}}), json!({"a": {"b": 1, "c": 3}}));
        check(json!({"l": [1, 2]}), json!({"l": [2, 3]}), json!({"l": [1, 2, 3]}));
        check(json!({"a": 1}), json!({"a": null}), json!({"a": null}));
        check(json!({"a": [1]}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}}));
        check(json!({"a": {"b": 1}}), json!({"a": 2}), json!({"a": 2}));
    }

    #[test]
    fn values_of_different_types_are_kept_apart_in_lists() {
        check(
            json!({"l": [1, "1"]}),
            json!({"l": [true, 1.0, "1", null]}),
            json!({"l": [1, "1", true, 1.0, null]}),
        );
        check(
            json!({"l": [{"a": 1, "b": 2}]}),
            json!({"l": [{"b": 2, "a": 1}, {"a": 1}]}),
            json!({"l": [{"a": 1, "b": 2}, {"a": 1}]}),
        );
        check(
            json!({"l": ["a,b"]}),
            json!({"l": [["a", "b"], "a\",\"b"]}),
            json!({"l": ["a,b", ["a", "b"], "a\",\"b"]}),
        );
    }
}

//! From the tree of a declaration to a crew, with all that is wrong.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use amplifier_background::BackgroundConfig;
use amplifier_background::notify::NotifyConfig;
use amplifier_trigger::{BackgroundName, ConfigError, ConfigFault, TriggerRegistry};
use serde::Serialize;
use serde_json::Value;

use super::fields::{Fields, MAX_ITEMS, kind, not_among};
use super::{
    CrewConfig, DEFAULT_CONCURRENT, KEYS, MAX_CONCURRENT, MAX_POOLS, OnLost, POOL_KEYS, PoolConfig,
    RETENTION_KEYS, RETRY_KEYS, ROUTING_KEYS, RULE_KEYS, RetentionConfig, RetryConfig, STATUSES,
};
use crate::routing::{Route, Routing, Rule};

const MAX_SESSIONS: usize = 1_000;
const NAME: &str = "a name of letters, digits, `-`, `_` and `.`";

pub(super) fn crew<T: Serialize + ?Sized>(
    value: &T,
    registry: &TriggerRegistry,
) -> Result<CrewConfig, ConfigError> {
    let mut faults = Vec::new();
    let tree = serde_json::to_value(value).unwrap_or_else(|error| {
        faults.push(ConfigFault::new("the file", error.to_string()));
        Value::Null
    });
    let read = Fields::of(tree, "", &mut faults).and_then(|fields| whole(fields, registry));
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(ConfigError::new(faults)),
    }
}

fn whole(mut fields: Fields<'_>, registry: &TriggerRegistry) -> Option<CrewConfig> {
    if !fields.has("worker_pools") && !fields.has("background_sessions") {
        fields.fault("worker_pools", "this is missing; begin with `- name:` and `worker_bundle:`");
    }
    let (pools, written) = pools(&mut fields);
    let sessions = sessions(&mut fields, registry);
    names(&mut fields, &pools, &sessions);
    let pools: Vec<PoolConfig> = pools.into_iter().map(|(_, pool)| pool).collect();
    let routing = routing(&mut fields, &pools, &written)?;
    let mut crew = CrewConfig::of(pools, routing);
    crew.background_sessions = sessions.into_iter().map(|(_, session)| session).collect();
    crew.retry = retry(&mut fields);
    crew.limits = fields.limits();
    crew.permissions = fields.permissions();
    if let Some(list) = fields.take("notify") {
        match NotifyConfig::parse_list(&list) {
            Ok(entries) => crew.notify = entries,
            Err(error) => fields.faults().extend(error.faults),
        }
    }
    crew.listen = fields.text("listen", "an address and a port, such as 127.0.0.1:8733");
    if crew.listen.as_ref().is_some_and(|listen| listen.parse::<SocketAddr>().is_err()) {
        fields.fault("listen", "this is no address with a port; write one such as 127.0.0.1:8733");
    }
    crew.allowed_hosts = fields.texts("allowed_hosts", "a list of names of hosts");
    crew.retention = retention(&mut fields);
    crew.max_iterations = fields.number("max_iterations", (1, 10_000));
    crew.extended_thinking = fields.bool("extended_thinking");
    fields.end(&KEYS);
    Some(crew)
}

/// The items of a list.
fn items(fields: &mut Fields<'_>, key: &str, begin: &str, most: usize) -> Vec<Value> {
    match fields.take(key) {
        None => Vec::new(),
        Some(Value::Array(items)) if items.len() <= most => items,
        Some(Value::Array(items)) => {
            fields.fault(key, format!("there are {}; at most {most} are accepted", items.len()));
            Vec::new()
        }
        Some(other) => {
            fields.fault(key, format!("this must be a list, not {}; begin with `{begin}`", kind(&other)));
            Vec::new()
        }
    }
}

fn named(fields: &mut Fields<'_>, key: &str, text: Option<String>) -> Option<BackgroundName> {
    BackgroundName::new(&text?).map_err(|error| fields.fault(key, error)).ok()
}

/// The pools that can be read, with their places in the list; and the names of all, as they are written.
fn pools(fields: &mut Fields<'_>) -> (Vec<(usize, PoolConfig)>, Vec<String>) {
    let items = items(fields, "worker_pools", "- name:", MAX_POOLS);
    let written = items.iter().filter_map(|item| item.get("name")?.as_str().map(str::to_owned)).collect();
    let pools = items.into_iter().enumerate().filter_map(|(at, item)| {
        let mut pool = Fields::of(item, &format!("worker_pools[{at}]"), fields.faults())?;
        let name = pool.required_text("name", NAME);
        let name = named(&mut pool, "name", name);
        let bundle = pool.required_text("worker_bundle", "the name, path or address of a bundle");
        let max_concurrent = pool.number("max_concurrent", (1, MAX_CONCURRENT)).unwrap_or(DEFAULT_CONCURRENT);
        let route_types = pool.texts("route_types", "a list of types of issues");
        let (limits, permissions) = (pool.limits(), pool.permissions());
        let worktree = pool.bool("worktree").unwrap_or_default();
        let lost = [("resume", OnLost::Resume), ("restart", OnLost::Restart)];
        let on_lost = pool.word("on_lost", &lost).unwrap_or_default();
        pool.end(&POOL_KEYS);
        let new = PoolConfig::new(name?, bundle?);
        Some((at, PoolConfig { max_concurrent, route_types, limits, permissions, worktree, on_lost, ..new }))
    });
    (pools.collect(), written)
}

fn sessions(fields: &mut Fields<'_>, registry: &TriggerRegistry) -> Vec<(usize, BackgroundConfig)> {
    let items = items(fields, "background_sessions", "- name:", MAX_SESSIONS);
    let mut sessions = Vec::new();
    for (at, item) in items.iter().enumerate() {
        match BackgroundConfig::parse(item, registry) {
            Ok(session) => sessions.push((at, session)),
            Err(error) => fields.faults().extend(error.faults.into_iter().map(|fault| {
                ConfigFault::new(format!("background_sessions[{at}].{}", fault.field), fault.message)
            })),
        }
    }
    sessions
}

/// A pool is a background session: each name is one's own.
fn names(fields: &mut Fields<'_>, pools: &[(usize, PoolConfig)], sessions: &[(usize, BackgroundConfig)]) {
    let mut seen = BTreeSet::new();
    let pools = pools.iter().map(|(at, pool)| (format!("worker_pools[{at}].name"), &pool.name));
    let sessions =
        sessions.iter().map(|(at, session)| (format!("background_sessions[{at}].name"), &session.name));
    for (field, name) in pools.chain(sessions) {
        if !seen.insert(name) {
            let message =
                format!("there is another `{name}`; each pool and background session has its own name");
            fields.fault(&field, message);
        }
    }
}

/// `written`: the names of all pools, also of those that cannot be read.
fn routing(fields: &mut Fields<'_>, pools: &[PoolConfig], written: &[String]) -> Option<Routing> {
    let tree = fields.take("routing").unwrap_or_default();
    let (mut default_pool, mut rules): (_, Vec<(usize, Rule)>) = (None, Vec::new());
    if let Some(mut routing) = Fields::of(tree, "routing", fields.faults()) {
        let text = routing.text("default_pool", "the name of a pool");
        default_pool = named(&mut routing, "default_pool", text);
        let items = items(&mut routing, "rules", "- if_metadata_type:", MAX_ITEMS);
        let read = items.into_iter().enumerate();
        rules = read.filter_map(|(at, item)| Some((at, rule(&mut routing, at, item)?))).collect();
        routing.end(&ROUTING_KEYS);
    }
    // Whoever names a pool with a fault of its own has named it rightly.
    let is_pool = |pool: &BackgroundName| pools.iter().any(|known| known.name == *pool);
    let is_written = |pool: &BackgroundName| written.iter().any(|name| name == pool.as_str());
    let known: Vec<&str> = written.iter().map(String::as_str).collect();
    let named = default_pool.iter().map(|pool| ("routing.default_pool".to_owned(), pool));
    let by_rules = rules.iter().map(|(at, rule)| (format!("routing.rules[{at}].then_pool"), &rule.pool));
    let faults = named.chain(by_rules).filter(|(_, pool)| !is_written(pool)).map(|(field, pool)| {
        ConfigFault::new(field, format!("there is no such pool: {}", not_among(pool.as_str(), &known)))
    });
    fields.faults().extend(faults.collect::<Vec<_>>());
    let rules = rules.into_iter().map(|(_, rule)| rule).filter(|rule| is_pool(&rule.pool));
    routing_of(pools, default_pool.filter(is_pool), rules.collect()).ok()
}

fn rule(routing: &mut Fields<'_>, at: usize, item: Value) -> Option<Rule> {
    let at = format!("routing.rules[{at}]");
    let mut fields = Fields::of(item, &at, routing.faults())?;
    let types = fields.texts("if_metadata_type", "a type of issues, or a list of them");
    let statuses = fields.texts("if_status", "a status, or a list of them");
    for status in statuses.iter().filter(|status| !STATUSES.contains(&status.as_str())) {
        fields.fault("if_status", not_among(status, &STATUSES));
    }
    let retries = fields.number("and_retry_count_gte", (0, 1_000));
    let pool = fields.required_text("then_pool", "the name of a pool");
    let pool = named(&mut fields, "then_pool", pool);
    fields.end(&RULE_KEYS);
    Some(Rule { types, statuses, retries, ..Rule::new(pool?) })
}

/// The routing over these pools, or what is wrong with it.
pub(super) fn routing_of(
    pools: &[PoolConfig],
    default_pool: Option<BackgroundName>,
    rules: Vec<Rule>,
) -> Result<Routing, Vec<ConfigFault>> {
    let routes = pools.iter().map(|pool| Route::new(pool.name.clone(), pool.route_types.iter().cloned()));
    Routing::new(routes.collect(), default_pool, rules).map_err(|unknown| {
        let fault = |unknown: crate::routing::UnknownPool| {
            let field = match unknown.rule {
                Some(at) => format!("routing.rules[{at}].then_pool"),
                None => "routing.default_pool".to_owned(),
            };
            let known: Vec<&str> = unknown.known.iter().map(String::as_str).collect();
            ConfigFault::new(field, format!("there is no such pool: {}", not_among(&unknown.pool, &known)))
        };
        unknown.into_iter().map(fault).collect()
    })
}

fn retry(fields: &mut Fields<'_>) -> RetryConfig {
    let mut retry = RetryConfig::default();
    let tree = fields.take("retry").unwrap_or_default();
    if let Some(mut fields) = Fields::of(tree, "retry", fields.faults()) {
        retry.attempts = fields.number("attempts", (1, 100)).unwrap_or(retry.attempts);
        fields.end(&RETRY_KEYS);
    }
    retry
}

fn retention(fields: &mut Fields<'_>) -> RetentionConfig {
    let mut retention = RetentionConfig::default();
    let tree = fields.take("retention").unwrap_or_default();
    if let Some(mut fields) = Fields::of(tree, "retention", fields.faults()) {
        retention.events = fields.span("events");
        retention.runs = fields.span("runs");
        retention.sessions = fields.span("sessions");
        retention.commands = fields.span("commands");
        fields.end(&RETENTION_KEYS);
    }
    retention
}

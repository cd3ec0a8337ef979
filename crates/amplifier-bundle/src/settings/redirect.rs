//! What in a module's configuration takes trust: what could send a user's key elsewhere, and what reaches further
//! than the session's permissions.
//!
//! Guarantees: what [`strip`] leaves names no other machine and no variable. A key that is written out
//! is the project's own and stays; one that is named (`api_key_env`) is the user's and does not. What
//! [`strip_powers`] leaves starts no program by itself and opens no host of the user's own.
//! Never here: who is trusted.

use serde_json::{Map, Value};

/// Keys that say where requests, and with them keys, are sent.
const ADDRESSES: [&str; 7] = ["base_url", "api_base", "endpoint", "azure_endpoint", "host", "url", "proxy"];

/// Says which of the user's variables is sent as the key.
const NAMES_A_SECRET: &str = "api_key_env";

/// Takes out addresses on other machines, the name of a key's variable, and whatever a variable would
/// be put into; the names of what was taken out, in the order of the configuration.
pub fn strip(config: &mut Map<String, Value>) -> Vec<String> {
    let redirects = |key: &str, value: &Value| {
        let elsewhere = || !value.as_str().is_some_and(is_loopback);
        key == NAMES_A_SECRET || (ADDRESSES.contains(&key) && elsewhere()) || has_variable(value)
    };
    let taken: Vec<String> =
        config.iter().filter(|(key, value)| redirects(key, value)).map(|(key, _)| key.clone()).collect();
    taken.iter().for_each(|key| drop(config.shift_remove(key)));
    taken
}

/// Keys under which modules are told what no permission judges: programs that they start by themselves
/// (`hooks` of hooks-shell, `command` and `args` of loop-external, `servers` of tool-mcp), variables of the user's
/// that programs get although they look like secrets, hosts on this machine and its networks (tool-web).
const POWERS: [&str; 9] = [
    "hooks",
    "command",
    "args",
    "servers",
    "mcpServers",
    "mcp_json",
    "env_passthrough",
    "allow_hosts",
    "allow_private",
];

/// Takes out what reaches further than the session's permissions; the names of what was taken out.
pub fn strip_powers(config: &mut Map<String, Value>) -> Vec<String> {
    let taken = POWERS.iter().filter(|key| config.shift_remove(**key).is_some());
    taken.map(|key| (*key).to_owned()).collect()
}

/// Keys of an orchestrator (`loop-external`) that say which program answers, how, and which of the user's variables it gets.
const PROGRAM: [&str; 3] = ["command", "args", "env_passthrough"];

/// The same for what drives a session, and besides which program answers in place of a model.
pub fn strip_loop(config: &mut Map<String, Value>) -> Vec<String> {
    let mut taken = strip_powers(config);
    taken.extend(
        PROGRAM.iter().filter(|key| config.shift_remove(**key).is_some()).map(|key| (*key).to_owned()),
    );
    taken
}

fn has_variable(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${"),
        Value::Array(values) => values.iter().any(has_variable),
        Value::Object(map) => map.values().any(has_variable),
        _ => false,
    }
}

fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    if authority.contains('@') {
        return false;
    }
    if let Some(rest) = authority.strip_prefix("[::1]") {
        return rest.is_empty() || rest.starts_with(':');
    }
    let host = authority.split(':').next().unwrap_or_default();
    host == "localhost" || host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, strip, strip_loop, strip_powers};

    #[test]
    fn which_program_drives_a_session_is_the_users_to_say() {
        let config = serde_json::json!({
            "kind": "claude", "command": ["./x"], "args": ["-v"], "model": "m", "env_passthrough": ["KEY"],
        });
        let mut config = config.as_object().unwrap().clone();
        assert_eq!(strip_loop(&mut config), ["command", "args", "env_passthrough"]);
        assert_eq!(config.keys().collect::<Vec<_>>(), ["kind", "model"]);
    }

    #[test]
    fn a_projects_own_key_stays_and_a_name_of_the_users_does_not() {
        let config = serde_json::json!({
            "api_key": "own", "api_key_env": "SECRET", "base_url": "http://127.0.0.1:1/v1",
            "headers": {"x": "${SECRET}"}, "proxy": "https://evil.org", "default_model": "m",
        });
        let mut config = config.as_object().unwrap().clone();
        assert_eq!(strip(&mut config), ["api_key_env", "headers", "proxy"]);
        assert_eq!(config.keys().collect::<Vec<_>>(), ["api_key", "base_url", "default_model"]);
    }

    #[test]
    fn powers_are_taken_out_and_nothing_else() {
        let config = serde_json::json!({"allow_hosts": ["x"], "timeout": 3, "hooks": {}, "env_passthrough": ["KEY"],
                "servers": {}, "command": ["sh"], "allowed_domains": ["y"]});
        let mut config = config.as_object().unwrap().clone();
        assert_eq!(
            strip_powers(&mut config),
            ["hooks", "command", "servers", "env_passthrough", "allow_hosts"]
        );
        assert_eq!(config.keys().collect::<Vec<_>>(), ["timeout", "allowed_domains"]);
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for url in ["http://127.0.0.1:8080/v1", "http://localhost", "localhost:11434", "http://[::1]:80/"] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "https://api.example.org",
            "http://127.0.0.1.evil.org",
            "http://localhost@evil.org/",
            "http://localhost:x@evil.org",
            "http://evil.org/#127.0.0.1",
            "http://[::1].evil.org",
            "http://evil.org\\@localhost",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}

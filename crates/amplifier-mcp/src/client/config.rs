//! What a bundle, or a project's `.mcp.json`, says of servers.
//!
//! Guarantees: a server that cannot be understood is told by its name and key, and its values never; the others
//! count. Keys of other programs are passed over.

use std::collections::BTreeMap;
use std::time::Duration;

use amplifier_core::env::Variables;
use amplifier_foundation::settings::duration;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::expand::expand;

/// Keys that the module understands.
pub(super) const CONFIG_KEYS: &[&str] = &["servers", "mcpServers", "mcp_json", "timeout", "startup_timeout"];
/// Longest time without a sign of a call, where nobody says.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Longest time until a server has answered its first questions, where nobody says.
const STARTUP: Duration = Duration::from_secs(30);
/// Most servers of one session.
const MAX_SERVERS: usize = 64;

/// The module's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    #[serde(alias = "mcpServers")]
    pub(super) servers: Option<Map<String, Value>>,
    pub(super) mcp_json: Option<bool>,
    #[serde(deserialize_with = "span")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "span")]
    startup_timeout: Option<Duration>,
}

/// A server as it is written.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    #[serde(rename = "type", alias = "transport")]
    kind: Option<String>,
    command: Option<Command>,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    env_passthrough: Vec<String>,
    cwd: Option<String>,
    #[serde(alias = "serverUrl", alias = "httpUrl")]
    url: Option<String>,
    #[serde(alias = "http_headers")]
    headers: BTreeMap<String, String>,
    shared: bool,
    network: bool,
    disabled: bool,
    enabled: Option<bool>,
    tools: Option<Vec<String>>,
    #[serde(deserialize_with = "span", alias = "tool_timeout_sec")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "span", alias = "startup_timeout_sec")]
    startup_timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Command {
    Program(String),
    Line(Vec<String>),
}

/// One server.
#[derive(Clone)]
pub(crate) struct ServerSpec {
    pub(crate) name: String,
    pub(crate) transport: Transport,
    /// One for all sessions of the host that mean the same.
    pub(crate) shared: bool,
    /// Patterns of tools that are offered; `None`: all.
    pub(crate) tools: Option<Vec<String>>,
    pub(crate) timeout: Duration,
    pub(crate) startup: Duration,
}

/// How a server is reached.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Transport {
    Stdio(Stdio),
    Http(Http),
}

/// A program that speaks on its standard streams.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Stdio {
    pub(crate) argv: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) passthrough: Vec<String>,
    pub(crate) cwd: Option<String>,
    /// It may use the network inside the sandbox.
    pub(crate) network: bool,
}

/// A service over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Http {
    pub(crate) url: String,
    pub(crate) headers: BTreeMap<String, String>,
}

/// Names alone: values may be secrets.
impl std::fmt::Debug for ServerSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Servers that can be used, and a line for each that cannot.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) specs: Vec<ServerSpec>,
    pub(super) faults: Vec<String>,
}

impl Config {
    /// Reads servers, by name; `origin` says where they are written.
    pub(super) fn read(
        &self,
        servers: &Map<String, Value>,
        origin: &str,
        variables: &dyn Variables,
    ) -> Servers {
        let mut read = Servers::default();
        for (name, value) in servers.iter().take(MAX_SERVERS) {
            match self.one(name, value, variables) {
                Ok(spec) => read.specs.extend(spec),
                Err(fault) => read.faults.push(format!("{origin}: MCP server `{name}`: {fault}")),
            }
        }
        if servers.len() > MAX_SERVERS {
            let more = servers.len() - MAX_SERVERS;
            read.faults.push(format!("{origin}: {more} MCP servers over {MAX_SERVERS} are left out"));
        }
        read
    }

    /// `None` for one that is switched off.
    fn one(
        &self,
        name: &str,
        value: &Value,
        variables: &dyn Variables,
    ) -> Result<Option<ServerSpec>, String> {
        if name.trim().is_empty() || name.contains('/') {
            return Err("its name is empty or holds a `/`; give it another".to_owned());
        }
        let written = Written::deserialize(value).map_err(|error| without_value(&error.to_string()))?;
        if written.disabled || written.enabled == Some(false) {
            return Ok(None);
        }
        let (timeout, startup) = (written.timeout.or(self.timeout), written.startup_timeout);
        Ok(Some(ServerSpec {
            name: name.to_owned(),
            shared: written.shared,
            tools: written.tools.clone(),
            timeout: timeout.unwrap_or(TIMEOUT),
            startup: startup.or(self.startup_timeout).unwrap_or(STARTUP),
            transport: transport(written, variables)?,
        }))
    }
}

fn transport(written: Written, variables: &dyn Variables) -> Result<Transport, String> {
    let kind = written.kind.as_deref().map(str::to_ascii_lowercase);
    match (kind.as_deref(), written.command.is_some(), written.url.is_some()) {
        (Some("sse"), ..) => {
            Err("type `sse` is the old transport, which is not supported; give the address of its \
                                  streamable HTTP endpoint with type `http`"
                .to_owned())
        }
        (Some("ws" | "websocket"), ..) => {
            Err("web sockets are not supported; give type `stdio` or `http`".to_owned())
        }
        (_, true, true) => Err("it has a command and a url; give one of them".to_owned()),
        (None | Some("stdio" | "local"), true, false) => stdio(written, variables).map(Transport::Stdio),
        (
            None | Some("http" | "streamable-http" | "streamable_http" | "streamablehttp" | "remote"),
            false,
            true,
        ) => http(written, variables).map(Transport::Http),
        (None | Some("stdio" | "local"), ..) => {
            Err("it has no command; give `command` and `args`, or `url`".to_owned())
        }
        (Some("http" | "streamable-http" | "streamable_http" | "streamablehttp" | "remote"), ..) => {
            Err("it has no url; give `url`".to_owned())
        }
        (Some(_), ..) => Err("its `type` is not known; give `stdio` or `http`".to_owned()),
    }
}

fn stdio(written: Written, variables: &dyn Variables) -> Result<Stdio, String> {
    let text = |text: &String| replaced(text, variables);
    let mut argv = match &written.command {
        Some(Command::Line(line)) => line.iter().map(text).collect::<Result<Vec<_>, _>>()?,
        Some(Command::Program(program)) => vec![text(program)?],
        None => Vec::new(),
    };
    for argument in &written.args {
        argv.push(text(argument)?);
    }
    if argv.first().is_none_or(|program| program.trim().is_empty()) {
        return Err("its command is empty".to_owned());
    }
    let env = written.env.iter().map(|(name, value)| Ok((name.clone(), text(value)?)));
    let env = env.collect::<Result<_, String>>()?;
    let cwd = written.cwd.as_ref().map(text).transpose()?;
    Ok(Stdio { argv, env, passthrough: written.env_passthrough, cwd, network: written.network })
}

fn http(written: Written, variables: &dyn Variables) -> Result<Http, String> {
    let url = replaced(&written.url.unwrap_or_default(), variables)?;
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    if host.is_empty() {
        return Err("its url is no http or https address".to_owned());
    }
    if host.contains('@') {
        return Err("its url holds a password; give it in `headers`".to_owned());
    }
    let headers = written.headers.iter().map(|(name, value)| Ok((name.clone(), replaced(value, variables)?)));
    Ok(Http { headers: headers.collect::<Result<_, String>>()?, url })
}

impl Http {
    /// The host and port of its address.
    pub(crate) fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        rest.split(['/', '?', '#']).next().unwrap_or_default()
    }
}

fn replaced(text: &str, variables: &dyn Variables) -> Result<String, String> {
    expand(text, variables)
        .map_err(|name| format!("the variable {name} is not set; set it, or write ${{{name}:-default}}"))
}

/// What serde says, without the value that it was given.
fn without_value(text: &str) -> String {
    match text.rsplit_once("expected ") {
        Some((_, wanted)) => format!("a key has a value of the wrong type; give {wanted}"),
        None => text.to_owned(),
    }
}

/// Seconds as a number, or a text such as `90s`.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let found = match &value {
        Value::Null => return Ok(None),
        Value::Number(number) => {
            number.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        }
        Value::String(text) => duration::parse(text).ok(),
        _ => None,
    };
    let found = found.filter(|span| !span.is_zero());
    found.map(Some).ok_or_else(|| serde::de::Error::custom("expected seconds, or a text like 90s"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[derive(Debug)]
    struct Token;

    impl Variables for Token {
        fn get(&self, name: &str) -> Option<String> {
            (name == "TOKEN").then(|| "sesame".to_owned())
        }
    }

    fn read(value: Value) -> Servers {
        let map = value.as_object().cloned().unwrap();
        Config::default().read(&map, "bundle", &Token)
    }

    #[test]
    fn the_usual_ways_to_write_a_server_are_understood() {
        let mut read = read(json!({
            "a": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "${TOKEN}"}, "timeout": 5},
            "b": {"type": "streamable-http", "url": "https://h.example:8/mcp?x", "headers": {"Authorization": "Bearer ${TOKEN}"}},
            "c": {"command": ["uvx", "y"], "type": "stdio", "shared": true, "tools": ["get_*"]},
            "off": {"command": "x", "disabled": true},
            "off too": {"command": "x", "enabled": false},
        }));
        assert!(read.faults.is_empty(), "{:?}", read.faults);
        let c = read.specs.pop().unwrap();
        assert!(c.shared && c.tools == Some(vec!["get_*".to_owned()]) && c.timeout == TIMEOUT);
        let Transport::Http(http) = read.specs.pop().unwrap().transport else { panic!("b is HTTP") };
        assert_eq!((http.host(), http.headers["Authorization"].as_str()), ("h.example:8", "Bearer sesame"));
        let a = read.specs.pop().unwrap();
        let Transport::Stdio(stdio) = &a.transport else { panic!("a is a program") };
        assert_eq!((stdio.argv.join(" "), stdio.env["KEY"].as_str()), ("npx -y x".to_owned(), "sesame"));
        assert_eq!(a.timeout, Duration::from_secs(5));
        assert!(read.specs.is_empty());
    }

    #[test]
    fn what_is_wrong_is_told_by_name_and_never_by_value() {
        let check = |server: Value, part: &str| {
            let read = read(json!({"s": server}));
            let said = read.faults.join("\n");
            assert!(read.specs.is_empty() && said.contains(part), "{said}");
            assert!(said.contains("`s`") && !said.contains("sesame"), "{said}");
        };
        check(json!("sesame"), "wrong type");
        check(json!({}), "no command");
        check(json!({"command": "a", "url": "http://x"}), "one of them");
        check(json!({"type": "sse", "url": "http://x"}), "streamable HTTP");
        check(json!({"type": "carrier-pigeon"}), "`stdio` or `http`");
        check(json!({"type": "http"}), "no url");
        check(json!({"url": "ftp://x"}), "http or https");
        check(json!({"url": "http://u:sesame@x/"}), "password");
        check(json!({"command": "a", "env": {"K": {"sesame": 1}}}), "wrong type");
        check(json!({"command": "a", "args": ["${UNSET}"]}), "UNSET is not set");
        check(json!({"command": "a", "timeout": "soon"}), "90s");
        check(json!({"command": " "}), "empty");
    }
}

//! An entry of `notify:` as files declare it.
//!
//! Guarantees: every fault is told at once, with its field and what to write instead; an unknown key is a fault;
//! a message repeats no value of a secret or an address. Never here: YAML, and the values of variables.

use std::time::Duration;

use amplifier_core::{EventType, SessionEvent};
use amplifier_foundation::fs::duration;
use amplifier_foundation::router::EventFilter;
use amplifier_trigger::{ConfigError, ConfigFault};
use serde::Serialize;
use serde_json::{Map, Value};

use super::template::Argument;

/// The events of an entry that names none: something failed, died or asks.
pub const DEFAULT_EVENTS: [&str; 4] = ["session_error", "run_dead", "background_error", "issue_question"];
/// How long one try may take, unless the entry says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);
const MAX_ENTRIES: usize = 50;
const MAX_ARGUMENTS: usize = 100;
const MAX_TEXT_BYTES: usize = 4_096;
const KEYS: &str = "name, events, command, url, secret_env, timeout";

/// Who is told what.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NotifyConfig {
    /// A name that stays the same when the rest changes, so that the entry goes on where it was.
    pub name: Option<String>,
    /// Which events; `None`: [`DEFAULT_EVENTS`], without sessions that another one waits for or that were cancelled.
    pub events: Option<Vec<String>>,
    /// Where to.
    pub target: NotifyTarget,
    /// How long one try may take.
    pub timeout: Duration,
}

/// Where notifications go.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum NotifyTarget {
    /// A program with its arguments. No shell reads them.
    Command(Vec<Argument>),
    /// A POST request, signed as Standard Webhooks have it.
    Url {
        /// Where to.
        url: String,
        /// The variable that holds the secret.
        secret_env: String,
    },
}

impl NotifyConfig {
    /// An entry for the default events.
    pub fn new(target: NotifyTarget) -> Self {
        Self { name: None, events: None, target, timeout: DEFAULT_TIMEOUT }
    }

    /// Reads `notify:`: anything that serializes to a list of maps, or to nothing.
    pub fn parse_list<T: Serialize + ?Sized>(list: &T) -> Result<Vec<Self>, ConfigError> {
        let fault = |message: String| ConfigError::new(vec![ConfigFault::new("notify", message)]);
        let list = match serde_json::to_value(list) {
            Ok(Value::Array(list)) => list,
            Ok(Value::Null) => return Ok(Vec::new()),
            Ok(_) => {
                return Err(fault(
                    "this must be a list; begin each entry with `- command:` or `- url:`".into(),
                ));
            }
            Err(error) => return Err(fault(format!("this cannot be read: {error}"))),
        };
        if list.len() > MAX_ENTRIES {
            return Err(fault(format!("there are {}; at most {MAX_ENTRIES} are accepted", list.len())));
        }
        let (mut entries, mut faults): (Vec<Self>, Vec<ConfigFault>) = (Vec::new(), Vec::new());
        for (at, entry) in list.into_iter().enumerate() {
            let mut reader = Reader { at: format!("notify[{at}]"), map: Map::new(), faults: &mut faults };
            let read = reader.entry(entry);
            if let Some(name) = read.as_ref().and_then(|read| read.name.as_ref())
                && entries.iter().any(|other| other.name.as_ref() == Some(name))
            {
                reader.fault("name", "another entry has this name; give each its own");
            }
            entries.extend(read);
        }
        if faults.is_empty() { Ok(entries) } else { Err(ConfigError::new(faults)) }
    }

    /// The filter of its consumer.
    pub(super) fn filter(&self) -> Result<EventFilter, amplifier_foundation::router::InvalidFilter> {
        match &self.events {
            Some(events) => EventFilter::names(events),
            None => EventFilter::names(DEFAULT_EVENTS),
        }
    }

    /// True if somebody should be told of an event that has passed the filter.
    pub(super) fn wants(&self, event: &SessionEvent) -> bool {
        if self.events.is_some() || event.event_type != EventType::SessionError {
            return true;
        }
        let said: Map<String, Value> = event.payload.decode().unwrap_or_default();
        let is_child = said.get("parent_id").is_some_and(|parent| !parent.is_null());
        !is_child && said.get("outcome").and_then(Value::as_str) != Some("cancelled")
    }
}

struct Reader<'f> {
    at: String,
    map: Map<String, Value>,
    faults: &'f mut Vec<ConfigFault>,
}

impl Reader<'_> {
    fn fault(&mut self, field: &str, message: impl Into<String>) {
        let dot = if field.is_empty() { "" } else { "." };
        self.faults.push(ConfigFault::new(format!("{}{dot}{field}", self.at), message));
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &str, wanted: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES => Some(text),
            _ => {
                self.fault(key, format!("this must be {wanted}"));
                None
            }
        }
    }

    /// A list of texts, or one text.
    fn texts(&mut self, key: &str, wanted: &str) -> Option<Vec<String>> {
        let list = match self.take(key)? {
            Value::Array(list) => list,
            one => vec![one],
        };
        let texts: Option<Vec<String>> = list.iter().map(|text| text.as_str().map(str::to_owned)).collect();
        match texts {
            Some(texts) if !texts.is_empty() && texts.iter().all(|text| text.len() <= MAX_TEXT_BYTES) => {
                Some(texts)
            }
            _ => {
                self.fault(key, format!("this must be {wanted}"));
                None
            }
        }
    }

    fn entry(&mut self, entry: Value) -> Option<NotifyConfig> {
        let Value::Object(map) = entry else {
            self.fault("", "this must be a map; begin with `command:` or `url:`");
            return None;
        };
        self.map = map;
        let before = self.faults.len();
        let name = self.name();
        let events = self.texts("events", "a list of names of events, such as [session_error, run_dead]");
        for event in events.iter().flatten() {
            if let Err(error) = EventFilter::names([event]) {
                self.fault("events", error.to_string());
            }
        }
        let timeout = self.timeout();
        let target = self.target();
        for key in std::mem::take(&mut self.map).keys() {
            let shown: String = key.escape_debug().take(60).collect();
            self.fault(&shown, format!("this key is not known here; there are {KEYS}"));
        }
        let target = target.filter(|_| self.faults.len() == before)?;
        Some(NotifyConfig { name, events, target, timeout })
    }

    fn name(&mut self) -> Option<String> {
        let name = self.text("name", "a name of letters, digits, `-`, `_` and `.`")?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.len() > 60 || !name.chars().all(allowed) {
            self.fault("name", "this must be a name of at most 60 letters, digits, `-`, `_` and `.`");
        }
        Some(name)
    }

    fn timeout(&mut self) -> Duration {
        let Some(text) = self.text("timeout", "a duration such as 30s") else { return DEFAULT_TIMEOUT };
        match duration::parse(&text) {
            Ok(timeout) if (Duration::from_millis(1)..=LONGEST_TIMEOUT).contains(&timeout) => timeout,
            Ok(_) => {
                self.fault("timeout", "this must be 1ms to 10m");
                DEFAULT_TIMEOUT
            }
            Err(error) => {
                self.fault("timeout", error.to_string());
                DEFAULT_TIMEOUT
            }
        }
    }

    fn target(&mut self) -> Option<NotifyTarget> {
        if self.take("secret").is_some() {
            let message = "a secret does not stand in a file; write `secret_env` with the name of a variable";
            self.fault("secret", message);
        }
        match (self.map.contains_key("command"), self.map.contains_key("url")) {
            (true, false) => {
                if self.take("secret_env").is_some() {
                    self.fault("secret_env", "a command gets no secret; remove it");
                }
                self.command()
            }
            (false, true) => self.url(),
            (true, true) => {
                let _ = (self.take("command"), self.take("url"), self.take("secret_env"));
                self.fault("", "there are both `command` and `url`; make two entries of them");
                None
            }
            (false, false) => {
                let _ = self.take("secret_env");
                self.fault("", "there is neither `command` nor `url`; write one of them");
                None
            }
        }
    }

    fn command(&mut self) -> Option<NotifyTarget> {
        let wanted = "a list: the program and its arguments, such as [\"notify-send\", \"{summary}\"]";
        if self.map.get("command").is_some_and(Value::is_string) {
            self.take("command");
            self.fault("command", format!("this must be {wanted}; no shell reads it"));
            return None;
        }
        let words = self.texts("command", wanted)?;
        if words.len() > MAX_ARGUMENTS {
            self.fault("command", format!("a command has at most {MAX_ARGUMENTS} words"));
        }
        let mut arguments = Vec::new();
        for (at, word) in words.iter().take(MAX_ARGUMENTS).enumerate() {
            match Argument::parse(word) {
                Ok(argument) if at == 0 && argument.literal().is_none() => {
                    self.fault("command[0]", "the program cannot come from an event; write its name");
                }
                Ok(_) if at == 0 && word.trim().is_empty() => {
                    self.fault("command[0]", "this is empty; write the name of a program");
                }
                Ok(argument) => arguments.push(argument),
                Err(error) => self.fault(&format!("command[{at}]"), error.to_string()),
            }
        }
        Some(NotifyTarget::Command(arguments))
    }

    fn url(&mut self) -> Option<NotifyTarget> {
        let url = self.text("url", "an address such as https://example.com/hook");
        let secret_env = self.text("secret_env", "the name of a variable");
        if let Some(url) = &url
            && let Some(message) = fault_of_url(url)
        {
            self.fault("url", message);
        }
        let is_variable = |name: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed) && name.len() <= 100
        };
        match &secret_env {
            None => {
                let message = "this is missing; write the name of the variable that holds the secret, so that the \
                               receiver can tell who calls";
                self.fault("secret_env", message);
            }
            Some(name) if !is_variable(name) => {
                self.fault("secret_env", "this is no name of a variable; write one such as NOTIFY_SECRET");
            }
            Some(_) => {}
        }
        Some(NotifyTarget::Url { url: url?, secret_env: secret_env? })
    }
}

/// What is wrong with an address. Never repeats it: it may hold a secret.
fn fault_of_url(url: &str) -> Option<&'static str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else { return Some("this must begin with https:// or http://") };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("a password does not stand in a file; the request is signed with `secret_env`");
    }
    if authority.is_empty() || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("this is no address; write one such as https://example.com/hook");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands_and_addresses_are_read() {
        let entries = NotifyConfig::parse_list(&json!([
            {"command": ["notify-send", "{summary}"]},
            {"events": "run_dead", "url": "https://example.com/a?b=c", "secret_env": "NOTIFY_SECRET", "timeout": "5s", "name": "pager"},
            {"events": ["session_error", "issue_question", "run_dead", "work:*"], "command": ["true"]},
        ]))
        .unwrap();
        assert_eq!((entries.len(), &entries[0].events), (3, &None));
        assert_eq!(entries[1].timeout, Duration::from_secs(5));
        assert!(
            matches!(&entries[1].target, NotifyTarget::Url { secret_env, .. } if secret_env == "NOTIFY_SECRET")
        );
        for entry in &entries {
            entry.filter().unwrap();
        }
        assert!(NotifyConfig::parse_list(&Value::Null).unwrap().is_empty());
        assert!(NotifyConfig::parse_list(&json!([])).unwrap().is_empty());
    }

    #[test]
    fn all_faults_of_all_entries_are_told_at_once() {
        let error = NotifyConfig::parse_list(&json!([
            {"command": "notify-send hello"},
            {"command": ["{data.x}"], "secret_env": "A"},
            {"command": ["echo", "{nothing}"], "events": ["Session End", "issue_never"]},
            {"url": "https://user:hunter2@example.com", "secret_env": "A"},
            {"url": "ftp://hunter2.example.com/", "secret_env": "no name"},
            {"url": "https://example.com/hunter2"},
            {"url": "https://example.com", "secret": "hunter2", "secret_env": "A"},
            {"url": "https://example.com", "secret_env": "A", "command": ["true"]},
            {"events": []},
            "text",
            {"command": ["true"], "speed": 3, "timeout": "1h"},
            {"command": []},
        ]))
        .unwrap_err();
        let told = error.to_string();
        for part in [
            "notify[0].command: this must be a list",
            "notify[1].command[0]: the program cannot come from an event",
            "notify[1].secret_env: a command gets no secret",
            "notify[2].command[1]: ",
            "notify[2].events: event name",
            "notify[2].events: event name `issue_never` belongs to the kernel",
            "notify[3].url: a password does not stand in a file",
            "notify[4].url: this must begin with https://",
            "notify[4].secret_env: this is no name",
            "notify[5].secret_env: this is missing",
            "notify[6].secret: a secret does not stand in a file",
            "notify[7]: there are both",
            "notify[8].events: this must be a list",
            "notify[8]: there is neither",
            "notify[9]: this must be a map",
            "notify[10].speed: this key is not known",
            "notify[10].timeout: this must be 1ms to 10m",
            "notify[11].command: this must be a list",
        ] {
            assert!(told.contains(part), "{part} in\n{told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
        let twice = json!([{"name": "a", "command": ["x"]}, {"name": "a", "command": ["y"]}]);
        assert!(
            NotifyConfig::parse_list(&twice).unwrap_err().to_string().contains("notify[1].name: another")
        );
        assert!(NotifyConfig::parse_list(&json!({"command": ["x"]})).is_err());
    }
}

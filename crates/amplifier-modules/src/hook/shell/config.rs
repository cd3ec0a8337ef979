//! What a bundle says of its commands: the sections of Claude Code and Codex, by event.
//!
//! Guarantees: a matcher is a whole name or a regular expression of whole names, checked when it is read; an event
//! or kind of hook that does not exist here is named, and what it has is left out.

use std::time::Duration;

use amplifier_core::module::{ModuleSpec, MountError, parse_config};
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::tool::span;

pub(super) const CONFIG_KEYS: &[&str] =
    &["hooks", "timeout", "env_passthrough", "fail_closed", "disableAllHooks", "description"];

/// How long a command may take where nothing is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_TIMEOUT: Duration = Duration::from_secs(600);
/// Most commands of one event.
const MAX_COMMANDS: usize = 64;

/// When a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Event {
    PreToolUse,
    PostToolUse,
    PostToolUseFailure,
    UserPromptSubmit,
    SessionStart,
    SessionEnd,
    SubagentStart,
    Stop,
    SubagentStop,
    Notification,
    PreCompact,
}

const EVENTS: [(Event, &str); 11] = [
    (Event::PreToolUse, "PreToolUse"),
    (Event::PostToolUse, "PostToolUse"),
    (Event::PostToolUseFailure, "PostToolUseFailure"),
    (Event::UserPromptSubmit, "UserPromptSubmit"),
    (Event::SessionStart, "SessionStart"),
    (Event::SessionEnd, "SessionEnd"),
    (Event::SubagentStart, "SubagentStart"),
    (Event::Stop, "Stop"),
    (Event::SubagentStop, "SubagentStop"),
    (Event::Notification, "Notification"),
    (Event::PreCompact, "PreCompact"),
];

impl Event {
    pub(super) fn name(self) -> &'static str {
        EVENTS.iter().find(|(event, _)| *event == self).map_or("", |(_, name)| name)
    }

    fn of(name: &str) -> Option<Self> {
        EVENTS.iter().find(|(_, known)| *known == name).map(|(event, _)| *event)
    }
}

/// A command, and for what it runs.
#[derive(Debug, Clone)]
pub(super) struct Command {
    pub(super) event: Event,
    /// `None`: always.
    pub(super) matcher: Option<Regex>,
    pub(super) line: String,
    pub(super) timeout: Duration,
}

/// All that a bundle says.
#[derive(Debug, Default)]
pub(super) struct Config {
    pub(super) commands: Vec<Command>,
    pub(super) passthrough: Vec<String>,
    /// A command before a tool or prompt that fails is an objection.
    pub(super) fail_closed: bool,
    /// What was left out.
    pub(super) warnings: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Given {
    hooks: Map<String, Value>,
    #[serde(deserialize_with = "span")]
    timeout: Option<Duration>,
    env_passthrough: Vec<String>,
    fail_closed: bool,
    #[serde(rename = "disableAllHooks")]
    disabled: bool,
}

#[derive(Debug, Deserialize)]
struct Group {
    #[serde(default)]
    matcher: Option<String>,
    hooks: Vec<GivenCommand>,
}

#[derive(Debug, Deserialize)]
struct GivenCommand {
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    command: Option<String>,
    #[serde(default, alias = "timeoutSec", alias = "timeout_sec", deserialize_with = "span")]
    timeout: Option<Duration>,
}

impl Config {
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let given: Given = parse_config(spec)?;
        let mut config =
            Self { passthrough: given.env_passthrough, fail_closed: given.fail_closed, ..Self::default() };
        if given.disabled {
            return Ok(config);
        }
        for (name, groups) in given.hooks {
            let wrong =
                |message: String| MountError::config(spec, format!("config: hooks.{name}: {message}"));
            let Some(event) = Event::of(&name) else {
                let known: Vec<&str> = EVENTS.iter().map(|(_, name)| *name).collect();
                config.warnings.push(format!(
                    "`{name}` is no event here, its commands are left out; there are: {}",
                    known.join(", ")
                ));
                continue;
            };
            let groups: Vec<Group> = Vec::deserialize(groups).map_err(|error| wrong(error.to_string()))?;
            for group in groups {
                let matcher = matcher(group.matcher.as_deref()).map_err(&wrong)?;
                for command in group.hooks {
                    match command.kind.as_deref() {
                        None | Some("command") => {}
                        Some(other) => {
                            let shown: String = other.chars().take(40).collect();
                            config.warnings.push(format!("hooks of type `{shown}` are left out ({name})"));
                            continue;
                        }
                    }
                    let line = command.command.filter(|line| !line.trim().is_empty());
                    let line = line.ok_or_else(|| wrong("a hook has no `command`".to_owned()))?;
                    let timeout = command.timeout.or(given.timeout).unwrap_or(TIMEOUT);
                    let timeout = timeout.clamp(Duration::from_millis(1), MAX_TIMEOUT);
                    config.commands.push(Command { event, matcher: matcher.clone(), line, timeout });
                }
            }
            if config.of(event).count() > MAX_COMMANDS {
                return Err(wrong(format!("there are more than {MAX_COMMANDS} commands")));
            }
        }
        Ok(config)
    }

    /// The commands of an event.
    pub(super) fn of(&self, event: Event) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(move |command| command.event == event)
    }
}

/// A matcher of whole names; empty and `*` stand for all.
fn matcher(text: Option<&str>) -> Result<Option<Regex>, String> {
    match text.map(str::trim) {
        None | Some("" | "*") => Ok(None),
        Some(text) => regex::RegexBuilder::new(&format!("^(?:{text})$"))
            .size_limit(1 << 20)
            .build()
            .map(Some)
            .map_err(|_| {
                format!("matcher `{text}` is no regular expression; write names such as `bash|write_file`")
            }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(config: Value) -> Result<Config, String> {
        let mut spec = ModuleSpec::new("hooks-shell");
        spec.config = config.as_object().cloned().unwrap_or_default();
        Config::parse(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn the_sections_of_the_neighbours_are_read() {
        let config = parse(json!({"timeout": 5, "hooks": {
            "PreToolUse": [
                {"matcher": "Bash|write_.*", "hooks": [{"type": "command", "command": "a", "timeout": 2}, {"command": "b"}]},
                {"hooks": [{"type": "command", "command": "c", "timeoutSec": 9000}]}],
            "Stop": [{"matcher": "*", "hooks": [{"type": "prompt", "prompt": "x"}, {"command": "d"}]}],
            "PermissionRequest": [{"hooks": [{"command": "e"}]}],
        }}))
        .unwrap();
        let pre: Vec<_> =
            config.of(Event::PreToolUse).map(|one| (one.line.as_str(), one.timeout.as_secs())).collect();
        assert_eq!(pre, [("a", 2), ("b", 5), ("c", 600)]);
        let matcher = config.commands[0].matcher.as_ref().unwrap();
        assert!(matcher.is_match("Bash") && matcher.is_match("write_file"));
        assert!(!matcher.is_match("BashOutput") && !matcher.is_match("xBash"));
        assert_eq!(config.of(Event::Stop).count(), 1);
        assert_eq!(config.warnings.len(), 2, "{:?}", config.warnings);
        assert!(config.warnings[1].contains("PermissionRequest"), "{:?}", config.warnings);
        assert!(
            parse(json!({"disableAllHooks": true, "hooks": {"Stop": [{"hooks": [{"command": "x"}]}]}}))
                .unwrap()
                .commands
                .is_empty()
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (hooks, part) in [
            (json!({"Stop": {}}), "hooks.Stop"),
            (json!({"Stop": [{}]}), "missing field `hooks`"),
            (json!({"Stop": [{"hooks": [{"type": "command"}]}]}), "no `command`"),
            (json!({"PreToolUse": [{"matcher": "(", "hooks": []}]}), "no regular expression"),
            (json!({"Stop": [{"hooks": [{"command": "x", "timeout": "soon"}]}]}), "no time"),
        ] {
            let error = parse(json!({ "hooks": hooks })).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}

//! `hooks-approval`: tool calls that somebody is asked about, and those that are refused.
//!
//! Guarantees: a rule that denies wins, wherever it stands; of the others the first that speaks of a call counts; with
//! nobody to ask, or without an answer in time, a call that is asked about is refused, unless the configuration lets it
//! go on where nobody is there. What was allowed for the session is not asked again for the same call.
//! Never here: an allowance that the permissions do not give; they are judged as without this hook.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::EventPattern;
use amplifier_core::approval::Approver;
use amplifier_core::hook::{Hook, HookError, HookEvent, Question, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::permission::{Access, Rule, RuleEffect};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use super::shell::aliases;
use crate::tool::span;

const ID: &str = "hooks-approval";
/// Behind hooks that change a call, so that what is asked about is what is done.
const PRIORITY: i32 = 90;
/// How long an answer is waited for, where nothing is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(300);
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// Most characters of a call in a question.
const SHOWN: usize = 200;
/// The last three are of the reference and say nothing here.
const CONFIG_KEYS: &[&str] = &[
    "rules",
    "patterns",
    "auto_approve",
    "default_action",
    "timeout",
    "priority",
    "policy_driven_only",
    "audit",
    "require_approval",
];

/// The module `hooks-approval`.
#[derive(Debug, Clone, Copy)]
pub struct HooksApproval;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    rules: Vec<GivenRule>,
    /// Parts of commands that are asked about.
    patterns: Vec<String>,
    /// What is asked about is allowed; denials stand.
    auto_approve: bool,
    default_action: Option<DefaultAction>,
    #[serde(deserialize_with = "span")]
    timeout: Option<Duration>,
    priority: Option<i32>,
}

/// What happens where nobody is there to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DefaultAction {
    #[serde(alias = "auto_deny")]
    Deny,
    #[serde(alias = "allow", alias = "auto_approve")]
    Continue,
}

#[derive(Debug, Deserialize)]
struct GivenRule {
    /// A tool, or a pattern of tools; all if it is left out.
    #[serde(default, alias = "tool_name")]
    tool: Option<String>,
    /// What the call's command, path or other argument looks like; all if it is left out.
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    action: Option<Action>,
    #[serde(default)]
    require_approval: bool,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[serde(alias = "auto_approve", alias = "approve", alias = "continue")]
    Allow,
    #[serde(alias = "require_approval", alias = "ask_user")]
    Ask,
    #[serde(alias = "auto_deny")]
    Deny,
}

#[async_trait]
impl Module for HooksApproval {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Asks about tool calls by rules, or refuses them",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let event = EventPattern::new("tool:pre");
        let event = event.map_err(|error| MountError::config(spec, error.to_string()))?;
        let policy =
            Policy::new(config).map_err(|error| MountError::config(spec, format!("config: {error}")))?;
        let approver = Arc::clone(&mount.env().approver);
        mount.hook(Arc::new(Approval { events: [event], policy, approver }));
        Ok(())
    }
}

#[derive(Debug)]
struct Approval {
    events: [EventPattern; 1],
    policy: Policy,
    approver: Arc<dyn Approver>,
}

#[async_trait]
impl Hook for Approval {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        self.policy.priority
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let tool = event.data.get("tool_name").and_then(Value::as_str).unwrap_or_default();
        let input = event.data.get("tool_input").unwrap_or(&Value::Null);
        Ok(self.policy.verdict(tool, input, self.approver.can_answer()))
    }
}

/// What the configuration says, checked.
#[derive(Debug)]
struct Policy {
    rules: Vec<CheckedRule>,
    patterns: Vec<String>,
    auto_approve: bool,
    unasked: DefaultAction,
    timeout: Duration,
    priority: i32,
}

#[derive(Debug)]
struct CheckedRule {
    tool: Option<String>,
    pattern: Option<String>,
    action: Action,
    reason: Option<String>,
}

impl Policy {
    fn new(config: Config) -> Result<Self, String> {
        let rule = |(index, given): (usize, GivenRule)| {
            let action = given.action.or(given.require_approval.then_some(Action::Ask));
            let action = action
                .ok_or_else(|| format!("rules[{index}]: `action` is missing; write allow, ask or deny"))?;
            if given.tool.is_none() && given.pattern.is_none() {
                return Err(format!("rules[{index}]: it speaks of nothing; write `tool`, `pattern` or both"));
            }
            Ok(CheckedRule { tool: given.tool, pattern: given.pattern, action, reason: given.reason })
        };
        Ok(Self {
            rules: config.rules.into_iter().enumerate().map(rule).collect::<Result<_, _>>()?,
            patterns: config.patterns.into_iter().filter(|pattern| !pattern.trim().is_empty()).collect(),
            auto_approve: config.auto_approve,
            unasked: config.default_action.unwrap_or(DefaultAction::Deny),
            timeout: config.timeout.unwrap_or(TIMEOUT).clamp(Duration::from_secs(1), MAX_TIMEOUT),
            priority: config.priority.unwrap_or(PRIORITY),
        })
    }

    fn verdict(&self, tool: &str, input: &Value, asked: bool) -> Verdict {
        let texts = texts(input);
        let speaks = |rule: &&CheckedRule| rule.speaks_of(tool, &texts);
        if let Some(rule) = self.rules.iter().filter(|rule| rule.action == Action::Deny).find(speaks) {
            let reason = rule.reason.clone().unwrap_or_else(|| rule.said("a rule denies"));
            return Verdict::Deny { reason };
        }
        let why = match self.rules.iter().find(speaks) {
            Some(rule) if rule.action == Action::Allow => return Verdict::Continue,
            Some(rule) => rule.reason.clone().unwrap_or_else(|| rule.said("a rule asks about")),
            None => match self.patterns.iter().find(|pattern| holds(&texts, pattern)) {
                Some(pattern) => format!("it holds `{pattern}`"),
                None => return Verdict::Continue,
            },
        };
        if self.auto_approve || (!asked && self.unasked == DefaultAction::Continue) {
            return Verdict::Continue;
        }
        let call: String = texts.first().copied().unwrap_or_default().chars().take(SHOWN).collect();
        let mut question = Question::new(format!("{tool} `{call}`: {why}. Allow it?"));
        question.timeout = self.timeout;
        question.about = format!("{tool} {}", subject(tool, input));
        Verdict::Ask(question)
    }
}

impl CheckedRule {
    fn speaks_of(&self, tool: &str, texts: &[&str]) -> bool {
        let named = |pattern: &String| {
            matches(pattern, tool) || aliases(tool).iter().any(|alias| matches(pattern, alias))
        };
        let shell = tool == "bash";
        self.tool.as_ref().is_none_or(named)
            && self.pattern.as_ref().is_none_or(|pattern| match shell {
                true => texts.iter().any(|text| self.speaks_of_command(pattern, text)),
                false => texts.iter().any(|text| matches(pattern, text)),
            })
    }

    /// As the permissions read a rule about commands: one that denies or asks speaks of every part of a command,
    /// one that allows with a wildcard of a simple command alone.
    fn speaks_of_command(&self, pattern: &str, command: &str) -> bool {
        let effect = match self.action {
            Action::Allow => RuleEffect::Allow,
            Action::Ask => RuleEffect::Ask,
            Action::Deny => RuleEffect::Deny,
        };
        let here = Path::new("/");
        let rule = Rule::parse(effect, &format!("shell({pattern})"), here, here);
        rule.is_ok_and(|rule| rule.matches(&Access::Shell(command.to_owned())))
    }

    fn said(&self, what: &str) -> String {
        let tool = self.tool.as_deref().unwrap_or("every tool");
        match &self.pattern {
            Some(pattern) => format!("{what} `{pattern}` of {tool}"),
            None => format!("{what} {tool}"),
        }
    }
}

/// What an answer for the session covers: a command, path or address as it is; of other calls all arguments.
fn subject(tool: &str, input: &Value) -> String {
    const SUBJECTS: [&str; 5] = ["command", "cmd", "path", "file_path", "url"];
    let found = match tool.starts_with("mcp__") {
        true => None,
        false => SUBJECTS.iter().find_map(|key| input.get(*key)?.as_str()),
    };
    found.map_or_else(|| input.to_string(), str::to_owned)
}

/// The texts of a call's arguments, those first that say what it is about.
fn texts(input: &Value) -> Vec<&str> {
    const FIRST: [&str; 9] =
        ["command", "cmd", "path", "file_path", "url", "patch", "pattern", "instruction", "name"];
    let Some(map) = input.as_object() else { return input.as_str().into_iter().collect() };
    let first = FIRST.iter().filter_map(|key| map.get(*key)?.as_str());
    let rest = map.iter().filter(|(key, _)| !FIRST.contains(&key.as_str()));
    first.chain(rest.filter_map(|(_, value)| value.as_str())).collect()
}

/// True if one of the texts holds this, case and the number of spaces apart.
fn holds(texts: &[&str], pattern: &str) -> bool {
    let plain = |text: &str| text.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let pattern = plain(pattern);
    texts.iter().any(|text| plain(text).contains(&pattern))
}

/// `*` stands for any text, an empty one too.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(config: Value) -> Result<Policy, String> {
        Policy::new(serde_json::from_value(config).map_err(|error| error.to_string())?)
    }

    fn verdict(config: Value, tool: &str, input: Value, asked: bool) -> &'static str {
        match policy(config).unwrap().verdict(tool, &input, asked) {
            Verdict::Continue => "go on",
            Verdict::Ask(_) => "ask",
            Verdict::Deny { .. } => "deny",
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_denial_wins_and_else_the_first_rule() {
        let rules = json!({"rules": [
            {"tool": "bash", "pattern": "git *", "action": "allow"},
            {"tool": "Bash", "action": "ask"},
            {"pattern": "git push*", "action": "auto_deny"},
            {"tool": "write_*", "pattern": "*.lock", "action": "deny", "reason": "generated"},
            {"tool": "web_fetch", "require_approval": true},
        ]});
        let check = |tool: &str, input: Value, expect: &str| {
            assert_eq!(verdict(rules.clone(), tool, input.clone(), true), expect, "{tool} {input}");
        };
        check("bash", json!({"command": "git status"}), "go on");
        check("bash", json!({"command": "git push --force"}), "deny");
        check("bash", json!({"command": "true && git push"}), "deny");
        check("bash", json!({"command": "git log; rm -rf x"}), "ask");
        check("bash", json!({"command": "ls"}), "ask");
        check("write_file", json!({"path": "Cargo.lock", "content": "x"}), "deny");
        check("write_file", json!({"path": "Cargo.toml", "content": "x"}), "go on");
        check("web_fetch", json!({"url": "https://example.org"}), "ask");
        check("read_file", json!({"path": "x"}), "go on");
        check("todo", json!(null), "go on");
    }

    #[test]
    fn patterns_of_the_reference_ask() {
        let config =
            json!({"patterns": ["rm -rf", "sudo"], "policy_driven_only": true, "audit": {"enabled": true}});
        assert_eq!(verdict(config.clone(), "bash", json!({"command": "cd x && RM  -rf y"}), true), "ask");
        assert_eq!(verdict(config.clone(), "bash", json!({"command": "ls"}), true), "go on");
        assert_eq!(
            verdict(config, "bash", json!({"command": "sudo ls"}), false),
            "ask",
            "nobody there is a denial"
        );
        let open = json!({"patterns": ["sudo"], "default_action": "continue"});
        assert_eq!(verdict(open.clone(), "bash", json!({"command": "sudo ls"}), false), "go on");
        assert_eq!(verdict(open, "bash", json!({"command": "sudo ls"}), true), "ask");
        let auto = json!({"patterns": ["sudo"], "auto_approve": true, "rules": [{"pattern": "sudo rm*", "action": "deny"}]});
        assert_eq!(verdict(auto.clone(), "bash", json!({"command": "sudo ls"}), true), "go on");
        assert_eq!(verdict(auto, "bash", json!({"command": "sudo rm x"}), true), "deny");
    }

    #[test]
    fn a_question_names_the_call_and_its_time() {
        let policy = policy(json!({"timeout": 20, "rules": [{"tool": "bash", "action": "ask"}]})).unwrap();
        let Verdict::Ask(question) = policy.verdict("bash", &json!({"command": "make all"}), true) else {
            panic!()
        };
        assert_eq!(question.prompt, "bash `make all`: a rule asks about bash. Allow it?");
        assert_eq!(question.timeout, Duration::from_secs(20));
    }

    #[test]
    fn an_answer_for_the_session_covers_a_command_or_path_as_a_whole_and_else_all_arguments() {
        let policy = policy(json!({"rules": [{"tool": "*", "action": "ask"}]})).unwrap();
        let about = |tool: &str, input: Value| match policy.verdict(tool, &input, true) {
            Verdict::Ask(question) => question.about,
            other => panic!("{other:?}"),
        };
        let check = |tool: &str, one: Value, other: Value, same: bool| {
            assert_eq!(about(tool, one.clone()) == about(tool, other.clone()), same, "{tool} {one} {other}");
        };
        // Beyond what a question shows of it, too.
        let long = "true ".repeat(SHOWN);
        let command = |end: &str| json!({"command": format!("{long}{end}")});
        check("bash", command("; ls"), command("; rm -rf x"), false);
        check("bash", command("; ls"), command("; ls"), true);
        let write = |content: &str| json!({"path": "a", "content": content});
        check("write_file", write("x"), write("y"), true);
        let call = |target: &str| json!({"path": "all", "target": target});
        check("mcp__s__delete", call("x"), call("y"), false);
        check(
            "delegate",
            json!({"agent": "a", "instruction": "x"}),
            json!({"agent": "a", "instruction": "y"}),
            false,
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (config, part) in [
            (json!({"rules": [{"tool": "bash"}]}), "rules[0]: `action`"),
            (json!({"rules": [{"action": "ask"}]}), "speaks of nothing"),
            (json!({"rules": [{"tool": "x", "action": "perhaps"}]}), "perhaps"),
        ] {
            assert!(policy(config).unwrap_err().contains(part));
        }
    }
}

//! The sections `permissions`, `limits` and `retry`.

use std::path::Path;
use std::time::Duration;

use amplifier_core::permission::{Mode, Rule, RuleEffect, RuleKind};

use super::reader::Reader;
use crate::bundle::node::{Entry, Node};
use crate::settings::model::{LimitSettings, RetrySettings, RuleText, Settings};
use crate::settings::scope::Set;

const MODES: &str = "write default, plan, acceptEdits or dontAsk";

pub(super) fn permissions(reader: &mut Reader, node: &Node, settings: &mut Settings) {
    for Entry { key, value, .. } in reader.section(node, "`permissions`", &["mode", "allow", "ask", "deny"]) {
        let effect = match key.as_str() {
            "mode" => {
                settings.mode = mode(reader, value);
                continue;
            }
            "allow" => RuleEffect::Allow,
            "ask" => RuleEffect::Ask,
            "deny" => RuleEffect::Deny,
            _ => continue,
        };
        let rules = reader.texts(value, &format!("`permissions.{key}`"));
        for Set { value: text, by } in rules {
            if is_usable(reader, value, &text) {
                settings.rules.push(Set::new(RuleText { effect, text }, by));
            }
        }
    }
}

fn mode(reader: &mut Reader, node: &Node) -> Option<Set<Mode>> {
    let text = reader.text(node, "`permissions.mode`")?;
    let message = match Mode::from_name(&text.value) {
        Some(Mode::BypassPermissions) => "bypassPermissions does not count in a file".to_owned(),
        Some(mode) => return Some(Set::new(mode, text.by)),
        None => format!("`{}` is no permission mode", text.value.escape_debug()),
    };
    let bypass = "give it as `--permission-mode bypassPermissions`, or ";
    let help = if message.starts_with("bypass") { format!("{bypass}{MODES}") } else { MODES.to_owned() };
    reader.bad(node.position, message, &help);
    None
}

/// Whether a rule can be made of a text. A path with `..` or `~name` never meets a resolved path.
fn is_usable(reader: &mut Reader, list: &Node, text: &str) -> bool {
    let at = list.as_seq().unwrap_or_default().iter().find(|item| item.as_text().as_deref() == Some(text));
    let at = at.unwrap_or(list).position;
    let rule = match Rule::parse(RuleEffect::Deny, text, Path::new("/"), Path::new("/")) {
        Ok(rule) => rule,
        Err(error) => {
            reader.bad(at, error.to_string(), "see the kinds of rules in the message");
            return false;
        }
    };
    if !matches!(rule.kind(), RuleKind::Read | RuleKind::Write) {
        return true;
    }
    let mut parts = text.split(['/', '(', ')']).map(str::trim);
    let odd = parts.find(|part| *part == ".." || part.len() > 1 && part.starts_with('~'));
    if let Some(part) = odd {
        reader.bad(at, format!("the rule `{text}` holds `{part}`"), "write the path from `/` or `~/`");
    }
    odd.is_none()
}

const LIMITS: [&str; 9] = [
    "max_depth",
    "max_concurrent",
    "max_descendants",
    "max_turns",
    "timeout",
    "timeout_ms",
    "max_tokens",
    "max_budget_usd",
    "max_cost_micro_usd",
];

pub(super) fn limits(reader: &mut Reader, node: &Node, limits: &mut LimitSettings) {
    for Entry { key, value, .. } in reader.section(node, "`limits`", &LIMITS) {
        let what = format!("`limits.{key}`");
        match key.as_str() {
            "max_depth" => limits.max_depth = reader.count(value, &what),
            "max_concurrent" => limits.max_concurrent = reader.count(value, &what),
            "max_descendants" => limits.max_descendants = reader.count(value, &what),
            "max_turns" => limits.max_turns = reader.positive(value, &what),
            "max_tokens" => limits.max_tokens = reader.count(value, &what),
            "max_budget_usd" => limits.max_cost_micro_usd = reader.usd(value, &what),
            "max_cost_micro_usd" => limits.max_cost_micro_usd = reader.count(value, &what),
            "timeout" => limits.timeout = span_above_zero(reader, value, &what),
            "timeout_ms" => {
                let millis = reader.positive(value, &what);
                let span = |set: Set<u32>| Set::new(Duration::from_millis(set.value.into()), set.by);
                limits.timeout = millis.map(span);
            }
            _ => {}
        }
    }
}

fn span_above_zero(reader: &mut Reader, node: &Node, what: &str) -> Option<Set<Duration>> {
    let span = reader.span(node, what)?;
    if span.value.is_zero() {
        reader.bad(node.position, format!("{what} is 0"), "write a longer time, or remove the key");
        return None;
    }
    Some(span)
}

pub(super) fn retry(reader: &mut Reader, node: &Node, retry: &mut RetrySettings) {
    let known = ["max_attempts", "first_wait", "longest_wait"];
    for Entry { key, value, .. } in reader.section(node, "`retry`", &known) {
        let what = format!("`retry.{key}`");
        match key.as_str() {
            "max_attempts" => retry.max_attempts = reader.positive(value, &what),
            "first_wait" => retry.first_wait = reader.span(value, &what),
            "longest_wait" => retry.longest_wait = reader.span(value, &what),
            _ => {}
        }
    }
}

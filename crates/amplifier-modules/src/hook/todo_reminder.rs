//! `hooks-todo-reminder`: reminds the model of what is open in its list.
//!
//! Guarantees: a reminder is part of one request and of no transcript; there is none while nothing is open, and none
//! right after the model has looked at its list.
//! Never here: the list itself; that is the tool's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amplifier_core::hook::{Hook, HookError, HookEvent, Injection, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::{EventPattern, EventType};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;

use crate::tool::todo::{TodoItem, TodoList, TodoStatus};
use crate::tool::whole;

const ID: &str = "hooks-todo-reminder";
/// Model calls without a look at the list, after which the model is reminded.
const AFTER: u64 = 3;
/// Most items that are shown, and most characters of one.
const SHOWN: usize = 20;
const ITEM_CHARS: usize = 200;

/// The module `hooks-todo-reminder`.
#[derive(Debug, Clone, Copy)]
pub struct HooksTodoReminder;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    #[serde(deserialize_with = "whole")]
    after_turns: Option<u64>,
    priority: Option<i32>,
}

#[async_trait]
impl Module for HooksTodoReminder {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Reminds the model of what is open in its list",
            // The role is of the reference; a reminder is always the user's.
            config_keys: &["after_turns", "priority", "inject_role"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let events =
            ["provider:request", "tool:post"].iter().map(EventPattern::new).collect::<Result<_, _>>();
        let events = events.map_err(|error| MountError::config(spec, error.to_string()))?;
        let env = mount.env();
        mount.hook(Arc::new(Reminder {
            events,
            list: TodoList::of(env),
            after: config.after_turns.unwrap_or(AFTER),
            priority: config.priority.unwrap_or(100),
            silent: AtomicU64::new(0),
        }));
        Ok(())
    }
}

#[derive(Debug)]
struct Reminder {
    events: Vec<EventPattern>,
    list: Arc<TodoList>,
    after: u64,
    priority: i32,
    /// Model calls since the model has looked at its list.
    silent: AtomicU64,
}

#[async_trait]
impl Hook for Reminder {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        self.priority
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        if *event.event == EventType::ToolPost {
            if event.data.get("tool_name").and_then(Value::as_str) == Some("todo") {
                self.silent.store(0, Ordering::Relaxed);
            }
            return Ok(Verdict::Continue);
        }
        let silent = self.silent.fetch_add(1, Ordering::Relaxed);
        let due = silent >= self.after && (silent - self.after).is_multiple_of(self.after.max(1));
        let text = if due { reminder(&self.list.items()) } else { None };
        Ok(text.map_or(Verdict::Continue, |text| Verdict::Inject(Injection::ephemeral(text))))
    }
}

/// What is open; `None` if nothing is.
fn reminder(items: &[TodoItem]) -> Option<String> {
    let open = items.iter().filter(|item| item.status != TodoStatus::Completed).count();
    if open == 0 {
        return None;
    }
    let line = |item: &TodoItem| {
        let sign = match item.status {
            TodoStatus::Completed => '✓',
            TodoStatus::InProgress => '→',
            TodoStatus::Pending => '☐',
        };
        format!("{sign} {}", item.content.chars().take(ITEM_CHARS).collect::<String>())
    };
    let mut lines: Vec<String> = items.iter().take(SHOWN).map(line).collect();
    if items.len() > SHOWN {
        lines.push(format!("… {} more", items.len() - SHOWN));
    }
    Some(format!(
        "<system-reminder>\nYour todo list, {open} open:\n{}\nGo on with it, and update it as items are done. Do not mention this reminder.\n</system-reminder>",
        lines.join("\n")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_open_is_a_reason_to_remind() {
        let item = |content: &str, status| TodoItem { content: content.into(), status };
        assert_eq!(reminder(&[]), None);
        assert_eq!(reminder(&[item("a", TodoStatus::Completed)]), None);
        let text = reminder(&[
            item("a", TodoStatus::Completed),
            item("b", TodoStatus::InProgress),
            item("c", TodoStatus::Pending),
        ]);
        assert!(text.is_some_and(|text| text.contains("2 open:\n✓ a\n→ b\n☐ c\n")));
        let many = vec![item(&"x".repeat(1_000), TodoStatus::Pending); 100];
        assert!(reminder(&many).is_some_and(|text| text.contains("… 80 more") && text.len() < 5_000));
    }
}

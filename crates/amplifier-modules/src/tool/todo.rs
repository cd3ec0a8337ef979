//! `tool-todo`: the model's list of what is left to do.
//!
//! Guarantees: the list belongs to the session, is bounded, and is shown in every result.
//! Never here: a file. A resumed session finds its list in its transcript.

use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::ModuleSpec;
use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::schema;

const MAX_ITEMS: usize = 100;
const MAX_ITEM_BYTES: usize = 1_000;

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TodoStatus {
    /// Not begun.
    #[default]
    #[serde(alias = "todo", alias = "open")]
    Pending,
    /// Begun.
    #[serde(alias = "doing")]
    InProgress,
    /// Done.
    #[serde(alias = "done")]
    Completed,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TodoItem {
    /// What.
    pub content: String,
    /// How far.
    pub status: TodoStatus,
}

/// The session's list: a capability in its coordinator.
#[derive(Debug, Default)]
pub struct TodoList {
    // Held for one look or one change.
    items: Mutex<Vec<TodoItem>>,
}

impl TodoList {
    /// The list of a session, which is made at the first call.
    pub fn of(env: &SessionEnv) -> Arc<Self> {
        env.coordinator.capability::<Self>().unwrap_or_else(|| {
            let list = Arc::new(Self::default());
            env.coordinator.provide(Arc::clone(&list));
            list
        })
    }

    /// The items now.
    pub fn items(&self) -> Vec<TodoItem> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps what `change` makes of the items, unless it fails.
    fn change<E>(&self, change: impl FnOnce(&mut Vec<TodoItem>) -> Result<(), E>) -> Result<String, E> {
        let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = items.clone();
        change(&mut changed)?;
        *items = changed;
        Ok(render(&items))
    }
}

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolTodo;

#[async_trait]
impl Module for ToolTodo {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-todo",
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "the model's list of what is left to do",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.tool(Arc::new(Todo::new(TodoList::of(mount.env()))));
        Ok(())
    }
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(default)]
    action: Action,
    #[serde(default, alias = "items")]
    todos: Vec<Given>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Action {
    #[default]
    List,
    #[serde(alias = "create", alias = "write")]
    Set,
    Update,
}

#[derive(Deserialize)]
struct Given {
    #[serde(alias = "text", alias = "title")]
    content: String,
    status: Option<TodoStatus>,
}

/// The tool.
#[derive(Debug)]
pub struct Todo {
    schema: ToolSchema,
    list: Arc<TodoList>,
}

impl Todo {
    /// The tool over this list.
    pub fn new(list: Arc<TodoList>) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "action": {"type": "string", "enum": ["list", "set", "update"]},
                "todos": {"type": "array", "items": {"type": "object", "properties": {
                    "content": {"type": "string"},
                    "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]},
                }}},
            },
        });
        Self { schema: schema("todo", "Your plan: set all items, or update some", input), list }
    }
}

#[async_trait]
impl Tool for Todo {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn repeat(&self) -> Repeat {
        Repeat::Idempotent
    }

    async fn call(&self, arguments: Value, _cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let text = self.list.change(|items| match arguments.action {
            Action::List => Ok(()),
            Action::Set => {
                items.clear();
                arguments.todos.into_iter().try_for_each(|given| merge(items, given))
            }
            Action::Update => arguments.todos.into_iter().try_for_each(|given| merge(items, given)),
        })?;
        Ok(ToolOutput::text(text))
    }
}

/// An item is known by its content, or by its number in the list.
fn merge(items: &mut Vec<TodoItem>, given: Given) -> Result<(), ToolError> {
    if given.content.len() > MAX_ITEM_BYTES {
        return Err(ToolError::Arguments(format!("an item has at most {MAX_ITEM_BYTES} bytes")));
    }
    let number = given.content.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
    let known = items.iter().position(|item| item.content == given.content);
    let full = items.len() >= MAX_ITEMS;
    match known.or(number).and_then(|at| items.get_mut(at)) {
        Some(item) => item.status = given.status.unwrap_or(item.status),
        None if full => {
            return Err(ToolError::Arguments(format!("the list holds at most {MAX_ITEMS} items")));
        }
        None => {
            items.push(TodoItem { content: given.content, status: given.status.unwrap_or_default() });
        }
    }
    Ok(())
}

fn render(items: &[TodoItem]) -> String {
    let line = |(at, item): (usize, &TodoItem)| {
        let mark = match item.status {
            TodoStatus::Pending => ' ',
            TodoStatus::InProgress => '>',
            TodoStatus::Completed => 'x',
        };
        format!("{}. [{mark}] {}", at + 1, item.content)
    };
    match items {
        [] => "(nothing to do)".into(),
        items => items.iter().enumerate().map(line).collect::<Vec<_>>().join("\n"),
    }
}

//! `hooks-shell`: external commands at the events of a session, as Claude Code and Codex run them.
//!
//! Guarantees: a command reads its event as JSON; exit code 2 or its JSON may refuse a prompt, a tool call or the
//! end of a turn, ask a person, change a tool's arguments, or tell the model something; a denial of one command stands. Its
//! processes belong to the session's, its time and its output are bounded. What fails is told and goes on, unless
//! `fail_closed` says otherwise. A command allows nothing: the permissions are judged as without it.
//! Never here: commands of a project that nobody trusts; their configuration does not reach this module.

mod answer;
mod command;
mod config;
#[cfg(test)]
mod fuzz;
mod input;
mod names;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::hook::{Hook, HookError, HookEvent, Injection, Question, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::{Activation, CancelLevel, CancelReason, EventPattern, EventType, SessionEnv};
use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::orchestrator::stop::{BeforeStop, StopGates};
pub(super) use names::aliases;

use answer::Answer;
use config::{CONFIG_KEYS, Config, Event};
use input::Happening;

const ID: &str = "hooks-shell";
/// Behind redaction and logging, before the hooks that name no priority.
const PRIORITY: i32 = 50;

const EVENTS: &[&str] = &[
    "tool:pre",
    "tool:post",
    "tool:error",
    "prompt:submit",
    "prompt:complete",
    "session:start",
    "session:resume",
    "session:end",
    "approval:required",
    "user:notification",
    "context:compaction",
];

/// The module `hooks-shell`.
#[derive(Debug, Clone, Copy)]
pub struct HooksShell;

#[async_trait]
impl Module for HooksShell {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &["hook-shell"],
            kind: ModuleKind::Hook,
            summary: "Runs external commands at the events of a session",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config = Config::parse(spec)?;
        let env = mount.env().clone();
        for warning in &config.warnings {
            tell(&env, NoticeLevel::Warning, warning);
        }
        if config.commands.is_empty() {
            return Ok(());
        }
        let events = EVENTS.iter().map(EventPattern::new).collect::<Result<Vec<_>, _>>();
        let events = events.map_err(|error| MountError::config(spec, error.to_string()))?;
        let shell = Arc::new(Shell {
            events: events.clone(),
            config,
            env,
            left_out: AtomicU64::new(0),
            stop_told: AtomicBool::new(false),
            rest: Mutex::default(),
        });
        if shell.listens_for_the_end() {
            StopGates::of(mount.env()).add(Arc::clone(&shell) as Arc<dyn BeforeStop>);
        }
        mount.hook(Arc::clone(&shell) as Arc<dyn Hook>);
        mount.hook(Arc::new(Rest { events, shell }));
        Ok(())
    }
}

#[derive(Debug)]
struct Shell {
    events: Vec<EventPattern>,
    config: Config,
    env: SessionEnv,
    /// How much the largest compaction so far has left out.
    left_out: AtomicU64,
    /// The end of this turn was told already.
    stop_told: AtomicBool,
    /// What is for the model beside a verdict; it is said right behind.
    // Held to put or take; never across an await.
    rest: Mutex<Vec<String>>,
}

impl Shell {
    fn stop(&self) -> Event {
        if self.env.depth == 0 { Event::Stop } else { Event::SubagentStop }
    }

    fn listens_for_the_end(&self) -> bool {
        self.config.of(self.stop()).next().is_some()
    }

    /// What an event of the kernel is for commands; `None` if it is nothing to them.
    fn happening(&self, event: &HookEvent<'_>) -> Option<Happening> {
        let data = event.data;
        let text = |key: &str| data.get(key).and_then(Value::as_str).unwrap_or_default();
        let of_tool = |event| Happening::of_tool(event, data, &self.env);
        Some(match event.event {
            EventType::ToolPre => of_tool(Event::PreToolUse),
            EventType::ToolPost => of_tool(Event::PostToolUse),
            EventType::ToolError => of_tool(Event::PostToolUseFailure),
            EventType::PromptSubmit => {
                self.stop_told.store(false, Ordering::Relaxed);
                Happening::new(Event::UserPromptSubmit, None, json!({"prompt": text("prompt")}))
            }
            EventType::PromptComplete if self.stop_told.swap(false, Ordering::Relaxed) => return None,
            EventType::PromptComplete => self.stopping(text("response"), false),
            EventType::SessionStart | EventType::SessionResume => {
                let again = self.env.activation != Activation::FIRST;
                let source = if again { "resume" } else { "startup" };
                let event = if self.env.depth == 0 { Event::SessionStart } else { Event::SubagentStart };
                Happening::new(event, Some(source), json!({ "source": source }))
            }
            EventType::SessionEnd if self.env.depth == 0 => Happening::new(
                Event::SessionEnd,
                Some("other"),
                json!({"reason": "other", "status": data.get("status")}),
            ),
            EventType::ApprovalRequired => {
                let fields = json!({"message": text("prompt"), "notification_type": "permission_prompt"});
                Happening::new(Event::Notification, Some("permission_prompt"), fields)
            }
            EventType::UserNotification => {
                Happening::new(Event::Notification, Some("notification"), json!({"message": text("message")}))
            }
            EventType::ContextCompaction => {
                let now = data.get("left_out").and_then(Value::as_u64).unwrap_or(0);
                if self.left_out.fetch_max(now, Ordering::Relaxed) >= now {
                    return None;
                }
                let fields = json!({"trigger": "auto", "custom_instructions": ""});
                Happening::new(Event::PreCompact, Some("auto"), fields)
            }
            _ => return None,
        })
    }

    fn stopping(&self, answer: &str, again: bool) -> Happening {
        let fields = json!({"stop_hook_active": again, "last_assistant_message": answer});
        Happening::new(self.stop(), None, fields)
    }

    /// Runs the commands that speak of this, side by side; what they want together.
    async fn run(&self, happening: &Happening) -> Answer {
        let told = self.config.of(happening.event).filter_map(|command| {
            let input = happening.told(command.matcher.as_ref(), &self.env)?;
            Some(async move {
                let (line, env) = (command.line.as_str(), &self.env);
                let ended = command::run(env, line, input, &self.config.passthrough, command.timeout).await;
                answer::read(happening.event, line, ended, self.config.fail_closed)
            })
        });
        let answers = join_all(told.map(Box::pin)).await;
        let answer = answers.into_iter().fold(Answer::default(), Answer::and);
        for text in &answer.notices {
            tell(&self.env, NoticeLevel::Warning, text);
        }
        if let Some(why) = &answer.stop {
            tell(&self.env, NoticeLevel::Warning, &format!("stopped: {why}"));
            self.env.cancel.cancel(CancelLevel::Graceful, CancelReason::Requested);
        }
        answer
    }

    fn verdict(&self, happening: &Happening, data: &Value, answer: Answer) -> Verdict {
        let gate = matches!(happening.event, Event::PreToolUse | Event::UserPromptSubmit);
        if let Some(reason) = answer.block.or(answer.stop).filter(|_| gate) {
            return Verdict::Deny { reason };
        }
        let event = happening.event.name();
        let context: Vec<String> =
            answer.context.iter().map(|text| format!("[hook {event}] {text}")).collect();
        let put = |rest: Vec<String>| self.rest.lock().unwrap_or_else(PoisonError::into_inner).extend(rest);
        if let Some(question) = answer.ask.filter(|_| gate) {
            put(context);
            let mut question = Question::new(question);
            // A command may give one reason for every call.
            let about =
                ["tool_name", "tool_input", "prompt"].map(|key| data.get(key).unwrap_or(&Value::Null));
            question.about = format!("{} {about:?}", question.prompt);
            return Verdict::Ask(question);
        }
        if let Some(updated) = answer.updated {
            put(context);
            return modified(data, updated, &self.env);
        }
        said(context)
    }
}

/// The data of a call with other arguments.
fn modified(data: &Value, updated: Value, env: &SessionEnv) -> Verdict {
    let tool = data.get("tool_name").and_then(Value::as_str).unwrap_or_default();
    let input = data.get("tool_input").cloned().unwrap_or_default();
    let offered = names::offered(tool, &input, &env.cwd);
    let mut data = data.clone();
    data["tool_input"] = names::taken_back(tool, &input, &offered, updated);
    Verdict::Modify(data)
}

/// Lines for the model, which stay in the conversation.
fn said(context: Vec<String>) -> Verdict {
    if context.is_empty() {
        return Verdict::Continue;
    }
    let mut injection = Injection::ephemeral(context.join("\n"));
    injection.ephemeral = false;
    Verdict::Inject(injection)
}

fn tell(env: &SessionEnv, level: NoticeLevel, text: &str) {
    env.display.show(&env.origin(), Shown::Notice { level, source: ID, text });
}

#[async_trait]
impl Hook for Shell {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        PRIORITY
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let Some(happening) = self.happening(event) else { return Ok(Verdict::Continue) };
        let answer = self.run(&happening).await;
        Ok(self.verdict(&happening, event.data, answer))
    }
}

#[async_trait]
impl BeforeStop for Shell {
    async fn objection(&self, answer: &str, again: bool) -> Option<String> {
        self.stop_told.store(true, Ordering::Relaxed);
        let happening = self.stopping(answer, again);
        let answer = self.run(&happening).await;
        answer.block.filter(|_| answer.stop.is_none())
    }
}

/// Says what a verdict of [`Shell`] had no room for.
#[derive(Debug)]
struct Rest {
    events: Vec<EventPattern>,
    shell: Arc<Shell>,
}

#[async_trait]
impl Hook for Rest {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        PRIORITY + 1
    }

    async fn handle(&self, _event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let rest = std::mem::take(&mut *self.shell.rest.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(said(rest))
    }
}

//! `hooks-logging`: writes the events of a session to `events.jsonl` in its folder.
//!
//! Guarantees: one line an event, in the format and with the event names of the
//! reference system; secrets are taken out; a log that cannot be written is told
//! once and never fails the session. A session in memory has no log.
//! Never here: fsync, and pieces of streamed answers unless they are asked for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::{EventPattern, EventType};
use amplifier_foundation::fs::log::LogFile;
use amplifier_foundation::redact::Redactor;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::secrets;

const ID: &str = "hooks-logging";
const FILE: &str = "events.jsonl";

/// The module `hooks-logging`.
#[derive(Debug, Clone, Copy)]
pub struct HooksLogging;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    /// Patterns of events that are not logged.
    exclude: Vec<String>,
    /// Whether pieces of streamed answers are logged.
    include_deltas: bool,
    /// Variables whose values are secrets too.
    secret_variables: Vec<String>,
}

#[async_trait]
impl Module for HooksLogging {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Writes the events of a session to events.jsonl in its folder",
            config_keys: &["exclude", "include_deltas", "secret_variables"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let settings: Settings = parse_config(spec)?;
        let pattern = |text: &String| {
            EventPattern::new(text)
                .map_err(|error| MountError::config(spec, format!("config: exclude: {error}")))
        };
        let exclude = settings.exclude.iter().map(pattern).collect::<Result<_, _>>()?;
        let env = mount.env();
        if let Some(folder) = &env.folder {
            let redactor = secrets::redactor(env, &settings.secret_variables);
            mount.hook(Arc::new(Logging::new(folder, redactor, exclude, settings.include_deltas)?));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Logging {
    events: Vec<EventPattern>,
    exclude: Vec<EventPattern>,
    include_deltas: bool,
    redactor: Redactor,
    // Held while one line is written, so that lines do not mix; never across an await.
    log: Mutex<Log>,
}

#[derive(Debug)]
struct Log {
    file: LogFile,
    /// The user knows that lines are missing.
    told: bool,
}

impl Logging {
    fn new(
        folder: &Path,
        redactor: Redactor,
        exclude: Vec<EventPattern>,
        include_deltas: bool,
    ) -> Result<Self, MountError> {
        let all = EventPattern::new("*").map_err(|error| MountError::Failed {
            module: ID.to_owned(),
            action: "watch all events".to_owned(),
            source: Box::new(error),
        })?;
        let log = Mutex::new(Log { file: LogFile::new(folder.join(FILE)), told: false });
        Ok(Self { events: vec![all], exclude, include_deltas, redactor, log })
    }

    fn wants(&self, event: &EventType) -> bool {
        let delta = matches!(event, EventType::ContentBlockDelta | EventType::ThinkingDelta);
        (self.include_deltas || !delta) && !self.exclude.iter().any(|pattern| pattern.matches(event))
    }

    fn write(&self, event: &HookEvent<'_>) -> std::io::Result<()> {
        let mut data = event.data.clone();
        self.redactor.redact(&mut data);
        let line = Line {
            ts: data.get("timestamp").and_then(Value::as_str).unwrap_or_default(),
            lvl: level(event.event),
            schema: Schema { name: "amplifier.log", ver: "1.0.0" },
            event: event.event.reference_name(),
            session_id: event.session.as_str(),
            data: &data,
        };
        let line = serde_json::to_vec(&line)?;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).file.line(&line)
    }

    /// What to tell of a failure: only of the first one.
    fn failed(&self, error: &std::io::Error) -> Verdict {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut log.told, true) {
            return Verdict::Continue;
        }
        let path = log.file.path().display();
        Verdict::Notify { text: format!("{path} cannot be written ({error}); events are missing from it") }
    }
}

#[async_trait]
impl Hook for Logging {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        2
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        if !self.wants(event.event) {
            return Ok(Verdict::Continue);
        }
        Ok(self.write(event).map_or_else(|error| self.failed(&error), |()| Verdict::Continue))
    }
}

/// One line, its keys in the order of the reference system.
#[derive(Serialize)]
struct Line<'a> {
    ts: &'a str,
    lvl: &'static str,
    schema: Schema,
    event: &'a str,
    session_id: &'a str,
    data: &'a Value,
}

#[derive(Serialize)]
struct Schema {
    name: &'static str,
    ver: &'static str,
}

fn level(event: &EventType) -> &'static str {
    match event {
        EventType::ToolError | EventType::ProviderError | EventType::ModuleOnSessionReadyFailed => "ERROR",
        EventType::ProviderRetry
        | EventType::ProviderThrottle
        | EventType::PolicyViolation
        | EventType::ApprovalDenied => "WARNING",
        _ => "INFO",
    }
}

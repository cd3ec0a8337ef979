//! `orchestrator-foreman`: the loop of the others, for a session that breaks work down into issues. Tools of an answer
//! run one after the other.
//!
//! Guarantees: each turn begins with what has changed since the last one, as a note to the model that is in no
//! transcript; where nothing has changed there is none. From the first turn on somebody works on the issues:
//! the owner of the project's triggers, or this session's own crew, which starts once and ends with the session.
//! Never here: what a worker does, which pool an issue goes to, and what the tool `issue_manager` does.

mod crew;
mod left;
mod report;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::EventPattern;
use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::env::SessionEnv;
use amplifier_core::hook::{Hook, HookError, HookEvent, Injection, Verdict};
use amplifier_core::message::Role;
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CancelReason, CancelToken};
use amplifier_foundation::spawn::{Spawner, Stay};
use amplifier_foundation::store::Cursor;
use async_trait::async_trait;

use super::Loop;
use super::settings::Settings;
use crate::tool::issue::ToolIssue;
use crew::{Declared, Staff};
use report::Reporter;

const ID: &str = "orchestrator-foreman";
/// Model calls of a turn, where nobody says.
const MAX_ITERATIONS: u64 = 20;

/// The module `orchestrator-foreman`.
#[derive(Debug, Clone, Copy)]
pub struct OrchestratorForeman;

#[async_trait]
impl Module for OrchestratorForeman {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "Breaks work down into issues, has a crew work on them, reports what has changed",
            config_keys: &amplifier_crew::config::KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let env = mount.env();
        let spawner = env.coordinator.capability::<Spawner>();
        let declared = match &spawner {
            Some(spawner) => crew::declared(spec, spawner)?,
            None => Declared::default(),
        };
        declared.warnings.iter().for_each(|warning| tell(env, NoticeLevel::Warning, warning));
        let mut settings = Settings::parse(spec)?;
        if !["max_iterations", "max_turns"].iter().any(|key| spec.config.contains_key(*key)) {
            settings.max_iterations = declared.max_iterations.map(u64::from).or(Some(MAX_ITERATIONS));
        }
        settings.extended_thinking |= declared.extended_thinking;
        // An issue may depend on one that the same answer has added before it.
        let parallel = settings.parallel.unwrap_or(false);
        // As in the reference: without others it has this one tool.
        if spawner.as_ref().is_none_or(|spawner| spawner.bundle().plan.tools.is_empty()) {
            ToolIssue.mount(&ModuleSpec::new("tool-issue"), mount).await?;
        }
        let note = Arc::new(Note::new(spec)?);
        let interrupt = Arc::new(Interrupt::default());
        env.coordinator.provide(Arc::clone(&interrupt));
        mount.hook(Arc::clone(&note) as Arc<dyn Hook>);
        let desk = tokio::sync::Mutex::new(Desk {
            staff: Staff::new(declared.crew),
            reporter: None,
            began: None,
            told: false,
        });
        let inner = Loop { name: ID, settings, parallel };
        mount.orchestrator(Arc::new(Foreman { inner, desk, note, interrupt }));
        Ok(())
    }
}

/// Stops the turn of a conversation that goes on: `env.coordinator.capability::<Interrupt>()`.
#[derive(Debug, Default)]
pub struct Interrupt(Mutex<CancelToken>);

impl Interrupt {
    /// Stops the turn that runs; a session that runs none is left as it is.
    pub fn stop_turn(&self) {
        self.token().cancel(CancelLevel::Immediate, CancelReason::Requested);
    }

    fn token(&self) -> MutexGuard<'_, CancelToken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_turn(&self) -> CancelToken {
        let fresh = CancelToken::new();
        *self.token() = fresh.clone();
        fresh
    }
}

/// What the model is told in each call of a turn.
#[derive(Debug)]
struct Note {
    events: [EventPattern; 1],
    // Held to copy or replace the text; never across an await.
    text: Mutex<Option<String>>,
}

impl Note {
    fn new(spec: &ModuleSpec) -> Result<Self, MountError> {
        let event = EventPattern::new("provider:request");
        let event = event.map_err(|error| MountError::config(spec, error.to_string()))?;
        Ok(Self { events: [event], text: Mutex::default() })
    }

    fn set(&self, text: Option<String>) {
        *self.text.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

#[async_trait]
impl Hook for Note {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    async fn handle(&self, _event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(text.map_or(Verdict::Continue, |text| {
            let mut injection = Injection::ephemeral(text);
            injection.role = Role::System;
            Verdict::Inject(injection)
        }))
    }
}

/// The loop, and what it knows of the work.
#[derive(Debug)]
struct Foreman {
    inner: Loop,
    // Held for the beginning and the end of a turn, of which there is one at a time.
    desk: tokio::sync::Mutex<Desk>,
    note: Arc<Note>,
    interrupt: Arc<Interrupt>,
}

#[derive(Debug)]
struct Desk {
    staff: Staff,
    reporter: Option<Reporter>,
    /// Where the log ended when the first turn began.
    began: Option<Cursor>,
    /// The model has heard who works.
    told: bool,
}

#[async_trait]
impl Orchestrator for Foreman {
    fn name(&self) -> &str {
        ID
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        let env = turn.env().clone();
        let stop = self.interrupt.of_turn();
        let spawner = env.coordinator.capability::<Spawner>();
        let begun = async {
            if let Some(spawner) = &spawner {
                self.begin(&env, spawner).await;
            }
            self.inner.run(turn).await
        };
        let text = until(begun, stop.cancelled()).await.unwrap_or(Err(TurnError::Cancelled))?;
        if let Some(spawner) = &spawner {
            self.end(&env, spawner).await;
        }
        Ok(text)
    }
}

impl Foreman {
    /// Sees that somebody works, and looks at what has changed.
    async fn begin(&self, env: &SessionEnv, spawner: &Spawner) {
        let desk = &mut *self.desk.lock().await;
        if desk.began.is_none() {
            desk.began = spawner.host().store().tail().await.ok();
        }
        desk.staff.see_to_it(env, spawner).await;
        let reporter = desk.reporter.get_or_insert_with(|| Reporter::new(spawner));
        let report = match reporter.look().await {
            Ok(report) => report,
            Err(error) => {
                tell(env, NoticeLevel::Warning, &format!("what has changed could not be read: {error}"));
                None
            }
        };
        let trouble = desk.staff.trouble().filter(|_| !desk.told);
        self.note.set(report::note(report.as_deref(), trouble));
    }

    /// What was reported is not reported again; a session of one turn waits for the issues that it has added.
    async fn end(&self, env: &SessionEnv, spawner: &Spawner) {
        let desk = &mut *self.desk.lock().await;
        desk.told = true;
        if let Some(reporter) = &mut desk.reporter
            && let Err(error) = reporter.reported().await
        {
            tracing::warn!(%error, "what was reported will be reported again");
        }
        if let (Stay::UntilDone, Some(began)) = (spawner.stay(), desk.began) {
            left::wait(env, spawner, began, &desk.staff).await;
        }
    }
}

/// A notice for the person in front.
fn tell(env: &SessionEnv, level: NoticeLevel, text: &str) {
    env.display.show(&env.origin(), Shown::Notice { level, source: "foreman", text });
}

//! `loop-external`: another agent's command line answers, as the orchestrator of a session.
//!
//! Guarantees: the agent runs as a program on behalf of the session: recorded before it begins, confined as the
//! permissions say, without variables that look like secrets unless they are named, ended with its whole tree when the
//! turn ends, however that is. What it says is durable as it says it. Its model calls, tokens and cost count
//! against the session's limits and budgets. A turn that ends without the agent's own end is a failure that
//! says why. The next turn goes on with the agent's own session, also after a crash.
//! Never here: what the agent does with its tools; hooks are not asked about them. Its tools are its own, those of the
//! bundle are not given to it.

mod claude;
mod codex;
mod config;
mod event;
mod failure;
#[cfg(test)]
mod fuzz;
mod lines;
mod own;
mod prompt;
mod record;
mod run;
mod stance;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::Price;
use amplifier_core::message::Usage;
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::provider::{ProviderError, ProviderErrorKind};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_foundation::process::Processes;
use amplifier_sandbox::find_program;
use async_trait::async_trait;

use config::{CONFIG_KEYS, Config, Kind, Wish};
use prompt::Prompt;
use run::Run;
use stance::Stance;

const ID: &str = "loop-external";

/// The module `loop-external`.
#[derive(Debug, Clone, Copy)]
pub struct LoopExternal;

#[async_trait]
impl Module for LoopExternal {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "Another agent's command line answers (claude, codex); needs no provider",
            config_keys: CONFIG_KEYS,
        }
    }

    fn needs_provider(&self) -> bool {
        false
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config = Config::parse(spec)?;
        let processes = Processes::of(mount.env());
        mount.orchestrator(Arc::new(External { config, processes, stance: Mutex::default() }));
        Ok(())
    }
}

#[derive(Debug)]
struct External {
    config: Config,
    processes: Arc<Processes>,
    /// What was decided, so that a person is asked once. Held for a look or a store.
    stance: Mutex<Option<Stance>>,
}

#[async_trait]
impl Orchestrator for External {
    fn name(&self) -> &str {
        ID
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        super::stop_if_cancelled(turn)?;
        let turn = &*turn;
        let price = self.price(turn)?;
        turn.spent_elsewhere(Usage::default(), Some(0))?;
        let (stance, program) = (self.stance(turn).await?, self.program(turn)?);
        let ask = Ask { turn, price, stance, program: &program };
        if let Some(text) = self.ask(&ask, &Prompt::of(turn, self.config.kind)).await? {
            return Ok(text);
        }
        // Asked to go on with nothing, it says nothing of that once more.
        Ok(self.ask(&ask, &Prompt::anew(turn)).await?.unwrap_or_default())
    }
}

/// What stays the same when an agent is asked anew.
struct Ask<'a, 't> {
    turn: &'a Turn<'t>,
    price: Option<Price>,
    stance: Stance,
    program: &'a Path,
}

impl External {
    async fn ask(&self, ask: &Ask<'_, '_>, prompt: &Prompt) -> Result<Option<String>, TurnError> {
        let Ask { turn, price, stance, program } = *ask;
        let wish = Wish {
            model: turn.model(),
            resume: prompt.resume(turn.session()),
            turns: turn.calls_left(),
            micro_usd: cost_left(turn),
        };
        let argv = self.config.argv(program.to_owned(), stance, &wish);
        let run = Run { turn, config: &self.config, price, prompt, processes: &self.processes };
        Box::pin(run.drive(argv, stance)).await
    }

    /// What tokens cost, where the agent does not say. It must be known where cost is limited.
    fn price(&self, turn: &Turn<'_>) -> Result<Option<Price>, TurnError> {
        let model = turn.model().or(self.config.model.as_deref());
        let price = model.and_then(|model| self.config.prices.find(model));
        if self.config.kind == Kind::Codex && cost_left(turn).is_some() && price.is_none() {
            let model = model.unwrap_or("of its own choice").to_owned();
            return Err(TurnError::UnknownPrice { provider: ID.into(), model });
        }
        Ok(price)
    }

    async fn stance(&self, turn: &Turn<'_>) -> Result<Stance, TurnError> {
        let known = *self.stance.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known {
            return Ok(known);
        }
        let decided = stance::decide(turn, &self.config.command.join(" ")).await?;
        *self.stance.lock().unwrap_or_else(PoisonError::into_inner) = Some(decided);
        Ok(decided)
    }

    fn program(&self, turn: &Turn<'_>) -> Result<PathBuf, TurnError> {
        let name = &self.config.command[0];
        find_program(name, &turn.env().cwd).ok_or_else(|| {
            let message =
                format!("there is no program `{name}`; install it, or set `command` in the config of {ID}");
            ProviderError::new(self.config.kind.name(), ProviderErrorKind::Config, message).into()
        })
    }
}

/// What cost is left; `None` where it is not limited.
fn cost_left(turn: &Turn<'_>) -> Option<u64> {
    Some(turn.budget_left().micro_usd).filter(|left| *left != u64::MAX)
}

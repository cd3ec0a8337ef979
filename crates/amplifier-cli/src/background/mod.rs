//! `amplifier background …`: sessions that start themselves.
//!
//! Guarantees: stdout carries results alone; how things stand is told from the store and the table of
//! processes, whoever asks; what is asked of an owner is done when the command returns.
//! Never here: when something starts, and what happens then.

mod add;
mod fire;
mod logs;
mod start;
mod status;
mod stop;
mod zone;

pub(crate) use fire::fire;

use amplifier_background::BackgroundConfig;
use amplifier_background::BackgroundError;
use amplifier_background::control::ControlError;
use amplifier_background::declared::{Declarations, DeclareError, Declared, Sources};
use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_foundation::Host;

use crate::args::background::BackgroundCommand;
use crate::context::{self, Context};
use crate::exit::{Code, Failure, chain};

/// Does what was asked.
pub(crate) fn run(command: BackgroundCommand) -> Result<Code, Failure> {
    if let BackgroundCommand::Start(args) = command {
        return start::start(args);
    }
    let context = Context::here()?;
    let runtime = context::small_runtime()?;
    let code = runtime.block_on(async {
        let host = context.host().await?;
        match command {
            BackgroundCommand::Status(args) => status::status(args, &context, &host).await,
            BackgroundCommand::List(args) => status::list(args, &context, &host).await,
            BackgroundCommand::Add(args) => add::add(args, &context, &host).await,
            BackgroundCommand::Rm(args) => add::rm(args, &context, &host).await,
            BackgroundCommand::Pause(args) => add::pause(args, true, &context, &host).await,
            BackgroundCommand::Resume(args) => add::pause(args, false, &context, &host).await,
            BackgroundCommand::Logs(args) => logs::logs(args, &host).await,
            BackgroundCommand::Fire(args) => fire::fire(args, &context, &host).await,
            BackgroundCommand::Stop(args) => stop::stop(args, &host).await,
            BackgroundCommand::Start(_) => Ok(Code::Usage),
        }
    });
    // What a signal cut off must not keep the process.
    runtime.shutdown_background();
    code
}

/// What is read here: the project's file, and the bundle that was typed or is active.
fn sources(typed: Option<&str>, context: &Context, host: &Host) -> Sources {
    let mut sources = Sources::new();
    sources.trusted = !context.is_untrusted();
    match typed {
        Some(typed) => sources.bundle = Some(typed.to_owned()),
        None => {
            let active = context.chosen(host);
            sources.bundle_by_project = active.by_project();
            sources.bundle = Some(active.name);
        }
    }
    sources
}

/// What is declared; tells what does not count.
pub(crate) async fn declared(
    typed: Option<&str>,
    context: &Context,
    host: &Host,
) -> Result<Declarations, Failure> {
    let sources = sources(typed, context, host);
    let found = Declarations::load(host, &sources, &TriggerRegistry::new()).await;
    let declared = found.map_err(|error| undeclared(&error))?;
    context::tell(declared.warnings());
    Ok(declared)
}

/// One background session that is declared.
fn find<'d>(name: &str, declared: &'d Declarations) -> Result<&'d Declared, Failure> {
    let name = parsed(name)?;
    declared.get(&name).ok_or_else(|| {
        let known: Vec<&str> = declared.sessions.iter().map(|one| one.config.name.as_str()).collect();
        let help = match known.as_slice() {
            [] => "none is declared; `amplifier background add` declares one".to_owned(),
            known => format!("there are {}", known.join(", ")),
        };
        Failure::usage(format!("no background session {name} is declared here")).help(help)
    })
}

fn parsed(name: &str) -> Result<BackgroundName, Failure> {
    BackgroundName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

fn undeclared(error: &DeclareError) -> Failure {
    match error {
        DeclareError::Files { .. } => Failure { bare: true, ..Failure::config(error) },
        DeclareError::Bundle(error) => Failure::bundle(error),
        other => Failure::config(other),
    }
}

fn refused(error: &BackgroundError) -> Failure {
    match error {
        BackgroundError::Owned { .. } => Failure::usage(chain(error)).code(Code::Temporary, "owned"),
        BackgroundError::Full { .. } => Failure::usage(chain(error)).code(Code::Temporary, "full"),
        BackgroundError::Rejected { .. } => Failure::usage(chain(error)).code(Code::Failed, "rejected"),
        BackgroundError::Store(error) => Failure::store(error),
        other => Failure::config(other),
    }
}

fn unasked(error: &ControlError) -> Failure {
    match error {
        ControlError::NoOwner => Failure::usage(chain(error)).code(Code::Failed, "no_owner"),
        ControlError::Gone { .. } => Failure::usage(chain(error)).code(Code::Failed, "gone"),
        ControlError::Silent { .. } => Failure::usage(chain(error)).code(Code::Temporary, "silent"),
        ControlError::Store(error) => Failure::store(error),
        _ => Failure::usage(chain(error)).code(Code::Failed, "refused"),
    }
}

/// One that is declared, to be fired: `NAME`, or `NAME/KEY` for one of its triggers.
fn config_of(text: &str, declared: &Declarations) -> Result<BackgroundConfig, Failure> {
    let (name, key) = text.split_once('/').map_or((text, None), |(name, key)| (name, Some(key)));
    let mut config = find(name, declared)?.config.clone();
    let Some(key) = key else { return Ok(config) };
    let keys: Vec<String> = config.triggers.iter().map(|trigger| trigger.key().to_string()).collect();
    if !keys.iter().any(|known| known == key) {
        let help = match keys.as_slice() {
            [] => format!("it has none; `amplifier background fire {name}` fires it"),
            keys => format!("there are {}", keys.join(", ")),
        };
        return Err(Failure::usage(format!("background session {name} has no trigger {key}")).help(help));
    }
    // A call goes by the policies of a manual trigger; of several this one counts.
    config.triggers.retain(|trigger| trigger.key().as_str() == key);
    Ok(config)
}

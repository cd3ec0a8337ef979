//! What is declared in a project, as commands name it.
//!
//! Guarantees: what is not declared is refused with what there is.

use amplifier_background::declared::{Declarations, DeclareError, Declared, Sources};
use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_background::{BackgroundConfig, BackgroundError};
use amplifier_foundation::Host;

use crate::context::{self, Context};
use crate::exit::Failure;
use crate::terminal::{Code, chain};

/// What is read here: the project's file, and the bundle that was typed or is active.
pub fn sources(typed: Option<&str>, context: &Context, host: &Host) -> Sources {
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
pub async fn declared(typed: Option<&str>, context: &Context, host: &Host) -> Result<Declarations, Failure> {
    let sources = sources(typed, context, host);
    let found = Declarations::load(host, &sources, &TriggerRegistry::new()).await;
    let declared = found.map_err(|error| undeclared(&error))?;
    context::tell(declared.warnings());
    Ok(declared)
}

/// One background session that is declared.
pub fn find<'d>(name: &str, declared: &'d Declarations) -> Result<&'d Declared, Failure> {
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

/// The name of a background session.
pub fn parsed(name: &str) -> Result<BackgroundName, Failure> {
    BackgroundName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

/// Why nothing that is declared can be read.
pub fn undeclared(error: &DeclareError) -> Failure {
    match error {
        DeclareError::Files { .. } => Failure { bare: true, ..Failure::config(error) },
        DeclareError::Bundle(error) => Failure::bundle(error),
        other => Failure::config(other),
    }
}

/// Why a background session was not fired.
pub fn refused(error: &BackgroundError) -> Failure {
    match error {
        BackgroundError::Owned { .. } => Failure::usage(chain(error)).code(Code::Temporary, "owned"),
        BackgroundError::Full { .. } => Failure::usage(chain(error)).code(Code::Temporary, "full"),
        BackgroundError::Rejected { .. } => Failure::usage(chain(error)).code(Code::Failed, "rejected"),
        BackgroundError::Store(error) => Failure::store(error),
        other => Failure::config(other),
    }
}

/// One that is declared, to be fired: `NAME`, or `NAME/KEY` for one of its triggers.
pub fn config_of(text: &str, declared: &Declarations) -> Result<BackgroundConfig, Failure> {
    let (name, key) = text.split_once('/').map_or((text, None), |(name, key)| (name, Some(key)));
    let mut config = find(name, declared)?.config.clone();
    let Some(key) = key else { return Ok(config) };
    let keys: Vec<String> = config.triggers.iter().map(|trigger| trigger.key().to_string()).collect();
    if !keys.iter().any(|known| known == key) {
        let help = match keys.as_slice() {
            [] => "it has none; the name alone fires it".to_owned(),
            keys => format!("there are {}", keys.join(", ")),
        };
        return Err(Failure::usage(format!("background session {name} has no trigger {key}")).help(help));
    }
    // A call goes by the policies of a manual trigger; of several this one counts.
    config.triggers.retain(|trigger| trigger.key().as_str() == key);
    Ok(config)
}

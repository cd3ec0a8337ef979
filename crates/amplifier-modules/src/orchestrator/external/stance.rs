//! What the session's permissions make of an agent that decides by itself.
//!
//! Guarantees: mode `plan` lets it read, in the sandbox; where our own commands would run in the sandbox it does;
//! where a person would be asked about a command, about the agent too, once; nobody but `bypassPermissions` in all
//! layers lets it do everything. A rule that denies its command, or every host, keeps it from starting.

use amplifier_core::permission::{Access, Mode, Permissions, RuleEffect};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_sandbox::Confinement;

use super::config::Kind;

/// What the agent may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stance {
    /// Read.
    Plan,
    /// Write where the session may, in the sandbox.
    Sandboxed,
    /// Outside the sandbox: a rule or a person let it.
    Free,
    /// Everything, unasked.
    Bypass,
}

/// Decides, and asks if it must. `command` is what rules and people are told.
pub(super) async fn decide(turn: &Turn<'_>, command: &str) -> Result<Stance, TurnError> {
    let permissions = turn.permissions();
    let access = Access::Shell(command.to_owned());
    let denies = |reason: String| TurnError::Denied { hook: "the permissions".into(), reason };
    if !Confinement::of_session(turn.env(), permissions, false).network {
        let reason = format!("a rule denies every host, and `{command}` has to reach its service");
        return Err(denies(reason));
    }
    if modes(permissions).any(|mode| mode == Mode::Plan) {
        let rules = || permissions.layers().iter().flat_map(|layer| &layer.rules);
        if let Some(rule) = rules().find(|rule| rule.effect() == RuleEffect::Deny && rule.matches(&access)) {
            return Err(denies(format!("a rule denies `{command}`: {rule}")));
        }
        return Ok(Stance::Plan);
    }
    let sandboxed = turn.judge("loop-external", access).await?;
    let mut modes = modes(permissions).peekable();
    Ok(match sandboxed {
        true => Stance::Sandboxed,
        false if modes.peek().is_some() && modes.all(|mode| mode == Mode::BypassPermissions) => {
            Stance::Bypass
        }
        false => Stance::Free,
    })
}

fn modes(permissions: &Permissions) -> impl Iterator<Item = Mode> {
    permissions.layers().iter().filter_map(|layer| layer.mode)
}

/// The confinement of the agent's process. It can write to its own folder, and reach its service.
pub(super) fn confinement(turn: &Turn<'_>, stance: Stance, kind: Kind) -> Confinement {
    let (env, permissions) = (turn.env(), turn.permissions());
    let mut confinement = match stance {
        Stance::Plan => Confinement::writing_below(Vec::new()),
        Stance::Sandboxed => Confinement::of_session(env, permissions, true),
        Stance::Free | Stance::Bypass => Confinement::of_session(env, permissions, false),
    };
    if let Some(writable) = &mut confinement.writable {
        let (variable, own) = kind.own();
        writable.extend(std::env::var_os(variable).map(Into::into));
        let resolved = own.iter().filter_map(|path| env.paths.resolve(&env.cwd, path).ok());
        writable.extend(resolved.map(|path| path.as_path().to_owned()));
    }
    confinement.with_network(true)
}

//! `amplifier bundle list|use|clear|add|remove`: names of bundles, and the active one.
//!
//! Guarantees: a name or address that leads to no bundle is refused before anything is written.

use amplifier_app::terminal::chain;
use amplifier_foundation::bundle::NameOrigin;
use amplifier_foundation::fs::read;
use amplifier_foundation::settings::Scope;
use amplifier_foundation::settings::edit::Change;
use serde_json::json;

use crate::args::ScopeArgs;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output;
use crate::settings::{change, place};

/// The settings' section about bundles.
const BUNDLE: &str = "bundle";
/// Its map of names.
const ADDED: &str = "added";
/// The setting of the active bundle.
const ACTIVE: [&str; 2] = [BUNDLE, "active"];

/// Lists the names that resolve here.
pub(super) async fn list(context: &Context, all: bool, as_json: bool) -> Result<Code, Failure> {
    let host = context.host().await?;
    let active = context.active().name;
    let mut names = host.bundles().names();
    if let Some(fault) = host.bundles().names_fault() {
        output::say(&format!("warning: names of `registry.json` are missing: {}", chain(&fault)));
    }
    names.retain(|(_, origin)| all || *origin != NameOrigin::WellKnown);
    if as_json {
        let line = |(name, origin): &(String, NameOrigin)| json!({ "name": name, "origin": word(*origin), "active": *name == active });
        return output::print_json(&names.iter().map(line).collect::<Vec<_>>());
    }
    let row = |(name, origin): &(String, NameOrigin)| {
        let mark = if *name == active { "*" } else { "" };
        [name.clone(), mark.to_owned(), word(*origin).to_owned()]
    };
    Ok(output::print(&output::table(["NAME", "ACTIVE", "FROM"], &names.iter().map(row).collect::<Vec<_>>())))
}

fn word(origin: NameOrigin) -> &'static str {
    match origin {
        NameOrigin::Project => "project",
        NameOrigin::User => "user",
        NameOrigin::Added => "added",
        NameOrigin::BuiltIn => "built in",
        NameOrigin::Registered => "registry",
        NameOrigin::WellKnown => "well known",
        _ => "elsewhere",
    }
}

/// Makes a bundle the active one; in this directory for this person where no scope is given.
pub(super) async fn choose(name: &str, scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let host = context.host().await?;
    host.bundles().locate(name).await.map_err(|error| Failure::bundle(&error))?;
    let scope = context::scope(scope, Scope::Local);
    // What a project shares must not name a path of one machine.
    let value = if scope == Scope::Project { name.to_owned() } else { absolute(name, context) };
    change(context, scope, &Change::Set { path: &ACTIVE, value: &value })?;
    output::say(&format!("{value} is the active bundle in {}", place(context, scope)));
    let active = context::here()?.active();
    if let (true, Some(by)) = (active.name != value, active.by) {
        output::say(&format!("warning: {} is used all the same, set by {by}", active.name));
    }
    Ok(Code::Success)
}

/// Forgets the active bundle where it is set, or in the scope that is given.
pub(super) fn clear(scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let set_in = context.active().by.map_or(Scope::Local, |by| by.scope());
    let scope = context::scope(scope, set_in);
    match change(context, scope, &Change::Unset { path: &ACTIVE })? {
        true => output::say(&format!("no bundle is active in {} any more", place(context, scope))),
        false => output::say(&format!("no bundle was active in {}", place(context, scope))),
    }
    Ok(Code::Success)
}

/// Gives an address a name; for all projects where no scope is given.
pub(super) async fn add(
    uri: &str,
    name: Option<String>,
    scope: &ScopeArgs,
    context: &Context,
) -> Result<Code, Failure> {
    let host = context.host().await?;
    let prepared = context::prepared(&host, uri).await?;
    let name = name.unwrap_or_else(|| prepared.name.clone());
    if name.is_empty() || name.contains(['/', ':', '@', '#']) || name.contains(char::is_whitespace) {
        return Err(Failure::usage(format!("`{name}` is no name for a bundle")).help("give one with --name"));
    }
    let scope = context::scope(scope, Scope::User);
    let value = absolute(uri, context);
    change(context, scope, &Change::Set { path: &[BUNDLE, ADDED, &name], value: &value })?;
    output::say(&format!("{name} stands for {value} in {}", place(context, scope)));
    Ok(Code::Success)
}

/// Forgets a name where it was added, or in the scope that is given.
pub(super) fn remove(name: &str, scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let unknown = || {
        Failure::usage(format!("no bundle was added as `{name}`"))
            .help("`amplifier bundle list` shows where names come from")
    };
    let set = context.settings().added_bundles.get(name).ok_or_else(unknown)?;
    let scope = context::scope(scope, set.by.scope());
    if !change(context, scope, &Change::Unset { path: &[BUNDLE, ADDED, name] })? {
        return Err(unknown());
    }
    output::say(&format!("{name} is forgotten in {}", place(context, scope)));
    Ok(Code::Success)
}

/// A path means the same from every directory; an address is kept as it is.
fn absolute(uri: &str, context: &Context) -> String {
    let is_path = uri.starts_with(['/', '.', '~']) && !uri.contains("://");
    if !is_path || uri.starts_with('~') {
        return uri.to_owned();
    }
    match read::canonical(&context.cwd().join(uri)) {
        Ok(path) => path.display().to_string(),
        Err(_) => uri.to_owned(),
    }
}

//! `amplifier bundle list|use|clear|add|remove`: names of bundles, and the active one.
//!
//! Guarantees: a name or address that leads to no bundle is refused before anything is written.

use amplifier_foundation::bundle::NameOrigin;
use serde_json::json;

use crate::args::ScopeArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// Lists the names that resolve here.
pub(super) async fn list(context: &Context, all: bool, as_json: bool) -> Result<Code, Failure> {
    let host = context.host().await?;
    let active = context.active().name;
    let mut names = host.bundles().names();
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

pub(super) async fn choose(name: &str, scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let _ = (name, scope, context);
    todo!()
}
pub(super) async fn add(
    uri: &str,
    name: Option<String>,
    scope: &ScopeArgs,
    context: &Context,
) -> Result<Code, Failure> {
    let _ = (name, scope, context, uri);
    todo!()
}
pub(super) fn remove(name: &str, scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let _ = (name, scope, context);
    todo!()
}
pub(super) fn clear(scope: &ScopeArgs, context: &Context) -> Result<Code, Failure> {
    let _ = (scope, context);
    todo!()
}

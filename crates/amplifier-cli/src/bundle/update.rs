//! `amplifier bundle update`: fetches again what was fetched before.
//!
//! Guarantees: what is used stays until the new content is whole; `--check` changes nothing; what a bundle includes is
//! looked at too.

use std::collections::BTreeSet;

use amplifier_app::meant::did_you_mean;
use amplifier_app::terminal::bar::during;
use amplifier_foundation::Host;
use amplifier_foundation::bundle::{NameOrigin, parse_bundle, yaml};
use amplifier_foundation::fs::read;
use amplifier_foundation::source::{SourceError, SourceUri};
use serde_json::json;

use crate::args::bundle::UpdateArgs;
use crate::context::Context;
use crate::exit::{Code, Failure, chain};
use crate::output;

/// Most sources of one call.
const MAX_SOURCES: usize = 200;

/// What became of one source.
struct Done {
    source: String,
    before: Option<String>,
    after: Result<Option<String>, String>,
}

impl Done {
    fn word(&self, checks: bool) -> &'static str {
        match (&self.after, checks) {
            (Err(_), _) => "failed",
            (Ok(after), _) if *after == self.before => "unchanged",
            (Ok(_), true) => "can be updated",
            (Ok(_), false) => "updated",
        }
    }
}

/// Updates them, or tells what could be.
pub(super) async fn update(args: &UpdateArgs, context: &Context) -> Result<Code, Failure> {
    let host = context.host().await?;
    let mut open = sources(args, context, &host)?;
    let (mut seen, mut all) = (BTreeSet::new(), Vec::new());
    while let Some(source) = open.pop() {
        if seen.len() >= MAX_SOURCES || !seen.insert(source.clone()) {
            continue;
        }
        let Ok(uri) = source.parse::<SourceUri>() else { continue };
        let shown = uri.to_string();
        let working = one(&uri, args.check, &host);
        let Some(done) = during(&format!("looking at {shown}"), host.clock().as_ref(), working).await else {
            continue;
        };
        all.push(match done {
            Ok((before, after)) => Done { source: shown, before, after: Ok(after) },
            Err(error) => Done { source: shown, before: None, after: Err(chain(&error)) },
        });
        open.extend(included(&source, &host).await);
    }
    tell(&all, args)
}

/// The addresses that were asked for.
fn sources(args: &UpdateArgs, context: &Context, host: &Host) -> Result<Vec<String>, Failure> {
    let settings = context.settings();
    let added = settings.added_bundles.iter().chain(&settings.bundle_sources);
    let added: Vec<(&str, &str)> = added.map(|(name, set)| (name.as_str(), set.value.as_str())).collect();
    let Some(typed) = args.name.as_deref() else {
        if !args.all {
            return Ok(vec![context.active().name].into_iter().map(|name| address(&name, &added)).collect());
        }
        return Ok(added.iter().map(|(_, address)| (*address).to_owned()).collect());
    };
    let names = host.bundles().names();
    let known = |name: &str| names.iter().any(|(known, _)| known == name);
    let is_name = matches!(typed.parse(), Ok(SourceUri::Name(_)));
    if is_name && !known(typed) && !read::is_dir(&context.cwd().join(typed)) {
        let of_place = names.iter().filter(|(_, origin)| *origin != NameOrigin::WellKnown);
        let help = did_you_mean(typed, of_place.map(|(name, _)| name.as_str()), || {
            "`amplifier bundle list` shows what there is".to_owned()
        });
        return Err(Failure::usage(format!("there is no bundle `{typed}`")).help(help));
    }
    Ok(vec![address(typed, &added)])
}

fn address(name: &str, added: &[(&str, &str)]) -> String {
    let found = added.iter().find(|(known, _)| *known == name).map(|(_, address)| *address);
    found.unwrap_or(name).to_owned()
}

type Step = Result<(Option<String>, Option<String>), SourceError>;

/// One source, before and after; `None` for one that is read where it lies.
async fn one(uri: &SourceUri, checks: bool, host: &Host) -> Option<Step> {
    // A build without sources from elsewhere has no use for them.
    let _ = (checks, host);
    match uri {
        #[cfg(feature = "git")]
        SourceUri::Git(uri) => {
            let git = host.bundles().git();
            Some(match checks {
                true => git.check(uri).await,
                false => git.update(uri).await.map(|updated| (updated.before, updated.after)),
            })
        }
        #[cfg(feature = "http-providers")]
        SourceUri::Zip(of) | SourceUri::Http(of) if !of.address().starts_with("file://") => {
            let (web, zipped) = (host.bundles().web(), matches!(uri, SourceUri::Zip(_)));
            let done = match checks {
                true => web.check(of).await,
                false => web.update(of, zipped).await,
            };
            Some(done.map(|updated| (updated.before, Some(updated.after))))
        }
        _ => None,
    }
}

/// The addresses that a bundle's own file includes.
async fn included(source: &str, host: &Host) -> Vec<String> {
    let Ok(located) = host.bundles().locate(source).await else { return Vec::new() };
    let Ok((text, _)) = read::text(&located.file, yaml::MAX_BYTES as u64) else { return Vec::new() };
    let Some(bundle) = parse_bundle(&text, &located.file).value else { return Vec::new() };
    bundle.includes.into_iter().map(|include| include.source).collect()
}

fn tell(all: &[Done], args: &UpdateArgs) -> Result<Code, Failure> {
    let failed = all.iter().any(|done| done.after.is_err());
    let code = if failed { Code::Failed } else { Code::Success };
    if args.json {
        let one = |done: &Done| {
            json!({
                "source": done.source, "result": done.word(args.check), "before": done.before,
                "after": done.after.as_ref().ok(), "error": done.after.as_ref().err(),
            })
        };
        let printed = output::print_json(&all.iter().map(one).collect::<Vec<_>>())?;
        return Ok(if printed == Code::Success { code } else { printed });
    }
    if all.is_empty() {
        output::say("nothing of it was fetched: bundles of this machine are read where they lie");
        return Ok(code);
    }
    let short =
        |hash: &Option<String>| hash.as_deref().map_or("-", |hash| hash.get(..12).unwrap_or(hash)).to_owned();
    let row = |done: &Done| {
        let after = match &done.after {
            Ok(after) => short(after),
            Err(_) => "-".to_owned(),
        };
        [done.source.clone(), done.word(args.check).to_owned(), short(&done.before), after]
    };
    let printed = output::print(&output::table(
        ["SOURCE", "RESULT", "OLD", "NEW"],
        &all.iter().map(row).collect::<Vec<_>>(),
    ));
    for done in all {
        if let Err(why) = &done.after {
            output::say(&format!("error: {}: {why}; what was fetched before is used", done.source));
        }
    }
    Ok(if printed == Code::Success { code } else { printed })
}

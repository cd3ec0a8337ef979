//! What both programs need where they are started: settings, permissions, providers, the bundle, the database.
//!
//! Guarantees: the database is read by itself, so that looking takes no place among the processes of the project.

use amplifier_core::permission::RuleEffect;
use amplifier_foundation::Host;
use amplifier_foundation::fs::read;
use amplifier_foundation::redact::Redactor;
use amplifier_foundation::settings::Set;
use amplifier_foundation::storage::ProjectPaths;
use amplifier_foundation::store;

use super::{Checks, providers, settings};
use crate::context::Context;
use crate::inspect;
use crate::terminal::chain;

pub(super) async fn look(context: Context, checks: &mut Checks) -> Option<(Context, Host)> {
    files(&context, checks);
    permissions(&context, checks);
    trust(&context, checks);
    database(&context, checks).await;
    let host = match context.builder(false).open(context.cwd()).await {
        Ok(host) => host,
        Err(error) => {
            checks.error("project", &error);
            return None;
        }
    };
    let scripted = bundle(&context, &host, checks).await;
    providers::look(&context, scripted, checks);
    let redactor = Redactor::new(context.secrets());
    checks.settings = settings::list(context.settings(), &redactor);
    Some((context, host))
}

/// What was noticed in the files of the settings.
fn files(context: &Context, checks: &mut Checks) {
    let noticed = context.noticed();
    noticed.iter().for_each(|diagnostic| checks.diagnostic("settings", diagnostic));
    for ignored in &context.settings().ignored {
        checks.warn(
            "settings",
            format!("{} ({}) does not count", ignored.what, ignored.by),
            "`amplifier trust` vouches for the directory",
        );
    }
    for app in &context.settings().app_bundles {
        checks.warn(
            "settings",
            format!("bundle.app {} ({}) is not composed", app.value, app.by),
            "include it in the active bundle",
        );
    }
    if noticed.is_empty() && context.settings().ignored.is_empty() {
        checks.ok("settings", "every file can be read, and every key is known");
    }
}

fn permissions(context: &Context, checks: &mut Checks) {
    let settings = context.settings();
    let by = settings.mode.as_ref().map_or_else(|| "nothing sets it".to_owned(), |set| set.by.to_string());
    let count = |effect| settings.rules.iter().filter(|Set { value, .. }| value.effect == effect).count();
    let told = format!(
        "mode {} ({by}); rules: {} allow, {} ask, {} deny",
        context.mode().as_str(),
        count(RuleEffect::Allow),
        count(RuleEffect::Ask),
        count(RuleEffect::Deny)
    );
    match context.permissions(&[], false) {
        Ok(_) => checks.ok("permissions", told),
        Err(failure) => {
            checks.fail("permissions", failure.message.clone(), failure.help.clone().unwrap_or_default())
        }
    }
}

fn trust(context: &Context, checks: &mut Checks) {
    match (context.trust_fault(), context.is_untrusted()) {
        (Some(error), _) => {
            let file = context.home().trust_file();
            let help = format!("nothing is trusted until it is mended; mend or remove {}", file.display());
            checks.warn("trust", chain(error), help);
        }
        (None, true) => {
            let told = format!(
                "nobody vouches for {}, so that its own files widen nothing",
                context.cwd().display()
            );
            checks.add("trust", super::Grade::Ok, told, Some("`amplifier trust` vouches for it".to_owned()));
        }
        (None, false) => checks.ok("trust", format!("{} is trusted", context.cwd().display())),
    }
}

async fn database(context: &Context, checks: &mut Checks) {
    let paths = match ProjectPaths::resolve(context.home().path(), context.cwd()) {
        Ok(paths) => paths,
        Err(error) => return checks.error("database", &error),
    };
    let path = paths.database();
    if !read::is_file(&path) {
        return checks.ok("database", format!("{} is made with the first session", path.display()));
    }
    let looked_at = path.clone();
    let looking = tokio::task::spawn_blocking(move || store::inspect(&looked_at));
    let found = match looking.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return checks.error("database", &error),
        Err(error) => return checks.error("database", &error),
    };
    let told = format!(
        "{}, {} KiB, schema {} of {}",
        path.display(),
        found.bytes.div_ceil(1024),
        found.version,
        found.latest
    );
    for fault in &found.faults {
        let help = "restore a backup, or remove the file and call `amplifier session reindex`";
        checks.fail("database", format!("{}: {fault}", path.display()), help);
    }
    match (found.faults.is_empty(), found.version > found.latest) {
        (_, true) => {
            checks.fail("database", told, "a newer version of this program has written it; use that one")
        }
        (true, false) => checks.ok("database", told),
        (false, false) => {}
    }
}

/// True if a script answers in sessions of the active bundle.
async fn bundle(context: &Context, host: &Host, checks: &mut Checks) -> bool {
    let active = context.setup().chosen(host);
    let by = active.by.as_ref().map_or_else(|| "nothing chooses one".to_owned(), ToString::to_string);
    if let Some(warning) = &active.warning {
        checks.warn("bundle", warning.as_str(), "");
    }
    match host.prepare(&active.name).await {
        Ok(prepared) => {
            let found = inspect::faults(&prepared, host);
            found.iter().for_each(|diagnostic| checks.diagnostic("bundle", diagnostic));
            let tools = prepared.plan.tools.len();
            let told = format!(
                "{} ({by}) composes: {tools} tool modules, {} agents",
                active.name,
                prepared.agents.len()
            );
            checks.ok("bundle", told);
            context.is_scripted(&prepared)
        }
        Err(error) if !error.diagnostics().is_empty() => {
            error.diagnostics().iter().for_each(|one| checks.diagnostic("bundle", one));
            false
        }
        Err(error) => {
            let help = "`amplifier bundle list` shows what there is, `amplifier bundle use NAME` chooses";
            checks.fail("bundle", format!("{} ({by}): {}", active.name, chain(&error)), help);
            false
        }
    }
}

//! `amplifier background add`, `rm`, `pause` and `resume`.
//!
//! Guarantees: what is wrong is told before a file is changed; a change is durable before an owner hears of it,
//! and an owner that runs has acted on it when the command returns, or the exit code says that it has not.

use amplifier_app::command::runs::actor;
use amplifier_background::control::{self, ControlError, OwnerInfo, Published, Reload, Remote};
use amplifier_background::declared::edit::{self, Addition, EditError, NewTrigger};
use amplifier_background::declared::{file_of, in_short, relative_to};
use amplifier_background::trigger::timer::{Zone, rfc3339, simulate};
use amplifier_background::trigger::{
    BackgroundName, ConfigError, TriggerConfig, TriggerRegistry, TriggerSpec,
};
use amplifier_core::Timestamp;
use amplifier_foundation::Host;
use serde_json::{Value, json};

use super::{declared, parsed, unasked, zone};
use crate::args::background::{AddArgs, NameArgs};
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output::{self, plain};

/// How many firings are told.
const FIRINGS: usize = 3;

pub(super) async fn add(args: AddArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let name = parsed(&args.name)?;
    let local = zone::local();
    let addition = addition(&args, name.clone(), &local, host)?;
    let config = addition.config(&TriggerRegistry::new()).map_err(|error| as_typed(&error))?;
    host.prepare(&args.bundle).await.map_err(|error| Failure::bundle(&error))?;
    let declared = declared(None, context, host).await?;
    if let Some(other) = declared.get(&name) {
        let message = format!("{}: the background session {name} is declared already", other.place);
        return Err(Failure { bare: true, ..Failure::usage(message) }.help("choose another name"));
    }
    let file = file_of(host.project());
    edit::add(context.home(), &file, &addition).map_err(|error| not_edited(&error))?;
    let Some(trigger) = config.triggers.first() else { return Ok(Code::Success) };
    if let TriggerSpec::Webhook(webhook) = &trigger.spec
        && context.variables().get(&webhook.secret_env).is_none()
    {
        let variable = &webhook.secret_env;
        output::say(&format!(
            "warning: {variable} is not set here; whoever runs `background start` needs it"
        ));
    }
    let next = firings(trigger, host.clock().now());
    let (owner, reload) = told(host).await;
    if args.json {
        let printed = output::print_json(&json!({
            "name": name, "file": file, "waits_for": in_short(trigger),
            "next": next.iter().copied().map(rfc3339).collect::<Vec<_>>(),
            "owner": owner, "reload": reload.as_ref().ok(),
        }))?;
        return end(reload, &owner).map(|code| if code == Code::Success { printed } else { code });
    }
    output::say(&format!("{name} is declared in {}", file.display()));
    let mut text: String =
        next.iter().map(|due| format!("next  {}\n", shown(*due, &local, trigger))).collect();
    if next.is_empty() {
        text = format!("waits for {}\n", plain(&in_short(trigger)));
    }
    let printed = output::print(&text);
    end(reload, &owner).map(|code| if code == Code::Success { printed } else { code })
}

fn addition(args: &AddArgs, name: BackgroundName, local: &Zone, host: &Host) -> Result<Addition, Failure> {
    let when = &args.when;
    let timezone = || args.timezone.clone().unwrap_or_else(|| local.name().to_owned());
    let trigger = if let Some(every) = &when.every {
        NewTrigger::Every(every.clone())
    } else if let Some(expression) = &when.cron {
        NewTrigger::Cron { expression: expression.clone(), timezone: timezone() }
    } else if let Some(time) = &when.at {
        NewTrigger::At { time: time.clone(), timezone: Some(timezone()) }
    } else if let Some(path) = &when.webhook {
        let secret_env = args.secret_env.clone().ok_or_else(|| {
            Failure::usage("--webhook needs --secret-env, the variable that holds its secret")
                .help("a call without a secret is never taken")
        })?;
        NewTrigger::Webhook { path: path.clone(), scheme: args.scheme.clone(), secret_env }
    } else if when.on.is_empty() {
        NewTrigger::Watch(when.watch.clone())
    } else {
        NewTrigger::On(when.on.clone())
    };
    let file = file_of(host.project());
    let folder = file.parent().unwrap_or(host.project());
    let mut addition = Addition::new(name, relative_to(folder, &args.bundle, host.project()), trigger);
    addition.instruction = Some(args.instruction.clone());
    Ok(addition)
}

/// The faults, with the words of the command line.
fn as_typed(error: &ConfigError) -> Failure {
    let flag = |field: &str| match field.rsplit('.').next().unwrap_or_default() {
        "event_names" => "--on".to_owned(),
        "paths" => "--watch".to_owned(),
        "path" => "--webhook".to_owned(),
        "secret_env" => "--secret-env".to_owned(),
        "instruction_template" => "the instruction".to_owned(),
        "config" | "triggers[0]" => "the trigger".to_owned(),
        key => format!("--{key}"),
    };
    let lines = error.faults.iter().map(|fault| format!("{}: {}", flag(&fault.field), fault.message));
    Failure::usage(lines.collect::<Vec<_>>().join("\n"))
}

fn not_edited(error: &EditError) -> Failure {
    match error {
        EditError::Write { .. } | EditError::Lock(_) => Failure::work(error),
        EditError::Declared { .. }
        | EditError::Shape { .. }
        | EditError::Unsafe { .. }
        | EditError::Yaml(_) => Failure { bare: true, ..Failure::config(error) },
        _ => Failure::config(error),
    }
}

/// When a timer fires next, for a start now.
fn firings(trigger: &TriggerConfig, now: Timestamp) -> Vec<Timestamp> {
    let TriggerSpec::Timer(timer) = &trigger.spec else { return Vec::new() };
    simulate(timer, &trigger.policy, now, None).take(FIRINGS).map(|firing| firing.at).collect()
}

/// A time on this machine's clocks, on those of the trigger's zone if that is another one, and in UTC.
fn shown(due: Timestamp, local: &Zone, trigger: &TriggerConfig) -> String {
    let mut zones = vec![local.clone()];
    if let TriggerSpec::Timer(timer) = &trigger.spec {
        zones.push(timer.zone.clone());
    }
    zones.dedup();
    zones.retain(|zone| *zone != Zone::utc());
    let times = zones.iter().map(|zone| zone.show(due)).chain([rfc3339(due)]);
    times.collect::<Vec<_>>().join("  ")
}

type Told = Result<Option<Reload>, ControlError>;

/// Has an owner that runs read what is declared.
async fn told(host: &Host) -> (Option<OwnerInfo>, Told) {
    let remote = Remote::new(host);
    let owner = match remote.owner().await {
        Ok(owner) => owner,
        Err(error) => return (None, Err(error.into())),
    };
    let reload = match (&owner, remote.reload().await) {
        (None, _) | (_, Err(ControlError::NoOwner)) => Ok(None),
        (_, reload) => reload.map(Some),
    };
    (owner, reload)
}

/// Says what an owner has made of a change.
fn end(reload: Told, owner: &Option<OwnerInfo>) -> Result<Code, Failure> {
    let reload = reload.map_err(|error| {
        unasked(&error).help("the file is changed; the owner reads it when it starts the next time")
    })?;
    match (reload, owner) {
        (Some(reload), _) if !reload.failed.is_empty() => Err(Failure::usage(reload.failed.join("\n"))
            .code(Code::Failed, "failed")
            .help("the file is changed; the owner runs what it ran before")),
        (Some(_), Some(owner)) => {
            output::say(&format!("{owner} has taken it up"));
            Ok(Code::Success)
        }
        _ => {
            output::say("no process runs the background sessions; `amplifier background start` does");
            Ok(Code::Success)
        }
    }
}

pub(super) async fn rm(args: NameArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let name = parsed(&args.name)?;
    let file = file_of(host.project());
    if !edit::remove(context.home(), &file, &name).map_err(|error| not_edited(&error))? {
        let declared = declared(args.of.bundle.as_deref(), context, host).await?;
        return Err(match declared.get(&name) {
            Some(one) => {
                Failure::usage(format!("{name} is declared in {}, not in the project's file", one.place))
                    .help(format!("edit that file, or stop it with `amplifier background pause {name}`"))
            }
            None => Failure::usage(format!("{} declares no background session {name}", file.display()))
                .help("`amplifier background list` shows what is declared"),
        });
    }
    control::set_paused(host, &name, false, Some(&actor())).await.map_err(|error| Failure::store(&error))?;
    let waiting = control::queued(host, &name).await.map_err(|error| Failure::store(&error))?;
    let (owner, reload) = told(host).await;
    if args.json {
        output::print_json(&json!({
            "removed": name, "file": file, "queued": waiting, "owner": owner, "reload": reload.as_ref().ok(),
        }))?;
    } else {
        output::say(&format!("{name} is declared no longer in {}", file.display()));
    }
    if waiting > 0 {
        output::say(&format!("notice: {waiting} of its runs still wait; nobody starts them"));
    }
    end(reload, &owner)
}

/// Pauses a background session, or lets it go on.
pub(super) async fn pause(
    args: NameArgs,
    paused: bool,
    context: &Context,
    host: &Host,
) -> Result<Code, Failure> {
    let name = known(&args, context, host).await?;
    let changed = control::set_paused(host, &name, paused, Some(&actor()))
        .await
        .map_err(|error| Failure::store(&error))?;
    let remote = Remote::new(host);
    let (owner, acted) = match remote.pause(&name).await {
        Ok(acted) => (remote.owner().await.map_err(|error| Failure::store(&error))?, Ok(acted)),
        Err(ControlError::NoOwner) => (None, Ok(false)),
        Err(error) => (None, Err(error)),
    };
    let word = if paused { "paused" } else { "not paused" };
    let acted = acted
        .map_err(|error| unasked(&error).help(format!("{name} is {word} from the owner's next start on")))?;
    let changed = changed || acted;
    if args.json {
        let owner = owner.map_or(Value::Null, |owner| json!(owner));
        return output::print_json(
            &json!({ "name": name, "paused": paused, "changed": changed, "owner": owner }),
        );
    }
    output::say(&match (changed, paused) {
        (true, true) => format!("{name} is paused: what waits stays, and nothing starts"),
        (true, false) => format!("{name} goes on"),
        (false, true) => format!("{name} is paused already"),
        (false, false) => format!("{name} is not paused"),
    });
    Ok(Code::Success)
}

/// One that is declared, or that some owner has run.
async fn known(args: &NameArgs, context: &Context, host: &Host) -> Result<BackgroundName, Failure> {
    let name = parsed(&args.name)?;
    let run_before = Published::read(host.store().as_ref(), &name).await;
    if run_before.map_err(|error| Failure::store(&error))?.is_none() {
        let declared = declared(args.of.bundle.as_deref(), context, host).await?;
        super::find(&args.name, &declared)?;
    }
    Ok(name)
}

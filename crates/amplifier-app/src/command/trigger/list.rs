//! `trigger list`: every trigger that is declared, and how it stands.
//!
//! Guarantees: who listens to it is believed only while that process lives; when it fired last is what the
//! store has, whoever ran it; when it fires next is told by the code that fires it.

use std::collections::BTreeMap;

use amplifier_background::control::{Standing, TriggerStanding, standings};
use amplifier_background::declared::Declarations;
use amplifier_background::report::{FiringQuery, Firings};
use amplifier_core::Timestamp;
use amplifier_foundation::Host;
use amplifier_foundation::trigger::{BackgroundName, TriggerKey};
use serde_json::{Value, json};

use crate::command::args::ListArgs;
use crate::command::runs::failure;
use crate::command::runs::figures::{WIDTH, cut, minute};
use crate::context::{Context, Program};
use crate::exit::Failure;
use crate::exit::print_json;
use crate::terminal::Code;
use crate::terminal::{self as output, plain};

/// When each trigger fired last.
type Last = BTreeMap<(BackgroundName, TriggerKey), Timestamp>;

/// Prints them in the order of their declaration.
pub async fn list(
    args: &ListArgs,
    context: &Context,
    host: &Host,
    declared: &Declarations,
) -> Result<Code, Failure> {
    let read = standings(host, &declared.sessions).await;
    let (owner, standings) = read.map_err(|error| Failure::store(&error))?;
    let last = last(context.program(), host).await?;
    let rows: Vec<(&Standing, &TriggerStanding)> =
        standings.iter().flat_map(|one| one.triggers.iter().map(move |trigger| (one, trigger))).collect();
    if args.json {
        let rows: Vec<Value> = rows.iter().map(|(one, trigger)| as_json(one, trigger, &last)).collect();
        return print_json(&rows);
    }
    output::say(&match owner {
        Some(owner) => format!("listened to by {owner}"),
        None => format!("nobody listens to them: `{}` does", context.program().start),
    });
    if rows.is_empty() {
        output::say("no trigger is declared");
        return Ok(Code::Success);
    }
    let mut text = format!("{:<28}  {:<10}  {:<17}  {:<17}\n", "TRIGGER", "STATE", "LAST", "NEXT");
    for (one, trigger) in rows {
        text.push_str(&line(one, trigger, &last));
    }
    Ok(output::print(&text))
}

async fn last(program: Program, host: &Host) -> Result<Last, Failure> {
    let firings =
        Firings::of(host).list(&FiringQuery::default()).await.map_err(|error| failure(&error, program))?;
    let mut last = Last::new();
    // The latest comes first.
    for firing in firings {
        last.entry((firing.background, firing.trigger)).or_insert(firing.fired);
    }
    Ok(last)
}

fn fired(one: &Standing, trigger: &TriggerStanding, last: &Last) -> Option<Timestamp> {
    let known = last.get(&(one.name.clone(), trigger.key.clone())).copied();
    known.max(trigger.last_fired)
}

fn state(one: &Standing, trigger: &TriggerStanding) -> &'static str {
    match (&one.paused, trigger.state) {
        (Some(_), _) => "paused",
        (None, Some(state)) => state.as_str(),
        (None, None) => "-",
    }
}

/// When it fires next: not before it is resumed.
fn next(one: &Standing, trigger: &TriggerStanding) -> Option<Timestamp> {
    trigger.next.filter(|_| one.paused.is_none())
}

/// Two lines: how it stands, and what it waits for.
fn line(one: &Standing, trigger: &TriggerStanding, last: &Last) -> String {
    let time = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), minute);
    let whose = cut(&format!("{}/{}", one.name, trigger.key), 28);
    let (state, last, next) =
        (state(one, trigger), time(fired(one, trigger, last)), time(next(one, trigger)));
    let mut text =
        format!("{whose:<28}  {state:<10}  {last:<17}  {next}\n    {}\n", cut(&trigger.what, WIDTH - 4));
    if let Some(error) = &trigger.error {
        text.push_str(&format!("    {}\n", cut(&plain(error), WIDTH - 4)));
    }
    text
}

fn as_json(one: &Standing, trigger: &TriggerStanding, last: &Last) -> Value {
    json!({
        "background_session": one.name,
        "trigger": trigger.key,
        "type": trigger.kind.as_str(),
        "waits_for": trigger.what,
        "state": trigger.state.map(|state| state.as_str()),
        "paused": one.paused.as_ref().map(|paused| paused.since),
        "last_fired": fired(one, trigger, last),
        "next": next(one, trigger),
        "error": trigger.error,
        "declared": one.place.to_string(),
    })
}

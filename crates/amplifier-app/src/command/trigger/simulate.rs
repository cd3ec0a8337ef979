//! `trigger simulate`: when timers would fire, told by the code that fires them.
//!
//! Never here: a trigger that starts anything.

use std::iter::Peekable;
use std::path::Path;

use amplifier_core::Timestamp;
use amplifier_foundation::bundle::{Node, yaml};
use amplifier_foundation::fs::read;
use amplifier_foundation::trigger::timer::{CronSchedule, MIN_INTERVAL, Simulation, TimerConfig, When, Zone};
use amplifier_foundation::trigger::timer::{rfc3339, simulate};
use amplifier_foundation::trigger::{
    TriggerConfig, TriggerPolicy, TriggerRegistry, TriggerSpec, parse_triggers,
};
use serde_json::json;

use crate::command::args::{SimulateArgs, What};
use crate::exit::Failure;
use crate::terminal as output;
use crate::terminal::Code;

/// Bytes that are gathered before they are written.
const CHUNK: usize = 64 * 1024;

/// A timer that is simulated.
struct Timer {
    /// Its background session and name, where a file gives them.
    name: Option<String>,
    zone: Zone,
    firings: Peekable<Simulation>,
}

/// Prints the firings between two times.
pub fn simulation(args: &SimulateArgs) -> Result<Code, Failure> {
    let zone = args.timezone.clone().unwrap_or_else(Zone::utc);
    let time =
        |flag: &str, text: &str| zone.time(text).map_err(|error| Failure::usage(format!("{flag}: {error}")));
    let from = time("--from", &args.from)?;
    let to = args.end.to.as_deref().map(|text| time("--to", text)).transpose()?;
    if to.is_some_and(|to| to < from) {
        return Err(Failure::usage("--to is before --from"));
    }
    let of = |(name, config, policy): (Option<String>, TimerConfig, TriggerPolicy)| {
        let zone = config.zone.clone();
        Timer { name, zone, firings: simulate(&config, &policy, from, to).peekable() }
    };
    let mut timers: Vec<Timer> = declared(&args.what, &zone)?.into_iter().map(of).collect();
    let most = args.end.count.map_or(usize::MAX, |count| count as usize);
    let mut text = String::new();
    for _ in 0..most {
        let Some(line) = next_line(&mut timers, args.json) else { break };
        text.push_str(&line);
        if text.len() > CHUNK {
            let code = output::print(&std::mem::take(&mut text));
            if code != Code::Success {
                return Ok(code);
            }
        }
    }
    Ok(output::print(&text))
}

/// The line of the next firing of all timers.
fn next_line(timers: &mut [Timer], as_json: bool) -> Option<String> {
    let next = timers.iter_mut().filter_map(|timer| {
        let due = timer.firings.peek()?.due;
        Some((due, timer))
    });
    let (due, timer) = next.min_by_key(|(due, _)| *due)?;
    timer.firings.next();
    Some(match (as_json, &timer.name) {
        (true, None) => format!("{}\n", json!({ "due": rfc3339(due) })),
        (true, Some(name)) => format!("{}\n", json!({ "due": rfc3339(due), "trigger": name })),
        (false, None) => format!("{}\n", shown(&timer.zone, due)),
        (false, Some(name)) => format!("{}  {name}\n", shown(&timer.zone, due)),
    })
}

/// UTC as it stands everywhere else, other zones as their clocks show it.
fn shown(zone: &Zone, due: Timestamp) -> String {
    if *zone == Zone::utc() { rfc3339(due) } else { zone.show(due) }
}

type Declared = (Option<String>, TimerConfig, TriggerPolicy);

fn declared(what: &What, zone: &Zone) -> Result<Vec<Declared>, Failure> {
    let plain = |when| Ok(vec![(None, TimerConfig::new(when), TriggerPolicy::default())]);
    if let Some(text) = &what.cron {
        let cron = CronSchedule::parse(text, false, zone.clone())
            .map_err(|error| Failure::usage(format!("--cron `{text}`: {error}")))?;
        return plain(When::Cron(cron));
    }
    if let Some(every) = &what.every {
        if every.0 < MIN_INTERVAL {
            return Err(Failure::usage("--every: this interval is too short; write 100ms or more"));
        }
        return plain(When::Every(every.0));
    }
    what.config.as_deref().map_or_else(|| Ok(Vec::new()), of_file)
}

/// The YAML of a file, and how many lines stand before it: of a bundle in Markdown that between its first two
/// lines of dashes, else all of it.
fn front_matter(text: &str) -> (&str, u32) {
    let Some(rest) = text.strip_prefix("---\n") else { return (text, 0) };
    rest.split_once("\n---\n").map_or((text, 0), |(yaml, _)| (yaml, 1))
}

/// The timers of a file: of its `triggers:`, of all its `background_sessions:`, or of the list that it is.
fn of_file(path: &Path) -> Result<Vec<Declared>, Failure> {
    let (text, _) = read::text(path, yaml::MAX_BYTES as u64).map_err(|error| Failure::config(&error))?;
    let (text, before) = front_matter(&text);
    let file = yaml::parse_from(text, path, before).map_err(|error| Failure::config(&error))?;
    let mut found = Vec::new();
    if let Some(sessions) = file.get("background_sessions").and_then(Node::as_seq) {
        for session in sessions {
            let name = session.get("name").and_then(Node::as_text);
            if let Some(list) = session.get("triggers") {
                found.extend(of_list(path, name.as_deref(), list)?);
            }
        }
    } else {
        let list = file.get("triggers").unwrap_or(&file);
        found = of_list(path, None, list)?;
    }
    match found.is_empty() {
        true => Err(Failure::usage(format!("{}: there is no timer in this file", path.display()))
            .help("write `triggers:` with a list, each entry with `type: timer`")),
        false => Ok(found),
    }
}

fn of_list(path: &Path, session: Option<&str>, list: &Node) -> Result<Vec<Declared>, Failure> {
    let triggers = parse_triggers(list, &TriggerRegistry::new()).map_err(|error| {
        let line = list.position.line;
        let lines = error.faults.iter().map(|fault| format!("{}:{line}: {fault}", path.display()));
        Failure { bare: true, ..Failure::usage(lines.collect::<Vec<_>>().join("\n")) }
    })?;
    Ok(triggers.into_iter().filter_map(|trigger| timer(session, trigger)).collect())
}

fn timer(session: Option<&str>, trigger: TriggerConfig) -> Option<Declared> {
    let key = trigger.key();
    let name = session.map_or_else(|| key.to_string(), |session| format!("{session}/{key}"));
    match trigger.spec {
        TriggerSpec::Timer(timer) => Some((Some(name), timer, trigger.policy)),
        _ => None,
    }
}

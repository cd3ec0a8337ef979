//! The `config` of each kind of trigger.

use std::time::Duration;

use amplifier_core::EventPattern;
use serde_json::Value;

use super::policies::Policies;
use super::reader::{Reader, choose, kind};
use super::{
    Change, DEFAULT_DEBOUNCE, FileChangeConfig, ISSUE_EVENTS, IssueEventConfig, SessionEventConfig,
    TriggerKind, TriggerSpec,
};
use crate::matching::PayloadMatch;
use crate::timer::{CronSchedule, MIN_INTERVAL, TimerConfig, When, Zone};
use crate::webhook::{Scheme, WebhookConfig};

/// The shortest span between two looks at all files.
const MIN_POLL: Duration = Duration::from_millis(50);

/// Reads the `config` of a built-in kind. `None` if there are faults.
pub(super) fn read(
    kind: &TriggerKind,
    config: &mut Reader<'_>,
    policies: &mut Policies,
) -> Option<TriggerSpec> {
    match kind {
        TriggerKind::Timer => timer(config, policies).map(TriggerSpec::Timer),
        TriggerKind::SessionEvent => session_event(config, policies).map(TriggerSpec::SessionEvent),
        TriggerKind::Manual => Some(TriggerSpec::Manual),
        TriggerKind::FileChange => file_change(config, policies).map(TriggerSpec::FileChange),
        TriggerKind::Webhook => webhook(config, policies).map(TriggerSpec::Webhook),
        TriggerKind::IssueEvent => issue_event(config, policies).map(TriggerSpec::IssueEvent),
        TriggerKind::Own(_) => None,
    }
}

fn timer(config: &mut Reader<'_>, policies: &mut Policies) -> Option<TimerConfig> {
    let zone = config.parsed("timezone", Zone::named);
    let zone = policies.zone(zone);
    let immediate = config.bool("immediate", false);
    let six = config.read("seconds", |value| value.as_bool().ok_or("this must be true or false"));
    let seconds = six.unwrap_or(false);
    let interval = config.read("interval_seconds", interval_of);
    let every = config.read("every", |value| match value {
        Value::String(text) => {
            amplifier_fs::duration::parse(&text).map_err(|error| error.to_string()).and_then(long_enough)
        }
        other => Err(format!("this must be a span such as 5m, not {}", kind(&other))),
    });
    let cron = config.take("cron");
    let at = config.take("at");
    let whens = [
        interval.map(When::Every),
        every.map(When::Every),
        cron.and_then(|value| cron_of(config, value, seconds, &zone)),
        at.and_then(|value| at_of(config, value, &zone)),
    ];
    let several = whens.iter().flatten().count() > 1;
    let when = whens.into_iter().flatten().next();
    if several {
        config.fault_of_all("say once when: one of `every`, `interval_seconds`, `cron`, `at`");
    }
    if six.is_some() && !matches!(when, None | Some(When::Cron(_))) {
        config.fault("seconds", "this belongs to `cron`; remove it");
    }
    if immediate && matches!(when, Some(When::At(_))) {
        config.fault("immediate", "`at` fires once, at its time; remove it");
    }
    if when.is_none() && !config.has_faults() {
        config.fault_of_all("this does not say when; write `every`, `cron` or `at`");
    }
    Some(TimerConfig { when: when?, immediate, zone })
}

fn cron_of(config: &mut Reader<'_>, value: Value, seconds: bool, zone: &Zone) -> Option<When> {
    let Value::String(text) = value else {
        let message = format!("this must be an expression in quotes, not {}", kind(&value));
        config.fault("cron", message);
        return None;
    };
    match CronSchedule::parse(&text, seconds, zone.clone()) {
        Ok(cron) => Some(When::Cron(cron)),
        Err(error) => {
            config.fault("cron", error);
            None
        }
    }
}

fn at_of(config: &mut Reader<'_>, value: Value, zone: &Zone) -> Option<When> {
    match super::reader::text_of(value).and_then(|text| zone.time(&text).map_err(|error| error.to_string())) {
        Ok(time) => Some(When::At(time)),
        Err(message) => {
            config.fault("at", message);
            None
        }
    }
}

/// Seconds, whole or not.
fn interval_of(value: Value) -> Result<Duration, String> {
    let seconds = match &value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse::<f64>().ok(),
        _ => None,
    };
    let seconds = seconds.filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.ok_or_else(|| format!("this must be a number of seconds, not {}", kind(&value)))?;
    let micros = (seconds * 1e6).round();
    if micros > amplifier_fs::duration::MAX.as_micros() as f64 {
        return Err("this is too long; at most ten years are accepted".to_owned());
    }
    // In range: checked just above, and not negative.
    long_enough(Duration::from_micros(micros as u64))
}

fn long_enough(span: Duration) -> Result<Duration, String> {
    let shortest = amplifier_fs::duration::format(MIN_INTERVAL);
    match span >= MIN_INTERVAL {
        true => Ok(span),
        false => Err(format!("this interval is too short; write {shortest} or more")),
    }
}

fn session_event(config: &mut Reader<'_>, policies: &mut Policies) -> Option<SessionEventConfig> {
    let names = config.texts("event_names").unwrap_or_else(|| vec!["*".to_owned()]);
    let source_sessions = config.texts("source_sessions").unwrap_or_default();
    let matching = matching(config);
    let own_events = config.bool("own_events", false);
    let debounce = config.duration("debounce");
    policies.debounce(debounce);
    if names.is_empty() {
        config.fault("event_names", "this list is empty; write `*` for all");
    }
    let mut event_names = Vec::new();
    for (at, name) in names.iter().enumerate() {
        match EventPattern::new(name) {
            Ok(pattern) => event_names.push(pattern),
            Err(error) => config.fault(&format!("event_names[{at}]"), error),
        }
    }
    Some(SessionEventConfig { event_names, source_sessions, matching: matching?, own_events })
}

fn issue_event(config: &mut Reader<'_>, policies: &mut Policies) -> Option<IssueEventConfig> {
    let events = config.texts("events").unwrap_or_default();
    let types = config.texts("types").unwrap_or_default();
    let debounce = config.duration("debounce");
    policies.debounce(debounce);
    for (at, event) in events.iter().enumerate() {
        if !ISSUE_EVENTS.contains(&event.as_str()) {
            let shown: String = event.escape_debug().take(40).collect();
            let message = format!("`{shown}` is none of {}", ISSUE_EVENTS.join(", "));
            config.fault(&format!("events[{at}]"), message);
        }
    }
    Some(IssueEventConfig { events, types })
}

fn file_change(config: &mut Reader<'_>, policies: &mut Policies) -> Option<FileChangeConfig> {
    let paths = config.texts("paths");
    let ignore = config.texts("ignore").unwrap_or_default();
    let words = config.texts("changes");
    let debounce = config.duration("debounce");
    let debounce = policies.debounce(debounce).unwrap_or(DEFAULT_DEBOUNCE);
    let ignore_files = config.bool("ignore_files", true);
    let poll = config.duration("poll");
    if poll.is_some_and(|poll| poll < MIN_POLL) {
        config.fault("poll", "this is too short; write 50ms or more");
    }
    let mut changes = Vec::new();
    for (at, word) in words.iter().flatten().enumerate() {
        match choose(word, &Change::ALL) {
            Ok(change) => changes.push(change),
            Err(message) => config.fault(&format!("changes[{at}]"), message),
        }
    }
    if words.is_none() {
        changes = Change::ALL.map(|(_, change)| change).to_vec();
    }
    changes.sort_unstable();
    changes.dedup();
    if changes.is_empty() && words.is_some_and(|words| words.is_empty()) {
        config.fault("changes", "this list is empty; write created, modified or deleted");
    }
    match &paths {
        None if !config.has_faults() => {
            config.fault("paths", "this is missing; write globs such as \"src/**/*.rs\"")
        }
        Some(paths) if paths.is_empty() => {
            config.fault("paths", "this list is empty; write \"**\" for all files")
        }
        _ => {}
    }
    let paths = paths.unwrap_or_default();
    globs(config, "paths", &paths);
    globs(config, "ignore", &ignore);
    Some(FileChangeConfig { paths, ignore, changes, debounce, ignore_files, poll })
}

fn globs(config: &mut Reader<'_>, key: &str, globs: &[String]) {
    for (at, glob) in globs.iter().enumerate() {
        let shown: String = glob.escape_debug().take(80).collect();
        let outside = glob.starts_with(['/', '~']) || glob.split('/').any(|part| part == "..");
        if outside {
            let message =
                format!("`{shown}` leaves the project; write it relative to the project, without `..`");
            config.fault(&format!("{key}[{at}]"), message);
        } else if let Err(error) = globset::Glob::new(glob) {
            config.fault(&format!("{key}[{at}]"), format!("`{shown}` is no glob: {}", error.kind()));
        }
    }
}

fn webhook(config: &mut Reader<'_>, policies: &mut Policies) -> Option<WebhookConfig> {
    let path = config.required_text("path", "the part of the address behind /hooks/");
    let scheme = config.choice("scheme", &Scheme::ALL);
    let secret_env = match config.take("secret") {
        // The value is not repeated: it may be the secret.
        Some(_) => {
            config.take("secret_env");
            config.fault(
                "secret",
                "a secret does not stand in a file; write `secret_env` with the name of a variable",
            );
            None
        }
        None => config.required_text(
            "secret_env",
            "the name of the variable that holds the secret; without one anybody could call",
        ),
    };
    let events = config.texts("events").unwrap_or_default();
    let matching = matching(config);
    let debounce = config.duration("debounce");
    policies.debounce(debounce);
    if scheme.is_none() && !config.has_faults() {
        config.fault("scheme", "this is missing; write github, standard, gitlab or bearer");
    }
    let well_formed = |text: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
        let dots = |part: &str| part.is_empty() || part.chars().all(|c| c == '.');
        text.len() <= 100 && text.chars().all(allowed) && !text.split('/').any(dots)
    };
    if path.as_deref().is_some_and(|path| !well_formed(path)) {
        let message = "this cannot be a path; write letters, digits, `-`, `_`, `.` and `/`, as in `github`";
        config.fault("path", message);
    }
    let is_variable = |name: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(allowed) && name.len() <= 100
    };
    if secret_env.as_deref().is_some_and(|name| !is_variable(name)) {
        config.fault("secret_env", "this is no name of a variable; write one such as HOOK_SECRET");
    }
    Some(WebhookConfig { path: path?, scheme: scheme?, secret_env: secret_env?, events, matching: matching? })
}

fn matching(config: &mut Reader<'_>) -> Option<PayloadMatch> {
    match config.take("match") {
        None => Some(PayloadMatch::default()),
        Some(Value::Object(map)) => match PayloadMatch::read(&map) {
            Ok(matching) => Some(matching),
            Err(faults) => {
                faults.iter().for_each(|fault| config.fault("match", fault));
                None
            }
        },
        Some(other) => {
            let message =
                format!("this must be a map such as {{\"data.status\": failed}}, not {}", kind(&other));
            config.fault("match", message);
            None
        }
    }
}

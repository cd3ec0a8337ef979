//! Triggers as files declare them, checked whole before anything starts.
//!
//! Guarantees: what cannot work is refused here, all of it at once, each fault with its field and what
//! to write instead; an unknown key is a fault, because what it should say would be lost in silence.
//! No value of a field that may hold a secret is repeated in a fault.
//! Never here: YAML. Whoever reads a file hands its tree in and knows the lines.

mod kinds;
mod policies;
mod reader;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{EventPattern, Payload};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};

use crate::matching::PayloadMatch;
use crate::policy::TriggerPolicy;
use crate::registry::TriggerRegistry;
use crate::row::TriggerKey;
use crate::timer::{TimerConfig, When, rfc3339};
use crate::webhook::WebhookConfig;
use reader::Reader;

/// Most triggers of one list.
pub const MAX_TRIGGERS: usize = 100;

/// The kind of a trigger, by its `type`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TriggerKind {
    /// `timer`
    Timer,
    /// `session_event`
    SessionEvent,
    /// `manual`
    Manual,
    /// `file_change`
    FileChange,
    /// `webhook`
    Webhook,
    /// `issue_event`
    IssueEvent,
    /// One that was registered by code.
    Own(Arc<str>),
}

impl TriggerKind {
    const BUILT_IN: [(&'static str, Self); 6] = [
        ("timer", Self::Timer),
        ("session_event", Self::SessionEvent),
        ("manual", Self::Manual),
        ("file_change", Self::FileChange),
        ("webhook", Self::Webhook),
        ("issue_event", Self::IssueEvent),
    ];

    /// The kind of this `type`; one that is not built in is somebody's own.
    pub fn named(name: &str) -> Self {
        let known = Self::BUILT_IN.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| Self::Own(Arc::from(name)), |(_, kind)| kind.clone())
    }

    /// The `type`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Own(name) => name,
            kind => Self::BUILT_IN.iter().find(|(_, known)| known == kind).map_or("", |(name, _)| name),
        }
    }

    /// True if it is one of ours.
    pub fn is_built_in(&self) -> bool {
        !matches!(self, Self::Own(_))
    }
}

impl fmt::Display for TriggerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for TriggerKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TriggerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|name| Self::named(&name))
    }
}

/// A trigger as it is declared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TriggerConfig {
    /// Its name, where it has one.
    pub name: Option<TriggerKey>,
    /// What it reacts to.
    pub spec: TriggerSpec,
    /// What holds for it.
    pub policy: TriggerPolicy,
}

/// What a trigger reacts to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum TriggerSpec {
    /// Time.
    Timer(TimerConfig),
    /// Events of sessions.
    SessionEvent(SessionEventConfig),
    /// Calls from code or the command line.
    Manual,
    /// Changes of files.
    FileChange(FileChangeConfig),
    /// Calls over HTTP.
    Webhook(WebhookConfig),
    /// Changes of issues.
    IssueEvent(IssueEventConfig),
    /// What a source of somebody's own says.
    Own {
        /// Its `type`.
        kind: Arc<str>,
        /// Its `config`, as it is.
        config: Payload,
    },
}

/// Which events of sessions a trigger reacts to.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionEventConfig {
    /// Patterns over names, of which one must match.
    pub event_names: Vec<EventPattern>,
    /// Sessions, by id or name; from any if there are none.
    pub source_sessions: Vec<String>,
    /// What the data must say.
    pub matching: PayloadMatch,
    /// True if it also reacts to events of its own runs, which can go in circles up to the hop limit.
    pub own_events: bool,
}

impl SessionEventConfig {
    /// Events of these names, whoever they are from and whatever they say, but for its own runs'.
    pub fn names(event_names: impl IntoIterator<Item = EventPattern>) -> Self {
        Self {
            event_names: event_names.into_iter().collect(),
            source_sessions: Vec::new(),
            matching: PayloadMatch::default(),
            own_events: false,
        }
    }
}

/// Which changes of issues a trigger reacts to. What a source that is registered for `issue_event` is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct IssueEventConfig {
    /// The changes: of [`ISSUE_EVENTS`]; any if there are none.
    #[serde(default)]
    pub events: Vec<String>,
    /// Types of issues; any if there are none.
    #[serde(default)]
    pub types: Vec<String>,
}

/// Changes of issues: `issue_<name>` is the event.
pub const ISSUE_EVENTS: [&str; 14] = [
    "opened",
    "updated",
    "commented",
    "started",
    "blocked",
    "unblocked",
    "question",
    "answered",
    "completed",
    "failed",
    "retried",
    "escalated",
    "closed",
    "reopened",
];

/// A change of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It is there now, and was not.
    Created,
    /// Its size, time or inode is another one.
    Modified,
    /// It was there, and is not.
    Deleted,
}

impl Change {
    pub(crate) const ALL: [(&'static str, Self); 3] =
        [("created", Self::Created), ("modified", Self::Modified), ("deleted", Self::Deleted)];
}

/// Which changes of files a trigger reacts to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileChangeConfig {
    /// Globs relative to the project, `/` between parts.
    pub paths: Vec<String>,
    /// Globs of what is left out; one without `/` at any depth, a directory with all below.
    pub ignore: Vec<String>,
    /// The changes that count.
    pub changes: Vec<Change>,
    /// Changes that follow each other within this span are one event.
    pub debounce: Duration,
    /// True if `.gitignore` and `.ignore` count; `.git` never does.
    pub ignore_files: bool,
    /// Looks at all files each time this span has passed instead of being told of changes: for network file systems.
    pub poll: Option<Duration>,
}

/// The debounce of file changes, unless set otherwise.
pub const DEFAULT_DEBOUNCE: Duration = Duration::from_millis(500);

/// Something that is wrong with a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFault {
    /// The field: `triggers[1].config.cron`.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl ConfigFault {
    /// A fault of a field.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl ConfigError {
    /// These faults; at least one.
    pub fn new(faults: Vec<ConfigFault>) -> Self {
        Self { faults }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A declaration that cannot be used: every fault of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
#[non_exhaustive]
pub struct ConfigError {
    /// At least one, in the order of the list.
    pub faults: Vec<ConfigFault>,
}

/// Reads a list of triggers: anything that serializes to a list of maps, or to nothing.
///
/// `registry` says which types there are besides the built-in ones.
pub fn parse_triggers<T: Serialize + ?Sized>(
    list: &T,
    registry: &TriggerRegistry,
) -> Result<Vec<TriggerConfig>, ConfigError> {
    let fault =
        |message: String| ConfigError { faults: vec![ConfigFault { field: "triggers".into(), message }] };
    let list = match serde_json::to_value(list) {
        Ok(Value::Array(list)) => list,
        Ok(Value::Null) => return Ok(Vec::new()),
        Ok(_) => return Err(fault("this must be a list of triggers; begin each with `- type:`".into())),
        Err(error) => return Err(fault(format!("this cannot be read: {error}"))),
    };
    if list.len() > MAX_TRIGGERS {
        return Err(fault(format!("there are {}; at most {MAX_TRIGGERS} are accepted", list.len())));
    }
    let (mut triggers, mut faults) = (Vec::new(), Vec::new());
    for (at, entry) in list.into_iter().enumerate() {
        let field = format!("triggers[{at}]");
        let known = faults.len();
        if let Some(trigger) = entry_of(entry, field.clone(), registry, &mut faults)
            && faults.len() == known
        {
            triggers.push((field, trigger));
        }
    }
    twice(&triggers, &mut faults);
    match faults.is_empty() {
        true => Ok(triggers.into_iter().map(|(_, trigger)| trigger).collect()),
        false => Err(ConfigError { faults }),
    }
}

fn entry_of(
    entry: Value,
    field: String,
    registry: &TriggerRegistry,
    faults: &mut Vec<ConfigFault>,
) -> Option<TriggerConfig> {
    let mut entry = Reader::of(entry, field, faults)?;
    let kind =
        entry.required_text("type", "timer, session_event, manual, file_change, webhook or issue_event");
    let config = entry.take("config");
    let (name, mut policies) = policies::read(&mut entry);
    entry.end();
    let kind = TriggerKind::named(&kind?);
    let field = format!("{}.config", entry.field());
    let spec = match &kind {
        TriggerKind::Own(own) if registry.knows(own) => {
            let config = Payload::encode(&config.unwrap_or(json!({}))).ok()?;
            TriggerSpec::Own { kind: Arc::clone(own), config }
        }
        TriggerKind::Own(own) => {
            let names: Vec<&str> = TriggerKind::BUILT_IN.iter().map(|(name, _)| *name).collect();
            let own = own.escape_debug().take(60).collect::<String>();
            entry.fault("type", format!("`{own}` is no type of trigger; there are {}", names.join(", ")));
            return None;
        }
        built_in => {
            let mut config = Reader::of(config.unwrap_or(json!({})), field, entry.faults())?;
            let spec = kinds::read(built_in, &mut config, &mut policies);
            config.end();
            spec?
        }
    };
    let policy = policies.finish(&mut entry, &spec);
    Some(TriggerConfig { name, spec, policy })
}

/// Two triggers of one key would be one trigger to the store, and two hooks of one path one hook.
fn twice(triggers: &[(String, TriggerConfig)], faults: &mut Vec<ConfigFault>) {
    let (mut keys, mut paths) = (HashSet::new(), HashSet::new());
    for (field, trigger) in triggers {
        if !keys.insert(trigger.key()) {
            let message = match &trigger.name {
                Some(name) => format!("the name `{name}` stands twice; give each trigger its own"),
                None => "this trigger stands twice; remove one, or give each a `name`".to_owned(),
            };
            faults.push(ConfigFault { field: format!("{field}.name"), message });
        }
        if let TriggerSpec::Webhook(webhook) = &trigger.spec
            && !paths.insert(webhook.path.clone())
        {
            let message = format!("the path `{}` stands twice; give each webhook its own", webhook.path);
            faults.push(ConfigFault { field: format!("{field}.config.path"), message });
        }
    }
}

impl TriggerConfig {
    /// A trigger without a name and with the default policies.
    pub fn new(spec: TriggerSpec) -> Self {
        Self { name: None, spec, policy: TriggerPolicy::default() }
    }

    /// What kind it is.
    pub fn kind(&self) -> TriggerKind {
        match &self.spec {
            TriggerSpec::Timer(_) => TriggerKind::Timer,
            TriggerSpec::SessionEvent(_) => TriggerKind::SessionEvent,
            TriggerSpec::Manual => TriggerKind::Manual,
            TriggerSpec::FileChange(_) => TriggerKind::FileChange,
            TriggerSpec::Webhook(_) => TriggerKind::Webhook,
            TriggerSpec::IssueEvent(_) => TriggerKind::IssueEvent,
            TriggerSpec::Own { kind, .. } => TriggerKind::Own(Arc::clone(kind)),
        }
    }

    /// Its name, or the hash of its configuration.
    pub fn key(&self) -> TriggerKey {
        self.name.clone().unwrap_or_else(|| TriggerKey::hashed(&self.fingerprint()))
    }

    /// Tells configurations apart, however they are written: `every: 5m` is `interval_seconds: 300`. What
    /// it reacts to counts; policies do not, so a trigger that is paused or told to skip stays itself.
    pub fn fingerprint(&self) -> String {
        let meaning = json!([self.kind(), self.spec.meaning()]);
        blake3::hash(sorted(meaning).to_string().as_bytes()).to_hex().as_str()[..32].to_owned()
    }
}

impl TriggerSpec {
    fn meaning(&self) -> Value {
        match self {
            Self::Timer(timer) => {
                let when = match &timer.when {
                    When::Every(span) => {
                        json!({"every_us": u64::try_from(span.as_micros()).unwrap_or(u64::MAX)})
                    }
                    When::Cron(cron) => json!({"cron": cron.as_str(), "zone": cron.zone().name()}),
                    When::At(at) => json!({"at": rfc3339(*at)}),
                };
                json!({"when": when, "immediate": timer.immediate})
            }
            Self::SessionEvent(config) => json!({
                "names": config.event_names.iter().map(EventPattern::as_str).collect::<Vec<_>>(),
                "sources": config.source_sessions,
                "match": config.matching,
                "own": config.own_events,
            }),
            Self::Manual => Value::Null,
            Self::FileChange(config) => json!({
                "paths": config.paths,
                "ignore": config.ignore,
                "changes": config.changes,
                "ignore_files": config.ignore_files,
            }),
            Self::Webhook(config) => config.meaning(),
            Self::IssueEvent(config) => json!({"events": config.events, "types": config.types}),
            Self::Own { config, .. } => config.decode().unwrap_or(Value::Null),
        }
    }
}

/// The same value, its maps in the order of their keys.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        value => value,
    }
}

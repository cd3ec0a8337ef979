//! A background session as files and code declare it, checked whole before anything starts.
//!
//! Guarantees: every fault is told at once, with its field and what to write instead; an unknown key is a
//! fault. Never here: YAML. Whoever reads a file hands its tree in.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Limits;
use amplifier_core::event::CustomName;
use amplifier_core::permission::Mode;
use amplifier_trigger::template::DEFAULT_TEMPLATE;
use amplifier_trigger::{
    BackgroundName, ConfigError, ConfigFault, Template, TriggerConfig, TriggerKey, TriggerRegistry,
    TriggerSpec, parse_triggers,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::work::Work;

/// Runs of a background session that wait at most, unless it says otherwise.
pub const DEFAULT_QUEUE: u32 = 1_000;
/// Attempts of a run, unless the background session says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 3;
/// Largest pool.
pub const MAX_POOL: u32 = 1_000;
/// Longest queue.
pub const MAX_QUEUE: u32 = 100_000;
/// Restarts of a trigger that fails again and again, unless the background session says otherwise.
pub const DEFAULT_RESTARTS: u32 = 3;
/// The first wait before another attempt; each further one is twice as long.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// The longest wait before another attempt.
pub const MAX_BACKOFF: Duration = Duration::from_secs(300);

/// The keys of a background session.
pub const BACKGROUND_KEYS: [&str; 13] = [
    "name",
    "bundle",
    "triggers",
    "instruction_template",
    "pool_size",
    "on_complete_emit",
    "on_error_emit",
    "restart_on_failure",
    "max_restarts",
    "limits",
    "permissions",
    "queue",
    "context",
];

/// What waits for a place, and how often it is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueConfig {
    /// Runs that wait at most; what comes beyond meets its trigger's overflow.
    pub capacity: u32,
    /// How often a run is tried that fails or times out.
    pub attempts: u32,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { capacity: DEFAULT_QUEUE, attempts: DEFAULT_ATTEMPTS }
    }
}

/// A background session: what starts it, how often at once, and what its sessions may do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackgroundConfig {
    /// Its name, unique per project; its id is `bg-<name>`.
    pub name: BackgroundName,
    /// The bundle of its sessions: a name, path or URI.
    pub bundle: String,
    /// What starts a session. May be empty: then it is fired alone.
    pub triggers: Vec<TriggerConfig>,
    /// What a session is told.
    pub template: Template,
    /// Sessions at once.
    pub pool_size: u32,
    /// The event that follows a session that completed.
    pub on_complete_emit: Option<CustomName>,
    /// The event that follows a run that failed for good.
    pub on_error_emit: Option<CustomName>,
    /// True: a trigger that fails is started again.
    pub restart_on_failure: bool,
    /// How often in a row; a trigger that was well for a minute counts anew.
    pub max_restarts: u32,
    /// Bounds of each session, beside the host's.
    pub limits: Limits,
    /// The mode of its sessions, from `dontAsk` down. `None`: `dontAsk`, and `plan` for what a webhook
    /// or an issue has caused.
    pub permissions: Option<Mode>,
    /// What waits for a place.
    pub queue: QueueConfig,
    /// What each session is told before its instruction; its author's words, so that mentions in it are followed.
    pub context: Option<String>,
    /// True if a file of the project has chosen the bundle, and no person: see
    /// [`SpawnRequest::chosen_by_project`](amplifier_foundation::SpawnRequest::chosen_by_project).
    pub chosen_by_project: bool,
    /// Somebody else's part in its runs. From code only.
    pub work: Option<Arc<dyn Work>>,
}

impl BackgroundConfig {
    /// A background session of one place without triggers.
    pub fn new(name: BackgroundName, bundle: impl Into<String>) -> Self {
        Self {
            name,
            bundle: bundle.into(),
            triggers: Vec::new(),
            #[expect(clippy::expect_used, reason = "the default template is a template")]
            template: Template::parse(DEFAULT_TEMPLATE).expect("a template"),
            pool_size: 1,
            on_complete_emit: None,
            on_error_emit: None,
            restart_on_failure: true,
            max_restarts: DEFAULT_RESTARTS,
            limits: Limits::default(),
            permissions: None,
            queue: QueueConfig::default(),
            context: None,
            chosen_by_project: false,
            work: None,
        }
    }

    /// Reads a declaration: anything that serializes to a map.
    pub fn parse<T: Serialize + ?Sized>(value: &T, registry: &TriggerRegistry) -> Result<Self, ConfigError> {
        let map = match serde_json::to_value(value) {
            Ok(Value::Object(map)) => map,
            Ok(_) => return Err(one("background_sessions", "this must be a map; begin with `name:`")),
            Err(error) => return Err(one("background_sessions", error)),
        };
        let mut reader = Reader { map, faults: Vec::new() };
        let read = reader.config(registry);
        match read {
            Some(config) if reader.faults.is_empty() => Ok(config),
            _ => Err(ConfigError::new(reader.faults)),
        }
    }

    /// What is wrong with it, all of it: also for one that code has made.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push(ConfigFault::new(field, message));
        if !(1..=MAX_POOL).contains(&self.pool_size) {
            fault("pool_size", format!("this must be 1 to {MAX_POOL}"));
        }
        if !(1..=MAX_QUEUE).contains(&self.queue.capacity) {
            fault("queue.capacity", format!("this must be 1 to {MAX_QUEUE}"));
        }
        if !(1..=100).contains(&self.queue.attempts) {
            fault("queue.attempts", "this must be 1 to 100".to_owned());
        }
        if self.permissions == Some(Mode::BypassPermissions) {
            fault(
                "permissions",
                "`bypassPermissions` comes from a flag only; write dontAsk or plan".to_owned(),
            );
        }
        if self.bundle.trim().is_empty() {
            fault("bundle", "this is missing; write the name, path or URI of a bundle".to_owned());
        }
        for (at, trigger) in self.triggers.iter().enumerate() {
            if let Err(error) = trigger.policy.check_pool(self.pool_size) {
                fault(&format!("triggers[{at}].overlap"), error.to_string());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(ConfigError::new(faults)) }
    }

    /// Its id: `bg-<name>`.
    pub fn id(&self) -> String {
        format!("bg-{}", self.name)
    }

    /// The key under which somebody fires it: that of its manual trigger, else `manual`.
    pub(crate) fn manual_key(&self) -> TriggerKey {
        let manual = self.triggers.iter().find(|trigger| matches!(trigger.spec, TriggerSpec::Manual));
        #[expect(clippy::expect_used, reason = "`manual` is a name")]
        manual.map_or_else(|| TriggerKey::named("manual").expect("a name"), TriggerConfig::key)
    }
}

/// The wait before the attempt that follows `attempt`, counted from 1.
pub(crate) fn backoff(attempt: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(MAX_BACKOFF)
}

fn one(field: &str, message: impl ToString) -> ConfigError {
    ConfigError::new(vec![ConfigFault::new(field, message.to_string())])
}

struct Reader {
    map: Map<String, Value>,
    faults: Vec<ConfigFault>,
}

impl Reader {
    fn fault(&mut self, field: &str, message: impl ToString) {
        self.faults.push(ConfigFault::new(field, message.to_string()));
    }

    fn take<T: DeserializeOwned>(&mut self, key: &'static str, wanted: &str) -> Option<T> {
        let value = self.map.remove(key).filter(|value| !value.is_null())?;
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(_) => {
                self.fault(key, format!("this must be {wanted}"));
                None
            }
        }
    }

    fn required(&mut self, key: &'static str, wanted: &str) -> Option<String> {
        if self.map.get(key).is_none_or(Value::is_null) {
            self.fault(key, format!("this is missing; write {wanted}"));
        }
        self.take(key, wanted)
    }

    fn parsed<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text: String = self.take(key, "text")?;
        parse(&text).map_err(|error| self.fault(key, error.to_string())).ok()
    }

    fn config(&mut self, registry: &TriggerRegistry) -> Option<BackgroundConfig> {
        let name = self.required("name", "a name of letters, digits, `-`, `_` and `.`");
        let name =
            name.and_then(|name| BackgroundName::new(&name).map_err(|error| self.fault("name", error)).ok());
        let bundle = self.required("bundle", "the name, path or URI of a bundle");
        let triggers = match parse_triggers(&self.map.remove("triggers").unwrap_or(Value::Null), registry) {
            Ok(triggers) => triggers,
            Err(error) => {
                self.faults.extend(error.faults);
                Vec::new()
            }
        };
        let template = self.parsed("instruction_template", Template::parse);
        let limits = self.limits();
        let permissions = self.permissions();
        let mut config = BackgroundConfig::new(BackgroundName::new("x").ok()?, "x");
        config.pool_size = self.take("pool_size", "a whole number from 1").unwrap_or(config.pool_size);
        config.on_complete_emit = self.parsed("on_complete_emit", |text| CustomName::new(text));
        config.on_error_emit = self.parsed("on_error_emit", |text| CustomName::new(text));
        config.restart_on_failure = self.take("restart_on_failure", "true or false").unwrap_or(true);
        config.max_restarts = self.take("max_restarts", "a whole number").unwrap_or(DEFAULT_RESTARTS);
        config.queue = self.queue();
        config.context = self.take("context", "text");
        for key in std::mem::take(&mut self.map).keys() {
            let shown: String = key.escape_debug().take(60).collect();
            self.fault(
                &shown,
                format!("this key is not known here; there are {}", BACKGROUND_KEYS.join(", ")),
            );
        }
        (config.triggers, config.limits, config.permissions) = (triggers, limits, permissions);
        config.template = template.unwrap_or(config.template);
        (config.name, config.bundle) = (name?, bundle?);
        if let Err(error) = config.check() {
            self.faults.extend(error.faults);
        }
        Some(config)
    }

    fn limits(&mut self) -> Limits {
        let Some(value) = self.map.remove("limits").filter(|value| !value.is_null()) else {
            return Limits::default();
        };
        serde_json::from_value(value).unwrap_or_else(|error| {
            self.fault("limits", error);
            Limits::default()
        })
    }

    fn permissions(&mut self) -> Option<Mode> {
        let wanted = "one of default, plan, acceptEdits, dontAsk";
        let name: String = self.take("permissions", wanted)?;
        let mode = Mode::from_name(&name);
        if mode.is_none() {
            self.fault("permissions", format!("this must be {wanted}"));
        }
        mode
    }

    fn queue(&mut self) -> QueueConfig {
        let mut queue = QueueConfig::default();
        let Some(map): Option<Map<String, Value>> = self.take("queue", "a map of `capacity` and `attempts`")
        else {
            return queue;
        };
        for (key, value) in map {
            let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
            match (key.as_str(), number) {
                ("capacity", Some(number)) => queue.capacity = number,
                ("attempts", Some(number)) => queue.attempts = number,
                ("capacity" | "attempts", None) => {
                    self.fault(&format!("queue.{key}"), "this must be a whole number")
                }
                _ => self.fault("queue", "there are `capacity` and `attempts`"),
            }
        }
        queue
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_key_of_the_reference_and_of_ours_is_read() {
        let config = BackgroundConfig::parse(
            &json!({
                "name": "nightly", "bundle": "reviewer", "pool_size": 4, "max_restarts": 7,
                "triggers": [{"type": "timer", "config": {"every": "5m"}}, {"type": "manual"}],
                "instruction_template": "Look at {event_data}", "on_complete_emit": "night:done",
                "on_error_emit": "night:failed", "restart_on_failure": false,
                "limits": {"max_turns": 5}, "permissions": "plan", "queue": {"capacity": 10, "attempts": 2},
                "context": "You work at night.",
            }),
            &TriggerRegistry::new(),
        )
        .unwrap();
        assert_eq!((config.id().as_str(), config.pool_size, config.triggers.len()), ("bg-nightly", 4, 2));
        assert_eq!(config.queue, QueueConfig { capacity: 10, attempts: 2 });
        assert_eq!((config.permissions, config.limits.max_turns), (Some(Mode::Plan), Some(5)));
        assert!(!config.restart_on_failure);
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let error = BackgroundConfig::parse(
            &json!({
                "name": "no name", "pool_size": 0, "instruction_template": "{nothing}", "speed": 3,
                "triggers": [{"type": "timer", "config": {"cron": "99 * * * *"}}, {"type": "manual", "overlap": "cancel_previous"}],
                "on_error_emit": "session:end", "permissions": "bypass", "queue": {"capacity": "many"},
            }),
            &TriggerRegistry::new(),
        )
        .unwrap_err();
        let told = error.to_string();
        for field in [
            "name",
            "bundle",
            "instruction_template",
            "speed",
            "triggers[0]",
            "on_error_emit",
            "permissions",
            "queue.capacity",
        ] {
            assert!(told.contains(field), "{field} in {told}");
        }
    }

    #[test]
    fn waits_double_up_to_five_minutes() {
        let waits: Vec<u64> = [1, 2, 3, 9, 10, 40].map(|attempt| backoff(attempt).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 256, 300, 300]);
    }
}

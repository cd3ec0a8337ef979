//! A background session as `background add` makes it, and the lines that say it.
//!
//! Guarantees: the lines say what was given, whatever characters it has.

use amplifier_bundle::bundle::yaml;
use amplifier_trigger::{BackgroundName, ConfigError, ConfigFault, TriggerRegistry};
use serde_json::Value;

use crate::config::BackgroundConfig;
use crate::declared::FILE_NAME;

/// A background session to be declared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addition {
    /// Its name.
    pub name: BackgroundName,
    /// Its bundle, as the file has to say it: see [`relative_to`](crate::declared::relative_to).
    pub bundle: String,
    /// What its sessions are told: a template.
    pub instruction: Option<String>,
    /// What starts it.
    pub trigger: NewTrigger,
}

/// What starts a background session that is to be declared. Texts are as somebody typed them; whether they
/// mean anything, [`Addition::config`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewTrigger {
    /// Each time a span has passed.
    Every(String),
    /// At the times of a cron expression, in a zone.
    Cron {
        /// The expression.
        expression: String,
        /// The IANA name.
        timezone: String,
    },
    /// Once.
    At {
        /// The time.
        time: String,
        /// The IANA name of the zone of a local time.
        timezone: Option<String>,
    },
    /// At events.
    On(Vec<String>),
    /// When files change.
    Watch(Vec<String>),
    /// When somebody calls.
    Webhook {
        /// The path below `/hooks/`.
        path: String,
        /// How calls are signed.
        scheme: String,
        /// The variable of the secret.
        secret_env: String,
    },
}

impl Addition {
    /// One that says nothing special to its sessions.
    pub fn new(name: BackgroundName, bundle: impl Into<String>, trigger: NewTrigger) -> Self {
        Self { name, bundle: bundle.into(), instruction: None, trigger }
    }

    /// What a program would run, or all that is wrong with it.
    pub fn config(&self, registry: &TriggerRegistry) -> Result<BackgroundConfig, ConfigError> {
        let unread = |error: &dyn std::fmt::Display| {
            ConfigError::new(vec![ConfigFault::new(self.name.as_str(), error.to_string())])
        };
        let list =
            yaml::parse(&self.lines().join("\n"), FILE_NAME.as_ref()).map_err(|error| unread(&error))?;
        let item = list.as_seq().and_then(|items| items.first());
        BackgroundConfig::parse(item.ok_or_else(|| unread(&"there is nothing to declare"))?, registry)
    }

    /// An item of a list, without indent and line ends.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("- name: {}", scalar(self.name.as_str()))];
        lines.push(format!("  bundle: {}", scalar(&self.bundle)));
        if let Some(instruction) = &self.instruction {
            lines.push(format!("  instruction_template: {}", scalar(instruction)));
        }
        lines.push("  triggers:".to_owned());
        let (kind, config) = self.trigger.parts();
        lines.push(format!("    - type: {kind}"));
        lines.push(format!("      config: {{ {} }}", config.join(", ")));
        lines
    }
}

impl NewTrigger {
    fn parts(&self) -> (&'static str, Vec<String>) {
        let one = |key: &str, value: &str| format!("{key}: {}", scalar(value));
        let list = |key: &str, values: &[String]| {
            let values: Vec<String> = values.iter().map(|value| scalar(value)).collect();
            format!("{key}: [{}]", values.join(", "))
        };
        match self {
            Self::Every(span) => ("timer", vec![one("every", span)]),
            Self::Cron { expression, timezone } => {
                ("timer", vec![one("cron", expression), one("timezone", timezone)])
            }
            Self::At { time, timezone } => {
                let zone = timezone.as_ref().map(|zone| one("timezone", zone));
                ("timer", std::iter::once(one("at", time)).chain(zone).collect())
            }
            Self::On(names) => ("session_event", vec![list("event_names", names)]),
            Self::Watch(paths) => ("file_change", vec![list("paths", paths)]),
            Self::Webhook { path, scheme, secret_env } => {
                let parts = vec![one("path", path), one("scheme", scheme), one("secret_env", secret_env)];
                ("webhook", parts)
            }
        }
    }
}

/// Text as it is where every reader of YAML takes it for text, else in double quotes as in JSON.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let first = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        || text.starts_with("./")
        || text.starts_with("../");
    let words = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let is_word = words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if first && !is_word && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::new();
    for c in Value::from(text).to_string().chars() {
        match c {
            // What JSON leaves as it is and YAML takes for a line end or refuses.
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted
}

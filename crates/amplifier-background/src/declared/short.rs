//! A trigger in a few words, for lists.
//!
//! Guarantees: no value that may hold a secret.

use amplifier_core::EventPattern;
use amplifier_foundation::fs::duration;
use amplifier_trigger::timer::{When, Zone, rfc3339};
use amplifier_trigger::{TriggerConfig, TriggerSpec};

/// What a trigger reacts to: `every 5m`, `on work:done`.
pub fn in_short(trigger: &TriggerConfig) -> String {
    match &trigger.spec {
        TriggerSpec::Timer(timer) => match &timer.when {
            When::Every(span) => format!("every {}", duration::format(*span)),
            When::Cron(cron) => format!("cron {} {}", cron.as_str(), cron.zone().name()),
            When::At(at) if timer.zone == Zone::utc() => format!("at {}", rfc3339(*at)),
            When::At(at) => format!("at {}", timer.zone.show(*at)),
            _ => trigger.kind().to_string(),
        },
        TriggerSpec::SessionEvent(config) => {
            let names = config.event_names.iter().map(EventPattern::as_str);
            format!("on {}", names.collect::<Vec<_>>().join(", "))
        }
        TriggerSpec::Manual => "by hand".to_owned(),
        TriggerSpec::FileChange(config) => format!("changes of {}", config.paths.join(", ")),
        TriggerSpec::Webhook(config) => format!("POST /hooks/{}", config.path),
        TriggerSpec::IssueEvent(config) if config.events.is_empty() => "issues".to_owned(),
        TriggerSpec::IssueEvent(config) => format!("issues {}", config.events.join(", ")),
        TriggerSpec::Own { kind, .. } => kind.to_string(),
        _ => trigger.kind().to_string(),
    }
}

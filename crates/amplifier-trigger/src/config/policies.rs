//! What stands beside the `config` of a trigger of any kind.
//!
//! Guarantees: a policy that would do nothing for a kind is a fault, never ignored.

use std::time::Duration;

use super::TriggerSpec;
use super::reader::Reader;
use crate::policy::{Misfire, Overlap, TriggerPolicy};
use crate::row::TriggerKey;
use crate::timer::{When, Zone};

/// Policies that were read, before it is known which of them fit the kind.
pub(super) struct Policies {
    policy: TriggerPolicy,
    /// The zone beside `config`.
    zone: Option<Zone>,
    /// `end_time` as it is written: its zone may stand in `config`.
    end_time: Option<String>,
}

/// Reads what stands beside `config`.
pub(super) fn read(entry: &mut Reader<'_>) -> (Option<TriggerKey>, Policies) {
    let name = entry.parsed("name", |text| TriggerKey::named(text));
    let policy = TriggerPolicy {
        overlap: entry.choice("overlap", &Overlap::ALL).unwrap_or_default(),
        misfire: entry.choice("misfire", &Misfire::ALL),
        max_age: entry.duration("max_age"),
        debounce: entry.duration("debounce"),
        jitter: entry.duration("jitter").unwrap_or_default(),
        enabled: entry.bool("enabled", true),
        end_time: None,
    };
    let end_time = entry.text("end_time");
    let zone = entry.parsed("timezone", Zone::named);
    (name, Policies { policy, zone, end_time })
}

impl Policies {
    /// The zone of local times: that of `config`, else the one beside it, else UTC.
    pub(super) fn zone(&mut self, of_config: Option<Zone>) -> Zone {
        let zone = of_config.or(self.zone.take()).unwrap_or_else(Zone::utc);
        self.zone = Some(zone.clone());
        zone
    }

    /// A debounce that stands in `config`.
    pub(super) fn debounce(&mut self, of_config: Option<Duration>) -> Option<Duration> {
        self.policy.debounce = of_config.or(self.policy.debounce);
        self.policy.debounce
    }

    /// Checks that they fit the kind.
    pub(super) fn finish(mut self, entry: &mut Reader<'_>, spec: &TriggerSpec) -> TriggerPolicy {
        let zone = self.zone(None);
        if let Some(text) = self.end_time {
            match zone.time(&text) {
                Ok(time) => self.policy.end_time = Some(time),
                Err(error) => entry.fault("end_time", error),
            }
        }
        let policy = self.policy;
        let timer = matches!(spec, TriggerSpec::Timer(_));
        let log = matches!(spec, TriggerSpec::SessionEvent(_));
        let own = matches!(spec, TriggerSpec::IssueEvent(_) | TriggerSpec::Own { .. });
        if !(timer || log) && policy.misfire.is_some() {
            let why = match own {
                true => "this source decides itself what it makes up for; remove it",
                false => "nothing of this trigger is missed that could be made up for; remove it",
            };
            entry.fault("misfire", why);
        }
        if !(timer || log || own) && policy.max_age.is_some() {
            entry.fault("max_age", "what this trigger says is never old; remove it");
        }
        if policy.misfire == Some(Misfire::Skip) && policy.max_age.is_some() {
            entry.fault("max_age", "`misfire: skip` makes up for nothing; remove one of the two");
        }
        if policy.debounce.is_some() && (timer || matches!(spec, TriggerSpec::Manual)) {
            entry.fault("debounce", "firings of this trigger do not come in bursts; remove it");
        }
        if let TriggerSpec::Timer(timer) = spec
            && let When::Every(span) = timer.when
            && policy.jitter >= span
        {
            entry.fault("jitter", "this must be shorter than the interval");
        }
        policy
    }
}

//! One firing by hand: from the manager that runs a background session, or from any other process.
//!
//! Guarantees: `Ok` says that the run is durable.

use amplifier_core::{Payload, RunId};
use amplifier_foundation::Host;
use amplifier_trigger::{
    Cause, Generation, TriggerEvent, TriggerEventId, TriggerKind, TriggerPolicy, TriggerSpec,
};

use crate::config::BackgroundConfig;
use crate::error::BackgroundError;
use crate::intake::{Intake, Origin, Taken};

/// What holds for firings by hand.
pub(crate) fn policy(config: &BackgroundConfig) -> TriggerPolicy {
    let manual = config.triggers.iter().find(|trigger| matches!(trigger.spec, TriggerSpec::Manual));
    manual.map_or_else(TriggerPolicy::default, |trigger| trigger.policy.clone())
}

/// Fires once, for somebody whose name it carries.
pub(crate) async fn fire(
    host: &Host,
    intake: &Intake,
    data: Payload,
    by: Option<&str>,
) -> Result<RunId, BackgroundError> {
    let config = &intake.config;
    let name = &config.name;
    let now = host.clock().now();
    let nominal = format!("m-{}", host.ids().v7(now));
    let id = TriggerEventId::new(name, &config.manual_key(), Generation::FIRST, &nominal)?;
    let mut event = TriggerEvent::new(id, TriggerKind::Manual, now, Cause::Manual, data);
    if let Some(by) = by {
        by.clone_into(&mut event.source);
    }
    let policy = policy(config);
    let origin = Origin { policy: &policy, row: None, fence: None };
    match intake.take(std::slice::from_ref(&event), origin).await?.pop() {
        Some(Taken::Run(run)) => Ok(run),
        Some(Taken::Full | Taken::Wait) => Err(BackgroundError::Full { name: name.clone() }),
        Some(Taken::Rejected(reason)) => Err(BackgroundError::Rejected { reason }),
        Some(Taken::Skipped) => Err(BackgroundError::Rejected { reason: "all places are taken".to_owned() }),
        Some(Taken::Coalesced | Taken::Repeated) | None => {
            Err(BackgroundError::Rejected { reason: "another run stands for it".to_owned() })
        }
    }
}

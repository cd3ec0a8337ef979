//! The event router, over a real store: emission, subscriptions, waits, consumers, causes, faults.

mod causes;
mod consumers;
mod faults;
mod filters;
mod hooks;
mod replay;
mod sessions;
mod subscriptions;

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionEvent;
use amplifier_foundation::EventRouter;
use amplifier_foundation::router::{Delivery, Subscription};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::ids::SeededIds;
use amplifier_tests::soon;
use serde_json::json;

const SECOND: Duration = Duration::from_secs(1);

fn router() -> (EventRouter, ManualClock) {
    let clock = ManualClock::new();
    (EventRouter::in_memory(Arc::new(clock.clone()), Arc::new(SeededIds::new(3)), "/project"), clock)
}

async fn emit(router: &EventRouter, name: &str, number: u64) {
    router.emit(name, json!(number)).await.unwrap();
}

/// The number that an event carries.
fn of(event: &SessionEvent) -> u64 {
    event.payload.decode().unwrap()
}

/// The number of the next event.
async fn number(subscription: &mut Subscription) -> u64 {
    match soon("an event", subscription.next()).await {
        Some(Delivery::Event(event)) => of(&event),
        other => panic!("{other:?}"),
    }
}

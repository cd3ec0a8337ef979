//! How often something is tried, and what becomes of it then: with a target that answers at once.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use amplifier_background::notify::{Delivery, DeliveryError, Notification, Notifier, given_up};
use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime};
use amplifier_tests::clock::ManualClock;
use amplifier_tests::stage::Stage;
use serde_json::json;

use super::{emit, entries, told, until};

const ATTEMPTS: u32 = 12;

/// Takes nothing of the events of one name.
#[derive(Debug)]
struct Picky {
    refuses: &'static str,
    after: Option<Duration>,
    clock: ManualClock,
    calls: Mutex<Vec<(String, u32, MonoTime)>>,
}

impl Picky {
    fn new(refuses: &'static str, after: Option<Duration>, stage: &Stage) -> Arc<Self> {
        Arc::new(Self { refuses, after, clock: stage.clock.clone(), calls: Mutex::default() })
    }

    /// The names of events with the numbers of their tries.
    fn calls(&self) -> Vec<(String, u32)> {
        self.calls.lock().unwrap().iter().map(|(name, attempt, _)| (name.clone(), *attempt)).collect()
    }

    /// The time between each try and the next.
    fn waits(&self) -> Vec<Duration> {
        let calls = self.calls.lock().unwrap();
        calls.windows(2).map(|pair| pair[1].2.saturating_since(pair[0].2)).collect()
    }
}

impl Delivery for Picky {
    fn label(&self) -> String {
        "picky".to_owned()
    }

    fn attempts(&self) -> u32 {
        ATTEMPTS
    }

    fn deliver<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), DeliveryError>> {
        let name = notification.event.event_type.to_string();
        let refused = name == self.refuses;
        self.calls.lock().unwrap().push((name, notification.attempt, self.clock.monotonic()));
        let mut later = DeliveryError::later("not now");
        if let DeliveryError::Later { after, .. } = &mut later {
            *after = self.after;
        }
        Box::pin(std::future::ready(if refused { Err(later) } else { Ok(()) }))
    }
}

/// It is told of what others give up, and not of what it gives up itself: that would have no end.
#[tokio::test]
async fn after_the_last_try_it_is_given_up_and_the_next_event_has_its_turn() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let list = entries(json!([
        {"name": "one", "events": ["work:*", "notify:failed"], "command": ["x"]},
        {"name": "two", "events": ["notify:failed"], "command": ["x"]},
    ]));
    let (one, two) = (Picky::new("work:done", None, &stage), Picky::new("", None, &stage));
    let made: [Arc<dyn Delivery>; 2] = [one.clone(), two.clone()];
    let _notifier = Notifier::start(&host, list.clone().into_iter().zip(made).collect(), None).await.unwrap();
    emit(&host, "work:done", json!({})).await;
    emit(&host, "work:next", json!({})).await;
    until(&stage, Duration::from_secs(20), async || one.calls().len() > 12 && !two.calls().is_empty()).await;
    let tries: Vec<(String, u32)> = (1..=ATTEMPTS).map(|attempt| ("work:done".to_owned(), attempt)).collect();
    let calls = one.calls();
    assert_eq!(calls[..12], tries);
    assert_eq!(calls[12], ("work:next".to_owned(), 1));
    for (wait, least) in one.waits().iter().zip([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]) {
        assert!(*wait >= Duration::from_secs(least), "{wait:?} instead of {least} s");
    }
    assert_eq!(told(&host, "notify:failed").await.len(), 1);
    assert_eq!(told(&host, "notify:failed").await[0]["attempts"], ATTEMPTS);
    assert_eq!(given_up(host.store().as_ref(), &list, 0).await.unwrap().failed, 1);
    assert_eq!(given_up(host.store().as_ref(), &list, 1).await.unwrap().failed, 0);
    assert_eq!(two.calls(), [("notify:failed".to_owned(), 1)]);
    emit(&host, "work:last", json!({})).await;
    until(&stage, Duration::ZERO, async || one.calls().len() > 13).await;
    assert_eq!(one.calls()[13], ("work:last".to_owned(), 1));
}

#[tokio::test]
async fn a_target_that_asks_for_a_very_long_wait_is_asked_again_within_an_hour() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let list = entries(json!([{"events": ["work:*"], "command": ["x"]}]));
    let slow = Picky::new("work:done", Some(Duration::from_secs(1_000_000)), &stage);
    let made: Arc<dyn Delivery> = slow.clone();
    let _notifier = Notifier::start(&host, vec![(list[0].clone(), made)], None).await.unwrap();
    emit(&host, "work:done", json!({})).await;
    until(&stage, Duration::from_secs(60), async || slow.calls().len() > 1).await;
    let wait = slow.waits()[0];
    assert!((Duration::from_secs(3_600)..Duration::from_secs(36_000)).contains(&wait), "{wait:?}");
}

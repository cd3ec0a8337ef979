//! Notifications, with real commands and a real server, and time that stands still.

mod bounds;
mod commands;
mod places;
mod requests;

use std::time::Duration;

use amplifier_background::notify::{Notifier, NotifyConfig};
use amplifier_core::{CustomName, EventId, NewEvent};
use amplifier_foundation::Host;
use amplifier_foundation::store::Cursor;
use amplifier_modules::notify::deliveries;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

/// 24 bytes, as Standard Webhooks write them.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub(crate) fn entries(list: Value) -> Vec<NotifyConfig> {
    NotifyConfig::parse_list(&list).unwrap()
}

/// Starts to tell, from the end of the log.
pub(crate) async fn start(host: &Host, list: Value) -> Notifier {
    start_at(host, list, None).await
}

pub(crate) async fn start_at(host: &Host, list: Value, since: Option<Cursor>) -> Notifier {
    let entries = entries(list);
    let secret = |name: &str| (name == "NOTIFY_SECRET").then(|| SECRET.to_owned());
    let made = deliveries(&entries, host, &secret).unwrap();
    soon("the start", Notifier::start(host, entries.into_iter().zip(made).collect(), since)).await.unwrap()
}

/// An entry that is told of `work:…` by POST.
pub(crate) fn by_post(url: &str) -> Value {
    json!({"events": ["work:*"], "url": url, "secret_env": "NOTIFY_SECRET", "timeout": "10m"})
}

pub(crate) async fn emit(host: &Host, name: &str, data: Value) -> EventId {
    use amplifier_core::env::EventSink;
    let event = NewEvent::custom(CustomName::new(name).unwrap(), data);
    EventSink::emit(host.router(), event).await.unwrap()
}

/// Lets time pass until something has happened.
pub(crate) async fn until(stage: &Stage, step: Duration, happened: impl AsyncFn() -> bool) {
    let passing = async {
        while !happened().await {
            stage.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("what takes time", passing).await;
}

/// The payloads of events of this name.
pub(crate) async fn told(host: &Host, name: &str) -> Vec<Value> {
    let from = Cursor { log: host.store().tail().await.unwrap().log, sequence: 1 };
    let page = host.store().events(from, 1_000).await.unwrap();
    let named = page.events.iter().filter(|event| event.event_type.name() == name);
    named.map(|event| event.payload.decode().unwrap()).collect()
}

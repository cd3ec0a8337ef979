//! Where an entry is in the log, over restarts, crashes and changes.

use std::time::Duration;

use amplifier_core::EventId;
use amplifier_foundation::{Host, Shutdown};
use amplifier_tests::receiver::{Received, Receiver};
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{by_post, emit, start, start_at, until};

const SOON: Duration = Duration::from_secs(5);

fn ids(requests: &[Received]) -> Vec<String> {
    requests.iter().map(|request| request.header("webhook-id").to_owned()).collect()
}

async fn names(host: &Host, ids: &[EventId]) -> Vec<String> {
    let _ = host;
    ids.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn the_first_start_begins_now_and_later_ones_where_it_was_left() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[]));
    let list = json!([by_post(&receiver.url())]);
    let host = stage.host_on_disk().await;
    emit(&host, "work:before", json!({})).await;
    let notifier = start(&host, list.clone()).await;
    let first = emit(&host, "work:one", json!({})).await;
    receiver.told(1).await;
    notifier.stop(SOON).await;
    let second = emit(&host, "work:two", json!({})).await;
    host.shutdown(Shutdown::Now).await;
    drop(host);
    let host = stage.host_on_disk().await;
    let third = emit(&host, "work:three", json!({})).await;
    let notifier = start(&host, list).await;
    assert_eq!(ids(&receiver.told(3).await), names(&host, &[first, second, third]).await);
    notifier.stop(SOON).await;
    host.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn a_new_entry_may_begin_before_its_start() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[]));
    let host = stage.host_in_memory();
    emit(&host, "work:before", json!({})).await;
    let since = host.store().tail().await.unwrap();
    let during = emit(&host, "work:during", json!({})).await;
    let _notifier = start_at(&host, json!([by_post(&receiver.url())]), Some(since)).await;
    assert_eq!(ids(&receiver.told(1).await), names(&host, &[during]).await);
}

/// The receiver has it, and the process ends before it is acknowledged.
#[tokio::test]
async fn what_was_not_acknowledged_is_delivered_again_with_the_same_id() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[""]));
    let list = json!([by_post(&receiver.url())]);
    let host = stage.host_on_disk().await;
    let notifier = start(&host, list.clone()).await;
    let id = emit(&host, "work:done", json!({})).await;
    receiver.told(1).await;
    drop(notifier);
    host.shutdown(Shutdown::Now).await;
    drop(host);
    let host = stage.host_on_disk().await;
    let _notifier = start(&host, list).await;
    // Whoever had it in hand may still live, as far as anybody knows, until its lease has run out.
    until(&stage, Duration::from_secs(1), async || receiver.all().len() >= 2).await;
    assert_eq!(ids(&receiver.all()), names(&host, &[id, id]).await);
    host.shutdown(Shutdown::Now).await;
}

#[tokio::test]
async fn an_entry_whose_events_change_goes_on_where_it_was() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[]));
    let with = |events: Value| {
        let mut entry = by_post(&receiver.url());
        entry["events"] = events;
        json!([entry])
    };
    let host = stage.host_in_memory();
    let notifier = start(&host, with(json!(["work:*"]))).await;
    let one = emit(&host, "work:one", json!({})).await;
    receiver.told(1).await;
    notifier.stop(SOON).await;
    let (two, three) = (emit(&host, "play:two", json!({})).await, emit(&host, "work:three", json!({})).await);
    let notifier = start(&host, with(json!(["work:*", "play:*"]))).await;
    assert_eq!(ids(&receiver.told(3).await), names(&host, &[one, two, three]).await);
    notifier.stop(SOON).await;
    // And back again.
    let four = emit(&host, "work:four", json!({})).await;
    let notifier = start(&host, with(json!(["work:*"]))).await;
    assert_eq!(ids(&receiver.told(4).await)[3], four.to_string());
    notifier.stop(SOON).await;
}

/// A consumer that nobody reads would keep the log from being shortened.
#[tokio::test]
async fn an_entry_that_is_gone_is_forgotten_and_begins_anew() {
    let (stage, receiver) = (Stage::new(), Receiver::start(&[]));
    let host = stage.host_in_memory();
    let list = json!([by_post(&receiver.url())]);
    start(&host, list.clone()).await.stop(SOON).await;
    emit(&host, "work:missed", json!({})).await;
    start(&host, json!([])).await.stop(SOON).await;
    let notifier = start(&host, list).await;
    let id = emit(&host, "work:seen", json!({})).await;
    assert_eq!(ids(&receiver.told(1).await), names(&host, &[id]).await);
    notifier.stop(SOON).await;
}

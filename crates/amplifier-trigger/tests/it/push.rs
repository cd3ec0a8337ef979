//! Triggers that are fired from outside: calls from code.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, CancelReason};
use amplifier_trigger::{Acceptance, Cause, FireError, ManualTrigger, TriggerRow, TriggerSource};
use futures_util::StreamExt;
use serde_json::json;

use crate::kit::{TestClock, context, one, soon};

fn row() -> TriggerRow {
    let config = one(json!({"type": "manual", "name": "button"}));
    TriggerRow::first(&config, "2026-01-01T00:00:00Z".parse().unwrap())
}

fn clock() -> TestClock {
    TestClock::at("2026-01-01T00:00:00Z")
}

#[tokio::test]
async fn a_call_returns_once_it_was_taken_in_and_not_before() {
    let (trigger, handle) = ManualTrigger::new();
    let mut events = Box::new(trigger).watch(context(row(), Arc::new(clock())));
    let call = tokio::spawn(async move { handle.fire(json!({"reason": "now"})).await });
    let event = soon("the event", events.next()).await.unwrap().unwrap();
    assert_eq!((&event.cause, event.payload.as_bytes()), (&Cause::Manual, br#"{"reason":"now"}"#.as_slice()));
    assert!(event.receipt.is_awaited() && !call.is_finished());
    event.receipt.answer(Acceptance::Accepted);
    assert_eq!(soon("the answer", call).await.unwrap(), Ok(event.id));
}

#[tokio::test]
async fn each_answer_is_told_to_the_caller() {
    let (trigger, handle) = ManualTrigger::new();
    let mut events = Box::new(trigger).watch(context(row(), Arc::new(clock())));
    let other: amplifier_trigger::TriggerEventId = "bg/button/1/m-before".parse().unwrap();
    let full = Acceptance::Full { retry_after: Duration::from_secs(7) };
    let rejected = Acceptance::Rejected { reason: "paused".into() };
    for (answer, expect) in [
        (Acceptance::Repeated(other.clone()), Ok(other)),
        (full, Err(FireError::Full { retry_after: Duration::from_secs(7) })),
        (rejected, Err(FireError::Rejected { reason: "paused".into() })),
    ] {
        let handle = handle.clone();
        let call = tokio::spawn(async move { handle.fire(json!(1)).await });
        soon("the event", events.next()).await.unwrap().unwrap().receipt.answer(answer);
        assert_eq!(soon("the answer", call).await.unwrap(), expect);
    }
    // An event that nobody answers for is not taken in.
    let call = tokio::spawn(async move { handle.fire(json!(1)).await });
    drop(soon("the event", events.next()).await);
    assert_eq!(soon("the answer", call).await.unwrap(), Err(FireError::Closed));
}

#[tokio::test]
async fn a_full_queue_and_an_ended_trigger_refuse() {
    let (trigger, handle) = ManualTrigger::new();
    let calls: Vec<_> = (0..64)
        .map(|n| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.fire(json!(n)).await })
        })
        .collect();
    // On this one thread the calls run up to their first wait before this goes on.
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    let refused = soon("a refusal", handle.fire(json!(65))).await;
    assert!(matches!(refused, Err(FireError::Full { .. })), "{refused:?}");
    let context = context(row(), Arc::new(clock()));
    let cancel = context.cancel.clone();
    let mut events = Box::new(trigger).watch(context);
    for _ in 0..10 {
        soon("an event", events.next()).await.unwrap().unwrap().receipt.answer(Acceptance::Accepted);
    }
    cancel.cancel(CancelLevel::Graceful, CancelReason::Shutdown);
    drop(events);
    let mut taken = 0;
    for call in calls {
        match soon("an answer", call).await.unwrap() {
            Ok(_) => taken += 1,
            Err(error) => assert_eq!(error, FireError::Closed),
        }
    }
    assert!(taken >= 9, "{taken}");
    assert_eq!(handle.fire(json!(0)).await, Err(FireError::Closed));
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_in_doubt_after_half_a_minute() {
    let (trigger, handle) = ManualTrigger::new();
    let clock = clock();
    let mut events = Box::new(trigger).watch(context(row(), Arc::new(clock.clone())));
    let call = tokio::spawn(async move { handle.fire(json!(1)).await });
    let event = soon("the event", events.next()).await.unwrap().unwrap();
    assert!(!call.is_finished());
    while !call.is_finished() {
        clock.pass(Duration::from_secs(31));
        tokio::task::yield_now().await;
    }
    assert_eq!(call.await.unwrap(), Err(FireError::InDoubt));
    event.receipt.answer(Acceptance::Accepted);
}

#[tokio::test]
async fn the_same_key_is_the_same_firing() {
    let (trigger, handle) = ManualTrigger::new();
    let mut events = Box::new(trigger).watch(context(row(), Arc::new(clock())));
    let mut ids = Vec::new();
    for key in ["order 7/π", "order 7/π", "order 8"] {
        let handle = handle.clone();
        let call = tokio::spawn(async move { handle.fire_once(key, json!(1)).await });
        soon("the event", events.next()).await.unwrap().unwrap().receipt.answer(Acceptance::Accepted);
        ids.push(soon("the answer", call).await.unwrap().unwrap());
    }
    assert_eq!(ids[0], ids[1]);
    assert_ne!(ids[1], ids[2]);
}

//! From declarations to sources, ours and somebody's own.

use std::sync::Arc;

use amplifier_core::{Clock, Payload};
use amplifier_trigger::config::IssueEventConfig;
use amplifier_trigger::{
    BuildError, Cause, SourceEnv, TriggerContext, TriggerError, TriggerEvent, TriggerHandle, TriggerKind,
    TriggerRegistry, TriggerRow, TriggerSource, TriggerStream, parse_triggers,
};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use crate::kit::{TestClock, context, one, soon};

/// A queue of somebody's own.
#[derive(Debug, Deserialize)]
struct Sqs {
    messages: Vec<String>,
}

impl TriggerSource for Sqs {
    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        let done: usize = context.resume.cursor.as_ref().map_or(0, |cursor| cursor.decode().unwrap());
        let messages: Vec<(usize, String)> = self.messages.into_iter().enumerate().skip(done).collect();
        let event = move |(at, text): (usize, String)| -> Result<TriggerEvent, TriggerError> {
            let id = context.event_id(&format!("message-{at}"))?;
            let kind = TriggerKind::named("sqs");
            let mut event =
                TriggerEvent::new(id, kind, context.clock.now(), Cause::Source, Payload::from(json!(text)));
            event.cursor = Some(Payload::from(json!(at + 1)));
            Ok(event)
        };
        stream::iter(messages).map(event).boxed()
    }
}

fn env(clock: &TestClock) -> SourceEnv {
    SourceEnv::new(".", Arc::new(clock.clone()), |name| {
        (name == "HOOK_SECRET").then(|| "12345678".to_owned())
    })
}

#[tokio::test]
async fn a_source_of_mine_is_named_in_a_list_and_goes_on_where_it_was() {
    let mut registry = TriggerRegistry::new();
    registry.register("sqs", |config| Ok(Box::new(config.decode::<Sqs>()?))).unwrap();
    let list =
        json!([{"type": "sqs", "name": "queue", "config": {"messages": ["a", "b", "c"]}, "overlap": "skip"}]);
    let config = parse_triggers(&list, &registry).unwrap().remove(0);
    let clock = TestClock::at("2026-01-01T00:00:00Z");
    let mut row = TriggerRow::first(&config, clock.now());
    let source = registry.build(&config, &env(&clock)).unwrap().source;
    let mut events = source.watch(context(row.clone(), Arc::new(clock.clone())));
    let first = soon("a message", events.next()).await.unwrap().unwrap();
    assert_eq!(first.id.as_str(), "bg/queue/1/message-0");
    row.advance(&first);
    let source = registry.build(&config, &env(&clock)).unwrap().source;
    let rest: Vec<_> = source.watch(context(row, Arc::new(clock.clone()))).collect().await;
    let rest: Vec<String> = rest.into_iter().map(|event| event.unwrap().payload.decode().unwrap()).collect();
    assert_eq!(rest, ["b", "c"]);
    let bad = json!([{"type": "sqs", "config": {"messages": 1}}]);
    let bad = parse_triggers(&bad, &registry).unwrap().remove(0);
    let error = registry.build(&bad, &env(&clock)).unwrap_err();
    assert!(matches!(error, BuildError::Refused { .. }), "{error}");
    assert!(registry.register("timer", |_| Err("never".into())).is_err());
    assert!(registry.register("a b", |_| Err("never".into())).is_err());
}

#[test]
fn what_only_the_process_can_tell_is_an_error_when_sources_are_made() {
    let clock = TestClock::at("2026-01-01T00:00:00Z");
    let build = |entry| TriggerRegistry::new().build(&one(entry), &env(&clock));
    let hook = |variable: &str| json!({"type": "webhook", "config": {"path": "a", "scheme": "github", "secret_env": variable}});
    let built = build(hook("HOOK_SECRET")).unwrap();
    assert!(matches!(built.handle, TriggerHandle::Webhook(_)));
    let error = build(hook("NOT_SET")).unwrap_err();
    assert!(error.to_string().contains("the variable NOT_SET is not set"), "{error}");
    assert!(matches!(build(json!({"type": "manual"})).unwrap().handle, TriggerHandle::Manual(_)));
    assert!(matches!(build(json!({"type": "session_event"})).unwrap_err(), BuildError::NotHere { .. }));
    let error = build(json!({"type": "issue_event"})).unwrap_err();
    assert!(matches!(error, BuildError::NoIssues) && error.to_string().contains("manager"), "{error}");
}

#[tokio::test]
async fn the_source_of_issues_is_supplied_by_who_has_them() {
    let mut registry = TriggerRegistry::new();
    let make = |config: &Payload| {
        let config: IssueEventConfig = config.decode()?;
        Ok(Box::new(Sqs { messages: [config.events, config.types].concat() }) as Box<dyn TriggerSource>)
    };
    registry.register("issue_event", make).unwrap();
    let clock = TestClock::at("2026-01-01T00:00:00Z");
    let config = one(json!({"type": "issue_event", "config": {"events": ["opened"], "types": ["bug"]}}));
    let built = registry.build(&config, &env(&clock)).unwrap();
    let row = TriggerRow::first(&config, clock.now());
    let told: Vec<_> = built.source.watch(context(row, Arc::new(clock.clone()))).collect().await;
    let told: Vec<String> = told.into_iter().map(|event| event.unwrap().payload.decode().unwrap()).collect();
    assert_eq!(told, ["opened", "bug"], "it is given what was declared");
    for built_in in ["timer", "session_event", "manual", "file_change", "webhook"] {
        assert!(registry.register(built_in, |_| Err("never".into())).is_err(), "{built_in}");
    }
}

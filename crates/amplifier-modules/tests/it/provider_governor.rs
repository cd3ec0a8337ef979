//! Fifty sessions and one key: a service on loopback that refuses for two hours of the sessions' clock.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::governor::{Governor, Pass, Verdict};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Clock, MonoTime};
use amplifier_foundation::governor::ProcessGovernor;
use amplifier_modules::provider::OpenAiCompatible;
use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;

use super::provider_server::{Reply, Server};
use crate::support::{Kit, ManualClock, SeededIds};

const SESSIONS: usize = 50;
const TWO_HOURS: Duration = Duration::from_secs(7_200);
const WAIT: Duration = Duration::from_secs(600);
const ANSWER: &str = concat!(
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"at last\"},\"finish_reason\":null}]}\n\n",
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n",
);

/// The real governor, and how often somebody has begun to wait.
#[derive(Debug)]
struct Watched {
    governor: ProcessGovernor,
    waits: watch::Sender<usize>,
}

#[async_trait]
impl Governor for Watched {
    fn enter(&self, key: &str) -> Result<Pass, MonoTime> {
        self.governor.enter(key)
    }

    async fn queue(&self, key: &str, told: &(dyn Fn(MonoTime) + Send + Sync)) -> Pass {
        self.waits.send_modify(|waits| *waits += 1);
        self.governor.queue(key, told).await
    }

    fn report(&self, key: &str, pass: Pass, verdict: Verdict) {
        self.governor.report(key, pass, verdict);
    }
}

async fn reaches(waits: &mut watch::Receiver<usize>, count: usize) {
    let wait = waits.wait_for(|waits| *waits >= count);
    let waited = tokio::time::timeout(Duration::from_secs(20), wait).await;
    assert!(waited.is_ok(), "fewer than {count} waits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hours_of_refusals_lose_no_session_and_cost_few_requests() {
    let clock = ManualClock::default();
    let times = clock.clone();
    let server = Server::new(move |_, _| match times.monotonic() < MonoTime::from_origin(TWO_HOURS) {
        true => Reply::status(429, "{\"error\":{\"message\":\"slow down\"}}").header("retry-after", "600"),
        false => Reply::ok(ANSWER).header("content-type", "text/event-stream"),
    });
    let (waits, mut waited) = watch::channel(0);
    let inner = ProcessGovernor::new(Arc::new(clock.clone()), Arc::new(SeededIds::default()));
    let governor = Arc::new(Watched { governor: inner, waits });
    let mut policy = RetryPolicy::default();
    policy.rate_limit_patience = Duration::from_secs(6 * 3_600);
    let mut turns = Vec::new();
    for _ in 0..SESSIONS {
        let config = json!({"base_url": server.url("/v1"), "default_model": "m-1"});
        let mut kit = Kit::new(Vec::new()).module(OpenAiCompatible, config);
        kit.clock = clock.clone();
        let governor = Arc::clone(&governor) as Arc<dyn Governor>;
        let mut bench = kit.build_with(|builder| builder.retry(policy.clone()).governor(governor));
        turns.push(tokio::spawn(async move { bench.driver.turn("hi".into()).await }));
    }
    reaches(&mut waited, SESSIONS).await;
    let first = server.seen().len();
    assert!((1..=SESSIONS).contains(&first), "{first}");
    let probes = (TWO_HOURS.as_secs() / WAIT.as_secs()) as usize - 1;
    for probe in 1..=probes {
        clock.advance(WAIT);
        reaches(&mut waited, SESSIONS + probe).await;
        assert_eq!(server.seen().len(), first + probe, "one looks, the others wait");
    }
    clock.advance(WAIT);
    for turn in turns {
        let turn = tokio::time::timeout(Duration::from_secs(20), turn).await.expect("a turn ends");
        assert_eq!(turn.unwrap().unwrap().text, "at last");
    }
    assert_eq!(server.seen().len(), first + probes + SESSIONS, "nothing was asked twice");
}

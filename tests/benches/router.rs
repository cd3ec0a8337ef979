//! How fast events reach their readers; started by `cargo xtask bench router`.
//!
//! Prints one JSON object a line, see [`kit::row`]. The number of runs is the first argument. The rival,
//! tokio's broadcast of a freshly allocated `Arc` of the same event, is measured in the same run, turn by
//! turn. All on one core, where what is measured is work and not the scheduler of the system.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark measures real time, and a failure shall stop it"
)]

#[allow(dead_code, reason = "the kit is of those that spawn too")]
mod kit;

use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_core::{Clock, CustomName, EventId, Ids, NewEvent, Payload, SessionEvent};
use amplifier_foundation::EventRouter;
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::router::{Delivery, Subscription};
use kit::Wanted::{AtLeast, AtMost, Nothing};
use kit::row;
use tokio::sync::broadcast;

/// Events that are emitted before the readers have their turn: fewer than either side holds for them.
const BURST: usize = 512;
/// Deliveries that are timed together.
const DELIVERIES: usize = 400_000;
/// Names, each with one subscriber.
const NAMES: usize = 1_000;
/// Events whose way is timed one by one.
const LATENCIES: usize = 20_000;

fn main() {
    let runs = std::env::args().find_map(|arg| arg.parse().ok()).unwrap_or(15);
    let only: Option<String> = std::env::args().skip(1).find(|arg| arg.starts_with(char::is_alphabetic));
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let one_core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_core.block_on(async {
        if wanted("everything") {
            for (readers, least) in [(1, 0.8), (10, 1.2), (100, 2.0)] {
                everything(runs, readers, least).await;
            }
        }
        if wanted("names") {
            names(runs).await;
        }
        if wanted("latency") {
            latency(runs).await;
        }
    });
}

fn router() -> EventRouter {
    EventRouter::in_memory(Arc::new(SystemClock::new()), Arc::new(RandomIds::new()), "/project")
}

/// What the rival sends: the same event, made anew each time with its id and time, in an `Arc` of its own.
struct Rival {
    clock: SystemClock,
    ids: RandomIds,
    scope: Arc<str>,
    sender: broadcast::Sender<Arc<SessionEvent>>,
}

impl Rival {
    fn new() -> Self {
        let (clock, ids, sender) = (SystemClock::new(), RandomIds::new(), broadcast::Sender::new(1_024));
        Self { clock, ids, scope: "/project".into(), sender }
    }

    fn send(&self, name: &CustomName, payload: &Payload) {
        let event = NewEvent::custom(name.clone(), payload.clone());
        let now = self.clock.now();
        let id = EventId(self.ids.v7(now));
        let event = SessionEvent::seal(event, id, None, Arc::clone(&self.scope), now);
        assert!(self.sender.send(Arc::new(event)).is_ok());
    }
}

fn payload() -> Payload {
    Payload::from(serde_json::json!({"status": "failed", "issue": 17}))
}

async fn read(subscription: &mut Subscription) -> Arc<SessionEvent> {
    match subscription.next().await {
        Some(Delivery::Event(event)) => event,
        other => panic!("{other:?}"),
    }
}

/// All of them subscribe to everything: deliveries a second.
async fn everything(runs: usize, readers: usize, least: f64) {
    let (name, payload) = (CustomName::new("build:done").unwrap(), payload());
    let rounds = (DELIVERIES / BURST / readers).max(4);
    let deliveries = (rounds * BURST * readers) as f64;
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let router = router();
        let mut subscriptions: Vec<_> = (0..readers).map(|_| router.subscribe("*").unwrap()).collect();
        let began = Instant::now();
        for _ in 0..rounds {
            for _ in 0..BURST {
                router.emit(name.clone(), payload.clone()).await.unwrap();
            }
            for subscription in &mut subscriptions {
                for _ in 0..BURST {
                    read(subscription).await;
                }
            }
        }
        ours.push(deliveries / began.elapsed().as_secs_f64());
        let rival = Rival::new();
        let mut receivers: Vec<_> = (0..readers).map(|_| rival.sender.subscribe()).collect();
        let began = Instant::now();
        for _ in 0..rounds {
            for _ in 0..BURST {
                rival.send(&name, &payload);
            }
            for receiver in &mut receivers {
                for _ in 0..BURST {
                    receiver.recv().await.unwrap();
                }
            }
        }
        theirs.push(deliveries / began.elapsed().as_secs_f64());
        ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
    }
    let what = |text: &str| format!("{text}, {readers} subscribers of everything");
    row(&what("deliveries"), "per s", Nothing, &ours[1..]);
    row(&what("rival: broadcast"), "per s", Nothing, &theirs[1..]);
    row(&what("against broadcast"), "times", AtLeast(least), &ratios[1..]);
}

/// A thousand subscribers, each to one of a thousand names. The rival's receivers look at the name.
async fn names(runs: usize) {
    let payload = payload();
    let names: Vec<_> = (0..NAMES).map(|n| CustomName::new(format!("work:item-{n}")).unwrap()).collect();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let router = router();
        let mut subscriptions: Vec<_> =
            names.iter().map(|name| router.subscribe(name.as_str()).unwrap()).collect();
        let rounds = 100;
        let began = Instant::now();
        for _ in 0..rounds {
            for name in &names {
                router.emit(name.clone(), payload.clone()).await.unwrap();
            }
            for subscription in &mut subscriptions {
                read(subscription).await;
            }
        }
        ours.push((rounds * NAMES) as f64 / began.elapsed().as_secs_f64());
        let rival = Rival::new();
        let mut receivers: Vec<_> = names.iter().map(|name| (name, rival.sender.subscribe())).collect();
        let rounds = 2;
        let began = Instant::now();
        for _ in 0..rounds {
            for name in &names {
                rival.send(name, &payload);
            }
            for (name, receiver) in &mut receivers {
                let mut found = 0;
                for _ in 0..NAMES {
                    let event = receiver.recv().await.unwrap();
                    found += usize::from(event.event_type.name() == name.as_str());
                }
                assert_eq!(found, 1);
            }
        }
        theirs.push((rounds * NAMES) as f64 / began.elapsed().as_secs_f64());
        ratios.push(ours[ours.len() - 1] / theirs[theirs.len() - 1]);
    }
    row("events, 1,000 subscribers to one of 1,000 names each", "per s", Nothing, &ours[1..]);
    row("rival: broadcast, receivers filter", "per s", Nothing, &theirs[1..]);
    row("names against broadcast", "times", AtLeast(120.0), &ratios[1..]);
}

/// From the call of `emit` until a reader in another task of the same worker has the event.
async fn latency(runs: usize) {
    let (name, payload) = (CustomName::new("build:done").unwrap(), payload());
    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    for _ in 0..=runs {
        let router = router();
        let mut subscription = router.subscribe("build:done").unwrap();
        let (sent, mut times) = (Arc::new(std::sync::Mutex::new(Instant::now())), Vec::new());
        let reading = {
            let sent = Arc::clone(&sent);
            tokio::spawn(async move {
                for _ in 0..LATENCIES {
                    read(&mut subscription).await;
                    times.push(sent.lock().unwrap().elapsed());
                }
                times
            })
        };
        tokio::task::yield_now().await;
        for _ in 0..LATENCIES {
            *sent.lock().unwrap() = Instant::now();
            router.emit(name.clone(), payload.clone()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut times: Vec<Duration> = reading.await.unwrap();
        times.sort_unstable();
        let micros = |at: usize| times[at].as_secs_f64() * 1e6;
        medians.push(micros(LATENCIES / 2));
        tails.push(micros(LATENCIES * 99 / 100));
    }
    row("emit to receive on one worker: p50", "µs", AtMost(0.5), &medians[1..]);
    row("emit to receive on one worker: p99", "µs", AtMost(1.0), &tails[1..]);
}

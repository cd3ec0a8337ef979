//! How fast events reach their readers.
//!
//! The rival, tokio's broadcast of a freshly allocated `Arc` of the same event, is measured in the same run, turn by
//! turn. All on one thread, where what is measured is work and not the scheduler of the system: rates are by
//! the time that the thread worked, and a run is the median of short passes.

use std::sync::Arc;
use std::time::Instant;

use amplifier_core::{Clock, CustomName, EventId, Ids, NewEvent, Payload, SessionEvent};
use amplifier_foundation::EventRouter;
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::router::{Delivery, Subscription};
use amplifier_foundation::store::LOG_CAPACITY;
use nix::time::ClockId;
use tokio::sync::broadcast;

use crate::kit::Wanted::{AtLeast, AtMost, Nothing};
use crate::kit::{Call, Rival, row, with_ratios};

/// Events that are emitted before the readers have their turn: fewer than either side holds for them.
const BURST: usize = 512;
/// Deliveries that are timed together: some milliseconds.
const DELIVERIES: usize = 100_000;
/// Passes of a run.
const PASSES: usize = 11;
/// Names, each with one subscriber.
const NAMES: usize = 1_000;
/// How often our subscribers get their event, while the rival's get it once.
const NAME_ROUNDS: usize = 50;
/// Events whose way is timed one by one.
const LATENCIES: usize = 20_000;

pub(crate) fn measure(call: &Call) {
    let runs = call.runs;
    let one_core = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    one_core.block_on(async {
        if call.wants("everything") {
            for (readers, least) in [(1, 0.8), (10, 1.2), (100, 2.0)] {
                everything(runs, readers, least).await;
            }
        }
        if call.wants("names") {
            names(runs).await;
        }
        if call.wants("latency") {
            latency(runs).await;
        }
    });
}

fn router() -> EventRouter {
    EventRouter::in_memory(Arc::new(SystemClock::new()), Arc::new(RandomIds::new()), "/project")
}

/// What the rival sends: the same event, made anew each time with its id and time, in an `Arc` of its own.
struct Broadcast {
    clock: SystemClock,
    ids: RandomIds,
    scope: Arc<str>,
    sender: broadcast::Sender<Arc<SessionEvent>>,
}

impl Broadcast {
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

    async fn burst(&self, readers: &mut [Receiver], name: &CustomName, payload: &Payload) {
        for _ in 0..BURST {
            self.send(name, payload);
        }
        for receiver in readers {
            for _ in 0..BURST {
                receiver.recv().await.unwrap();
            }
        }
    }
}

type Receiver = broadcast::Receiver<Arc<SessionEvent>>;

/// The time that this thread has worked, in seconds. Nothing here sleeps, so on a machine that has nothing
/// else to do it is the time on the wall; on one that has, it leaves out what others did.
fn worked() -> f64 {
    std::time::Duration::from(ClockId::CLOCK_THREAD_CPUTIME_ID.now().unwrap()).as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
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

/// A router and those who read everything from it.
struct Ours {
    router: EventRouter,
    subscriptions: Vec<Subscription>,
}

impl Ours {
    /// One that has run for a while: its log is full, and what it holds has its memory.
    async fn new(filter: &str, readers: usize, name: &CustomName, payload: &Payload) -> Self {
        let router = router();
        let subscriptions = (0..readers).map(|_| router.subscribe(filter).unwrap()).collect();
        let mut ours = Self { router, subscriptions };
        for _ in 0..=LOG_CAPACITY / BURST {
            ours.burst(name, payload).await;
        }
        ours
    }

    async fn burst(&mut self, name: &CustomName, payload: &Payload) {
        for _ in 0..BURST {
            self.router.emit(name.clone(), payload.clone()).await.unwrap();
        }
        for subscription in &mut self.subscriptions {
            for _ in 0..BURST {
                read(subscription).await;
            }
        }
    }
}

/// All of them subscribe to everything: deliveries a second. A run is the median of short passes, ours
/// and the rival's by turns: what else the machine does meanwhile falls upon some of them.
async fn everything(runs: usize, readers: usize, least: f64) {
    let (name, payload) = (CustomName::new("build:done").unwrap(), payload());
    let rounds = (DELIVERIES / BURST / readers).max(2);
    let deliveries = (rounds * BURST * readers) as f64;
    let mut router = Ours::new("*", readers, &name, &payload).await;
    let rival = Broadcast::new();
    let mut receivers: Vec<_> = (0..readers).map(|_| rival.sender.subscribe()).collect();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let (mut of_router, mut of_rival, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..PASSES {
            let began = worked();
            for _ in 0..rounds {
                router.burst(&name, &payload).await;
            }
            let took = worked() - began;
            let began = worked();
            for _ in 0..rounds {
                rival.burst(&mut receivers, &name, &payload).await;
            }
            let of_other = worked() - began;
            of_router.push(deliveries / took);
            of_rival.push(deliveries / of_other);
            times.push(of_other / took);
        }
        ours.push(median(of_router));
        theirs.push(median(of_rival));
        ratios.push(median(times));
    }
    let rival = Rival { what: "tokio broadcast", runs: &theirs[1..], wanted: AtLeast(least) };
    let what = format!("deliveries, {readers} subscribers of everything");
    with_ratios(&what, "per s", (Nothing, &ours[1..]), &rival, &ratios[1..]);
}

/// A thousand subscribers, each to one of a thousand names. The rival's receivers look at the name.
async fn names(runs: usize) {
    let payload = payload();
    let names: Vec<_> = (0..NAMES).map(|n| CustomName::new(format!("work:item-{n}")).unwrap()).collect();
    let router = router();
    let mut subscriptions: Vec<_> =
        names.iter().map(|name| router.subscribe(name.as_str()).unwrap()).collect();
    let rival = Broadcast::new();
    let mut receivers: Vec<_> = names.iter().map(|name| (name, rival.sender.subscribe())).collect();
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let (mut of_router, mut of_rival, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..PASSES {
            let began = worked();
            for _ in 0..NAME_ROUNDS {
                names_of_router(&router, &mut subscriptions, &names, &payload).await;
            }
            let took = (worked() - began) / (NAME_ROUNDS * NAMES) as f64;
            let began = worked();
            names_of_rival(&rival, &mut receivers, &names, &payload).await;
            let of_other = (worked() - began) / NAMES as f64;
            of_router.push(1.0 / took);
            of_rival.push(1.0 / of_other);
            times.push(of_other / took);
        }
        ours.push(median(of_router));
        theirs.push(median(of_rival));
        ratios.push(median(times));
    }
    let what = "events, 1,000 subscribers to one of 1,000 names each";
    let rival = Rival {
        what: "tokio broadcast, receivers look at the name",
        runs: &theirs[1..],
        wanted: AtLeast(120.0),
    };
    with_ratios(what, "per s", (Nothing, &ours[1..]), &rival, &ratios[1..]);
}

async fn names_of_router(
    router: &EventRouter,
    subscriptions: &mut [Subscription],
    names: &[CustomName],
    payload: &Payload,
) {
    for name in names {
        router.emit(name.clone(), payload.clone()).await.unwrap();
    }
    for subscription in subscriptions {
        read(subscription).await;
    }
}

async fn names_of_rival(
    rival: &Broadcast,
    receivers: &mut [(&CustomName, Receiver)],
    names: &[CustomName],
    payload: &Payload,
) {
    for name in names {
        rival.send(name, payload);
    }
    for (name, receiver) in receivers {
        let mut found = 0;
        for _ in 0..NAMES {
            let event = receiver.recv().await.unwrap();
            found += usize::from(event.event_type.name() == name.as_str());
        }
        assert_eq!(found, 1);
    }
}

/// From the call of `emit` until a reader in another task of the same worker has the event; reading the
/// clock is part of it. A run is the median of its passes. The first pass of a router is told apart: there
/// the log still grows, and the system gives it memory page by page.
async fn latency(runs: usize) {
    let (name, payload) = (CustomName::new("build:done").unwrap(), payload());
    let (mut medians, mut tails, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let router = router();
        fresh.push(times(&router, &name, &payload).await[LATENCIES * 99 / 100]);
        let (mut p50, mut p99) = (Vec::new(), Vec::new());
        for _ in 0..PASSES {
            let times = times(&router, &name, &payload).await;
            p50.push(times[LATENCIES / 2]);
            p99.push(times[LATENCIES * 99 / 100]);
        }
        medians.push(median(p50));
        tails.push(median(p99));
    }
    row("emit to receive on one worker: p50", "µs", AtMost(0.5), &medians[1..]);
    row("emit to receive on one worker: p99", "µs", AtMost(1.0), &tails[1..]);
    row("emit to receive while the log grows: p99", "µs", Nothing, &fresh[1..]);
}

/// The times of one pass, the shortest first, in microseconds.
async fn times(router: &EventRouter, name: &CustomName, payload: &Payload) -> Vec<f64> {
    let mut subscription = router.subscribe("build:done").unwrap();
    let (sent, mut times) = (Arc::new(std::sync::Mutex::new(Instant::now())), vec![0.0; LATENCIES]);
    let reading = {
        let sent = Arc::clone(&sent);
        tokio::spawn(async move {
            for time in &mut times {
                read(&mut subscription).await;
                *time = sent.lock().unwrap().elapsed().as_secs_f64() * 1e6;
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
    let mut times = reading.await.unwrap();
    times.sort_by(f64::total_cmp);
    times
}

//! What must be found: each promise is broken on purpose, and the campaigns have to say so.
//!
//! Without fsyncs what was acknowledged is not on the disk; acknowledged before the commit it is not in the
//! database; without the count of what was missed a slow reader's events are gone. A control that finds no
//! loss is a violation: it would find none elsewhere either.
//! Never here: a fault of the product.

use std::time::Instant;

use amplifier_foundation::router::{Delivery, EventRouter};
use serde_json::json;

use super::points::{Point, Wanted, can_trace};
use super::power::{self, Fsyncs};
use super::{Report, Violation, store, turns};
use crate::clock::ManualClock;
use crate::ids::SeededIds;

/// What a slow reader says of what it did not get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lag {
    /// It counts it.
    Counted,
    /// It does not.
    Dropped,
}

/// Moments at which the power is lost.
const MOMENTS: usize = 6;
/// Events that are emitted while nobody reads: more than a subscription keeps.
const EVENTS: u64 = 40_000;

/// Breaks each promise once.
pub async fn all(seed: u64) -> Report {
    let began = Instant::now();
    if let Err(why) = can_trace() {
        return Report::skipped("controls", why);
    }
    let mut report = Report::of("controls: each loss must be found");
    let found = [
        ("with no fsync", without_fsync(seed)),
        ("a session with no fsync", session_without_fsync(seed)),
        ("acknowledged before the commit", acknowledged_early()),
        ("acknowledged before the commit, the power lost", power_lost_early(seed)),
        ("without the count of what was missed", slow_reader(Lag::Dropped).await),
    ];
    report.of = found.len();
    for (what, losses) in found {
        report.tried += 1;
        report.hit += usize::from(losses > 0);
        if losses == 0 {
            let flaws = vec!["no loss was found where there is one".to_owned()];
            report.violations.push(Violation { at: what.to_owned(), flaws, kept: None });
        }
        report.checked.push_str(&format!("{what}: {losses} losses found; "));
    }
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// Losses that are found where no fsync reaches the disk.
pub fn without_fsync(seed: u64) -> usize {
    losses(&power::lose(Fsyncs::Dropped, "honestly", Wanted::Some(MOMENTS), seed, |_, _| {}))
}

/// The same of the turns of a session.
pub fn session_without_fsync(seed: u64) -> usize {
    losses(&turns::lose(Fsyncs::Dropped, Wanted::Some(MOMENTS), seed, |_, _| {}))
}

/// Losses that are found where the power is lost behind an acknowledgement that came before its commit.
pub fn power_lost_early(seed: u64) -> usize {
    losses(&power::lose(Fsyncs::Made, "early", Wanted::Some(MOMENTS), seed, |_, _| {}))
}

/// The same where the process is killed.
fn acknowledged_early() -> usize {
    let mut losses = 0;
    for n in [40, 150, 300] {
        let (folder, told, _) = store::killed_at(&Point { call: "pwrite64".to_owned(), n }, "early");
        losses += store::judged(folder.path(), &told).iter().filter(|flaw| is_loss(flaw)).count();
    }
    losses
}

/// Points at which something is lost. The remains are expected, and not kept.
fn losses(report: &Report) -> usize {
    for violation in &report.violations {
        violation.kept.iter().for_each(|kept| drop(std::fs::remove_dir_all(kept)));
    }
    report.violations.iter().filter(|one| one.flaws.iter().any(is_loss)).count()
}

fn is_loss(flaw: impl AsRef<str>) -> bool {
    flaw.as_ref().starts_with("Lost")
}

/// Events that a reader who is too slow neither got nor was told of.
pub async fn slow_reader(lag: Lag) -> usize {
    let (clock, ids) = (ManualClock::new(), SeededIds::new(1));
    let router = EventRouter::in_memory(std::sync::Arc::new(clock), std::sync::Arc::new(ids), "/p");
    let mut reader = router.subscribe("work:done").unwrap();
    for n in 0..EVENTS {
        router.emit("work:done", json!({"n": n})).await.unwrap();
    }
    router.close();
    let (mut got, mut missing) = (0, 0);
    while let Some(delivery) = reader.next().await {
        match delivery {
            Delivery::Event(_) => got += 1,
            Delivery::Lagged { missed, .. } if lag == Lag::Counted => missing += missed,
            _ => {}
        }
    }
    usize::try_from(EVENTS - got - missing).unwrap()
}

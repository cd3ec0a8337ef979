//! Background sessions whose process is killed at a system call or at random, or whose disk fails for a while.
//!
//! A sample each time; all points with `AMPLIFIER_CRASH_POINTS=all`, or `cargo xtask crash`, which also kills
//! 1,000 times and lets 100 times one of two processes hang. The points need `strace`, and the right to trace one's own children.

use std::time::Duration;

use amplifier_core::{Activation, RunId, SessionEvent, SessionId};
use amplifier_foundation::store::{ActivationId, Commit, OwnerId, RunState, Store, Write};
use amplifier_tests::crash::Report;
use amplifier_tests::crash::background::{EACH, Side, fail_for_a_while, faults, kill_at_points, live};
use amplifier_tests::crash::fleet::{Place, Seen};
use amplifier_tests::crash::hangs::hang;
use amplifier_tests::crash::kills::{Owner, kill};
use amplifier_tests::crash::points::{Wanted, can_trace};
use amplifier_tests::crash::verdict::flaws;
use amplifier_tests::{on_disk, process, skipped};

/// Points of each side that are tried unless more are asked for.
const SAMPLE: usize = 8;
/// Faults of the disk.
const FAULTS: usize = 5;
/// Kills at random.
const KILLS: usize = 25;
/// Times in which a process hangs past its lease and something is taken over from it.
const HANGS: usize = 3;

/// False if nothing was tried. Whatever was wrong fails the test.
fn sound(test: &str, report: &Report) -> bool {
    if let Some(why) = &report.skipped {
        skipped(test, why);
        return false;
    }
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    eprintln!("{report:?}");
    true
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_call_on_the_database_every_firing_has_its_outcome() {
    let report = kill_at_points(Side::Database, Wanted::from_env(SAMPLE), |_| {}).await;
    if sound("killed_at_any_call_on_the_database", &report) {
        assert!(report.of > 500, "{} calls are too few to be the workload's", report.of);
        assert!(report.hit * 2 > report.tried && report.acknowledged > 0, "{report:?}");
        assert!(report.acknowledged < report.tried * 2 * EACH, "none was cut off before all was fired");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_call_on_its_files_every_firing_has_its_outcome() {
    let report = kill_at_points(Side::Files, Wanted::from_env(SAMPLE), |_| {}).await;
    if sound("killed_at_any_call_on_its_files", &report) {
        assert!(report.of > 300, "{} calls are too few to be the workload's", report.of);
        assert!(report.hit * 2 > report.tried && report.acknowledged > 0, "{report:?}");
    }
}

/// What no order of crashes explains is found: each of these is put into what an honest life has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_lost_twice_or_left_is_found_out() {
    if let Err(why) = can_trace() {
        return skipped("what_is_lost_twice_or_left", why);
    }
    let life = live(Side::Files, None);
    assert_eq!(life.judged().await.0, Vec::<String>::new(), "an honest life");
    let place = Place::in_folder(life.folder.path());
    let store = on_disk::shared(&place.store().unwrap(), &OwnerId::new("cheat").unwrap());
    let seen = Seen::read(&store).await.unwrap();
    let row = seen.runs["react"].iter().find(|row| row.state == RunState::Completed).unwrap();
    let twice = seen.named("react:done").next().unwrap();
    let (again, left) = (RunId::new("react:log:2:again").unwrap(), SessionId::new("left").unwrap());
    let of = ActivationId::new(left.clone(), Activation::FIRST);
    let owner = OwnerId::new("nobody").unwrap();
    let (queue, payload) = (row.queue.clone(), row.payload.clone());
    let cheats = [
        Write::Enqueue { run: again, queue, trigger: None, payload, priority: 0, delay: Duration::ZERO },
        Write::Append(Box::new(SessionEvent::clone(twice))),
        Write::Open { of, owner, parent: None, root: left, bundle: None },
    ];
    let commit = cheats.into_iter().fold(Commit::new(), Commit::write);
    let _ = store.commit(commit).await.unwrap();
    drop(store);
    let mut told = life.told.clone();
    told.hear(&["run hand 99 hand:call:1:forgotten".to_owned(), "event emit 99 0".to_owned()]);
    let (flaws, _) = flaws(&place, &told).await;
    let event = twice.id.to_string();
    for what in [
        "the acknowledged run hand:call:1:forgotten is not there",
        "the acknowledged event 0 is not there",
        "run react:log:2:again is left queued",
        "react answers an event twice",
        "react: Counts",
        "told done 2 and failed 0",
        &format!("event {event} is there twice"),
        "session left has no outcome",
    ] {
        assert!(flaws.iter().any(|flaw| flaw.contains(what)), "{what}: {flaws:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_for_a_while_loses_no_firing_and_the_same_process_goes_on() {
    let report = fail_for_a_while(&faults(FAULTS), |_| {}).await;
    if sound("a_disk_that_fails_for_a_while", &report) {
        assert_eq!(report.hit, FAULTS, "each was met");
        assert_eq!(report.acknowledged, FAULTS * 2 * EACH, "all was acknowledged in the end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_at_random_every_firing_has_its_outcome() {
    process::amplifier();
    let report = kill(Owner::Library, KILLS, 1, |_| {}).await;
    assert!(sound("killed_again_and_again", &report));
    assert!(report.tried == KILLS && report.hit > 0 && report.acknowledged > 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_past_its_lease_and_woken_again_and_again_every_firing_has_its_outcome() {
    let report = hang(HANGS, 1, |_| {}).await;
    assert!(sound("stopped_past_its_lease", &report));
    assert!(report.hit == HANGS && report.acknowledged > 0, "{report:?}");
}

//! Background sessions whose process is killed at a system call or at random, or whose disk fails for a while.
//!
//! A sample each time; all points with `AMPLIFIER_CRASH_POINTS=all`, or `cargo xtask crash`, which also kills
//! 1,000 times. The points need `strace`, and the right to trace one's own children.

use amplifier_tests::crash::Report;
use amplifier_tests::crash::background::{EACH, Side, fail_for_a_while, faults, kill_at_points};
use amplifier_tests::crash::kills::{Owner, kill};
use amplifier_tests::crash::points::Wanted;
use amplifier_tests::{process, skipped};

/// Points of each side that are tried unless more are asked for.
const SAMPLE: usize = 8;
/// Faults of the disk.
const FAULTS: usize = 4;
/// Kills at random.
const KILLS: usize = 25;

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

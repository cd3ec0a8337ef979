//! A process that writes to a store is killed at a system call, or its disk fails, and another one looks.
//!
//! The calls are those on the database's files, counted by a run that nobody disturbs. By default some
//! of them are tried, spread over all; with `AMPLIFIER_CRASH_POINTS=all`, or a number, as many. Needs
//! `strace`, and the right to trace one's own children.

use amplifier_tests::crash::controls::{
    Lag, power_lost_early, session_without_fsync, slow_reader, without_fsync,
};
use amplifier_tests::crash::points::{Point, Wanted, can_trace};
use amplifier_tests::crash::power::{self, Fsyncs};
use amplifier_tests::crash::store::{EACH, WRITERS, flaws, kill_at_points, killed_at, plain, traced, work};
use amplifier_tests::crash::turns;
use amplifier_tests::history::Flaw;
use amplifier_tests::skipped;

/// Points that are tried unless more are asked for.
const SAMPLE: usize = 32;

fn traces(test: &str) -> bool {
    let can = can_trace();
    if let Err(why) = can {
        skipped(test, why);
    }
    can.is_ok()
}

#[tokio::test]
async fn killed_at_any_call_nothing_that_was_acknowledged_is_lost_and_nothing_is_half() {
    if !traces("killed_at_any_call") {
        return;
    }
    let report = kill_at_points(Wanted::from_env(SAMPLE), |_, _| {}).await;
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    let (of, tried, hit) = (report.of, report.tried, report.hit);
    assert!(of > 500 && tried > 10, "{of} calls are too few to be the workload's");
    eprintln!("{hit} of {tried} points hit, of {of}; {} operations acknowledged", report.acknowledged);
    // Batches differ from run to run, so the last calls of one may not come in another.
    assert!(hit * 2 > tried, "only {hit} of {tried} runs were cut off");
    assert!((1..tried * EACH * WRITERS.len()).contains(&report.acknowledged));
}

#[tokio::test]
async fn an_acknowledgement_before_the_commit_is_found_out() {
    if !traces("an_acknowledgement_before_the_commit") {
        return;
    }
    let mut found = Vec::new();
    for n in [40, 150, 300] {
        let (folder, told, killed) = killed_at(&Point { call: "pwrite64".to_owned(), n }, "early");
        assert!(killed);
        found.extend(flaws(folder.path(), &told).await);
    }
    assert!(found.iter().any(|flaw| matches!(flaw, Flaw::Lost(_))), "{found:?}");
}

#[tokio::test]
async fn a_worker_that_cheats_is_found_out() {
    let lost = |flaw: &Flaw| matches!(flaw, Flaw::Lost(what) if what.contains("/60.0"));
    let twice = |flaw: &Flaw| matches!(flaw, Flaw::Differs(what, ..) if what.contains("/60.0"));
    let half = |flaw: &Flaw| matches!(flaw, Flaw::Lost(what) | Flaw::Unasked(what) if what.contains("/66."));
    let order = |flaw: &Flaw| matches!(flaw, Flaw::Differs(what, ..) if what.contains("/61.0"));
    type Sees = dyn Fn(&Flaw) -> bool;
    let cheats: [(&str, &Sees); 4] =
        [("forgets:60", &lost), ("twice:60", &twice), ("half:66", &half), ("swaps:60", &order)];
    for (how, expect) in cheats {
        let folder = tempfile::tempdir().unwrap();
        let (told, _) = work(plain(), folder.path(), how);
        let flaws = flaws(folder.path(), &told).await;
        assert!(flaws.iter().any(expect), "{how}: {flaws:#?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let (told, _) = work(plain(), folder.path(), "honestly");
    assert_eq!(flaws(folder.path(), &told).await, [], "and an honest one is not");
    assert_eq!(told.total(), EACH * WRITERS.len());
}

/// Moments at which the power is lost, unless more are asked for.
const LOSSES: usize = 8;

#[test]
fn the_power_lost_at_any_acknowledgement_loses_nothing_of_what_was_acknowledged() {
    if !traces("the_power_lost_at_any_acknowledgement") {
        return;
    }
    let report = power::lose(Fsyncs::Made, "honestly", Wanted::from_env(LOSSES), 1, |_, _| {});
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert_eq!(report.of, EACH * WRITERS.len(), "each operation was acknowledged");
    assert!(report.tried >= LOSSES && report.acknowledged > LOSSES, "{report:?}");
}

#[test]
fn the_power_lost_at_any_moment_of_a_session_takes_nothing_that_was_promised_and_it_goes_on() {
    if !traces("the_power_lost_at_any_moment_of_a_session") {
        return;
    }
    let report = turns::lose(Fsyncs::Made, Wanted::from_env(LOSSES), 1, |_, _| {});
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.tried >= LOSSES && report.acknowledged > LOSSES, "{report:?}");
}

#[test]
fn a_loss_of_power_without_fsyncs_is_found_out() {
    if !traces("a_loss_of_power_without_fsyncs") {
        return;
    }
    assert!(without_fsync(1) > 0, "nothing was made durable, and nothing is missed");
    assert!(session_without_fsync(1) > 0, "no turn was made durable, and none is missed");
    assert!(power_lost_early(1) > 0, "acknowledged before it was durable, and nothing is missed");
}

#[tokio::test]
async fn a_slow_reader_that_drops_the_count_of_what_it_missed_is_found_out() {
    assert_eq!(slow_reader(Lag::Counted).await, 0, "an honest one is not");
    assert!(slow_reader(Lag::Dropped).await > 0);
}

/// The kinds of errors that a worker met, which carries on until each operation is there.
async fn failing(inject: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (told, killed) = work(traced(folder.path(), Some(inject)), folder.path(), "honestly");
    assert!(!killed && told.others.iter().any(|line| line == "end"), "{inject}: {:?}", told.others);
    assert_eq!(told.total(), EACH * WRITERS.len(), "{inject}");
    let flaws = flaws(folder.path(), &told).await;
    assert!(flaws.is_empty(), "{inject}: {flaws:#?}");
    let kinds = told.others.iter().filter_map(|line| line.strip_prefix("error "));
    kinds.map(|line| line.split(' ').skip(2).collect::<Vec<_>>().join(" ")).collect()
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_is_told_and_loses_nothing() {
    if !traces("a_disk_that_is_full_for_a_while") {
        return;
    }
    for n in [25, 200, 555] {
        let errors = failing(&format!("pwrite64:error=ENOSPC:when={n}..{}", n + 6)).await;
        assert!(!errors.is_empty(), "no call failed");
        assert!(errors.iter().all(|error| error.starts_with("Full:")), "{errors:#?}");
    }
}

#[tokio::test]
async fn a_disk_that_fails_for_a_while_is_told_and_loses_nothing() {
    if !traces("a_disk_that_fails_for_a_while") {
        return;
    }
    let mut injects: Vec<String> =
        [30, 400].map(|n| format!("pwrite64:error=EIO:when={n}..{}", n + 4)).into();
    injects.extend([2, 20, 61].map(|n| format!("fsync,fdatasync:error=EIO:when={n}..{}", n + 2)));
    for inject in injects {
        let errors = failing(&inject).await;
        assert!(!errors.is_empty(), "{inject}: no call failed");
        // `Full`: SQLite does not say why the shared memory beside its log cannot grow.
        let kinds = ["Backend:", "InDoubt:", "Full:"];
        let typed = |error: &String| kinds.iter().any(|kind| error.starts_with(kind));
        assert!(errors.iter().all(typed), "{inject}: {errors:#?}");
    }
}

//! The built `foreman`'s daemon, killed again and again while workers are at work.
//!
//! A few times each time; `cargo xtask crash --only foreman` kills 200 times.

use amplifier_tests::crash::foreman::{fill_disk, kill};
use amplifier_tests::process;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_again_and_again_each_issue_is_completed_once_in_an_order_that_its_dependencies_allow() {
    process::amplifier();
    process::foreman();
    let report = kill(8, 4, 7, |_| {}).await;
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert_eq!((report.tried, report.acknowledged), (4, 8), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_no_issue_and_repeats_none() {
    process::amplifier();
    process::foreman();
    for from in [30, 60] {
        let report = fill_disk(8, from, 3).await;
        if let Some(why) = &report.skipped {
            eprintln!("skipped: {why}");
            return;
        }
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        assert_eq!((report.hit, report.acknowledged), (1, 8), "{report:?}");
    }
}

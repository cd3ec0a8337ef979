//! Files of every format that are flipped, cut and overwritten, and what the built programs make of them.
//!
//! A few of each every time; `cargo xtask crash --only damage` tries 40 of each.

use amplifier_tests::crash::damage::damage_all;
use amplifier_tests::process;

/// Damages of each format.
const EACH: usize = 2;

#[test]
fn a_damaged_file_is_no_panic_no_hang_and_no_silent_loss() {
    process::amplifier();
    process::foreman();
    let report = damage_all(EACH, 1, |_, _| {});
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    assert!(report.tried == report.of && report.tried >= EACH * 14, "{report:?}");
}

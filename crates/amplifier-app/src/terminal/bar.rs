//! A bar for what takes longer than a second.
//!
//! Guarantees: nothing is shown in the first second, where stderr is no terminal, or where decoration is off; the bar is
//! gone when it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Style;

/// How long something may take before there is a bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is drawn anew.
const DRAWN_EVERY: Duration = Duration::from_millis(120);

/// The bar of one task of known steps. Dropped, it is gone.
#[derive(Debug)]
pub struct Bar {
    bar: Option<ProgressBar>,
    shown: AtomicBool,
}

impl Bar {
    /// For a task of so many steps.
    pub fn begin(what: &str, steps: usize) -> Self {
        let bar = Style::stderr().is_decorated().then(|| {
            let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
            bar.with_style(style("{msg} [{bar:30}] {pos}/{len}")).with_message(what.to_owned())
        });
        Self { bar, shown: AtomicBool::new(false) }
    }

    /// One step is done.
    pub fn advance(&self) {
        let Some(bar) = &self.bar else { return };
        bar.inc(1);
        if bar.elapsed() >= PATIENCE && !self.shown.swap(true, Ordering::Relaxed) {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Shows that something goes on for as long as a future takes.
pub async fn during<T>(what: &str, clock: &dyn Clock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    if !Style::stderr().is_decorated() {
        return future.await;
    }
    if let Some(done) = until(future.as_mut(), clock.sleep(PATIENCE)).await {
        return done;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = bar.with_style(style("{spinner} {msg} ({elapsed})")).with_message(what.to_owned());
    bar.enable_steady_tick(DRAWN_EVERY);
    let done = future.await;
    bar.finish_and_clear();
    done
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

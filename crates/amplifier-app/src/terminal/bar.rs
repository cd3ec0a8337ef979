//! A bar for what takes longer than a second; one plain line where stderr is no terminal, decoration is off, or somebody
//! has the terminal.
//!
//! Guarantees: nothing is shown in the first second; the bar is gone when it ends; lines that are said meanwhile stand
//! above it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Lines, Style, hand_lines_to, is_taken, say};

/// How long something may take before there is a bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is drawn anew.
const DRAWN_EVERY: Duration = Duration::from_millis(120);

/// The bar of one task of known steps. Dropped, it is gone.
#[derive(Debug)]
pub struct Bar {
    /// Also where nothing is drawn: it knows the time.
    bar: ProgressBar,
    line: String,
    shown: AtomicBool,
}

impl Bar {
    /// For a task of so many steps.
    pub fn begin(what: &str, steps: usize) -> Self {
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::hidden());
        let bar = bar.with_style(style("{msg} [{bar:30}] {pos}/{len}")).with_message(what.to_owned());
        Self { bar, line: format!("{what}, {steps} in all …"), shown: AtomicBool::new(false) }
    }

    /// One step is done.
    pub fn advance(&self) {
        self.bar.inc(1);
        if self.bar.elapsed() < PATIENCE || self.shown.swap(true, Ordering::Relaxed) {
            return;
        }
        match Style::stderr().is_decorated() {
            true => self.bar.set_draw_target(ProgressDrawTarget::stderr()),
            false => say(&self.line),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows lines above a bar.
#[derive(Debug)]
struct Above(ProgressBar);

impl Lines for Above {
    fn line(&self, line: &str) {
        self.0.println(line);
    }
}

/// Has the lines of others shown above a bar until it is dropped, and the bar gone then.
struct Drawn(ProgressBar);

impl Drawn {
    fn begin(bar: ProgressBar) -> Self {
        hand_lines_to(Some(Arc::new(Above(bar.clone()))));
        Self(bar)
    }
}

impl Drop for Drawn {
    fn drop(&mut self) {
        hand_lines_to(None);
        self.0.finish_and_clear();
    }
}

/// Shows that something goes on for as long as a future takes.
pub async fn during<T>(what: &str, clock: &dyn Clock, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    if let Some(done) = until(future.as_mut(), clock.sleep(PATIENCE)).await {
        return done;
    }
    if !Style::stderr().is_decorated() || is_taken() {
        say(&format!("{what} …"));
        return future.await;
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let bar = bar.with_style(style("{spinner} {msg} ({elapsed})")).with_message(what.to_owned());
    bar.enable_steady_tick(DRAWN_EVERY);
    let _drawn = Drawn::begin(bar);
    future.await
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

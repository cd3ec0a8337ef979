//! The server's timer, by the clock of whoever runs it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, MonoTime};
use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Tells hyper the time.
#[derive(Debug, Clone)]
pub(super) struct ClockTimer {
    clock: Arc<dyn Clock>,
    /// hyper counts in instants: this one stands for `began`.
    base: Instant,
    began: MonoTime,
}

impl ClockTimer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let began = clock.monotonic();
        // Any instant would do; this is the one that hyper's own timer begins with.
        Self { clock, base: TokioTimer::new().now(), began }
    }
}

impl Timer for ClockTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Slept(Mutex::new(self.clock.sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let span = deadline.saturating_duration_since(self.base);
        Box::pin(Slept(Mutex::new(self.clock.sleep_until(self.began.saturating_add(span)))))
    }

    fn now(&self) -> Instant {
        let span = self.clock.monotonic().saturating_since(self.began);
        self.base.checked_add(span).unwrap_or(self.base)
    }
}

/// A wait. The lock is there because hyper wants it `Sync`; nobody ever waits for it.
struct Slept(Mutex<BoxFuture<'static, ()>>);

impl Future for Slept {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(cx)
    }
}

impl Sleep for Slept {}

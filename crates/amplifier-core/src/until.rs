//! A future with an end: what tokio's `select!` would do, without its macros.
//!
//! Types and no `async fn`s: those would keep each future twice, as argument and as local, and they
//! are nested so deep that a model call would take kilobytes.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

/// Runs `future` until it is done, or until `stop` is: then `None`, and the future
/// is dropped. If both are ready, the future wins.
pub fn until<F: Future, S: Future>(future: F, stop: S) -> Until<F, S> {
    let always: fn() -> bool = || true;
    until_free(future, stop, always)
}

/// Like [`until`], but `future` is dropped only between two polls after which `free` says that it may be.
pub fn until_free<F: Future, S: Future, P: Fn() -> bool>(future: F, stop: S, free: P) -> Until<F, S, P> {
    Until { future, stop, free, stopped: false }
}

pin_project! {
    /// See [`until`] and [`until_free`].
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Until<F, S, P = fn() -> bool> {
        #[pin]
        future: F,
        #[pin]
        stop: S,
        free: P,
        stopped: bool,
    }
}

impl<F: Future, S: Future, P: Fn() -> bool> Future for Until<F, S, P> {
    type Output = Option<F::Output>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Some(output));
        }
        if !*this.stopped {
            ready!(this.stop.poll(cx));
            *this.stopped = true;
        }
        if (this.free)() { Poll::Ready(None) } else { Poll::Pending }
    }
}

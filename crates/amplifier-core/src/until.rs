//! A future with an end: what tokio's `select!` would do, without its macros.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

/// Runs `future` until it is done, or until `stop` is: then `None`, and the future
/// is dropped. If both are ready, the future wins.
pub async fn until<F: Future, S: Future>(future: F, stop: S) -> Option<F::Output> {
    until_free(future, stop, || true).await
}

/// Like [`until`], but `future` is dropped only between two polls after which `free` says that it may be.
pub async fn until_free<F: Future, S: Future>(
    future: F,
    stop: S,
    free: impl Fn() -> bool,
) -> Option<F::Output> {
    let (mut future, mut stop) = (pin!(future), pin!(stop));
    let mut stopped = false;
    std::future::poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        stopped = stopped || stop.as_mut().poll(cx).is_ready();
        if stopped && free() { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

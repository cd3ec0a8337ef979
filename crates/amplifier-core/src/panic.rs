//! Panics of modules end at the kernel's border.
//!
//! Guarantees: [`caught`] polls a future and turns a panic inside it into its
//! message; the future is not polled again. It relies on unwinding, so no profile
//! may set `panic = "abort"`.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

/// Runs a future; `Err` holds the message of a panic inside it.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(message(panic.as_ref()))),
    })
    .await
}

/// The text of a panic.
pub fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

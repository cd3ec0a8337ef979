//! The attempts of one model call, and the waits before and between them.
//!
//! Guarantees: no call is sent while the governor holds its key back; a rate limit is no
//! attempt; all waits of a call together are bounded by its patience, in the time of the
//! session's clock; every wait is told, and ends when the session is asked to stop.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::TurnError;
use super::reserve::SetAside;
use super::retry::Retry;
use crate::approval::{NoticeLevel, Shown};
use crate::clock::MonoTime;
use crate::event::EventType;
use crate::governor::{Governor, Pass, Permit, Verdict};
use crate::module::provider::{
    ChatRequest, ChatResponse, Provider, ProviderError, ProviderErrorKind, ProviderInfo,
};
use crate::session::Core;
use crate::until::until;

impl Core {
    /// Attempts until there is an answer, a permanent error, no patience left, or no budget for another one.
    pub(super) async fn attempts(
        &self,
        provider: &Arc<dyn Provider>,
        request: &ChatRequest,
        aside: &mut SetAside,
    ) -> Result<ChatResponse, TurnError> {
        let mut retry = Retry::new(&self.retry);
        let mut limit = None;
        loop {
            let mut permit = self.permit(provider.info(), &mut retry, limit.take()).await?;
            self.ledger().streamed_bytes = 0;
            let attempt = self.attempt_call(provider, request.clone(), permit.as_mut());
            let result = until(attempt, self.env.cancel.cancelled()).await;
            if let Some(Ok(response)) = result {
                return Ok(response);
            }
            aside.broke_off(self.ledger().streamed_bytes);
            let Some(Err(error)) = result else { return Err(TurnError::Cancelled) };
            match &mut permit {
                Some(permit) if error.kind == ProviderErrorKind::RateLimited => {
                    permit.report(Verdict::Limited { retry_after: error.retry_after });
                    retry.count_limit();
                    limit = Some(error);
                }
                _ => {
                    // Before the wait, so that others may go meanwhile.
                    drop(permit);
                    Box::pin(self.wait(&mut retry, error)).await?;
                    aside.again()?;
                }
            }
        }
    }

    /// The permission for an attempt. `limit` is the refusal that this call has met before, if any.
    async fn permit<'a>(
        &'a self,
        info: &'a ProviderInfo,
        retry: &mut Retry<'_>,
        limit: Option<ProviderError>,
    ) -> Result<Option<Permit<'a>>, TurnError> {
        let Some(governor) = self.governor.as_deref() else { return Ok(None) };
        let key = info.governor_key.as_str();
        let permit = |pass| Permit::new(governor, key, pass);
        match (governor.enter(key).map(permit), limit) {
            (Ok(permit), None) => Ok(Some(permit)),
            (Ok(permit), Some(limit)) => {
                Box::pin(self.announce_retry(&limit, retry.attempt(), Duration::ZERO)).await;
                Ok(Some(permit))
            }
            (Err(at), limit) => {
                let limit = limit.unwrap_or_else(|| {
                    let message = "another session has met a rate limit";
                    ProviderError::new(info.name.as_str(), ProviderErrorKind::RateLimited, message)
                });
                // Boxed: rare, and the future of every call would have room for it.
                Box::pin(self.queue(governor, key, retry, limit, at)).await.map(permit).map(Some)
            }
        }
    }

    /// Waits as long as the key is limited, which is until `at` as is known now.
    async fn queue(
        &self,
        governor: &dyn Governor,
        key: &str,
        retry: &mut Retry<'_>,
        mut limit: ProviderError,
        at: MonoTime,
    ) -> Result<Pass, TurnError> {
        let clock = &self.env.clock;
        let (began, patience) = (clock.monotonic(), retry.patience_left());
        let wait = at.saturating_since(began);
        if wait > patience {
            limit.retry_after = Some(wait);
            return Err(retry.given_up(limit).into());
        }
        self.announce_retry(&limit, retry.attempt(), wait).await;
        let waiting = self.env.activity.waiting(limit.message.as_str(), at);
        let told = |at| waiting.until(at);
        let stop = until(self.env.cancel.cancelled(), clock.sleep_until(began.saturating_add(patience)));
        let pass = until(governor.queue(key, &told), stop).await;
        retry.count_wait(clock.monotonic().saturating_since(began));
        limit.retry_after = None;
        match pass {
            Some(pass) => Ok(pass),
            None if self.env.cancel.is_cancelled() => Err(TurnError::Cancelled),
            None => Err(retry.given_up(limit).into()),
        }
    }

    /// Waits until the next attempt; `Err` if there shall be none.
    async fn wait(&self, retry: &mut Retry<'_>, error: ProviderError) -> Result<(), TurnError> {
        let random = self.env.ids.v4().as_u64_pair().1;
        let Some(wait) = retry.after(&error, random) else { return Err(retry.given_up(error).into()) };
        self.announce_retry(&error, retry.attempt(), wait).await;
        let deadline = self.env.clock.monotonic().saturating_add(wait);
        let _waiting = self.env.activity.waiting(error.message.as_str(), deadline);
        let slept = until(self.env.clock.sleep_until(deadline), self.env.cancel.cancelled()).await;
        slept.ok_or(TurnError::Cancelled)
    }

    async fn announce_retry(&self, error: &ProviderError, attempt: u32, wait: Duration) {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let text = format!("{}; trying again in {wait_ms} ms", error.message);
        self.void_partial(&error.message);
        let shown = Shown::Notice { level: NoticeLevel::Warning, source: &error.provider, text: &text };
        self.env.display.show(&self.env.origin(), shown);
        let event = match error.kind {
            ProviderErrorKind::RateLimited => EventType::ProviderThrottle,
            _ => EventType::ProviderRetry,
        };
        let data = || json!({"provider": error.provider, "kind": error.kind, "error": error.message, "attempt": attempt, "wait_ms": wait_ms});
        self.notify(&event, data).await;
    }

    /// Tells that what was streamed of an answer is void, if anything was.
    pub(super) fn void_partial(&self, reason: &str) {
        if !std::mem::take(&mut self.ledger().partial).is_empty() {
            self.env.display.show(&self.env.origin(), Shown::Restarted { reason });
        }
    }

    async fn attempt_call(
        &self,
        provider: &Arc<dyn Provider>,
        request: ChatRequest,
        permit: Option<&mut Permit<'_>>,
    ) -> Result<ChatResponse, ProviderError> {
        let name = provider.info().name.as_str();
        let panicked = |panic| {
            ProviderError::new(name, ProviderErrorKind::Other, format!("the provider panicked: {panic}"))
        };
        let work = async {
            let stream = provider.stream(request).await?;
            if let Some(permit) = permit {
                permit.report(Verdict::Answered);
            }
            self.consume(name, stream).await
        };
        crate::panic::caught(work).await.map_err(panicked)?
    }
}

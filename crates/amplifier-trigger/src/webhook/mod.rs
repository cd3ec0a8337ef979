//! Webhooks: a request in, a verified event and a response out. No server: any HTTP server can hold it.
//!
//! Guarantees: the size is checked first, then the signature in constant time, and only then is the body
//! parsed; 202 is answered only after whoever takes the events in has said that this one is durable; a
//! delivery that comes again has the same id, and is answered with 200 and that id. The secret is shown
//! nowhere. Never here: a socket, or a memory of deliveries: that is the store's.

#[cfg(test)]
mod fuzz;
mod hooks;
mod response;
mod scheme;
mod secret;

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{Clock, Payload, Timestamp};
use bytes::Bytes;
use serde_json::{Value, json};

pub use hooks::{HookClaim, Hooks, PathTaken};
pub use response::Response;
pub use scheme::Scheme;
pub use secret::{MIN_SECRET_BYTES, Secret, SecretError};

use crate::config::TriggerKind;
use crate::event::{Acceptance, Cause, TriggerEvent};
use crate::mailbox::{CAPACITY, Inlet, Outlet, PostError, mailbox};
use crate::manual::nominal;
use crate::matching::PayloadMatch;
use crate::source::{TriggerContext, TriggerSource, TriggerStream};

/// The largest body of a request, in bytes: 1 MiB.
pub const MAX_BODY_BYTES: usize = 1 << 20;

/// After how long a caller may try again when the queue of requests itself is full.
const BUSY: Duration = Duration::from_secs(5);

/// A webhook as it is declared.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WebhookConfig {
    /// Where it is called: `POST /hooks/<path>`.
    pub path: String,
    /// How its calls are signed.
    pub scheme: Scheme,
    /// The variable that holds the secret.
    pub secret_env: String,
    /// Names of events that count; all if there are none.
    pub events: Vec<String>,
    /// What the body must say, as `data.…`.
    pub matching: PayloadMatch,
}

impl WebhookConfig {
    /// A webhook that takes every event.
    pub fn new(path: impl Into<String>, scheme: Scheme, secret_env: impl Into<String>) -> Self {
        let (path, secret_env) = (path.into(), secret_env.into());
        Self { path, scheme, secret_env, events: Vec::new(), matching: PayloadMatch::default() }
    }

    pub(crate) fn meaning(&self) -> Value {
        json!({
            "path": self.path,
            "scheme": self.scheme.as_str(),
            "events": self.events,
            "match": self.matching,
        })
    }
}

/// The source of a webhook's events; its handle takes the calls.
#[derive(Debug)]
pub struct WebhookTrigger {
    outlet: Outlet,
}

impl TriggerSource for WebhookTrigger {
    fn at_once(&self) -> usize {
        CAPACITY
    }

    fn watch(self: Box<Self>, context: TriggerContext) -> TriggerStream {
        self.outlet.watch(context)
    }
}

/// Takes the calls of one webhook. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebhookHandle(Arc<Hook>);

#[derive(Debug)]
struct Hook {
    config: WebhookConfig,
    secret: Secret,
    clock: Arc<dyn Clock>,
    inlet: Inlet,
}

/// A call whose signature was right.
#[derive(Debug)]
struct Verified {
    event_name: Option<String>,
    delivery: Option<String>,
    data: Payload,
}

impl WebhookTrigger {
    /// A webhook and the handle that takes its calls.
    pub fn new(
        config: WebhookConfig,
        secret: Secret,
        clock: Arc<dyn Clock>,
        end_time: Option<Timestamp>,
    ) -> (Self, WebhookHandle) {
        let (inlet, outlet) = mailbox(end_time);
        (Self { outlet }, WebhookHandle(Arc::new(Hook { config, secret, clock, inlet })))
    }
}

impl WebhookHandle {
    /// The path behind `/hooks/`.
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// Takes a POST request in. Ends within 30 seconds.
    ///
    /// 202: the event is durable, its id in the body. 200: it was taken in before, under the id in the
    /// body, or is none that this trigger wants, or its policy has left it out. 400 no JSON · 401 not signed with the secret · 404 another path ·
    /// 413 over 1 MiB · 422 rejected · 429 with `Retry-After`: the queue is full · 503 the trigger does not run.
    pub async fn deliver<'h>(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: Bytes,
    ) -> Response {
        let verified = match self.verify(path, headers, &body) {
            Ok(verified) => verified,
            Err(response) => return response,
        };
        let hook = &self.0;
        let wanted = &hook.config.events;
        let named = verified.event_name.as_deref().unwrap_or_default();
        let asks = wanted.iter().any(|event| event == named);
        if hook.config.scheme.is_test(named) && !asks {
            return Response::ignored("this is a test of the webhook, and it was received");
        }
        if !wanted.is_empty() && !asks {
            return Response::ignored("the trigger does not listen to this event");
        }
        if !hook.config.matching.matches(&verified.data) {
            return Response::ignored("the data does not match");
        }
        self.post(verified).await
    }

    fn verify<'h>(
        &self,
        path: &str,
        headers: impl IntoIterator<Item = (&'h str, &'h [u8])>,
        body: &Bytes,
    ) -> Result<Verified, Response> {
        let config = &self.0.config;
        if hooks::name(path) != config.path {
            return Err(Response::error(404, "there is no such hook"));
        }
        if body.len() > MAX_BODY_BYTES {
            return Err(Response::error(413, "the body is larger than 1 MiB"));
        }
        let headers = scheme::Headers::of(headers);
        let now = self.0.clock.now();
        if !config.scheme.verify(&self.0.secret, &headers, body, now) {
            return Err(Response::error(401, "the signature is missing or wrong"));
        }
        let data = Payload::from_json(body.clone()).map_err(|_| {
            Response::error(400, "the body is not JSON; choose the content type application/json")
        })?;
        let event_name = config.scheme.event_name(&headers, &data);
        Ok(Verified { event_name, delivery: config.scheme.delivery(&headers), data })
    }

    async fn post(&self, verified: Verified) -> Response {
        let source = format!("/hooks/{}", self.0.config.path);
        let Verified { event_name, delivery, data } = verified;
        let compose = move |context: &TriggerContext, now: Timestamp| {
            let unique = || format!("d-{}", context.ids.v7(now));
            let part = delivery.as_deref().map_or_else(unique, |delivery| nominal("d-", delivery.as_bytes()));
            let id = context.event_id(&part)?;
            let mut event =
                TriggerEvent::new(id, TriggerKind::Webhook, now, Cause::Delivery { delivery }, data);
            (event.source, event.event_name) = (source, event_name);
            Ok(event)
        };
        match self.0.inlet.post(Box::new(compose)).await {
            Ok((id, Acceptance::Accepted)) => Response::taken(202, &id),
            Ok((_, Acceptance::Repeated(id))) => Response::taken(200, &id),
            Ok((_, Acceptance::Full { retry_after })) => Response::full(retry_after),
            Ok((_, Acceptance::Ignored { reason })) => Response::ignored(&reason),
            Ok((_, Acceptance::Rejected { reason })) => Response::error(422, &reason),
            Err(PostError::Full) => Response::full(BUSY),
            Err(PostError::Closed) => Response::later(503, "the trigger does not run", BUSY),
            Err(PostError::InDoubt) => Response::later(503, "the trigger did not answer in time", BUSY),
        }
    }
}

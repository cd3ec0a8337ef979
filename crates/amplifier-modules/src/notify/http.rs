//! A signed request for each event: a CloudEvent, signed as Standard Webhooks have it.
//!
//! Guarantees: `webhook-id` is the event's id, so that a receiver knows a delivery that comes again; each try is
//! signed anew with its own time; redirections are not followed, loopback is not asked through a proxy; of an
//! answer its status counts, and of its body a little is read. The address is shown as its host alone.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::notify::{Delivery, DeliveryError, Notification};
use amplifier_background::trigger::webhook::{Scheme, Secret, SecretError};
use amplifier_core::Clock;
use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_foundation::Host;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url};

use crate::provider::wire::error::retry_after;

/// How often an event is tried: over half an hour, where the target asks for nothing else.
const ATTEMPTS: u32 = 12;
/// How much of an answer is read, so that its connection can be used again.
const ANSWER_BYTES: usize = 64 * 1024;
const AGENT: &str = concat!("amplifier/", env!("CARGO_PKG_VERSION"));

/// A target.
#[derive(Debug)]
pub(super) struct Request {
    client: Client,
    url: Url,
    secret: Secret,
    timeout: Duration,
    clock: Arc<dyn Clock>,
}

impl Request {
    /// `Err`: the field that is wrong, and what is.
    pub(super) fn new(
        url: &str,
        (name, value): (&str, Option<&str>),
        timeout: Duration,
        host: &Host,
    ) -> Result<Self, (&'static str, String)> {
        let secret = Secret::of(Scheme::Standard, name, value).map_err(|error| {
            let message = match error {
                SecretError::Missing { variable } => {
                    format!("the variable `{variable}` is not set; set it in the environment or in keys.env")
                }
                other => other.to_string(),
            };
            ("secret_env", message)
        })?;
        // Neither error repeats the address.
        let url = Url::parse(url).map_err(|error| ("url", format!("this is no address: {error}")))?;
        let mut builder = Client::builder()
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        let host_name = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let address = host_name.parse::<std::net::IpAddr>();
        if host_name == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
            builder = builder.no_proxy();
        }
        if url.scheme() == "http" {
            // Without TLS no certificates are wanted, which take most of a client's time.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build();
        let message = "the HTTP client could not be made; check the system's certificates";
        let client = client.map_err(|_| ("url", message.to_owned()))?;
        Ok(Self { client, url, secret, timeout, clock: Arc::clone(host.clock()) })
    }

    async fn send(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let id = notification.event.id.to_string();
        let seconds = self.clock.now().as_millis().div_euclid(1_000);
        let body = notification.json.clone();
        let request = self
            .client
            .post(self.url.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/cloudevents+json; charset=utf-8")
            .header("webhook-signature", self.secret.sign(&id, seconds, body.as_bytes()))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds.to_string())
            .body(body);
        let answered = async {
            let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let judged = self.judge(&response);
            let mut left = ANSWER_BYTES;
            while let Ok(Some(piece)) = response.chunk().await {
                left = left.saturating_sub(piece.len());
                if left == 0 {
                    break;
                }
            }
            judged
        };
        let in_time = until(Box::pin(answered), self.clock.sleep(self.timeout)).await;
        let late = || format!("{} did not answer within {} seconds", self.host(), self.timeout.as_secs_f32());
        in_time.unwrap_or_else(|| Err(DeliveryError::later(late())))
    }

    fn judge(&self, response: &Response) -> Result<(), DeliveryError> {
        let status = response.status();
        let reason = format!("{} answered {status}", self.host());
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => Err(DeliveryError::refused(format!(
                "{reason}; redirections are not followed, write the new address"
            ))),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(self.later(reason, response)),
            status if status.is_client_error() => Err(DeliveryError::refused(reason)),
            _ => Err(self.later(reason, response)),
        }
    }

    fn later(&self, reason: String, response: &Response) -> DeliveryError {
        let mut later = DeliveryError::later(reason);
        if let DeliveryError::Later { after, .. } = &mut later {
            *after = retry_after(response.headers(), self.clock.as_ref());
        }
        later
    }

    /// An error without the address.
    fn unreachable(&self, error: &reqwest::Error) -> DeliveryError {
        let why = if error.is_connect() { "could not be reached" } else { "broke off" };
        DeliveryError::later(format!("{} {why}", self.host()))
    }

    fn host(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }
}

impl Delivery for Request {
    fn label(&self) -> String {
        format!("{}://{}", self.url.scheme(), self.host())
    }

    fn attempts(&self) -> u32 {
        ATTEMPTS
    }

    fn deliver<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.send(notification))
    }
}

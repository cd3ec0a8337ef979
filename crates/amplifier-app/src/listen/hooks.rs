//! The routes of webhooks: `/healthz` and `/hooks/*`.
//!
//! Guarantees: a path is compared as it was sent, byte by byte, so that no spelling of another path leads
//! to a hook; a sender that calls too often is told so before its body is read.
//! Never here: what a signature means: that is the webhook's.

use std::sync::Arc;
use std::time::Duration;

use amplifier_background::trigger::Hooks;
use amplifier_background::trigger::webhook::{MAX_BODY_BYTES, Response as Answer};
use amplifier_core::Clock;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{ALLOW, CONNECTION, RETRY_AFTER};
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use axum::routing::{any, get};

use super::body::read_body;
use super::connection::{Peer, plain};
use super::rate::{Limiter, Rate};

/// Serves these webhooks, as they come and go, and tells `/healthz` that the program lives. Anything else is
/// 404; routes of others can be merged.
pub fn routes(hooks: Hooks, rate: Rate, clock: Arc<dyn Clock>) -> Router {
    let limiter = Limiter::new(rate, Arc::clone(&clock));
    let hook = move |request: Request| {
        let (hooks, limiter, clock) = (hooks.clone(), limiter.clone(), Arc::clone(&clock));
        async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let response = answer(request, &hooks, &limiter, clock.as_ref()).await;
            tracing::debug!(%method, path, status = response.status().as_u16(), "a webhook was called");
            response
        }
    };
    Router::new()
        .route("/healthz", get(async || plain(StatusCode::OK, "ok")))
        .route("/hooks/{*path}", any(hook))
        .fallback(async || plain(StatusCode::NOT_FOUND, "there is nothing here"))
        .method_not_allowed_fallback(async || {
            plain(StatusCode::METHOD_NOT_ALLOWED, "this method is not for this address")
        })
}

async fn answer(request: Request, hooks: &Hooks, limiter: &Limiter, clock: &dyn Clock) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let Some(hook) = path.strip_prefix("/hooks/").filter(|hook| hooks.has(hook)) else {
        return closing(plain(StatusCode::NOT_FOUND, "there is no such hook"));
    };
    if request.method() != Method::POST {
        let mut response = closing(plain(StatusCode::METHOD_NOT_ALLOWED, "a hook is called with POST"));
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if let Some(Peer(peer)) = request.extensions().get::<Peer>()
        && let Err(wait) = limiter.count(peer.ip(), hook)
    {
        return closing(later(wait));
    }
    let headers = request.headers().clone();
    let body = match read_body(request, MAX_BODY_BYTES, clock).await {
        Ok(body) => body,
        Err(error) => {
            let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
            return closing(plain(status, &error.to_string()));
        }
    };
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    of(hooks.deliver(&path, headers, body).await)
}

/// An answer after which nothing more is read: the body may not have come whole.
fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

fn later(wait: Duration) -> Response<Body> {
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, "this sender calls too often");
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}

fn of(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

//! Why a request is not answered as it wished.
//!
//! Guarantees: each kind of fault has one status, and says what to do; nothing of the inside is told but the
//! words of its error.

use std::time::Duration;

use amplifier_app::listen::BodyError;
use amplifier_background::BackgroundError;
use amplifier_background::report::ReportError;
use amplifier_core::causes::chain;
use amplifier_core::id::InvalidId;
use amplifier_core::payload::PayloadError;
use amplifier_foundation::host::ReachError;
use amplifier_foundation::router::{InvalidFilter, RouterError};
use amplifier_issue::QueueError;
use amplifier_store::StoreError;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::auth::AuthError;

/// A fault.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    retry_after: Option<Duration>,
    /// The body may not have come whole.
    closes: bool,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), retry_after: None, closes: false }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(crate) fn busy(message: impl Into<String>, after: Duration) -> Self {
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
        Self { retry_after: Some(after), ..fault }
    }

    pub(crate) fn too_often(after: Duration) -> Self {
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_often", "this sender guesses too often");
        Self { retry_after: Some(after), closes: true, ..fault }
    }

    pub(crate) fn of_body(error: BodyError) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let fault = Self::new(status, "body", error.to_string());
        Self { closes: true, ..fault }
    }

    fn inside(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::warn!(error = chain(error), "a request could not be answered");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", chain(error))
    }

    fn with_headers(self, mut response: Response) -> Response {
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"amplifier\""));
        }
        if let Some(after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
        }
        if self.closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// For a person.
    pub(crate) fn into_page(self) -> Response {
        let text = self.message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let reason = self.status.canonical_reason().unwrap_or("error");
        let body = format!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
             <title>{reason}</title><h1>{reason}</h1><p>{text}</p><p><a href=\"/\">Overview</a></p>"
        );
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        self.with_headers(response)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = json!({ "error": { "kind": self.kind, "message": self.message } }).to_string();
        let mut response = Response::new(Body::from(body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self.with_headers(response)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { .. } => Self::busy(chain(&error), Duration::from_secs(1)),
            error => Self::inside(&error),
        }
    }
}

impl From<AuthError> for Fault {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Store(error) => error.into(),
            AuthError::Name { .. } | AuthError::Key(_) => Self::bad(chain(&error)),
            AuthError::Taken { .. } => Self::conflict(chain(&error)),
            AuthError::Unknown { .. } => Self::not_found(chain(&error)),
            error => Self::inside(&error),
        }
    }
}

impl From<InvalidId> for Fault {
    fn from(error: InvalidId) -> Self {
        Self::bad(chain(&error))
    }
}

impl From<InvalidFilter> for Fault {
    fn from(error: InvalidFilter) -> Self {
        Self::bad(chain(&error))
    }
}

impl From<PayloadError> for Fault {
    fn from(error: PayloadError) -> Self {
        Self::bad(chain(&error))
    }
}

impl From<RouterError> for Fault {
    fn from(error: RouterError) -> Self {
        match error {
            RouterError::Store(error) => error.into(),
            RouterError::Filter(error) => error.into(),
            RouterError::Closed => Self::busy(chain(&error), Duration::from_secs(5)),
            error => Self::inside(&error),
        }
    }
}

impl From<ReachError> for Fault {
    fn from(error: ReachError) -> Self {
        match error {
            ReachError::Store(error) => error.into(),
            ReachError::Unknown { .. } => Self::not_found(chain(&error)),
            ReachError::Storage(_) | ReachError::Unsendable(_) => Self::inside(&error),
            error => Self::conflict(chain(&error)),
        }
    }
}

impl From<ReportError> for Fault {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::Store(error) => error.into(),
            ReportError::Router(error) => error.into(),
            ReportError::Reach(error) => error.into(),
            ReportError::Unknown { .. } | ReportError::Foreign { .. } => Self::not_found(chain(&error)),
            ReportError::Ambiguous { .. } => Self::bad(chain(&error)),
            ReportError::Storage(_) => Self::inside(&error),
            ReportError::Busy { .. } | ReportError::Full { .. } => {
                Self::busy(chain(&error), Duration::from_secs(1))
            }
            error => Self::conflict(chain(&error)),
        }
    }
}

impl From<BackgroundError> for Fault {
    fn from(error: BackgroundError) -> Self {
        match error {
            BackgroundError::Store(error) => error.into(),
            BackgroundError::Unknown { .. } => Self::not_found(chain(&error)),
            BackgroundError::Full { .. } => Self::busy(chain(&error), Duration::from_secs(1)),
            error => Self::conflict(chain(&error)),
        }
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::Store(error) => error.into(),
            QueueError::Unknown { .. } => Self::not_found(chain(&error)),
            QueueError::Empty { .. }
            | QueueError::TooMuch { .. }
            | QueueError::Type(_)
            | QueueError::Priority(_) => Self::bad(chain(&error)),
            QueueError::AlreadyAnswered { .. } => {
                Self::new(StatusCode::CONFLICT, "already_answered", chain(&error))
            }
            QueueError::Contended { .. } => Self::busy(chain(&error), Duration::from_secs(1)),
            QueueError::Damaged { .. } | QueueError::Event(_) => Self::inside(&error),
            error => Self::conflict(chain(&error)),
        }
    }
}

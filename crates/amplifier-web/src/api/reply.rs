//! JSON out, and JSON in.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Fault;
use crate::auth::Given;

/// An answer in JSON.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    body: Vec<u8>,
}

impl Reply {
    pub(crate) fn of(value: &impl Serialize) -> Result<Self, Fault> {
        let body = serde_json::to_vec(value);
        let body = body
            .map_err(|error| Fault::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
        Ok(Self { status: StatusCode::OK, body })
    }

    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

impl Given {
    /// The body as JSON; an empty one is `{}`.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        let bytes = if self.0.trim_ascii().is_empty() { &b"{}"[..] } else { &self.0[..] };
        serde_json::from_slice(bytes).map_err(|error| Fault::bad(format!("the body does not fit: {error}")))
    }
}

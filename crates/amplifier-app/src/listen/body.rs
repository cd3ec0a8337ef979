//! The body of a request, bounded in size and time.
//!
//! Guarantees: a body that says that it is too large is not read at all; of one that does not say, nothing
//! is read behind the bound; one that does not come is not waited for.

use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use axum::extract::Request;
use axum::http::header::CONTENT_LENGTH;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

/// How long the body of a request may take.
pub const BODY_TIME: Duration = Duration::from_secs(20);

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is too large.
    #[error("the body is larger than {most} bytes")]
    TooLarge {
        /// How large it may be.
        most: usize,
    },
    /// It did not come in time.
    #[error("the body did not come within {} seconds", BODY_TIME.as_secs())]
    Slow,
    /// The connection broke off, or it is no HTTP.
    #[error("the body could not be read")]
    Broken,
}

impl BodyError {
    /// The status that tells it.
    pub fn status(self) -> u16 {
        match self {
            Self::TooLarge { .. } => 413,
            Self::Slow => 408,
            Self::Broken => 400,
        }
    }
}

/// Reads the body of a request: at most so many bytes, within [`BODY_TIME`].
pub async fn read_body(request: Request, most: usize, clock: &dyn Clock) -> Result<Bytes, BodyError> {
    let told =
        request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > most as u64) {
        return Err(BodyError::TooLarge { most });
    }
    let mut pieces = request.into_body().into_data_stream();
    let reading = async {
        let mut body = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| BodyError::Broken)?;
            if body.len() + piece.len() > most {
                return Err(BodyError::TooLarge { most });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    };
    until(reading, clock.sleep(BODY_TIME)).await.unwrap_or(Err(BodyError::Slow))
}

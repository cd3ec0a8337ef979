//! What is at an address, for bundles from the web.
//!
//! Guarantees: an answer is bounded while it is read; redirections are followed five times at most, never from https to
//! http, and into a network of one's own only where the first address was there; an error holds neither credentials nor
//! the address.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_foundation::source::web::{Fetch, Fetched, is_near};
use reqwest::header::{ETAG, IF_NONE_MATCH, USER_AGENT};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode};

const REDIRECTIONS: usize = 5;
const CONNECT: Duration = Duration::from_secs(20);
const READ: Duration = Duration::from_secs(30);
const AGENT: &str = concat!("amplifier/", env!("CARGO_PKG_VERSION"));

/// Gets what is at an address over HTTP.
#[derive(Debug, Clone, Copy, Default)]
pub struct Web;

/// For a host that may fetch bundles.
pub fn web() -> Arc<dyn Fetch> {
    Arc::new(Web)
}

impl Fetch for Web {
    fn get<'a>(
        &'a self,
        address: &'a str,
        etag: Option<&'a str>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Fetched, String>> {
        Box::pin(async move {
            let near = is_near(address);
            let mut builder = Client::builder().connect_timeout(CONNECT).read_timeout(READ);
            builder = builder.redirect(Policy::custom(move |attempt| follow(attempt, near)));
            if near {
                builder = builder.no_proxy();
            }
            let client = builder.build().map_err(told)?;
            let mut request = client.get(address).header(USER_AGENT, AGENT);
            if let Some(etag) = etag {
                request = request.header(IF_NONE_MATCH, etag);
            }
            let answer = request.send().await.map_err(told)?;
            match answer.status() {
                StatusCode::NOT_MODIFIED => Ok(Fetched::Same),
                status if status.is_success() => body(answer, limit).await,
                status => Err(format!("the server says {status}")),
            }
        })
    }
}

fn follow(attempt: Attempt<'_>, near: bool) -> reqwest::redirect::Action {
    let from_https = attempt.previous().iter().any(|url| url.scheme() == "https");
    if attempt.previous().len() > REDIRECTIONS {
        return attempt.error("it redirects too often");
    }
    if from_https && attempt.url().scheme() != "https" {
        return attempt.error("it redirects from https to http");
    }
    if !near && is_near(attempt.url().as_str()) {
        return attempt.error("it redirects into a network of this machine's own");
    }
    attempt.follow()
}

async fn body(mut answer: Response, limit: u64) -> Result<Fetched, String> {
    let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(told)? {
        if bytes.len() as u64 + chunk.len() as u64 > limit {
            return Err(format!("the answer has more than {} MiB", limit >> 20));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Fetched::Body { bytes, etag })
}

/// An error of the transport in one clause, with its causes and without the address.
fn told(error: reqwest::Error) -> String {
    amplifier_core::causes::chain(&error.without_url())
}

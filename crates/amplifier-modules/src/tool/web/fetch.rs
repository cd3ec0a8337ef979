//! A GET and its answer: names looked up, addresses judged, redirections followed, the body read within bounds.
//!
//! Guarantees: a connection is made only to an address that was judged for it, whatever a name resolves to at
//! another time; each redirection is judged like the first address; no proxy of the environment is used; a body is
//! read up to its bound and no further.
//! Never here: cookies, credentials, a body to be sent, what a page means.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT};
use reqwest::{Client, Response, StatusCode, Url};

use super::address::{Reach, Refusal, host_of};

/// Redirections that are followed.
const REDIRECTIONS: usize = 5;
/// Most addresses of a name.
const ADDRESSES: usize = 64;
/// Most bytes of a body.
const BODY_BYTES: usize = 4 << 20;
const AGENT: &str = concat!("amplifier/", env!("CARGO_PKG_VERSION"));
const WANTED: &str = "text/html, application/xhtml+xml, text/*, application/json;q=0.9, */*;q=0.1";

/// Where names are looked up.
pub(super) trait Lookup: Send + Sync + std::fmt::Debug {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// The system's look-up.
#[derive(Debug)]
pub(super) struct SystemLookup;

impl Lookup for SystemLookup {
    fn addresses(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.take(ADDRESSES).map(|address| address.ip()).collect())
        })
    }
}

/// Why there is no page. The text goes to the model.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("{from} redirects to {to}: {refusal}")]
    Redirected { from: String, to: String, refusal: Refusal },
    #[error(
        "{from} redirects to {to}, another host, which is not permitted without being asked for; call web_fetch with that address"
    )]
    OtherHost { from: String, to: String },
    #[error("{0} redirects more than {REDIRECTIONS} times")]
    Endless(String),
    #[error("{host} could not be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{0} broke off while it was read")]
    BrokeOff(String),
    #[error("{url} is {kind}, which is no text; only text, HTML and JSON are read")]
    Binary { url: String, kind: String },
    #[error("the HTTP client could not be made; check the system's certificates")]
    Client,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Where it came from, after redirections.
    pub(super) url: Url,
    pub(super) status: StatusCode,
    /// `text/html; charset=utf-8`, in lower case; empty if it was not said.
    pub(super) kind: String,
    pub(super) body: Vec<u8>,
    /// True if the body goes on.
    pub(super) cut: bool,
}

/// Makes requests of one session.
pub(super) struct Fetcher {
    reach: Arc<Reach>,
    lookup: Arc<dyn Lookup>,
    timeout: Duration,
    // Held while a client is made; never across an await.
    clients: Mutex<[Option<Client>; 2]>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").field("reach", &self.reach).finish_non_exhaustive()
    }
}

impl Fetcher {
    pub(super) fn new(reach: Reach, lookup: Arc<dyn Lookup>, timeout: Duration) -> Self {
        Self { reach: Arc::new(reach), lookup, timeout, clients: Mutex::default() }
    }

    /// The address that a text means, if it may be asked for.
    pub(super) fn url(&self, text: &str) -> Result<Url, Refusal> {
        self.reach.url(text, None)
    }

    /// Asks for `url`, which [`Fetcher::url`] gave. `permitted` tells whether a redirection may go to a host.
    pub(super) async fn get(&self, url: Url, permitted: impl Fn(&str) -> bool) -> Result<Answer, FetchError> {
        let begin = url.clone();
        let mut url = url;
        for _ in 0..=REDIRECTIONS {
            let response = self.send(&url).await?;
            let Some(to) = redirection(&response) else { return self.read(url, response).await };
            let next = self.reach.url(&to, Some(&url)).map_err(|refusal| FetchError::Redirected {
                from: url.to_string(),
                to: to.chars().take(500).collect(),
                refusal,
            })?;
            let host = host_of(&next).unwrap_or_default();
            if host_of(&url).as_deref() != Some(host.as_str()) && !permitted(&host) {
                return Err(FetchError::OtherHost { from: url.to_string(), to: next.to_string() });
            }
            url = next;
        }
        Err(FetchError::Endless(begin.to_string()))
    }

    async fn send(&self, url: &Url) -> Result<Response, FetchError> {
        let request = self
            .client(url.scheme() == "https")?
            .get(url.clone())
            .header(USER_AGENT, AGENT)
            .header(ACCEPT, WANTED)
            .header(ACCEPT_ENCODING, "identity");
        let response = request.send().await.map_err(|error| unreachable(url, &error))?;
        // A name is judged where it is resolved; this also holds for whatever else leads to a connection.
        let host = host_of(url).unwrap_or_default();
        if let Some(address) = response.remote_addr() {
            self.reach.address(&host, address.ip())?;
        }
        Ok(response)
    }

    async fn read(&self, url: Url, mut response: Response) -> Result<Answer, FetchError> {
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let kind = header(CONTENT_TYPE).unwrap_or_default().trim().to_ascii_lowercase();
        let packed = header(CONTENT_ENCODING).unwrap_or("identity").trim().to_ascii_lowercase();
        if !is_text(&kind) || !matches!(packed.as_str(), "" | "identity") {
            let kind = if is_text(&kind) { format!("packed as {packed}") } else { kind };
            return Err(FetchError::Binary { url: url.to_string(), kind: kind.chars().take(100).collect() });
        }
        let status = response.status();
        let (mut body, mut cut) = (Vec::new(), false);
        while let Some(piece) = response.chunk().await.map_err(|_| FetchError::BrokeOff(url.to_string()))? {
            let room = BODY_BYTES - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                cut = true;
                break;
            }
        }
        Ok(Answer { url, status, kind, body, cut })
    }

    fn client(&self, tls: bool) -> Result<Client, FetchError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let place = &mut clients[usize::from(tls)];
        if let Some(client) = place {
            return Ok(client.clone());
        }
        let guard = Guard { reach: Arc::clone(&self.reach), lookup: Arc::clone(&self.lookup) };
        let mut builder = Client::builder()
            .no_proxy()
            // Whether these are there depends on what else is built.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .dns_resolver(Arc::new(guard))
            .connect_timeout(self.timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .pool_idle_timeout(Duration::from_secs(20));
        if !tls {
            // Without TLS no certificates are wanted, which take most of a client's time.
            builder = builder.tls_certs_only([]);
        }
        let client = builder.build().map_err(|_| FetchError::Client)?;
        *place = Some(client.clone());
        Ok(client)
    }
}

/// Looks names up, and gives only addresses that may be connected to: what is connected to is what was judged.
struct Guard {
    reach: Arc<Reach>,
    lookup: Arc<dyn Lookup>,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, lookup, host) =
            (Arc::clone(&self.reach), Arc::clone(&self.lookup), name.as_str().to_ascii_lowercase());
        Box::pin(async move {
            let addresses = lookup.addresses(host.clone()).await?;
            let bare = host.trim_end_matches('.');
            for address in &addresses {
                reach.address(bare, *address)?;
            }
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

/// Where an answer sends who asked.
fn redirection(response: &Response) -> Option<String> {
    let status = response.status().as_u16();
    let to = response.headers().get(LOCATION)?;
    matches!(status, 301 | 302 | 303 | 307 | 308).then(|| String::from_utf8_lossy(to.as_bytes()).into_owned())
}

/// An error in words: reqwest's own repeat the address and hide the cause.
fn unreachable(url: &Url, error: &reqwest::Error) -> FetchError {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    let mut last = None;
    for cause in causes {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return FetchError::Refused(refusal.clone());
        }
        last = Some(cause.to_string());
    }
    let reason = match last {
        _ if error.is_timeout() => "it did not answer in time".to_owned(),
        Some(cause) => cause.chars().take(300).collect(),
        None => "the connection failed".to_owned(),
    };
    FetchError::Unreachable { host: host_of(url).unwrap_or_default(), reason }
}

/// True for a type of content that is text, and where none is given.
fn is_text(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let known = [
        "",
        "application/json",
        "application/ld+json",
        "application/xhtml+xml",
        "application/xml",
        "application/javascript",
        "application/x-javascript",
        "application/ecmascript",
        "application/x-ndjson",
        "application/jsonl",
        "application/yaml",
        "application/x-yaml",
        "application/toml",
        "application/x-sh",
        "application/sql",
        "application/graphql",
        "application/x-tex",
        "image/svg+xml",
    ];
    essence.starts_with("text/")
        || known.contains(&essence)
        || (essence.starts_with("application/") && (essence.ends_with("+json") || essence.ends_with("+xml")))
}

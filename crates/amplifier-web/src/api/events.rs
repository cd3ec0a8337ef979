//! The event stream: Server-Sent Events out of the log, and then as they come.
//!
//! Guarantees: who comes back with the last id that it had misses nothing that the log still holds, and is
//! told where it does not; a client that does not read holds a place in the log and nothing more, until its
//! connection is cut off; a stream ends when what was shown for it is taken back.
//! Never here: what an event means.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{MonoTime, SessionId};
use amplifier_foundation::EventFilter;
use amplifier_foundation::router::{CloudEvent, Cursor, Events, FieldValue, RouterError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::Fault;
use crate::auth::{Shown, Who, still_good};
use crate::form::Form;
use crate::state::App;

/// Streams of events at once.
pub const MAX_STREAMS: usize = 256;
/// How often a stream says that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a browser waits before it comes back.
const RETRY: &str = "retry: 2000\n\n";

/// Where a stream begins.
enum From {
    Now,
    Oldest,
    /// Behind what the client has had.
    After(Cursor),
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Who>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Fault> {
    let permit = Arc::clone(&app.streams).try_acquire_owned();
    let permit = permit.map_err(|_| {
        Fault::busy("there are as many event streams as there may be", Duration::from_secs(5))
    })?;
    let mut form = Form::read(query.unwrap_or_default());
    let from = from(&headers, &mut form)?;
    let filter = filter(&mut form)?;
    if let Some(left) = form.left() {
        return Err(Fault::bad(format!("`{}` is no part of this query", left.escape_debug())));
    }
    let (events, first) = begin(&app, from, filter).await?;
    let log = app.host().router().tail().await?.log;
    let closed = app.closed.subscribe();
    let look = app.clock().monotonic().saturating_add(HEARTBEAT);
    let (shown, first) = (who.shown, Some(first));
    let feed = Feed { app, events, log, shown, closed, first, look, _permit: permit };
    let body = Body::from_stream(stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    }));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

fn from(headers: &HeaderMap, form: &mut Form) -> Result<From, Fault> {
    let asked = form.take("last_event_id");
    let begin = form.take("from");
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?").to_owned()).or(asked);
    match (last.as_deref(), begin.as_deref()) {
        (Some(last), _) => place(last)
            .map(From::After)
            .ok_or_else(|| Fault::bad("`Last-Event-ID` is none of an event of this stream")),
        (None, None | Some("now")) => Ok(From::Now),
        (None, Some("oldest")) => Ok(From::Oldest),
        (None, Some(_)) => Err(Fault::bad("`from` is `now` or `oldest`")),
    }
}

/// `<log>-<sequence>`: the place behind it.
fn place(id: &str) -> Option<Cursor> {
    let (log, sequence) = id.trim().split_once('-')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let log = digits(log).then(|| u64::from_str_radix(log, 16).ok())??;
    let sequence = digits(sequence).then(|| sequence.parse::<u64>().ok())??;
    Some(Cursor { log, sequence: sequence.checked_add(1)? })
}

fn filter(form: &mut Form) -> Result<EventFilter, Fault> {
    let names = form.all("filter");
    let names =
        names.iter().flat_map(|names| names.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let mut filter = EventFilter::names(names.collect::<Vec<_>>())?;
    let sessions = |texts: Vec<String>| texts.into_iter().map(SessionId::new).collect::<Result<Vec<_>, _>>();
    let (of, trees) = (sessions(form.all("session"))?, sessions(form.all("tree"))?);
    if !of.is_empty() {
        filter = filter.from_sessions(of);
    }
    if !trees.is_empty() {
        filter = filter.from_trees(trees);
    }
    for text in form.all("match") {
        let pair = text.split_once(':').ok_or_else(|| Fault::bad("`match` is `path:value`"))?;
        filter = filter.field(pair.0, FieldValue::parse(pair.1))?;
    }
    Ok(filter)
}

/// The events from there on, and what is said before the first one.
async fn begin(app: &App, from: From, filter: EventFilter) -> Result<(Events, String), Fault> {
    let router = app.host().router();
    let cursor = match from {
        From::Now => router.tail().await?,
        From::Oldest => router.oldest().await?,
        From::After(cursor) => cursor,
    };
    match router.subscribe_from(cursor, filter.clone()).await {
        Ok(events) => Ok((events, RETRY.to_owned())),
        Err(RouterError::Gone { oldest }) => {
            let events = router.subscribe_from(oldest, filter).await?;
            Ok((events, format!("{RETRY}{}", gone(oldest))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Some events are in the log no longer.
fn gone(oldest: Cursor) -> String {
    format!("event: gone\ndata: {{\"oldest\":\"{:x}-{}\"}}\n\n", oldest.log, oldest.sequence)
}

/// Resolves once streams are to end.
async fn ended(closed: &mut watch::Receiver<bool>) {
    drop(closed.wait_for(|closed| *closed).await);
}

struct Feed {
    app: Arc<App>,
    events: Events,
    log: u64,
    shown: Shown,
    closed: watch::Receiver<bool>,
    first: Option<String>,
    /// When it is looked next whether what was shown is good.
    look: MonoTime,
    _permit: OwnedSemaphorePermit,
}

impl Feed {
    /// What is sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first.into());
        }
        let clock = Arc::clone(self.app.clock());
        loop {
            // Also where something happens all the time.
            if clock.monotonic() >= self.look {
                if !still_good(&self.app, &self.shown).await {
                    return None;
                }
                self.look = clock.monotonic().saturating_add(HEARTBEAT);
                return Some(Bytes::from_static(b":\n\n"));
            }
            tokio::select! {
                biased;
                () = ended(&mut self.closed) => return None,
                event = self.events.next() => match event? {
                    Ok(event) => match CloudEvent::of(&event).to_line() {
                        Ok(line) => {
                            let id = event.sequence.map(|sequence| format!("id: {:x}-{sequence}\n", self.log));
                            return Some(format!("{}data: {line}\n\n", id.unwrap_or_default()).into());
                        }
                        Err(error) => tracing::warn!(event = %event.id.0, %error, "an event cannot be told"),
                    },
                    Err(RouterError::Gone { oldest }) => return Some(gone(oldest).into()),
                    Err(error) => {
                        tracing::warn!(%error, "a stream of events ends");
                        return None;
                    }
                },
                () = clock.sleep_until(self.look) => {}
            }
        }
    }
}

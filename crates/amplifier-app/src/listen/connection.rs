//! One connection, from its first byte to its last.
//!
//! Guarantees: headers come within [`HEADER_TIME`], which also bounds the silence between two requests;
//! a peer that does not read what it is sent is cut off; after [`MAX_REQUESTS`] the connection ends.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::hosts::AllowedHosts;
use super::timer::ClockTimer;

/// How long the headers of a request may take, and how long a connection may say nothing.
pub const HEADER_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes: its line and its headers.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request.
pub const MAX_HEADERS: usize = 64;
/// Requests of one connection.
pub const MAX_REQUESTS: u32 = 1_000;
/// How long a peer may leave unread what it is sent.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How long, and for how many bytes, a peer is listened to that was answered in the middle of its request:
/// else the system would throw the answer away with what is left.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 256 * 1024;

/// Who made a request: an extension of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// What all connections have in common.
#[derive(Debug)]
pub(super) struct Shared {
    routes: TowerToHyperService<Router>,
    hosts: AllowedHosts,
    pub(super) clock: Arc<dyn Clock>,
}

impl Shared {
    pub(super) fn new(routes: Router, hosts: AllowedHosts, clock: Arc<dyn Clock>) -> Self {
        Self { routes: TowerToHyperService::new(routes), hosts, clock }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr, last: bool) -> Response<Body> {
        let mut request = request.map(Body::new);
        let mut response = match self.check_host(&request) {
            Err((status, why)) => plain(status, why),
            Ok(()) => {
                request.extensions_mut().insert(Peer(peer));
                match self.routes.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        let headers = response.headers_mut();
        headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if last {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// A request names one host, in its line and in its header the same, and one that may be named.
    fn check_host(&self, request: &Request<Body>) -> Result<(), (StatusCode, &'static str)> {
        let bad = |why| Err((StatusCode::BAD_REQUEST, why));
        let mut named = request.headers().get_all(HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().ok(),
            (None, _) => return bad("the request names no host; send the header `Host`"),
            (Some(_), Some(_)) => return bad("the request names more than one host"),
        };
        let Some(host) = host else { return bad("`Host` is no host") };
        let target = request.uri().authority();
        if target.is_some_and(|target| !target.as_str().eq_ignore_ascii_case(host)) {
            return bad("the request's line and its header `Host` differ");
        }
        match self.hosts.allow(host) {
            Some(true) => Ok(()),
            Some(false) => Err((
                StatusCode::MISDIRECTED_REQUEST,
                "this host is not served here; add it to `allowed_hosts` if it should be",
            )),
            None => bad("`Host` is no host"),
        }
    }
}

/// One line of text.
pub(super) fn plain(status: StatusCode, line: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{line}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Answers the requests of one connection.
pub(super) async fn serve(
    shared: Arc<Shared>,
    stream: TcpStream,
    peer: SocketAddr,
    mut stop: watch::Receiver<Option<Duration>>,
) {
    let clock = Arc::clone(&shared.clock);
    let answered = AtomicU32::new(0);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        let last = answered.fetch_add(1, Ordering::Relaxed) + 1 >= MAX_REQUESTS;
        Box::pin(async move { Ok::<_, Infallible>(shared.answer(request, peer, last).await) })
    });
    let io = TokioIo::new(Patient { stream, clock: Arc::clone(&clock), stalled: None });
    let mut http = http1::Builder::new();
    http.timer(ClockTimer::new(Arc::clone(&clock)))
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS);
    let mut connection = http.serve_connection(io, service);
    let told = async { drop(stop.wait_for(Option::is_some).await) };
    let ended = tokio::select! {
        ended = poll_fn(|cx| connection.poll_without_shutdown(cx)) => ended,
        () = told => {
            Pin::new(&mut connection).graceful_shutdown();
            poll_fn(|cx| connection.poll_without_shutdown(cx)).await
        }
    };
    let stream = connection.into_parts().io.into_inner().stream;
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended");
        return;
    }
    let told = async { drop(stop.wait_for(Option::is_some).await) };
    until(until(linger(stream), clock.sleep(LINGER)), told).await;
}

/// Says that nothing more comes, and reads a little of what the peer still sends.
async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let (mut buffer, mut left) = ([0; 4 * 1024], LINGER_BYTES);
    while left > 0 {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
    }
}

/// A stream whose writes fail when the peer has taken nothing for [`WRITE_TIME`].
struct Patient {
    stream: TcpStream,
    clock: Arc<dyn Clock>,
    stalled: Option<BoxFuture<'static, ()>>,
}

impl Patient {
    fn bounded<T>(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if wrote.is_ready() {
            self.stalled = None;
            return wrote;
        }
        let stalled = self.stalled.get_or_insert_with(|| self.clock.sleep(WRITE_TIME));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.bounded(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

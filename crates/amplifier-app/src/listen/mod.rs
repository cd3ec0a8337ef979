//! The listener of the programs: HTTP/1.1 on one TCP port, for routes that others bring.
//!
//! Guarantees: nothing listens before [`Listener::bind`]; each request names one host, and one that may be
//! named here; connections, headers, bodies and every wait are bounded, and what is over a bound is
//! answered or closed; a stop lets what is being answered finish, for so long and no longer.
//! Never here: TLS, HTTP/2, who may do what: that is the routes'.

mod body;
mod connection;
mod hooks;
mod hosts;
mod rate;
mod timer;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::until::until;
use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

pub use body::{BODY_TIME, BodyError, read_body};
pub use connection::{HEADER_TIME, MAX_HEAD_BYTES, MAX_HEADERS, MAX_REQUESTS, Peer};
pub use hooks::routes;
pub use hosts::{AllowedHosts, InvalidHosts};
pub use rate::{Limiter, Rate};

/// Connections at once.
pub const MAX_CONNECTIONS: usize = 128;
/// How long the listener waits when the system has no more connections to give.
const EXHAUSTED: Duration = Duration::from_secs(1);
/// What a connection too many is told.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\nconnection: close\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 21\r\n\r\ntoo many connections\n";

/// What a listener answers under which names.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ListenOptions {
    /// The hosts that requests may name, beside loopback.
    pub allowed_hosts: AllowedHosts,
    /// Connections at once, [`MAX_CONNECTIONS`] unless somebody says otherwise.
    pub max_connections: usize,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { allowed_hosts: AllowedHosts::default(), max_connections: MAX_CONNECTIONS }
    }
}

/// Why nothing listens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// It is no address.
    #[error("`{address}` is no address to listen at; write one such as 127.0.0.1:8733, or port 0 for any")]
    Address {
        /// As it was given.
        address: String,
    },
    /// The system refuses it.
    #[error("could not listen at {address}; choose another address, or end who listens there")]
    Bind {
        /// As it was given.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A port that is open, and that nobody answers yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    options: ListenOptions,
    clock: Arc<dyn Clock>,
}

impl Listener {
    /// Opens a port: `127.0.0.1:8733`, `[::1]:8733`, `localhost:8733`; port 0 is any that is free.
    pub async fn bind(
        address: &str,
        options: ListenOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, ListenError> {
        let given = || address.to_owned();
        let well_formed = address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        if !well_formed {
            return Err(ListenError::Address { address: given() });
        }
        let failed = |source| ListenError::Bind { address: given(), source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, options, clock })
    }

    /// Where it listens, with the port that the system has chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a person should know about the address; nothing about loopback.
    pub fn warning(&self) -> Option<String> {
        let address: IpAddr = self.address.ip();
        (!address.to_canonical().is_loopback()).then(|| {
            format!(
                "warning: {} can be reached from other machines, without encryption; behind a proxy or tunnel \
                 that ends TLS, listen at 127.0.0.1",
                self.address
            )
        })
    }

    /// Answers requests with these routes until [`Serving::stop`].
    pub fn serve(self, routes: Router) -> Serving {
        let (stop, stopped) = watch::channel(None);
        let address = self.address;
        let shared = Arc::new(connection::Shared::new(routes, self.options.allowed_hosts, self.clock));
        let accepting = Accepting {
            socket: self.socket,
            shared,
            most: self.options.max_connections.max(1),
            connections: JoinSet::new(),
        };
        Serving { address, stop, task: tokio::spawn(accepting.run(stopped)) }
    }
}

/// A listener at work. Dropped, it closes everything at once.
#[derive(Debug)]
#[must_use = "a listener that is dropped answers nobody"]
pub struct Serving {
    address: SocketAddr,
    stop: watch::Sender<Option<Duration>>,
    task: JoinHandle<usize>,
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections, and lets those that wait for an answer have it within this time. Returns how
    /// many were cut off.
    pub async fn stop(mut self, within: Duration) -> usize {
        // Whoever is gone has stopped.
        let _ = self.stop.send(Some(within));
        (&mut self.task).await.unwrap_or(0)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Accepting {
    socket: TcpListener,
    shared: Arc<connection::Shared>,
    most: usize,
    connections: JoinSet<()>,
}

impl Accepting {
    /// Takes connections until it is told to stop. How many were cut off.
    async fn run(mut self, mut stop: watch::Receiver<Option<Duration>>) -> usize {
        let told = stop.clone();
        let mut exhausted = false;
        let within = loop {
            let accepted = tokio::select! {
                biased;
                stopped = stop.wait_for(Option::is_some) => match stopped {
                    Ok(within) => break (*within).unwrap_or_default(),
                    Err(_) => return 0,
                },
                Some(_) = self.connections.join_next() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    exhausted = false;
                    self.take(stream, peer, told.clone());
                }
                Err(error) if of_one_connection(&error) => {}
                Err(error) => {
                    if !exhausted {
                        tracing::warn!(%error, "no connection can be taken; trying again each second");
                    }
                    exhausted = true;
                    let wait = self.shared.clock.sleep(EXHAUSTED);
                    until(wait, stop.wait_for(Option::is_some)).await;
                }
            }
        };
        self.drain(within).await
    }

    fn take(&mut self, stream: TcpStream, peer: SocketAddr, stop: watch::Receiver<Option<Duration>>) {
        if self.connections.len() >= self.most {
            // Best effort: it is closed in either case.
            let _ = stream.try_write(BUSY);
            tracing::warn!(%peer, most = self.most, "a connection too many was refused");
            return;
        }
        let shared = Arc::clone(&self.shared);
        self.connections.spawn(connection::serve(shared, stream, peer, stop));
    }

    async fn drain(mut self, within: Duration) -> usize {
        drop(self.socket);
        let clock = Arc::clone(&self.shared.clock);
        let ended = async { while self.connections.join_next().await.is_some() {} };
        until(ended, clock.sleep(within)).await;
        let left = self.connections.len();
        self.connections.shutdown().await;
        left
    }
}

/// True for an error of the connection that was to be taken, and of no other.
fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

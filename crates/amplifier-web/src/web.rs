//! What a program serves.
//!
//! Guarantees: every route but that of login links is behind the guard.

use std::fmt;
use std::sync::Arc;

use amplifier_app::listen::ListenOptions;
use amplifier_background::BackgroundSessionManager;
use amplifier_foundation::Host;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;

use crate::api;
use crate::auth::guard;
use crate::pages;
use crate::routes::{Route, Table};
use crate::state::{App, Drain};

/// Connections at once beside those of streams.
const OTHER_CONNECTIONS: usize = 256;

/// What is served beside the host's own.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebOptions {
    /// What begins the end of the daemon, once what runs has ended; without it nobody can ask for that.
    pub drain: Option<Drain>,
    /// Streams of events at once, [`MAX_STREAMS`](crate::MAX_STREAMS) unless somebody says otherwise.
    pub max_streams: usize,
}

impl Default for WebOptions {
    fn default() -> Self {
        Self { drain: None, max_streams: api::MAX_STREAMS }
    }
}

impl fmt::Debug for WebOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebOptions").field("max_streams", &self.max_streams).finish_non_exhaustive()
    }
}

/// The HTTP side of a project's owner. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Web {
    app: Arc<App>,
    max_streams: usize,
}

impl Web {
    /// Over what this host and this manager run.
    pub fn new(host: &Host, manager: &BackgroundSessionManager, options: WebOptions) -> Self {
        let max_streams = options.max_streams;
        Self {
            app: Arc::new(App::new(host.clone(), manager.clone(), options.drain, max_streams)),
            max_streams,
        }
    }

    /// The routes, for [`Listener::serve`](amplifier_app::listen::Listener::serve): merge them with
    /// [`routes`](amplifier_app::listen::routes), which has `/healthz` and the webhooks.
    pub fn routes(&self) -> Router {
        let (router, _) = table().into_parts();
        let known = router.route("/api/{*rest}", axum::routing::any(api::unknown));
        let guarded = known.layer(from_fn_with_state(Arc::clone(&self.app), guard));
        let open = Router::new().route("/login", get(api::login));
        guarded.merge(open).with_state(Arc::clone(&self.app))
    }

    /// What a listener of these routes needs: a connection for each stream, and some more.
    pub fn listen_options(&self) -> ListenOptions {
        let mut options = ListenOptions::default();
        options.max_connections = self.max_streams.saturating_add(OTHER_CONNECTIONS);
        options
    }

    /// The routes that [`OPENAPI`](crate::OPENAPI) describes.
    pub fn described() -> Vec<Route> {
        let mut listed = table().into_parts().1;
        listed.retain(|route| route.path.starts_with("/api/") || route.path == "/metrics");
        listed
    }

    /// Begins to read what ran in the last day, so that the first page need not wait for it. Wants a runtime.
    pub fn warm_up(&self) {
        self.app.renew_beside();
    }

    /// Ends all streams of events, so that a listener can stop without cutting anybody off.
    pub fn close(&self) {
        self.app.closed.send_replace(true);
    }
}

fn table() -> Table {
    pages::routes(api::routes(Table::default())).post("/logout", api::logout)
}

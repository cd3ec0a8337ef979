//! A server as a session has it: connected, restarted, ended.
//!
//! Guarantees: one connection at a time; one that has ended is made anew for the next call, at most
//! [`MAX_RESTARTS`] times without a call that succeeds; what was asked of it when it ended is not asked again.

use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{CallToolResult, JsonObject};
use serde_json::Value;
use tokio::sync::Mutex;

use super::config::ServerSpec;
use super::live::{CallError, Live};
use super::place::Place;

/// Restarts without a success between them.
const MAX_RESTARTS: u32 = 3;

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) spec: ServerSpec,
    place: Arc<Place>,
    // Held while a connection is made, which is bounded in time; never across a call.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Option<Arc<Live>>,
    restarts: u32,
    closed: bool,
}

impl Server {
    pub(super) fn new(spec: ServerSpec, place: Place) -> Self {
        Self { spec, place: Arc::new(place), state: Mutex::default() }
    }

    /// Connects and asks for its tools; `Err` says why there are none.
    pub(super) async fn tools(&self) -> Result<Vec<Value>, String> {
        let live = self.live().await?;
        let listing = live.tools();
        let listed = amplifier_core::until::until(listing, self.place.clock.sleep(self.spec.startup)).await;
        let late = || {
            format!(
                "has not listed its tools within {} s (`startup_timeout`)",
                self.spec.startup.as_secs_f64()
            )
        };
        listed.ok_or_else(late)?.map_err(|error| error.to_string())
    }

    /// Calls a tool.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        step: impl FnMut(&str),
    ) -> Result<CallToolResult, String> {
        let live = self.live().await?;
        match live.call(tool, arguments, self.spec.timeout, step).await {
            Ok(result) => {
                self.state.lock().await.restarts = 0;
                Ok(result)
            }
            Err(CallError::Closed(reason)) => Err(format!(
                "has failed during the call: {reason}; whether the call has had an effect is not known"
            )),
            Err(error) => Err(error.to_string()),
        }
    }

    /// True once after the server has said that its tools are others now.
    pub(super) async fn take_changed(&self) -> bool {
        self.state.lock().await.live.as_ref().is_some_and(|live| live.notes.take_changed())
    }

    /// The connection, made anew if it has ended.
    async fn live(&self) -> Result<Arc<Live>, String> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err("is closed, because the session has ended".to_owned());
        }
        if let Some(live) = state.live.clone() {
            let Some(reason) = live.ended() else { return Ok(live) };
            if state.restarts >= MAX_RESTARTS {
                return Err(format!(
                    "was restarted {MAX_RESTARTS} times without success and is left alone: {reason}"
                ));
            }
            state.restarts += 1;
            tracing::warn!(server = self.spec.name, reason, "an MCP server has ended and is restarted");
            live.end().await;
        }
        let live = Arc::new(Live::start(&self.spec, &self.place).await?);
        state.live = Some(Arc::clone(&live));
        Ok(live)
    }

    /// Ends it; it connects no more.
    pub(super) async fn end(&self) {
        let live = {
            let mut state = self.state.lock().await;
            state.closed = true;
            state.live.take()
        };
        if let Some(live) = live {
            live.end().await;
        }
        self.place.close().await;
    }

    /// How long an end may take at most, with room.
    pub(super) const END: Duration = Duration::from_secs(10);
}

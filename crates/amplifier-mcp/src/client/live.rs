//! One connection to a server, from its start to its end.
//!
//! Guarantees: a start that takes longer than its time leaves nothing behind; a call ends with a result, a
//! reason or its time-out, and one that nobody waits for any more is cancelled at the server; at its end a
//! program is asked, has a second, and is then ended with all that it has started.
//! Never here: a second try.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::causes::chain;
use amplifier_core::until::until;
use amplifier_sandbox::Running;
use rmcp::RoleClient;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, JsonObject, ListToolsRequest,
    PaginatedRequestParams, ProtocolVersion, ServerResult,
};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, ClientServiceExt, Peer, PeerRequestOptions, RequestHandle,
    RunningService, ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::Mutex;

use super::config::{Http, ServerSpec, Stdio, Transport};
use super::faults::Faults;
use super::handler::{Handler, Notes};
use super::lines::{Lines, MAX_LINE};
use super::place::Place;

/// How long a program has to end by itself once its input is closed.
const GOODBYE: Duration = Duration::from_secs(1);
/// How long all of an end may take.
const END: Duration = Duration::from_secs(8);
/// How much longer than its time-out a call may take that shows progress.
const PATIENCE: u32 = 30;
/// Pages of a list of tools.
const MAX_PAGES: usize = 100;
/// What is said of a server that is gone too early.
const GONE: &str = "has ended before it has answered";
/// Tools of one server.
const MAX_TOOLS: usize = 1_000;

/// A connection that was made.
pub(super) struct Live {
    peer: Peer<RoleClient>,
    pub(super) notes: Arc<Notes>,
    faults: Arc<Faults>,
    place: Arc<Place>,
    is_program: bool,
    // Taken by whoever ends it.
    owned: Mutex<Option<Owned>>,
}

/// What is ended with the connection.
struct Owned {
    service: RunningService<RoleClient, Handler>,
    program: Option<Running>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("faults", &self.faults).finish_non_exhaustive()
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("{0}")]
    Closed(String),
    #[error("gave no sign for {} s, so the call was cancelled", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("refused: {0}")]
    Refused(String),
    #[error("answered with something that is no result of a tool")]
    Unexpected,
}

/// Why there is no connection.
enum StartError {
    /// The server speaks, but not this version.
    OtherVersion(String),
    Failed(String),
}

impl Live {
    /// Connects; `Err` says why not.
    pub(super) async fn start(spec: &ServerSpec, place: &Arc<Place>) -> Result<Self, String> {
        let starting = async {
            // Servers of today all know the handshake, and some hang at what is newer.
            match Self::attempt(spec, place, ClientLifecycleMode::Initialize).await {
                Err(StartError::OtherVersion(_)) => {
                    let preferred_versions = vec![ProtocolVersion::LATEST];
                    Self::attempt(spec, place, ClientLifecycleMode::Discover { preferred_versions }).await
                }
                made => made,
            }
        };
        match until(starting, place.clock.sleep(spec.startup)).await {
            Some(Ok(live)) => Ok(live),
            Some(Err(StartError::OtherVersion(reason) | StartError::Failed(reason))) => Err(reason),
            None => {
                Err(format!("has not answered within {} s (`startup_timeout`)", spec.startup.as_secs_f64()))
            }
        }
    }

    async fn attempt(
        spec: &ServerSpec,
        place: &Arc<Place>,
        lifecycle: ClientLifecycleMode,
    ) -> Result<Self, StartError> {
        let (faults, notes) = (Arc::<Faults>::default(), Arc::<Notes>::default());
        let handler = Handler::new(&place.cwd, Arc::clone(&notes));
        let made = match &spec.transport {
            Transport::Stdio(stdio) => program((spec, stdio), place, (handler, lifecycle), &faults).await,
            Transport::Http(http) => service(http, handler, lifecycle).await,
        };
        let owned = made.map_err(|error| explained(error, &faults, place))?;
        let (peer, owned) = (owned.service.peer().clone(), Mutex::new(Some(owned)));
        let is_program = matches!(spec.transport, Transport::Stdio(_));
        Ok(Self { peer, notes, faults, place: Arc::clone(place), is_program, owned })
    }

    /// Why it has ended; `None` while it lives.
    pub(super) fn ended(&self) -> Option<String> {
        self.peer.is_transport_closed().then(|| self.reason())
    }

    fn reason(&self) -> String {
        with_last_words(
            self.faults.reason().unwrap_or_else(|| "the connection is closed".to_owned()),
            &self.faults,
            &self.place,
        )
    }

    /// The tools as the server lists them, all pages.
    pub(super) async fn tools(&self) -> Result<Vec<Value>, CallError> {
        let (mut tools, mut cursor) = (Vec::new(), None);
        for _ in 0..MAX_PAGES {
            let page =
                cursor.take().map(|cursor| PaginatedRequestParams::default().with_cursor(Some(cursor)));
            let request = ListToolsRequest { params: page, ..ListToolsRequest::default() };
            let result = match self.peer.send_request(ClientRequest::ListToolsRequest(request)).await {
                // A server without tools may not even know the question.
                Err(ServiceError::McpError(error)) if error.code.0 == -32601 => return Ok(Vec::new()),
                result => result.map_err(|error| self.failed(error))?,
            };
            // One tool that the library cannot read must not hide the others.
            let page = serde_json::to_value(&result).map_err(|_| CallError::Unexpected)?;
            let Some(listed) = page.get("tools").and_then(Value::as_array) else {
                return Err(CallError::Unexpected);
            };
            tools.extend(listed.iter().take(MAX_TOOLS - tools.len()).cloned());
            cursor = page.get("nextCursor").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || listed.is_empty() || tools.len() >= MAX_TOOLS {
                return Ok(tools);
            }
        }
        Ok(tools)
    }

    /// Calls a tool; `step` is told of its progress, which also makes the time-out begin anew.
    pub(super) async fn call(
        &self,
        tool: &str,
        arguments: JsonObject,
        timeout: Duration,
        mut step: impl FnMut(&str),
    ) -> Result<CallToolResult, CallError> {
        let params = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params));
        let options = PeerRequestOptions::no_options();
        let handle = self.peer.send_cancellable_request(request, options).await;
        let mut asked = Asked(Some(handle.map_err(|error| self.failed(error))?));
        let Some(handle) = asked.0.as_mut() else { return Err(CallError::Unexpected) };
        let mut listening = self.notes.listen(handle.progress_token.clone());
        let clock = Arc::clone(&self.place.clock);
        let last = clock.monotonic().saturating_add(timeout.saturating_mul(PATIENCE));
        let result = loop {
            let silence = clock.sleep_until(last.min(clock.monotonic().saturating_add(timeout)));
            tokio::select! {
                biased;
                answer = &mut handle.rx => {
                    drop(asked.0.take());
                    break answer.unwrap_or(Err(ServiceError::TransportClosed));
                }
                text = listening.next() => step(&text),
                () = silence => return Err(CallError::TimedOut(timeout)),
            }
        };
        match result.map_err(|error| self.failed(error))? {
            ServerResult::CallToolResult(result) => Ok(result),
            ServerResult::EmptyResult(_) => Ok(CallToolResult::default()),
            ServerResult::InputRequiredResult(_) => Err(CallError::Refused(
                "it wants to ask a person something, which is not supported".to_owned(),
            )),
            _ => Err(CallError::Unexpected),
        }
    }

    fn failed(&self, error: ServiceError) -> CallError {
        match error {
            ServiceError::McpError(error) => CallError::Refused(self.place.redactor.text(&error.message)),
            ServiceError::UnexpectedResponse => CallError::Unexpected,
            ServiceError::TransportClosed => CallError::Closed(self.reason()),
            ServiceError::TransportSend(_) if self.is_program => {
                self.faults.closes("it has closed its input");
                CallError::Closed(self.reason())
            }
            ServiceError::TransportSend(error) => {
                let error = self.place.redactor.text(&chain(error.error.as_ref()));
                CallError::Closed(format!("it cannot be reached: {error}"))
            }
            other => CallError::Closed(self.place.redactor.text(&other.to_string())),
        }
    }

    /// Ends it.
    pub(super) async fn end(&self) {
        let Some(owned) = self.owned.lock().await.take() else { return };
        let clock = Arc::clone(&self.place.clock);
        let ending = async {
            // Closes the program's input on the way.
            let _ = until(owned.service.cancel(), clock.sleep(GOODBYE)).await;
            if let Some(mut program) = owned.program {
                let _ = until(program.wait(), clock.sleep(GOODBYE)).await;
                let _ = program.end(clock.as_ref()).await;
            }
        };
        if until(ending, clock.sleep(END)).await.is_none() {
            tracing::warn!("an MCP server did not end in time and was killed");
        }
    }
}

/// A request that is cancelled at the server if nobody takes its answer.
struct Asked(Option<RequestHandle<RoleClient>>);

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime
                .spawn(async move { drop(handle.cancel(Some("the caller has given up".to_owned())).await) });
        }
    }
}

async fn program(
    (spec, stdio): (&ServerSpec, &Stdio),
    place: &Arc<Place>,
    (handler, lifecycle): (Handler, ClientLifecycleMode),
    faults: &Arc<Faults>,
) -> Result<Owned, StartError> {
    let started = place.start(spec, stdio).await;
    let mut program = started.map_err(|error| {
        let program = stdio.argv.first().map_or("", String::as_str);
        let reason = chain(&error);
        StartError::Failed(place.redactor.text(&format!("`{program}` cannot be started: {reason}")))
    })?;
    let (Some(output), Some(input)) = (program.take_output(), program.take_input()) else {
        return Err(StartError::Failed("its streams are gone".to_owned()));
    };
    if let Some(errors) = program.take_errors() {
        tokio::spawn(listen(errors, spec.name.clone(), Arc::clone(faults), Arc::clone(place)));
    }
    let lines = Lines::new(&spec.name, (output, input), Arc::clone(faults), Arc::clone(&place.clock));
    let served = handler.serve_with_lifecycle(lines, lifecycle).await;
    let service = match served {
        Ok(service) => service,
        Err(error) => {
            // What it says last is the best explanation; its end brings it out.
            let ending = program.end(place.clock.as_ref());
            let _ = until(ending, place.clock.sleep(END)).await;
            return Err(of_library(error));
        }
    };
    Ok(Owned { service, program: Some(program) })
}

/// Reads what a program says on its error output.
async fn listen(mut errors: Receiver, server: String, faults: Arc<Faults>, place: Arc<Place>) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(read @ 1..) = errors.read(&mut buffer).await {
        faults.said(&buffer[..read]);
        if tracing::enabled!(tracing::Level::DEBUG) {
            let text = String::from_utf8_lossy(&buffer[..read.min(500)]).into_owned();
            tracing::debug!(server, text = place.redactor.text(&text), "stderr of an MCP server");
        }
    }
}

async fn service(http: &Http, handler: Handler, lifecycle: ClientLifecycleMode) -> Result<Owned, StartError> {
    let mut headers = std::collections::HashMap::new();
    for (name, value) in &http.headers {
        let parsed = (name.as_bytes().try_into(), value.as_bytes().try_into());
        let (Ok(name), Ok(value)) = parsed else {
            return Err(StartError::Failed(format!("its header `{name}` cannot be sent")));
        };
        headers.insert(name, value);
    }
    let config = StreamableHttpClientTransportConfig::with_uri(http.url.as_str())
        .custom_headers(headers)
        .max_json_response_size(MAX_LINE)
        .max_sse_event_size(MAX_LINE)
        .reinit_on_expired_session(true);
    let transport = StreamableHttpClientTransport::from_config(config);
    let service = handler.serve_with_lifecycle(transport, lifecycle).await.map_err(of_library)?;
    Ok(Owned { service, program: None })
}

fn of_library(error: ClientInitializeError) -> StartError {
    let auth = error.is_authorization_required();
    let text = match &error {
        ClientInitializeError::JsonRpcError(error) => format!("refuses the connection: {}", error.message),
        ClientInitializeError::ConnectionClosed(_) => GONE.to_owned(),
        _ if auth => "wants to know who calls: give a token in `headers`, such as \
                      `Authorization: Bearer ${NAME}`; OAuth is not supported"
            .to_owned(),
        // A program's input breaks when the program is gone.
        ClientInitializeError::TransportError { error, .. } if error.error.is::<std::io::Error>() => {
            GONE.to_owned()
        }
        ClientInitializeError::TransportError { error, .. } => {
            format!("cannot be reached: {}", chain(error.error.as_ref()))
        }
        other => chain(other).chars().take(500).collect(),
    };
    match error {
        ClientInitializeError::JsonRpcError(_) => StartError::OtherVersion(text),
        _ => StartError::Failed(text),
    }
}

/// With what the server has said of it.
fn explained(error: StartError, faults: &Faults, place: &Place) -> StartError {
    let told = |text: String| {
        let text = faults.reason().map_or(text.clone(), |reason| format!("{text}: {reason}"));
        with_last_words(text, faults, place)
    };
    match error {
        StartError::OtherVersion(text) => StartError::OtherVersion(told(text)),
        StartError::Failed(text) => StartError::Failed(told(text)),
    }
}

fn with_last_words(text: String, faults: &Faults, place: &Place) -> String {
    let text = match faults.last_words() {
        words if words.is_empty() => text,
        words => format!("{text}; it said: {words}"),
    };
    place.redactor.text(&text)
}

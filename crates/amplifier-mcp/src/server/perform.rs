//! What the server's tools do.
//!
//! Guarantees: a call that is cancelled, or whose time is up, stops its wait and no session.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amplifier_background::control;
use amplifier_background::declared::{Declarations, Sources};
use amplifier_background::trigger::{BackgroundName, TriggerRegistry};
use amplifier_core::causes::chain;
use amplifier_core::permission::Mode;
use amplifier_core::until::until;
use amplifier_core::{CancelLevel, CustomName, IssueId, Payload, SessionId, SessionOutcome};
use amplifier_foundation::Host;
use amplifier_foundation::host::SessionState;
use amplifier_foundation::router::{Cursor, EventFilter};
use amplifier_foundation::storage::{self, ProjectScope, SessionQuery, SessionSummary};
use amplifier_issue::{Actor, IssueQueue, IssueType, NewIssue, Priority};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, Implementation,
    JsonObject, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities,
    ServerConfig, ToolsCapability,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::types::{
    Asked, CancelArgs, EmitArgs, Emitted, EventArgs, EventTold, FireArgs, Fired, Heard, IssueAdded,
    IssueArgs, List, ListArgs, Listed, Options, PromptArgs, ReplyArgs, SendArgs, SpawnArgs, Status,
    StatusArgs, Told, WaitArgs, Waited,
};
use super::{MAX_WAIT, Serving, Started, Starter, Wanted, describe};

/// How often a client that waits is told that it still does.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// Sessions of one list, and of one wait.
const MAX_SESSIONS: usize = 1_000;
const INSTRUCTIONS: &str = "Amplifier runs AI-agent sessions from bundles. `amplifier` asks one thing and waits; `spawn` starts work in the \
     background and `wait` gets its answer. Sessions go on when a wait ends, and also when this server does; `list` finds them again.";

/// The handler of one connection.
pub(super) struct Server {
    host: Host,
    starter: Arc<dyn Starter>,
    sources: Sources,
    started: Arc<Started>,
}

/// A result, or a line that says what to do.
type Done<T> = Result<T, String>;

/// Who waits, and may give up.
struct Caller {
    context: RequestContext<RoleServer>,
}

impl Caller {
    /// Tells a client that asked for it that its call is alive.
    async fn progress(&self, steps: u32, message: String) {
        if let Some(token) = self.context.meta.get_progress_token() {
            let step = ProgressNotificationParam::new(token, f64::from(steps)).with_message(message);
            // A client that is gone needs no sign.
            let _ = self.context.peer.notify_progress(step).await;
        }
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities = ServerCapabilities::default();
        capabilities.tools = Some(ToolsCapability::default());
        let own = Implementation::new("amplifier", env!("CARGO_PKG_VERSION"));
        ServerConfig::new(capabilities).with_server_info(own).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(describe::tools()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let (stopped, caller) = (context.ct.clone(), Caller { context });
        let performing = Box::pin(self.perform(&request.name, arguments, &caller));
        let done = match until(performing, stopped.cancelled()).await {
            Some(Some(done)) => done,
            Some(None) => {
                let names: Vec<String> = describe::tools().iter().map(|tool| tool.name.to_string()).collect();
                let message = format!("there is no tool `{}`; there are {}", request.name, names.join(", "));
                return Err(ErrorData::invalid_params(message, None));
            }
            None => Err("the call was cancelled; sessions that it has started go on".to_owned()),
        };
        let result = match done {
            Ok(value) => CallToolResult::structured(value),
            Err(line) => CallToolResult::error(vec![ContentBlock::text(line)]),
        };
        Ok(result.into())
    }
}

impl Server {
    pub(super) fn new(serving: &Serving, started: Arc<Started>) -> Self {
        let (host, starter) = (serving.host.clone(), Arc::clone(&serving.starter));
        Self { host, starter, sources: serving.sources.clone(), started }
    }

    /// `None` for a tool that there is not.
    async fn perform(&self, name: &str, arguments: JsonObject, caller: &Caller) -> Option<Done<Value>> {
        Some(match name {
            "amplifier" => with(arguments, |args| self.ask(args, caller)).await,
            "amplifier-reply" => with(arguments, |args| self.reply(args, caller)).await,
            "spawn" => with(arguments, |args| self.spawn(args, caller)).await,
            "wait" => with(arguments, |args| self.wait(args, caller)).await,
            "send" => with(arguments, |args| self.send(args, caller)).await,
            "list" => with(arguments, |args| self.list(args)).await,
            "status" => with(arguments, |args| self.status(args)).await,
            "cancel" => with(arguments, |args| self.cancel(args)).await,
            "emit" => with(arguments, |args| self.emit(args)).await,
            "wait_for_event" => with(arguments, |args| self.wait_for_event(args, caller)).await,
            "trigger_fire" => with(arguments, |args| self.fire(args)).await,
            "issue_add" => with(arguments, |args| self.add_issue(args)).await,
            _ => return None,
        })
    }

    async fn ask(&self, args: PromptArgs, caller: &Caller) -> Done<Told> {
        let id = self.start(wanted(args.prompt, args.options)?).await?;
        self.answer(&id, MAX_WAIT, caller).await
    }

    async fn reply(&self, args: ReplyArgs, caller: &Caller) -> Done<Told> {
        let id = self.find(&args.session_id).await?.id;
        self.idle(&id, MAX_WAIT, caller).await?;
        self.start(Wanted { prompt: filled(args.prompt)?, resume: Some(id.clone()), ..Wanted::default() })
            .await?;
        self.answer(&id, MAX_WAIT, caller).await
    }

    async fn spawn(&self, args: SpawnArgs, caller: &Caller) -> Done<Told> {
        let within = if args.wait == 0.0 { Duration::ZERO } else { span(args.wait)? };
        let id = self.start(wanted(args.instruction, args.options)?).await?;
        if within.is_zero() {
            return Ok(Told::without(&id, "running"));
        }
        self.answer(&id, within, caller).await
    }

    async fn send(&self, args: SendArgs, caller: &Caller) -> Done<Told> {
        let id = self.find(&args.session_id).await?.id;
        self.idle(&id, span(args.timeout)?, caller).await?;
        self.start(Wanted { prompt: filled(args.message)?, resume: Some(id.clone()), ..Wanted::default() })
            .await?;
        Ok(Told::without(&id, "running"))
    }

    async fn start(&self, wanted: Wanted) -> Done<SessionId> {
        // A bundle that cannot be used is told in full before a process is started.
        if let Some(bundle) = &wanted.bundle
            && wanted.cwd.is_none()
        {
            self.host.prepare(bundle).await.map_err(|error| chain(&error))?;
        }
        let id = self.starter.start(wanted).await.map_err(|error| error.to_string())?;
        self.started.push(id.clone());
        Ok(id)
    }

    /// Waits until a session can be told something.
    async fn idle(&self, id: &SessionId, within: Duration, caller: &Caller) -> Done<()> {
        match self.state(id).await? {
            SessionState::Running { .. } => {}
            _ => return Ok(()),
        }
        match self.ended(std::slice::from_ref(id), (within, false), caller).await?.pop() {
            Some((_, Some(_))) => Ok(()),
            _ => Err(format!(
                "session {id} still works on what it was asked; call wait, or cancel, and then again"
            )),
        }
    }

    async fn answer(&self, id: &SessionId, within: Duration, caller: &Caller) -> Done<Told> {
        let ended = self.ended(std::slice::from_ref(id), (within, false), caller).await?;
        Ok(Told::of(id, ended.first().and_then(|(_, outcome)| outcome.as_deref())))
    }

    /// Waits for sessions, with signs of life; `None` for those that still run.
    async fn ended(
        &self,
        ids: &[SessionId],
        (within, any): (Duration, bool),
        caller: &Caller,
    ) -> Done<Vec<(SessionId, Option<Arc<SessionOutcome>>)>> {
        let (clock, sessions) = (self.host.clock(), self.host.project_sessions());
        let deadline = clock.monotonic().saturating_add(within);
        for step in 1_u32.. {
            let rest = deadline.saturating_since(clock.monotonic());
            let slice = rest.min(SIGN_OF_LIFE);
            if any && ids.len() > 1 {
                let first = sessions.wait_any(ids, slice).await;
                first.map_err(|error| chain(&error))?;
            }
            let slice = if any { Duration::ZERO } else { slice };
            let ended = sessions.wait_all(ids, slice).await.map_err(|error| chain(&error))?;
            let running = ended.iter().filter(|(_, outcome)| outcome.is_none()).count();
            let enough = running == 0 || (any && running < ids.len());
            if enough || deadline.saturating_since(clock.monotonic()).is_zero() {
                return Ok(ended);
            }
            let message = format!("{running} of {} still at work", ids.len());
            caller.progress(step, message).await;
        }
        Ok(Vec::new())
    }

    async fn wait(&self, args: WaitArgs, caller: &Caller) -> Done<Waited> {
        let mut ids = Vec::new();
        for text in args.session_ids.iter().chain(&args.session_id).take(MAX_SESSIONS) {
            let id = self.find(text).await?.id;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        if ids.is_empty() {
            return Err("no session is named; give `session_ids`, which `spawn` and `list` tell".to_owned());
        }
        let ended = self.ended(&ids, (span(args.timeout)?, args.any), caller).await?;
        let running = ended.iter().filter(|(_, outcome)| outcome.is_none()).count();
        let enough = running == 0 || (args.any && running < ended.len());
        let sessions = ended.iter().map(|(id, outcome)| Told::of(id, outcome.as_deref())).collect();
        Ok(Waited { status: if enough { "ended" } else { "running" }.to_owned(), sessions })
    }

    async fn find(&self, text: &str) -> Done<SessionSummary> {
        let found = storage::resolve_prefix(self.host.storage().as_ref(), text, ProjectScope::Current).await;
        found.map_err(|error| format!("{}; `list` tells which there are", chain(&error)))
    }

    async fn state(&self, id: &SessionId) -> Done<SessionState> {
        let summary = self.find(id.as_str()).await?;
        self.host.project_sessions().state(&summary).await.map_err(|error| chain(&error))
    }

    async fn listed(&self, summary: &SessionSummary) -> Done<Listed> {
        let state = self.host.project_sessions().state(summary).await.map_err(|error| chain(&error))?;
        let status = match state {
            SessionState::Running { .. } => "running",
            SessionState::Ended(kind) => kind.as_str(),
            SessionState::Damaged => "damaged",
            _ => "left",
        };
        Ok(Listed {
            session_id: summary.id.to_string(),
            status: status.to_owned(),
            name: summary.name.clone(),
            bundle: summary.bundle.clone(),
            model: summary.model.clone(),
            cwd: summary.working_dir.as_ref().map(|dir| dir.display().to_string()),
            created: summary.created.map(|time| time.to_string()),
            turns: summary.turn_count,
        })
    }

    async fn list(&self, args: ListArgs) -> Done<List> {
        let limit = args.limit.map_or(20, |limit| limit.max(1) as usize).min(MAX_SESSIONS);
        let read = if args.running { MAX_SESSIONS } else { limit };
        let query = SessionQuery::default().top_level().limit(read);
        let found = self.host.storage().list(&query).await.map_err(|error| chain(&error))?;
        let mut sessions = Vec::new();
        for summary in &found {
            let listed = self.listed(summary).await?;
            if !args.running || listed.status == "running" {
                sessions.push(listed);
            }
        }
        sessions.truncate(limit);
        Ok(List { sessions })
    }

    async fn status(&self, args: StatusArgs) -> Done<Status> {
        let summary = self.find(&args.session_id).await?;
        let session = self.listed(&summary).await?;
        let outcome = match session.status.as_str() {
            "running" | "left" | "damaged" => None,
            _ => self.host.project_sessions().outcome(&summary.id).await.map_err(|error| chain(&error))?,
        };
        Ok(Status { outcome: outcome.map(|outcome| Told::of(&summary.id, Some(&outcome))), session })
    }

    async fn cancel(&self, args: CancelArgs) -> Done<Asked> {
        let id = self.find(&args.session_id).await?.id;
        let level = if args.now { CancelLevel::Immediate } else { CancelLevel::Graceful };
        self.host.project_sessions().cancel(&id, level).await.map_err(|error| chain(&error))?;
        let asked = if args.now { "to stop at once" } else { "to stop" };
        Ok(Asked { session_id: id.to_string(), asked: asked.to_owned() })
    }

    async fn emit(&self, args: EmitArgs) -> Done<Emitted> {
        let name = CustomName::new(&args.name).map_err(|error| chain(&error))?;
        let data = Payload::encode(&args.data).map_err(|error| chain(&error))?;
        let id = self.host.router().emit(name, data).await.map_err(|error| chain(&error))?;
        Ok(Emitted { event_id: id.to_string() })
    }

    async fn wait_for_event(&self, args: EventArgs, caller: &Caller) -> Done<Heard> {
        let (router, clock) = (self.host.router(), self.host.clock());
        let filter: EventFilter = args.filter.as_str().try_into().map_err(|error| chain(&error))?;
        let tail = router.tail().await.map_err(|error| chain(&error))?;
        let from =
            Cursor { sequence: args.after.map_or(tail.sequence, |after| after.min(tail.sequence)), ..tail };
        let deadline = clock.monotonic().saturating_add(span(args.timeout)?);
        for step in 1_u32.. {
            let rest = deadline.saturating_since(clock.monotonic());
            let next = router.wait_after(filter.clone(), from, rest.min(SIGN_OF_LIFE)).await;
            if let Some((event, behind)) = next.map_err(|error| chain(&error))? {
                let told = EventTold {
                    name: event.event_type.name().to_owned(),
                    session_id: event.source.as_ref().map(ToString::to_string),
                    time: event.at.to_string(),
                    data: event.payload.decode().unwrap_or_default(),
                };
                return Ok(Heard { status: "event".to_owned(), event: Some(told), cursor: behind.sequence });
            }
            if deadline.saturating_since(clock.monotonic()).is_zero() {
                break;
            }
            caller.progress(step, "no such event yet".to_owned()).await;
        }
        Ok(Heard { status: "timed_out".to_owned(), event: None, cursor: from.sequence })
    }

    async fn fire(&self, args: FireArgs) -> Done<Fired> {
        let declared = Declarations::load(&self.host, &self.sources, &TriggerRegistry::new()).await;
        let declared = declared.map_err(|error| chain(&error))?;
        let name = BackgroundName::new(&args.name).map_err(|error| chain(&error))?;
        let Some(found) = declared.get(&name) else {
            let known: Vec<&str> = declared.sessions.iter().map(|one| one.config.name.as_str()).collect();
            let there = if known.is_empty() {
                "none is".to_owned()
            } else {
                format!("there are {}", known.join(", "))
            };
            return Err(format!("no background session {name} is declared here; {there}"));
        };
        let data = Payload::encode(&args.data).map_err(|error| chain(&error))?;
        let fired = control::fire(&self.host, found.config.clone(), data, Some("mcp"))
            .await
            .map_err(|error| chain(&error))?;
        Ok(Fired { run_id: fired.run.to_string(), owned: fired.owned })
    }

    async fn add_issue(&self, args: IssueArgs) -> Done<IssueAdded> {
        let router = self.host.router().clone();
        let (clock, ids) = (Arc::clone(self.host.clock()), Arc::clone(self.host.ids()));
        let seal = move |event| router.seal(event);
        let queue = IssueQueue::new(Arc::clone(self.host.store()), seal, clock, ids, Actor::new("mcp"));
        let mut issue = NewIssue::new(args.title, args.description);
        if let Some(kind) = args.kind {
            let parsed = serde_json::from_value::<IssueType>(Value::String(kind));
            issue.issue_type = parsed.map_err(|error| error.to_string())?;
        }
        if let Some(number) = args.priority {
            issue.priority = Priority::new(number).map_err(|error| error.to_string())?;
        }
        for id in args.depends_on {
            issue.depends_on.push(IssueId::new(id).map_err(|error| error.to_string())?);
        }
        issue.bundle = args.bundle;
        let added = queue.open(issue).await.map_err(|error| chain(&error))?;
        Ok(IssueAdded {
            issue_id: added.issue.id.to_string(),
            status: added.issue.status.as_str().to_owned(),
        })
    }
}

/// Reads the arguments, does the work, writes the result.
async fn with<A: DeserializeOwned, T: Serialize, F: Future<Output = Done<T>>>(
    arguments: Map<String, Value>,
    work: impl FnOnce(A) -> F,
) -> Done<Value> {
    let read = serde_json::from_value(Value::Object(arguments));
    let done = work(read.map_err(|error| format!("the arguments do not fit: {error}"))?).await?;
    serde_json::to_value(done).map_err(|error| error.to_string())
}

fn wanted(prompt: String, options: Options) -> Done<Wanted> {
    let mode = options.permission_mode.as_deref().map(|name| {
        let mode = Mode::from_name(name).filter(|mode| *mode != Mode::BypassPermissions);
        mode.ok_or_else(|| {
            format!("`{name}` is no permission mode here; give default, plan, acceptEdits or dontAsk")
        })
    });
    let timeout = options.timeout.map(|seconds| {
        let span = Duration::try_from_secs_f64(seconds).ok().filter(|span| !span.is_zero());
        span.ok_or_else(|| format!("timeout is {seconds}; give seconds"))
    });
    Ok(Wanted {
        prompt: filled(prompt)?,
        resume: None,
        bundle: options.bundle,
        provider: options.provider,
        model: options.model,
        name: options.name,
        cwd: options.cwd.map(PathBuf::from),
        permission_mode: mode.transpose()?,
        max_turns: options.max_turns.filter(|turns| *turns > 0),
        max_budget_usd: options.max_budget_usd.filter(|usd| *usd > 0.0),
        timeout: timeout.transpose()?,
    })
}

fn filled(prompt: String) -> Done<String> {
    if prompt.trim().is_empty() {
        return Err("the prompt is empty; say what is to be done".to_owned());
    }
    Ok(prompt)
}

/// A wait in seconds, as long as one may be.
fn span(seconds: f64) -> Done<Duration> {
    let span = Duration::try_from_secs_f64(seconds).map_err(|_| format!("{seconds} s is no time to wait"))?;
    Ok(span.min(MAX_WAIT))
}

//! Fakes: a clock that stands still, counted ids, and small modules that do as they are told.

use std::collections::VecDeque;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use amplifier_core::approval::{
    ApprovalAnswer, ApprovalRequest, Approver, Display, NobodyToAsk, Origin, Shown,
};
use amplifier_core::clock::BoxFuture;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{EmitError, EventSink, SessionEnvInner, Variables};
use amplifier_core::hook::{Hook, HookError, HookEvent, Verdict};
use amplifier_core::module::context::{ContextManager, ContextView, ViewBudget};
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::provider::{
    ChatDelta, ChatRequest, ChatResponse, ChatStream, ModelInfo, Provider, ProviderError, ProviderErrorKind,
    ProviderInfo, StopReason, ToolSchema,
};
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput};
use amplifier_core::module::{Module, ModuleKind, Mount, Parts};
use amplifier_core::permission::{Access, PathError, Paths, ResolvedPath};
use amplifier_core::session::{SessionBuilder, SessionDriver, TurnReply};
use amplifier_core::transcript::{MessageLog, MessageView, Transcript, TranscriptError};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_core::*;
use async_trait::async_trait;
use serde_json::{Value, json};

/// A clock that moves only when it is told to.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Mutex<ClockState>>);

#[derive(Debug, Default)]
struct ClockState {
    elapsed: Duration,
    sleepers: Vec<(MonoTime, Waker)>,
}

impl ManualClock {
    /// Moves the clock and wakes whoever has slept long enough.
    pub fn advance(&self, span: Duration) {
        let mut state = self.0.lock().unwrap();
        state.elapsed += span;
        let now = MonoTime::from_origin(state.elapsed);
        let (due, waiting) = state.sleepers.drain(..).partition(|(deadline, _)| *deadline <= now);
        state.sleepers = waiting;
        drop(state);
        let due: Vec<(MonoTime, Waker)> = due;
        due.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// The span until the next sleeper wakes.
    pub fn next_wake(&self) -> Option<Duration> {
        let state = self.0.lock().unwrap();
        let now = MonoTime::from_origin(state.elapsed);
        state.sleepers.iter().map(|(deadline, _)| deadline.saturating_since(now)).min()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000).saturating_add(self.0.lock().unwrap().elapsed)
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.0.lock().unwrap().elapsed)
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        Box::pin(std::future::poll_fn(move |cx| {
            let mut state = clock.0.lock().unwrap();
            if MonoTime::from_origin(state.elapsed) >= deadline {
                return Poll::Ready(());
            }
            state.sleepers.retain(|(at, waker)| *at != deadline || !waker.will_wake(cx.waker()));
            state.sleepers.push((deadline, cx.waker().clone()));
            Poll::Pending
        }))
    }
}

/// Ids that count up.
#[derive(Debug, Default)]
pub struct SeededIds(AtomicU64);

impl Ids for SeededIds {
    fn v7(&self, now: Timestamp) -> uuid::Uuid {
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        uuid::Uuid::from_u64_pair((now.as_millis() as u64) << 16 | 0x7000, 1 << 63 | count)
    }

    fn v4(&self) -> uuid::Uuid {
        uuid::Uuid::from_u64_pair(0x4000, 1 << 63 | self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

/// Polls a future as long as it wakes itself. `None`: it waits for somebody else.
/// `before` is called with the number of each poll.
pub fn polled<F: Future + ?Sized>(
    mut future: Pin<&mut F>,
    mut before: impl FnMut(usize),
) -> Option<F::Output> {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&flag));
    for poll in 0..100_000 {
        before(poll);
        flag.0.store(false, Ordering::Release);
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        before(usize::MAX);
        if !flag.0.load(Ordering::Acquire) {
            return None;
        }
    }
    panic!("the future wakes itself for ever");
}

/// [`polled`] without a say.
pub fn idle<F: Future + ?Sized>(future: Pin<&mut F>) -> Option<F::Output> {
    polled(future, |_| {})
}

/// Waits for one more poll.
pub async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a fake provider answers.
#[derive(Debug, Clone)]
pub enum Answer {
    Text(&'static str),
    Calls(Vec<ToolCall>),
    Fails(ProviderErrorKind, Option<Duration>),
    /// Streams this, then ends without an end marker.
    Cut(&'static str),
    Panics,
    Hangs,
    /// Streams this, then nothing more.
    Stalls(&'static str),
    /// Calls that may be cut off: the output limit was reached.
    CutCalls(Vec<ToolCall>),
    /// Text without usage.
    Uncounted(&'static str),
    /// This message as it is.
    Says(Box<Message>),
}

/// A provider that gives its answers one after the other, and then only `done`.
#[derive(Debug)]
pub struct FakeProvider {
    info: ProviderInfo,
    price: Option<Price>,
    max_output: Option<u64>,
    answers: Mutex<VecDeque<Answer>>,
    pub requests: Mutex<Vec<ChatRequest>>,
}

impl FakeProvider {
    pub fn new(answers: Vec<Answer>) -> Arc<Self> {
        Self::named("fake", answers)
    }

    pub fn named(name: &str, answers: Vec<Answer>) -> Arc<Self> {
        Self::priced(name, None, None, answers)
    }

    pub fn priced(
        name: &str,
        price: Option<Price>,
        max_output: Option<u64>,
        answers: Vec<Answer>,
    ) -> Arc<Self> {
        let info = ProviderInfo::new(name, "provider-fake", "fake-1");
        let answers = Mutex::new(answers.into());
        Arc::new(Self { info, price, max_output, answers, requests: Mutex::default() })
    }

    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// The texts of the messages of one request.
    pub fn request_texts(&self, index: usize) -> Vec<String> {
        self.requests.lock().unwrap()[index].messages.to_vec().iter().map(|message| message.text()).collect()
    }
}

type Piece = Result<ChatDelta, ProviderError>;

struct Pieces {
    rest: VecDeque<Piece>,
    yielded: bool,
    stalls: bool,
}

impl futures_core::Stream for Pieces {
    type Item = Piece;
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.yielded = !self.yielded;
        if self.yielded {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.rest.pop_front() {
            None if self.stalls => Poll::Pending,
            piece => Poll::Ready(piece),
        }
    }
}

pub fn usage(input_tokens: u64, output_tokens: u64) -> Usage {
    Usage { input_tokens, output_tokens, ..Usage::default() }
}

#[async_trait]
impl Provider for FakeProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    async fn models(&self) -> Result<Vec<ModelInfo>, ProviderError> {
        Ok(vec![ModelInfo::named("fake-1")])
    }

    fn price(&self, _model: &str) -> Option<Price> {
        self.price
    }

    fn max_output(&self, _model: &str) -> Option<u64> {
        self.max_output
    }

    async fn stream(&self, request: ChatRequest) -> Result<ChatStream, ProviderError> {
        self.requests.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front().unwrap_or(Answer::Text("done"));
        yield_once().await;
        let (at_limit, counted) =
            (matches!(answer, Answer::CutCalls(_)), !matches!(answer, Answer::Uncounted(_)));
        let done = |message| {
            let mut response = ChatResponse::new(message, "fake-1");
            response.usage = counted.then(|| usage(10, 5));
            if at_limit {
                response.stop = StopReason::MaxTokens;
            }
            Ok(ChatDelta::Done(Box::new(response)))
        };
        let text = |text: &str| Ok(ChatDelta::Text(text.to_owned()));
        let stalls = matches!(answer, Answer::Stalls(_));
        let pieces = match answer {
            Answer::Text(words) | Answer::Uncounted(words) => {
                vec![text(words), done(Message::assistant(words))]
            }
            Answer::Calls(calls) | Answer::CutCalls(calls) => {
                let mut message = Message::assistant("");
                message.tool_calls = calls;
                vec![done(message)]
            }
            Answer::Says(message) => vec![done(*message)],
            Answer::Cut(words) | Answer::Stalls(words) => vec![text(words)],
            Answer::Fails(kind, retry_after) => {
                let mut error = ProviderError::new("fake", kind, "no luck");
                error.retry_after = retry_after;
                return Err(error);
            }
            Answer::Panics => panic!("the provider broke"),
            Answer::Hangs => std::future::pending().await,
        };
        Ok(Box::pin(Pieces { rest: pieces.into(), yielded: false, stalls }))
    }
}

pub fn call(id: &str, name: &str) -> ToolCall {
    ToolCall::new(id, name, json!({"id": id}))
}

/// What a fake tool does.
#[derive(Debug, Clone)]
pub enum Does {
    Answers,
    Fails,
    Panics,
    PanicsInAccess,
    Hangs,
    /// Answers after so many more polls.
    AnswersAfter(usize),
    /// Answers after a second.
    Sleeps,
    /// Says this.
    Says(&'static str),
    /// Touches this before it answers.
    Touches(Access),
}

#[derive(Debug)]
pub struct FakeTool {
    schema: ToolSchema,
    does: Does,
    repeat: Repeat,
    pub calls: Mutex<Vec<Value>>,
}

pub fn tool(name: &str, does: Does) -> Arc<FakeTool> {
    repeatable(name, does, Repeat::Never)
}

pub fn repeatable(name: &str, does: Does, repeat: Repeat) -> Arc<FakeTool> {
    let schema = ToolSchema {
        name: name.into(),
        description: "a fake".into(),
        input_schema: json!({"type": "object"}),
    };
    Arc::new(FakeTool { schema, does, repeat, calls: Mutex::default() })
}

#[async_trait]
impl Tool for FakeTool {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, _arguments: &Value, _env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        match &self.does {
            Does::PanicsInAccess => panic!("cannot say"),
            Does::Touches(access) => Ok(vec![access.clone()]),
            _ => Ok(Vec::new()),
        }
    }

    fn repeat(&self) -> Repeat {
        assert!(!matches!(self.does, Does::Panics), "cannot say");
        self.repeat
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        self.calls.lock().unwrap().push(arguments);
        if let Does::Touches(access) = &self.does {
            assert_eq!(cx.accesses, std::slice::from_ref(access), "the call knows what was judged");
        }
        yield_once().await;
        match self.does {
            Does::Sleeps => {
                let clock = &cx.env.clock;
                clock.sleep_until(clock.monotonic().saturating_add(Duration::from_secs(1))).await;
                Ok(ToolOutput::text(format!("{} ran", self.schema.name)))
            }
            Does::Says(text) => Ok(ToolOutput::text(text)),
            Does::Fails => Err(ToolError::Refused("no such thing".into())),
            Does::Panics => panic!("the tool broke"),
            Does::Hangs => std::future::pending().await,
            Does::AnswersAfter(polls) => {
                for _ in 0..polls {
                    yield_once().await;
                }
                Ok(ToolOutput::text(format!("{} ran", self.schema.name)))
            }
            _ => Ok(ToolOutput::text(format!("{} ran", self.schema.name))),
        }
    }
}

/// The smallest loop; can break in several ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeLoop {
    Sequential,
    Panics,
}

#[async_trait]
impl Orchestrator for FakeLoop {
    fn name(&self) -> &str {
        "fake-loop"
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        loop {
            if turn.cancelled() != CancelLevel::None {
                return Err(TurnError::Cancelled);
            }
            let message = turn.complete().await?.message;
            let (text, calls) = (message.text(), message.tool_calls.clone());
            turn.append(vec![message]).await?;
            assert!(*self != Self::Panics, "the loop broke");
            if calls.is_empty() {
                return Ok(text);
            }
            for call in &calls {
                let result = turn.run_tool(call).await;
                turn.append(vec![result]).await?;
            }
        }
    }
}

/// Keeps everything, shows everything, or the last message alone after a squeeze.
#[derive(Debug, Default)]
pub struct FakeContext {
    log: MessageLog,
    pub squeezes: Mutex<Vec<bool>>,
}

#[async_trait]
impl ContextManager for FakeContext {
    fn append(&self, messages: &[Arc<Message>]) {
        self.log.extend(messages.iter().cloned());
    }

    fn replace(&self, messages: Vec<Arc<Message>>) {
        self.log.extend(messages);
    }

    fn messages(&self) -> MessageView {
        self.log.view()
    }

    async fn view(&self, budget: ViewBudget) -> ContextView {
        self.squeezes.lock().unwrap().push(budget.squeeze);
        ContextView::whole(self.log.view(), 20)
    }
}

/// Holds messages; slow on both sides of the moment at which they are held.
#[derive(Debug, Default)]
pub struct FakeTranscript {
    pub held: Mutex<Vec<Arc<Message>>>,
    pub fails: AtomicBool,
}

impl Transcript for FakeTranscript {
    fn append<'a>(&'a self, messages: &'a [Arc<Message>]) -> BoxFuture<'a, Result<(), TranscriptError>> {
        Box::pin(async move {
            yield_once().await;
            if self.fails.load(Ordering::Acquire) {
                let source = std::io::Error::from(std::io::ErrorKind::StorageFull).into();
                return Err(TranscriptError::Storage { session: SessionId::new("s").unwrap(), source });
            }
            self.held.lock().unwrap().extend(messages.iter().cloned());
            yield_once().await;
            Ok(())
        })
    }
}

/// Notes every event, and says what it was told to say of some.
#[derive(Debug)]
pub struct Recorder {
    events: Vec<EventPattern>,
    verdicts: Vec<(EventType, Verdict)>,
    pub seen: Mutex<Vec<(EventType, Value)>>,
}

impl Recorder {
    pub fn new(verdicts: Vec<(EventType, Verdict)>) -> Arc<Self> {
        let events = vec![EventPattern::new("*").unwrap()];
        Arc::new(Self { events, verdicts, seen: Mutex::default() })
    }

    pub fn count(&self, event: EventType) -> usize {
        self.seen.lock().unwrap().iter().filter(|(seen, _)| *seen == event).count()
    }

    pub fn data(&self, event: EventType) -> Vec<Value> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|(one, _)| *one == event).map(|(_, data)| data.clone()).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(event, _)| event.name().to_owned()).collect()
    }
}

#[async_trait]
impl Hook for Recorder {
    fn name(&self) -> &str {
        "recorder"
    }
    fn events(&self) -> &[EventPattern] {
        &self.events
    }
    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        self.seen.lock().unwrap().push((event.event.clone(), event.data.clone()));
        let verdict = self.verdicts.iter().find(|(wanted, _)| wanted == event.event);
        Ok(verdict.map_or(Verdict::Continue, |(_, verdict)| verdict.clone()))
    }
}

/// Gives one answer to everything, or none at all.
#[derive(Debug)]
pub struct FakeApprover(pub Option<ApprovalAnswer>, pub AtomicU64);

impl FakeApprover {
    pub fn new(answer: Option<ApprovalAnswer>) -> Arc<Self> {
        Arc::new(Self(answer, AtomicU64::new(0)))
    }
}

#[async_trait]
impl Approver for FakeApprover {
    fn can_answer(&self) -> bool {
        true
    }
    async fn request(&self, _request: ApprovalRequest) -> ApprovalAnswer {
        self.1.fetch_add(1, Ordering::AcqRel);
        match &self.0 {
            Some(answer) => answer.clone(),
            None => std::future::pending().await,
        }
    }
}

#[derive(Debug)]
struct PlainPaths;

impl Paths for PlainPaths {
    fn resolve(&self, base: &Path, text: &str) -> Result<ResolvedPath, PathError> {
        Ok(ResolvedPath::vouched(base.join(text)))
    }
}

#[derive(Debug)]
struct NoSink;

impl EventSink for NoSink {
    fn emit<'a>(&'a self, _event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(async { Err(EmitError::Closed) })
    }
}

/// Writes down what it is shown.
#[derive(Debug, Default)]
pub struct FakeDisplay(pub Mutex<Vec<String>>);

impl Display for FakeDisplay {
    fn show(&self, _origin: &Origin, shown: Shown<'_>) {
        self.0.lock().unwrap().push(format!("{shown:?}"));
    }
}

/// What a test session is made of.
pub struct Kit {
    pub clock: ManualClock,
    pub answers: Vec<Answer>,
    pub tools: Vec<Arc<FakeTool>>,
    pub orchestrator: FakeLoop,
    pub approver: Arc<dyn Approver>,
    pub verdicts: Vec<(EventType, Verdict)>,
    pub activation: Activation,
    pub parent: Option<SessionId>,
    /// Real modules; they take the places of the fakes.
    pub modules: Vec<(Arc<dyn Module>, ModuleSpec)>,
    pub folder: Option<PathBuf>,
    pub variables: Vec<(&'static str, &'static str)>,
}

/// Variables that a test names.
#[derive(Debug)]
struct FakeVariables(Vec<(&'static str, &'static str)>);

impl Variables for FakeVariables {
    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }
}

impl Kit {
    pub fn new(answers: Vec<Answer>) -> Self {
        Self {
            clock: ManualClock::default(),
            answers,
            tools: Vec::new(),
            orchestrator: FakeLoop::Sequential,
            approver: Arc::new(NobodyToAsk),
            verdicts: Vec::new(),
            activation: Activation::FIRST,
            parent: None,
            modules: Vec::new(),
            folder: None,
            variables: Vec::new(),
        }
    }

    /// Mounts a real module with this configuration.
    pub fn module(mut self, module: impl Module + 'static, config: Value) -> Self {
        let mut spec = ModuleSpec::new(module.info().id);
        spec.config = config.as_object().cloned().unwrap_or_default();
        self.modules.push((Arc::new(module), spec));
        self
    }

    pub fn tool(mut self, name: &str, does: Does) -> Self {
        self.tools.push(tool(name, does));
        self
    }

    pub fn repeatable(mut self, name: &str, does: Does, repeat: Repeat) -> Self {
        self.tools.push(repeatable(name, does, repeat));
        self
    }

    pub fn verdict(mut self, event: EventType, verdict: Verdict) -> Self {
        self.verdicts.push((event, verdict));
        self
    }

    pub fn build(self) -> Bench {
        self.build_with(|builder| builder)
    }

    pub fn build_with(self, more: impl FnOnce(SessionBuilder) -> SessionBuilder) -> Bench {
        let clock = self.clock;
        let cancel = CancelToken::new();
        let display = Arc::new(FakeDisplay::default());
        let session = SessionId::new("s").unwrap();
        let env = SessionEnv::new(SessionEnvInner {
            root: session.clone(),
            session,
            parent: self.parent,
            depth: 0,
            activation: self.activation,
            cwd: PathBuf::from("/w"),
            folder: self.folder,
            clock: Arc::new(clock.clone()),
            ids: Arc::new(SeededIds::default()),
            paths: Arc::new(PlainPaths),
            variables: Arc::new(FakeVariables(self.variables)),
            cancel: cancel.clone(),
            activity: Activity::new(Arc::new(clock.clone())),
            approver: self.approver,
            display: Arc::clone(&display) as Arc<dyn Display>,
            events: Arc::new(NoSink),
            coordinator: Coordinator::new(),
        });
        let (provider, hook) = (FakeProvider::new(self.answers), Recorder::new(self.verdicts));
        let (context, transcript) = (Arc::new(FakeContext::default()), Arc::new(FakeTranscript::default()));
        let mut parts = Parts::default();
        parts.providers.push(Arc::clone(&provider) as Arc<dyn Provider>);
        parts.tools.extend(self.tools.iter().map(|tool| Arc::clone(tool) as Arc<dyn Tool>));
        parts.hooks.push(Arc::clone(&hook) as Arc<dyn Hook>);
        parts.orchestrator = Some(Arc::new(self.orchestrator));
        parts.context = Some(Arc::clone(&context) as Arc<dyn ContextManager>);
        for (module, spec) in &self.modules {
            if module.info().kind == ModuleKind::Provider {
                parts.providers.clear();
            }
            let mut mount = Mount::new(&env, &mut parts);
            idle(std::pin::pin!(module.mount(spec, &mut mount))).expect("a mount waits").expect("mounts");
        }
        let builder = more(AmplifierSession::builder(env).parts(parts));
        let (session, driver) = builder.build(Arc::clone(&transcript) as Arc<dyn Transcript>).unwrap();
        let tools = self.tools;
        Bench { clock, cancel, display, provider, hook, context, transcript, tools, session, driver }
    }
}

/// A session and everything that a test looks at.
pub struct Bench {
    pub clock: ManualClock,
    pub cancel: CancelToken,
    pub display: Arc<FakeDisplay>,
    pub provider: Arc<FakeProvider>,
    pub hook: Arc<Recorder>,
    pub context: Arc<FakeContext>,
    pub transcript: Arc<FakeTranscript>,
    pub tools: Vec<Arc<FakeTool>>,
    pub session: AmplifierSession,
    pub driver: SessionDriver,
}

impl Bench {
    /// Runs one turn to its end.
    pub fn turn(&mut self) -> Result<TurnReply, TurnError> {
        let turn = std::pin::pin!(self.driver.turn("hi".into()));
        idle(turn).expect("the turn waits for something")
    }

    /// Runs one turn; cancels when it waits for somebody else.
    pub fn turn_cancelled_when_idle(&mut self, level: CancelLevel) -> Result<TurnReply, TurnError> {
        let mut turn = std::pin::pin!(self.driver.turn("hi".into()));
        assert!(idle(turn.as_mut()).is_none(), "the turn was to wait");
        self.cancel.cancel(level, CancelReason::Requested);
        idle(turn).expect("the turn waits although it is cancelled")
    }

    pub fn held(&self) -> Vec<Arc<Message>> {
        self.transcript.held.lock().unwrap().clone()
    }
}

/// Every tool call has exactly one result behind it, and no result is without a call.
pub fn assert_calls_have_one_result_each(messages: &[Arc<Message>]) {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        match message.role {
            Role::Tool => {
                let id = message.tool_call_id.as_deref().unwrap();
                let at = open.iter().position(|open| *open == id);
                open.remove(at.unwrap_or_else(|| panic!("result of {id} without a call, or a second one")));
            }
            _ => {
                assert!(open.is_empty(), "calls without results: {open:?}");
                open.extend(message.tool_calls.iter().map(|call| call.id.as_str()));
            }
        }
    }
    assert!(open.is_empty(), "calls without results at the end: {open:?}");
}

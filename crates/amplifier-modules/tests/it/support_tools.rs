//! A session's surroundings for tools, over a temporary folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use amplifier_core::approval::{NoDisplay, NobodyToAsk};
use amplifier_core::clock::BoxFuture;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{EmitError, EventSink, NoVariables, SessionEnv, SessionEnvInner};
use amplifier_core::id::{Activation, EventId, SessionId};
use amplifier_core::message::ToolCall;
use amplifier_core::module::tool::{ToolContext, ToolError, ToolOutput, ToolSet};
use amplifier_core::module::{ModuleSpec, Mount, Parts};
use amplifier_core::permission::{Layer, Mode, Permissions};
use amplifier_core::{Activity, CancelToken, Clock, Ids, MonoTime, NewEvent, Timestamp};
use amplifier_foundation::fs::paths::SystemPaths;
use amplifier_foundation::process::ProcessLedger;
use amplifier_foundation::storage::ProjectPaths;
use serde_json::Value;
use tempfile::TempDir;

/// Real time, `speed` times as fast.
#[derive(Debug)]
pub(crate) struct FastClock {
    speed: u32,
    origin: Instant,
}

impl FastClock {
    pub(crate) fn new(speed: u32) -> Arc<Self> {
        Arc::new(Self { speed, origin: Instant::now() })
    }
}

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.origin.elapsed() * self.speed)
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        let rest = deadline.saturating_since(self.monotonic()) / self.speed;
        Box::pin(tokio::time::sleep(rest))
    }
}

/// Ids that no other process and no other call has made.
#[derive(Debug)]
struct TestIds;

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

impl Ids for TestIds {
    fn v7(&self, _now: Timestamp) -> uuid::Uuid {
        self.v4()
    }

    fn v4(&self) -> uuid::Uuid {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
        let high = u64::from(std::process::id()) << 32 | u64::from(nanos);
        uuid::Uuid::from_u64_pair(high, NEXT_ID.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug)]
struct NoEvents;

impl EventSink for NoEvents {
    fn emit<'a>(&'a self, _event: NewEvent) -> BoxFuture<'a, Result<EventId, EmitError>> {
        Box::pin(async { Err(EmitError::Closed) })
    }
}

/// All tools, mounted into a session whose working directory is a fresh folder.
pub(crate) struct Bench {
    _folder: TempDir,
    /// Holds `cwd`, and whatever a test puts outside it.
    pub(crate) root: PathBuf,
    pub(crate) env: SessionEnv,
    pub(crate) tools: ToolSet,
    pub(crate) permissions: Permissions,
}

/// What a test may set.
pub(crate) struct Setup {
    pub(crate) speed: u32,
    pub(crate) bash: Value,
    /// Where the folder is made; the system's folder for temporary files if `None`.
    pub(crate) within: Option<PathBuf>,
    /// With a ledger of processes, as sessions on disk have one.
    pub(crate) ledger: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { speed: 1, bash: Value::Null, within: None, ledger: false }
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let folder = match &setup.within {
            Some(within) => tempfile::tempdir_in(within).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        let root = folder.path().canonicalize().unwrap();
        let cwd = root.join("cwd");
        std::fs::create_dir(&cwd).unwrap();
        let session = SessionId::new(format!("s{}", NEXT_ID.fetch_add(1, Ordering::Relaxed))).unwrap();
        let clock = FastClock::new(setup.speed);
        let env = SessionEnv::new(SessionEnvInner {
            session: session.clone(),
            parent: Some(SessionId::new("the-parent").unwrap()),
            root: SessionId::new("the-root").unwrap(),
            depth: 2,
            activation: Activation::FIRST,
            cwd: cwd.clone(),
            folder: None,
            activity: Activity::new(clock.clone()),
            clock,
            ids: Arc::new(TestIds),
            paths: Arc::new(SystemPaths::with_home(Some(root.join("home")))),
            variables: Arc::new(NoVariables),
            cancel: CancelToken::new(),
            approver: Arc::new(NobodyToAsk),
            display: Arc::new(NoDisplay),
            events: Arc::new(NoEvents),
            coordinator: Coordinator::new(),
        });
        if setup.ledger {
            let paths = ProjectPaths::resolve(&root.join("home"), &cwd).unwrap();
            let ledger = ProcessLedger::of_project(&paths, Arc::clone(&env.clock), Arc::clone(&env.ids));
            env.coordinator.provide(Arc::new(ledger.for_session(session.clone())));
        }
        let mut parts = Parts::default();
        for module in amplifier_modules::tool::tools() {
            let mut spec = ModuleSpec::new(module.info().id);
            if module.info().id == "tool-bash"
                && let Value::Object(config) = &setup.bash
            {
                spec.config = config.clone();
            }
            module.mount(&spec, &mut Mount::new(&env, &mut parts)).await.unwrap();
        }
        let permissions =
            Permissions::unrestricted().with(Layer::of_mode("test", Mode::DontAsk, vec![cwd.clone()]));
        Self { _folder: folder, root, env, tools: ToolSet::new(parts.tools), permissions }
    }

    pub(crate) fn cwd(&self) -> &Path {
        &self.env.cwd
    }

    /// The folder of ledgers of processes, if it was made.
    pub(crate) fn run_folder(&self) -> PathBuf {
        ProjectPaths::resolve(&self.root.join("home"), self.cwd()).unwrap().project().join("run")
    }

    /// Makes a file below the working directory, its folders too.
    pub(crate) fn file(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.cwd().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn content(&self, path: &str) -> String {
        std::fs::read_to_string(self.cwd().join(path)).unwrap()
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Result<ToolOutput, ToolError> {
        self.call_as(tool, arguments, false).await
    }

    pub(crate) async fn sandboxed(&self, arguments: Value) -> Result<ToolOutput, ToolError> {
        self.call_as("bash", arguments, true).await
    }

    pub(crate) async fn call_as(
        &self,
        tool: &str,
        arguments: Value,
        sandboxed: bool,
    ) -> Result<ToolOutput, ToolError> {
        self.call_after(tool, arguments, sandboxed, || {}).await
    }

    /// As the kernel does it; `meanwhile` happens between the judgement and the call.
    pub(crate) async fn call_after(
        &self,
        tool: &str,
        arguments: Value,
        sandboxed: bool,
        meanwhile: impl FnOnce(),
    ) -> Result<ToolOutput, ToolError> {
        let call = ToolCall::new("c1", tool, arguments.clone());
        let tool = self.tools.get(tool).unwrap();
        let accesses = tool.access(&arguments, &self.env)?;
        meanwhile();
        let mut cx = ToolContext::new(&self.env, &call, &self.permissions, &accesses);
        cx.sandboxed = sandboxed;
        tool.call(arguments, &cx).await
    }

    /// The text of a call that must succeed.
    pub(crate) async fn ok(&self, tool: &str, arguments: Value) -> String {
        let output = self.call(tool, arguments).await.unwrap();
        assert!(!output.is_error, "{}", output.text);
        output.text
    }

    /// The message of a call that must fail.
    pub(crate) async fn fails(&self, tool: &str, arguments: Value) -> String {
        self.call(tool, arguments).await.unwrap_err().to_string()
    }

    /// Processes alive that carry this session's mark, whatever its command.
    pub(crate) fn marked(&self) -> Vec<i32> {
        use amplifier_foundation::fs::process_table::{environment_has, processes};
        let mark = amplifier_foundation::process::Processes::of(&self.env).mark().to_owned();
        let entry = format!("AMPLIFIER_PROCESS_MARK={mark}");
        let alive = processes().into_iter().filter(|process| !process.ended);
        let marked =
            alive.filter(|process| environment_has(process.pid, |e| e.starts_with(entry.as_bytes())));
        marked.map(|process| process.pid).collect()
    }
}

/// Waits until what another process does has shown; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// True in a process that runs this test alone, with these variables; otherwise starts that
/// process, checks that the test passes in it, and says false.
pub(crate) fn alone(test: &str, variables: &[(&str, &str)]) -> bool {
    if std::env::var("AMPLIFIER_TEST_ALONE").is_ok_and(|alone| alone == test) {
        return true;
    }
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env("AMPLIFIER_TEST_ALONE", test)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

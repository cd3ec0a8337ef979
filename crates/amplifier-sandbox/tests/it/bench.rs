//! A session's surroundings over a temporary folder, without tools.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use amplifier_core::approval::{NoDisplay, NobodyToAsk};
use amplifier_core::clock::BoxFuture;
use amplifier_core::coordinator::Coordinator;
use amplifier_core::env::{EmitError, EventSink, NoVariables, SessionEnv, SessionEnvInner};
use amplifier_core::id::{Activation, EventId, SessionId};
use amplifier_core::{Activity, CancelToken, Clock, Ids, MonoTime, NewEvent, Timestamp};
use amplifier_foundation::fs::paths::SystemPaths;
use amplifier_foundation::process::{ProcessLedger, Processes};
use amplifier_foundation::storage::ProjectPaths;
use amplifier_sandbox::{Confinement, Program, Request, RunError, Running, Variables, start};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Real time, ten times as fast.
#[derive(Debug)]
struct FastClock(Instant);

const SPEED: u32 = 10;

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap())
    }

    fn monotonic(&self) -> MonoTime {
        MonoTime::from_origin(self.0.elapsed() * SPEED)
    }

    fn sleep_until(&self, deadline: MonoTime) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(deadline.saturating_since(self.monotonic()) / SPEED))
    }
}

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

/// A session that starts programs in a fresh folder.
pub(crate) struct Bench {
    _folder: TempDir,
    root: PathBuf,
    pub(crate) env: SessionEnv,
    pub(crate) processes: Arc<Processes>,
}

impl Bench {
    /// With a ledger of processes, or without.
    pub(crate) fn new(ledger: bool) -> Self {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        // Outside the folder for temporary files, where everything is writable.
        let within =
            if target.starts_with(std::env::temp_dir()) { PathBuf::from("/var/tmp") } else { target };
        let folder = tempfile::tempdir_in(within).unwrap();
        let root = folder.path().canonicalize().unwrap();
        let cwd = root.join("cwd");
        std::fs::create_dir(&cwd).unwrap();
        let session = SessionId::new(format!("s{}", NEXT_ID.fetch_add(1, Ordering::Relaxed))).unwrap();
        let clock = Arc::new(FastClock(Instant::now()));
        let env = SessionEnv::new(SessionEnvInner {
            session: session.clone(),
            parent: None,
            root: session.clone(),
            depth: 0,
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
        if ledger {
            let paths = ProjectPaths::resolve(&root.join("home"), &cwd).unwrap();
            let ledger = ProcessLedger::of_project(&paths, Arc::clone(&env.clock), Arc::clone(&env.ids));
            env.coordinator.provide(Arc::new(ledger.for_session(session)));
        }
        let processes = Processes::of(&env);
        Self { _folder: folder, root, env, processes }
    }

    /// Starts a text of the shell.
    pub(crate) async fn start(&self, command: &str, confinement: Confinement) -> Result<Running, RunError> {
        let tree = self.processes.begin()?;
        let request = Request {
            program: Program::Shell(command.to_owned()),
            cwd: self.env.cwd.clone(),
            variables: Variables::of_child(&self.env, &[], &tree.mark()).with("GIVEN_TOKEN", "given"),
            confinement,
            timeout: Duration::from_secs(60),
        };
        start(request, tree, self.env.clock.as_ref()).await
    }

    /// The folder of ledgers.
    pub(crate) fn run_folder(&self) -> PathBuf {
        ProjectPaths::resolve(&self.root.join("home"), &self.env.cwd).unwrap().project().join("run")
    }

    /// How many processes in the working directory are alive.
    pub(crate) fn alive(&self) -> usize {
        let processes = amplifier_foundation::fs::process_table::processes();
        let inside =
            |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|link| link == self.env.cwd);
        processes.iter().filter(|process| !process.ended && inside(process.pid)).count()
    }
}

/// All that comes until everybody has closed the other end.
pub(crate) async fn text(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut text = String::new();
    let reading = pipe.read_to_string(&mut text);
    tokio::time::timeout(Duration::from_secs(20), reading).await.unwrap().unwrap();
    text
}

/// Waits until what another process does has shown; panics after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

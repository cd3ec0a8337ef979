//! A program that is started for each event.
//!
//! Guarantees: no shell reads its arguments; it reads the event on its input, and gets no variable whose name
//! looks like a secret's; after its time, everything that it has started is ended; as few run at once
//! as [`AT_ONCE`]. What it prints goes to the log, and nowhere else.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amplifier_background::notify::{Argument, Delivery, DeliveryError, Notification};
use amplifier_core::clock::BoxFuture;
use amplifier_core::{Clock, SessionId};
use amplifier_foundation::Host;
use amplifier_foundation::process::Processes;
use amplifier_sandbox::{Confinement, Ended, Program, Report, Request, Variables, find_program, run};
use tokio::sync::Semaphore;

/// Commands of all entries that run at once.
const AT_ONCE: usize = 4;
/// How often an event is tried.
const ATTEMPTS: u32 = 4;
/// How much of what a command prints is logged, in bytes.
const LOGGED_BYTES: usize = 2_000;

/// What all commands share.
#[derive(Debug)]
pub(super) struct Programs {
    cwd: PathBuf,
    clock: Arc<dyn Clock>,
    processes: Arc<Processes>,
    places: Arc<Semaphore>,
}

impl Programs {
    pub(super) fn of(host: &Host) -> Self {
        #[expect(clippy::expect_used, reason = "`notify` is an id")]
        let owner = SessionId::new("notify").expect("an id");
        Self {
            cwd: host.project().to_owned(),
            clock: Arc::clone(host.clock()),
            processes: host.processes(owner),
            places: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    pub(super) fn command(&self, arguments: Vec<Argument>, timeout: Duration) -> Result<Command, String> {
        let name = arguments.first().and_then(Argument::literal).unwrap_or_default();
        let Some(program) = find_program(&name, &self.cwd) else {
            let shown: String = name.escape_debug().take(80).collect();
            return Err(format!("there is no program `{shown}`; install it, or write its path"));
        };
        Ok(Command {
            name,
            program,
            arguments: arguments.into_iter().skip(1).collect(),
            timeout,
            cwd: self.cwd.clone(),
            clock: Arc::clone(&self.clock),
            processes: Arc::clone(&self.processes),
            places: Arc::clone(&self.places),
        })
    }
}

/// A command.
#[derive(Debug)]
pub(super) struct Command {
    name: String,
    program: PathBuf,
    arguments: Vec<Argument>,
    timeout: Duration,
    cwd: PathBuf,
    clock: Arc<dyn Clock>,
    processes: Arc<Processes>,
    places: Arc<Semaphore>,
}

impl Command {
    async fn run(&self, notification: &Notification) -> Result<(), DeliveryError> {
        let name = &self.name;
        let _place = self.places.acquire().await.map_err(|_| DeliveryError::later("the program ends"))?;
        let tree = self.processes.begin().map_err(|_| DeliveryError::later("the program ends"))?;
        let mut argv: Vec<OsString> = vec![self.program.clone().into()];
        argv.extend(self.arguments.iter().map(|argument| argument.render(notification).into()));
        let request = Request {
            program: Program::Argv(argv),
            cwd: self.cwd.clone(),
            variables: Variables::of_program(&tree.mark()),
            confinement: Confinement::none(),
            timeout: self.timeout,
        };
        let input = format!("{}\n", notification.json).into_bytes();
        let report = run(request, Some(input), tree, self.clock.as_ref()).await;
        let report =
            report.map_err(|error| DeliveryError::later(format!("`{name}` could not be run: {error}")))?;
        self.log(notification, &report);
        match report.ended {
            Ended::Exit(status) if status.success() => Ok(()),
            Ended::Exit(status) => Err(DeliveryError::later(format!("`{name}` ended with {status}"))),
            Ended::TimedOut => Err(DeliveryError::later(format!(
                "`{name}` was ended after {} seconds",
                self.timeout.as_secs_f32()
            ))),
        }
    }

    fn log(&self, notification: &Notification, report: &Report) {
        let (command, event) = (&self.name, notification.event.id);
        let output = report.output.trim();
        if !output.is_empty() {
            let shown = &output[output.ceil_char_boundary(output.len().saturating_sub(LOGGED_BYTES))..];
            tracing::info!(command, %event, output = shown, "a notification's command has printed something");
        }
        if report.background {
            tracing::info!(command, %event, "a notification's command has left something running");
        }
    }
}

impl Delivery for Command {
    fn label(&self) -> String {
        format!("command {}", self.name)
    }

    fn attempts(&self) -> u32 {
        ATTEMPTS
    }

    fn deliver<'a>(&'a self, notification: &'a Notification) -> BoxFuture<'a, Result<(), DeliveryError>> {
        Box::pin(self.run(notification))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let left = self.processes.end_all().await;
            if left > 0 {
                tracing::warn!(left, "processes of notifications could not be ended");
            }
        })
    }
}

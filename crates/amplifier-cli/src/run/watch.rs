//! A session that runs, the background sessions that it leaves, and who wants them to stop.
//!
//! Guarantees: the first signal is graceful, the second immediate; SIGTERM becomes immediate by
//! itself after [`TERM_GRACE`]; after an immediate stop nothing is waited for beyond [`GIVE_UP`]. The
//! same holds while background sessions are waited for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::{CancelLevel, CancelReason, CancelToken, MonoTime, SessionOutcome};
use amplifier_foundation::settings::duration;
use amplifier_foundation::{Host, SpawnResult};

use crate::args::run::OnExit;
use crate::exit::Signalled;
use crate::output::{self, Output};
use amplifier_app::terminal::Signals;

/// How long running tools may take after SIGTERM, and in background sessions that are stopped.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// How long a session may take to settle after an immediate stop.
const GIVE_UP: Duration = Duration::from_secs(12);

/// A session that runs, and how far it was asked to stop.
pub(super) struct Watch<'a> {
    host: &'a Host,
    pub(super) result: SpawnResult,
    /// Ends questions to the person at the terminal.
    asked: CancelToken,
    output: &'a Arc<dyn Output>,
    level: CancelLevel,
    pub(super) signal: Option<Signalled>,
    /// When the next level is due.
    due: Option<MonoTime>,
    /// Nobody reads stdout any more.
    gone: bool,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        host: &'a Host,
        result: SpawnResult,
        asked: CancelToken,
        output: &'a Arc<dyn Output>,
    ) -> Self {
        Self { host, result, asked, output, level: CancelLevel::None, signal: None, due: None, gone: false }
    }

    /// The outcome; `None` if the session does not stop.
    pub(super) async fn wait(&mut self, signals: &mut Signals) -> Option<Arc<SessionOutcome>> {
        let session = self.result.session().clone();
        self.until(session.outcome(), signals).await
    }

    /// Waits for the background sessions that are left, or stops them. Whoever waits here is no session
    /// that learns how they ended.
    pub(super) async fn leave(&mut self, how: OnExit, within: Option<Duration>, signals: &mut Signals) {
        let left = self.left();
        if left > 0 {
            self.output.leave();
            let what = sessions(left);
            match how {
                _ if self.level != CancelLevel::None => output::say(&format!("waiting for {what} to stop")),
                OnExit::Cancel => output::say(&format!("stopping {what} (--on-exit cancel)")),
                _ => match within {
                    Some(within) => {
                        let within = duration::format(within);
                        output::say(&format!("waiting for {what}, at most {within}; Ctrl+C stops"));
                    }
                    None => output::say(&format!("waiting for {what}")),
                },
            }
        }
        match (how, self.level) {
            (_, CancelLevel::Immediate) => {}
            (OnExit::Cancel, CancelLevel::None) => self.stop_gracefully(Some(TERM_GRACE)),
            _ => {
                let end = within.map(|within| self.host.clock().monotonic().saturating_add(within));
                self.due = self.due.into_iter().chain(end).min();
            }
        }
        let host = self.host.clone();
        if self.until(host.sessions().idle(), signals).await.is_none() {
            output::say(&format!("{} did not stop", sessions(self.left())));
        }
    }

    /// True once the session was asked to stop.
    pub(super) fn is_stopping(&self) -> bool {
        self.level != CancelLevel::None
    }

    /// Stops the session, gracefully.
    pub(super) fn give_up(&mut self) {
        self.stop_gracefully(None);
    }

    /// How many background sessions still run.
    fn left(&self) -> usize {
        self.result.descendants().iter().filter(|child| child.outcome.is_none()).count()
    }

    /// What is waited for; `None` if it does not come though everything was asked to stop.
    async fn until<T>(&mut self, what: impl Future<Output = T>, signals: &mut Signals) -> Option<T> {
        let mut what = pin!(what);
        let (clock, output) = (Arc::clone(self.host.clock()), Arc::clone(self.output));
        loop {
            let due = self.due.map(|due| clock.sleep_until(due));
            let escalation = async {
                match due {
                    Some(due) => due.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                done = &mut what => return Some(done),
                signal = signals.next() => self.signalled(signal),
                () = escalation => match self.level {
                    CancelLevel::Immediate => return None,
                    CancelLevel::None => self.overdue(),
                    _ => self.stop_now(),
                },
                () = output.stdout().closed(), if !self.gone => {
                    self.gone = true;
                    self.stop_gracefully(None);
                }
            }
        }
    }

    fn signalled(&mut self, signal: Signalled) {
        let first = self.signal.is_none();
        self.signal.get_or_insert(signal);
        match (first, signal) {
            (true, Signalled::Interrupt) => {
                output::say("stopping once running tools are done; Ctrl+C again stops at once");
                self.stop_gracefully(None);
            }
            (true, Signalled::Terminate) => self.stop_gracefully(Some(TERM_GRACE)),
            (false, _) => self.stop_now(),
        }
    }

    fn overdue(&mut self) {
        output::say(&format!("the time is up (--drain-timeout); stopping {}", sessions(self.left())));
        self.stop_gracefully(Some(TERM_GRACE));
    }

    fn stop_gracefully(&mut self, within: Option<Duration>) {
        self.stop(CancelLevel::Graceful);
        if self.level != CancelLevel::Immediate {
            self.level = CancelLevel::Graceful;
            self.due = within.map(|within| self.host.clock().monotonic().saturating_add(within));
        }
    }

    fn stop_now(&mut self) {
        self.stop(CancelLevel::Immediate);
        if self.level != CancelLevel::Immediate {
            self.level = CancelLevel::Immediate;
            self.due = Some(self.host.clock().monotonic().saturating_add(GIVE_UP));
        }
    }

    /// Asks the session and its descendants, also one that another session had spawned and this one has
    /// resumed.
    fn stop(&self, level: CancelLevel) {
        self.asked.cancel(level, CancelReason::Requested);
        self.result.task().cancel(level);
        self.host.sessions().cancel_all(level, CancelReason::Requested);
    }
}

fn sessions(count: usize) -> String {
    match count {
        1 => "a background session".to_owned(),
        more => format!("{more} background sessions"),
    }
}

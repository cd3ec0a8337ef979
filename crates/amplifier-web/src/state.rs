//! What all requests have in common.
//!
//! Guarantees: what costs a pass over the store is made at most every [`FRESH`], by one at a time, whoever
//! asks how often.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_app::listen::{Limiter, Rate};
use amplifier_background::BackgroundSessionManager;
use amplifier_background::report::{ReportError, RunQuery, RunReport, Runs};
use amplifier_core::{Clock, MonoTime};
use amplifier_foundation::Host;
use amplifier_issue::{Actor, IssueQueue};
use axum::http::StatusCode;
use tokio::sync::{Semaphore, watch};

use crate::auth::{Logins, Tokens, Who};
use crate::pages::Templates;

/// How old a report may be that is shown.
const FRESH: Duration = Duration::from_secs(2);
/// How far back the report of a page goes.
pub(crate) const REPORT_SPAN: Duration = Duration::from_secs(24 * 60 * 60);
/// Runs of a report that are told one by one.
const REPORT_RUNS: usize = 100;

/// Ends the daemon once what runs has ended.
pub(crate) type Drain = Arc<dyn Fn() + Send + Sync>;

pub(crate) struct App {
    host: Host,
    pub(crate) manager: BackgroundSessionManager,
    pub(crate) drain: Option<Drain>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) closed: watch::Sender<bool>,
    issues: IssueQueue,
    templates: Templates,
    guesses: Limiter,
    counted: [AtomicU64; 5],
    report: Mutex<Option<(MonoTime, Arc<RunReport>)>>,
    reporting: tokio::sync::Mutex<()>,
    renewing: AtomicBool,
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("project", &self.host.project()).finish_non_exhaustive()
    }
}

impl App {
    pub(crate) fn new(
        host: Host,
        manager: BackgroundSessionManager,
        drain: Option<Drain>,
        streams: usize,
    ) -> Self {
        // Who has a token has no need to guess.
        let mut rate = Rate::default();
        (rate.burst, rate.per_second) = (20, 1);
        let guesses = Limiter::new(rate, Arc::clone(host.clock()));
        let router = host.router().clone();
        let issues = IssueQueue::new(
            Arc::clone(host.store()),
            move |event| router.seal(event),
            Arc::clone(host.clock()),
            Arc::clone(host.ids()),
            Actor::new("web"),
        );
        Self {
            host,
            manager,
            drain,
            streams: Arc::new(Semaphore::new(streams)),
            closed: watch::Sender::new(false),
            issues,
            templates: Templates::new(),
            guesses,
            counted: Default::default(),
            report: Mutex::default(),
            reporting: tokio::sync::Mutex::default(),
            renewing: AtomicBool::new(false),
        }
    }

    pub(crate) fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.host.clock()
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::of(&self.host)
    }

    pub(crate) fn logins(&self) -> Logins {
        Logins::of(&self.host)
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.templates
    }

    /// The issues, to look at.
    pub(crate) fn issues(&self) -> &IssueQueue {
        &self.issues
    }

    /// The issues; changes are those of whoever asks.
    pub(crate) fn issues_by(&self, who: &Who) -> IssueQueue {
        self.issues.by(Actor::new(who.identity.actor.as_str()))
    }

    pub(crate) fn guesses(&self) -> &Limiter {
        &self.guesses
    }

    /// Counts an answer.
    pub(crate) fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        self.counted[class].fetch_add(1, Ordering::Relaxed);
    }

    /// Answers by the first digit of their status.
    pub(crate) fn answers(&self) -> [u64; 5] {
        std::array::from_fn(|class| self.counted[class].load(Ordering::Relaxed))
    }

    /// What ran in the last day. At most [`FRESH`] older than it could be, but for what is being made anew.
    pub(crate) async fn report(self: &Arc<Self>) -> Result<Arc<RunReport>, ReportError> {
        match self.kept() {
            None => self.first().await,
            Some((made, report)) => {
                let old = self.clock().monotonic().saturating_since(made) >= FRESH;
                if old {
                    self.renew_beside();
                }
                Ok(report)
            }
        }
    }

    /// Makes it anew while others do what they do; once at a time.
    pub(crate) fn renew_beside(self: &Arc<Self>) {
        if self.renewing.swap(true, Ordering::AcqRel) {
            return;
        }
        let app = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = app.renew().await {
                tracing::warn!(%error, "what ran could not be read");
            }
            app.renewing.store(false, Ordering::Release);
        });
    }

    fn kept(&self) -> Option<(MonoTime, Arc<RunReport>)> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first one, whoever makes it.
    async fn first(&self) -> Result<Arc<RunReport>, ReportError> {
        let made = self.reporting.lock().await;
        if let Some((_, report)) = self.kept() {
            return Ok(report);
        }
        drop(made);
        self.renew().await
    }

    /// The report as it is now.
    pub(crate) async fn renew(&self) -> Result<Arc<RunReport>, ReportError> {
        let _one = self.reporting.lock().await;
        let now = self.clock().now();
        let since = amplifier_core::Timestamp::from_micros(
            now.as_micros() - i64::try_from(REPORT_SPAN.as_micros()).unwrap_or(0),
        );
        let made = self.clock().monotonic();
        let report =
            Runs::of(&self.host).report(&RunQuery::default().since(since).limit(REPORT_RUNS)).await?;
        let report = Arc::new(report);
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = Some((made, Arc::clone(&report)));
        Ok(report)
    }
}

//! The trigger of a pool: issues that are ready.
//!
//! Guarantees: what fires is read from the issues themselves, the most urgent one first, each round of an issue
//! once; events are only the bell, so that none that is lost, late or doubled matters. An issue for no pool is
//! blocked with what to configure.
//! Never here: the claim, which joins the commit of the run.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_core::{Payload, Timestamp};
use amplifier_foundation::router::{Delivery, Subscription};
use amplifier_issue::{QueueError, QueuedIssue};
use amplifier_store::{IssueFilter, IssueRow};
use amplifier_trigger::{
    BackgroundName, Cause, TriggerContext, TriggerError, TriggerEvent, TriggerKind, TriggerSource,
    TriggerStream,
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::Shared;

/// Issues that are read at once.
const PAGE: usize = 200;
/// Firings that become durable together.
const TOGETHER: usize = 32;
/// How long nobody looks where no bell rings.
const LOOK: Duration = Duration::from_secs(20);
/// After which an issue may be ready.
const BELL: [&str; 7] = [
    "issue_opened",
    "issue_updated",
    "issue_unblocked",
    "issue_answered",
    "issue_retried",
    "issue_escalated",
    "issue_reopened",
];

/// What a firing says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Fired {
    pub(super) issue_id: amplifier_core::IssueId,
    pub(super) title: String,
    pub(super) issue_type: String,
    pub(super) priority: u8,
    pub(super) round: u64,
}

/// The source of one pool.
#[derive(Debug)]
pub(super) struct ReadyIssues {
    shared: Arc<Shared>,
    pool: BackgroundName,
    /// It sees to issues that no pool takes.
    blocks: bool,
    bell: Option<Subscription>,
}

impl ReadyIssues {
    pub(super) fn new(shared: Arc<Shared>, pool: BackgroundName, blocks: bool) -> Self {
        Self { shared, pool, blocks, bell: None }
    }
}

impl TriggerSource for ReadyIssues {
    fn prepare(&mut self) -> BoxFuture<'_, ()> {
        self.bell = self.shared.host.router().subscribe(BELL).ok();
        Box::pin(std::future::ready(()))
    }

    fn at_once(&self) -> usize {
        TOGETHER
    }

    fn watch(mut self: Box<Self>, context: TriggerContext) -> TriggerStream {
        if self.bell.is_none() {
            self.bell = self.shared.host.router().subscribe(BELL).ok();
        }
        let looking = Looking {
            source: *self,
            context,
            found: VecDeque::new(),
            page: Some(IssueFilter::ready()),
            heard: None,
            next: None,
        };
        stream::unfold(Some(looking), |looking| async {
            let mut looking = looking?;
            let next = looking.next().await?;
            let rest = next.is_ok().then_some(looking);
            Some((next, rest))
        })
        .boxed()
    }
}

struct Looking {
    source: ReadyIssues,
    context: TriggerContext,
    found: VecDeque<TriggerEvent>,
    /// Where to read on; `None`: all was read.
    page: Option<IssueFilter>,
    /// The latest event that rang; `None` where there may be more than events tell.
    heard: Option<u64>,
    /// When one will be ready that waits for its time.
    next: Option<Timestamp>,
}

/// Where what has rung is in the log.
fn place(rung: &Delivery) -> Option<u64> {
    match rung {
        Delivery::Event(event) => event.sequence,
        _ => None,
    }
}

fn failed(error: QueueError) -> TriggerError {
    TriggerError::Source(Box::new(error))
}

impl Looking {
    async fn next(&mut self) -> Option<Result<TriggerEvent, TriggerError>> {
        loop {
            if let Some(event) = self.found.pop_front() {
                return Some(Ok(event));
            }
            match self.page.take() {
                Some(page) => {
                    if let Err(error) = self.read(page).await {
                        return Some(Err(error));
                    }
                }
                None => self.wait().await?,
            }
        }
    }

    /// Waits until there may be something. `None`: the router has ended.
    async fn wait(&mut self) -> Option<()> {
        let clock = Arc::clone(&self.context.clock);
        let now = clock.now();
        let due = self.next.map_or(LOOK, |next| next.saturating_since(now)).min(LOOK);
        self.heard = match &mut self.source.bell {
            // What rang meanwhile is one look.
            Some(bell) => {
                let mut heard = match until(bell.next(), clock.sleep(due)).await {
                    Some(rung) => place(&rung?),
                    None => None,
                };
                while let Some(rung) = futures_util::future::poll_immediate(bell.next()).await.flatten() {
                    heard = heard.zip(place(&rung)).map(|(one, other)| one.max(other));
                }
                heard
            }
            None => {
                clock.sleep(due).await;
                None
            }
        };
        (self.page, self.next) = (Some(IssueFilter::ready()), None);
        Some(())
    }

    async fn read(&mut self, page: IssueFilter) -> Result<(), TriggerError> {
        let page = page.limit(PAGE);
        let (shared, heard) = (&self.source.shared, self.heard.take());
        let pools = shared.config.pools.len();
        let rows = shared.ready.rows(shared.host.store().as_ref(), &page, heard, pools).await;
        let rows = rows.map_err(|error| failed(error.into()))?;
        if rows.len() >= PAGE
            && let Some(last) = rows.last()
        {
            self.page = Some(page.behind(last));
        }
        for row in rows.iter() {
            self.see(row).await?;
        }
        Ok(())
    }

    async fn see(&mut self, row: &IssueRow) -> Result<(), TriggerError> {
        let issue = match QueuedIssue::of(row) {
            Ok(issue) => issue,
            Err(error) => {
                tracing::error!(issue = %row.id, %error, "an issue is left out");
                return Ok(());
            }
        };
        let now = self.context.clock.now();
        if let Some(time) = issue.details.not_before.filter(|time| *time > now) {
            self.next = Some(self.next.map_or(time, |next| next.min(time)));
            return Ok(());
        }
        let shared = &self.source.shared;
        match shared.pool_of(row).await.map_err(failed)? {
            Ok(pool) if pool == self.source.pool => self.found.push_back(self.event(&issue)?),
            Ok(_) => {}
            Err(nobody) if self.source.blocks => {
                if let Err(error) = shared.queue.block(&row.id, Some(&nobody.to_string())).await {
                    tracing::warn!(issue = %row.id, %error, "an issue for no pool could not be blocked");
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    fn event(&self, issue: &QueuedIssue) -> Result<TriggerEvent, TriggerError> {
        let about = &issue.issue;
        let id = self.context.event_id(&nominal(about.id.as_str(), issue.details.round))?;
        let fired = Fired {
            issue_id: about.id.clone(),
            title: about.title.clone(),
            issue_type: about.issue_type.as_str().to_owned(),
            priority: about.priority.number(),
            round: issue.details.round,
        };
        let payload = Payload::encode(&fired).map_err(|error| TriggerError::Source(Box::new(error)))?;
        let now = self.context.clock.now();
        let cause = issue.details.because.map_or(Cause::Source, |event| Cause::Since { event });
        let mut event = TriggerEvent::new(id, TriggerKind::IssueEvent, now, cause, payload);
        event.source = about.id.as_str().to_owned();
        event.event_name = Some("issue_ready".to_owned());
        Ok(event)
    }
}

/// What tells a round of an issue apart in the id of a firing.
fn nominal(issue: &str, round: u64) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '-');
    match issue.len() <= 36 && issue.chars().all(allowed) {
        true => format!("{issue}.{round}"),
        false => format!("{}.{round}", &blake3::hash(issue.as_bytes()).to_hex()[..32]),
    }
}

//! The queue of issues at the command line.
//!
//! Guarantees: what is printed is durable; whoever else changes the queue at the same time, nothing is lost;
//! text that somebody else wrote moves no cursor.
//! Never here: workers. Whoever works on issues is told by the queue alone.

mod change;
mod export;
mod list;
mod logs;
mod new;
mod ps;
mod show;
mod wait;

use std::io::Read;
use std::sync::Arc;

use amplifier_app::command::runs::actor;
use amplifier_app::context::{Context, Program, small_runtime};
use amplifier_app::terminal::chain;
use amplifier_core::{IssueId, NewEvent};
use amplifier_foundation::Host;
use amplifier_foundation::bundle::parse::nearest;
use amplifier_foundation::store::StoreError;
use amplifier_issue::queue::Bound;
use amplifier_issue::{Actor, IssueFilter, IssueQueue, QueueError};
use serde_json::{Map, Value};

use crate::args::Command;
use crate::exit::{Code, Failure};

/// Ids among which one is looked for that is like a wrong one.
const LIKE: usize = 10_000;

/// The queue of the project, and its host.
struct Queue {
    host: Host,
    issues: IssueQueue,
}

impl Queue {
    async fn open(context: &Context) -> Result<Self, Failure> {
        let host = context.host().await?;
        let router = host.router().clone();
        let seal = move |event: NewEvent| router.seal(event);
        let (clock, ids) = (Arc::clone(host.clock()), Arc::clone(host.ids()));
        let issues = IssueQueue::new(Arc::clone(host.store()), seal, clock, ids, Actor::new(actor()));
        Ok(Self { host, issues })
    }

    /// What went wrong, with an id that may have been meant.
    async fn refused(&self, error: QueueError) -> Failure {
        let failure = refused(&error);
        let (QueueError::Unknown { issue } | QueueError::UnknownNeed { needed: issue, .. }) = &error else {
            return failure;
        };
        match self.like(issue).await {
            Some(like) => failure.help(format!("did you mean `{like}`?")),
            None => failure,
        }
    }

    /// An id that begins like a wrong one, or differs little.
    async fn like(&self, wrong: &IssueId) -> Option<IssueId> {
        let known = self.issues.store().issues(&IssueFilter::default().limit(LIKE)).await.ok()?;
        let mut begin = known.iter().filter(|row| row.id.as_str().starts_with(wrong.as_str()));
        if let (Some(only), None) = (begin.next(), begin.next()) {
            return Some(only.id.clone());
        }
        let ids: Vec<&str> = known.iter().map(|row| row.id.as_str()).collect();
        let like = nearest(wrong.as_str(), &ids)?;
        IssueId::new(like).ok()
    }
}

/// Does what was asked of the queue.
pub(crate) fn run(command: Command) -> Result<Code, Failure> {
    let context = Context::here(Program::FOREMAN)?;
    let runtime = small_runtime()?;
    let code = runtime.block_on(async {
        let queue = Queue::open(&context).await?;
        match command {
            Command::Add(args) => new::add(*args, &queue).await,
            Command::Issue(command) => change::issue(command, &queue).await,
            Command::Import(args) => new::import(&args, &queue).await,
            Command::Export(args) => export::export(&args, &queue).await,
            Command::Wait(args) => wait::wait(&args, &queue).await,
            Command::Ps(args) => ps::ps(&args, &queue).await,
            Command::Logs(args) => logs::logs(&args, &queue).await,
            _ => Ok(Code::Usage),
        }
    });
    // What a signal cut off must not keep the process.
    runtime.shutdown_background();
    code
}

/// What the queue refused, or could not do.
fn refused(error: &QueueError) -> Failure {
    let failure = Failure::usage(chain(error));
    match error {
        QueueError::Store(error) => store(error),
        QueueError::Contended { .. } => failure.code(Code::Temporary, "busy"),
        QueueError::Event(_) | QueueError::Damaged { .. } => failure.code(Code::Failed, "failed"),
        QueueError::Unknown { .. } | QueueError::UnknownNeed { .. } => failure.kind("issue"),
        QueueError::Exists { .. } => failure.kind("exists"),
        QueueError::Cycle { .. } => failure.kind("cycle"),
        QueueError::AlreadyAnswered { .. } => failure.kind("answered"),
        QueueError::Status { .. } | QueueError::Unmet { .. } | QueueError::NotClaimed { .. } => {
            failure.kind("state")
        }
        _ => failure,
    }
}

fn store(error: &StoreError) -> Failure {
    Failure::store(error)
}

/// A text as it was typed; `-` stands for standard input, of which no more is read than fits.
fn text(given: String, bound: Bound) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    let most = bound.most() as u64 + 1;
    let read = std::io::stdin().lock().take(most).read_to_string(&mut text);
    read.map_err(|error| Failure::usage(format!("standard input cannot be read: {error}")))?;
    Ok(text)
}

/// Free data.
fn metadata(text: &str) -> Result<Map<String, Value>, Failure> {
    serde_json::from_str(text).map_err(|error| {
        Failure::usage(format!("--metadata is no JSON object: {error}"))
            .help("quote it for the shell, such as '{\"type\": \"research\"}'")
    })
}

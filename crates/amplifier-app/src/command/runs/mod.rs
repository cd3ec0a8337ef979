//! `runs …`: what ran while nobody looked.
//!
//! Guarantees: whatever process runs them; what was asked for in words is found or refused before anything
//! is changed; a change is durable when it is told. Never here: what a run is, which the library says.

mod change;

pub mod figures;

mod show;
mod text;

pub use change::actor;

use amplifier_background::report::{ReportError, RunQuery, Runs};
use amplifier_foundation::host::ReachError;

use super::args::{RunsArgs, RunsCommand};
use crate::context::{self, Context, Program};
use crate::exit::Failure;
use crate::exit::print_json;
use crate::terminal::{Code, chain};

/// Does what was asked.
pub fn runs(context: &Context, args: &RunsArgs) -> Result<Code, Failure> {
    let program = context.program();
    context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        match &args.command {
            Some(RunsCommand::Show { id, json }) => show::show(id, *json, program, &host).await,
            Some(RunsCommand::Retry(change)) => change::retry(change, program, &host).await,
            Some(RunsCommand::Drop(change)) => change::drop(change, program, &host).await,
            None => {
                let query = query(args, host.clock().now());
                let report = Runs::of(&host).report(&query).await;
                let report = report.map_err(|error| failure(&error, program))?;
                if args.json {
                    return print_json(&report);
                }
                Ok(text::print(&report, args, program))
            }
        }
    })
}

fn query(args: &RunsArgs, now: amplifier_core::Timestamp) -> RunQuery {
    let mut query = RunQuery::default().limit(args.limit);
    if !args.all {
        query = query.since(args.since.from(now));
    }
    query.state = args.state;
    query.background.clone_from(&args.background);
    query
}

/// Why runs are not told or not changed.
pub(super) fn failure(error: &ReportError, program: Program) -> Failure {
    let failure = Failure::usage(chain(error));
    match error {
        ReportError::Unknown { .. } | ReportError::Ambiguous { .. } => Failure { kind: "run", ..failure },
        ReportError::Store(error) => Failure::store(error),
        ReportError::Busy { .. } | ReportError::Full { .. } => failure.code(Code::Temporary, "busy"),
        ReportError::Reach(ReachError::Unreachable { .. }) => failure.code(Code::Temporary, "locked"),
        ReportError::Reach(_) | ReportError::Router(_) | ReportError::Storage(_) => {
            failure.code(Code::Failed, "failed")
        }
        ReportError::Retried { by, .. } => {
            let help = format!("`{} runs show {by}` tells of it", program.name);
            Failure { kind: "state", ..failure }.help(help)
        }
        _ => Failure { kind: "state", ..failure },
    }
}

//! `amplifier provider test`: a sign of life of each provider.
//!
//! Guarantees: each is asked once, without a second try, and has an end; what an answer costs is said.

use amplifier_app::terminal::chain;
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Limits, ModuleSpec, OutcomeKind, SessionOutcome};
use amplifier_foundation::settings::duration;
use amplifier_foundation::{Shutdown, SpawnRequest, spawn_bundle};
use amplifier_modules::services::ServiceInfo;
use serde_json::{Value, json};

use super::{models, wanted};
use crate::args::provider::TestArgs;
use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// The bundle of the one short answer.
const BUNDLE: &str = "---\nbundle: {name: provider-test, version: 1.0.0}\n\
    session: {orchestrator: loop-basic, context: context-simple}\n---\nAnswer with the one word ok.\n";
/// Longest answer, in tokens: some models think before they speak.
const TOKENS: u64 = 256;

/// What became of one provider.
struct Tested {
    name: String,
    ok: bool,
    told: String,
    took_ms: u64,
    cost_micro_usd: Option<u64>,
}

/// Asks them.
pub(super) async fn test(args: &TestArgs, context: &Context) -> Result<Code, Failure> {
    let mut all = Vec::new();
    for spec in wanted(args.name.as_deref(), context)? {
        output::say(&format!("asking {} (at most {})", spec.key(), duration::format(args.timeout.0)));
        all.push(one(&spec, args, context).await?);
    }
    let code = if all.iter().all(|tested| tested.ok) { Code::Success } else { Code::Failed };
    let printed = match args.json {
        true => output::print_json(&all.iter().map(as_value).collect::<Vec<_>>())?,
        false => {
            let row = |tested: &Tested| {
                let word = if tested.ok { "ok" } else { "failed" };
                let cost = tested
                    .cost_micro_usd
                    .map_or_else(|| "-".to_owned(), |cost| format!("{:.6} USD", cost as f64 / 1e6));
                [
                    tested.name.clone(),
                    word.to_owned(),
                    format!("{} ms", tested.took_ms),
                    cost,
                    tested.told.clone(),
                ]
            };
            output::print(&output::table(
                ["NAME", "RESULT", "TOOK", "COST", "TOLD"],
                &all.iter().map(row).collect::<Vec<_>>(),
            ))
        }
    };
    Ok(if printed == Code::Success { code } else { printed })
}

fn as_value(tested: &Tested) -> Value {
    json!({
        "name": tested.name, "ok": tested.ok, "told": tested.told, "took_ms": tested.took_ms,
        "cost_micro_usd": tested.cost_micro_usd,
    })
}

async fn one(spec: &ModuleSpec, args: &TestArgs, context: &Context) -> Result<Tested, Failure> {
    let lists = ServiceInfo::of(&spec.module).is_some_and(|service| service.lists_models);
    let host = context.host().await?;
    let began = host.clock().monotonic();
    let (ok, told, cost_micro_usd) = match lists && !args.call && args.model.is_none() {
        true => match models(&host, spec, args.timeout.0).await {
            Ok(models) => (true, format!("lists {} models", models.len()), Some(0)),
            Err(failure) => (false, failure.message.clone(), Some(0)),
        },
        false => told(answer(spec, args, context).await?),
    };
    let took = host.clock().monotonic().saturating_since(began);
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(Tested { name: spec.key().to_owned(), ok, told, took_ms, cost_micro_usd })
}

/// One answer in a session that leaves nothing behind.
async fn answer(
    spec: &ModuleSpec,
    args: &TestArgs,
    context: &Context,
) -> Result<Result<SessionOutcome, String>, Failure> {
    let mut once = RetryPolicy::default();
    once.max_attempts = 1;
    once.rate_limit_patience = std::time::Duration::ZERO;
    let builder = context.builder(false).bundle("provider-test", BUNDLE).retry(once).unrecorded();
    let host = builder.open(context.cwd()).await.map_err(|error| Failure::config(&error))?;
    let mut limits = Limits::default();
    limits.max_turns = Some(1);
    let request = SpawnRequest::new("provider-test", "ok?")
        .provider(spec.key())
        .max_output_tokens(TOKENS)
        .limits(limits)
        .rate_limit_patience(std::time::Duration::ZERO)
        .timeout(args.timeout.0);
    let request = match &args.model {
        Some(model) => request.model(model.as_str()),
        None => request,
    };
    let result = match spawn_bundle(&host, request).await {
        Ok(result) => result,
        Err(error) => return Ok(Err(chain(&error))),
    };
    let outcome = result.outcome().await;
    host.shutdown(Shutdown::Now).await;
    Ok(Ok((*outcome).clone()))
}

fn told(answered: Result<SessionOutcome, String>) -> (bool, String, Option<u64>) {
    let outcome = match answered {
        Ok(outcome) => outcome,
        Err(why) => return (false, why, None),
    };
    let cost = outcome.cost_micro_usd;
    match (outcome.kind, &outcome.error) {
        (OutcomeKind::Completed, _) => (true, format!("answers: {}", outcome.output.trim()), cost),
        (_, Some(error)) => (false, error.message.clone(), cost),
        (kind, None) => (false, kind.as_str().to_owned(), cost),
    }
}

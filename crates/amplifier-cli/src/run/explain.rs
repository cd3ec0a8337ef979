//! `amplifier spawn --explain`: what the same words behind `amplifier run` would lead to.
//!
//! Guarantees: no session is recorded, nothing is mounted, no model is asked. What a setting, a variable
//! or a flag bounds is told with its name.

use amplifier_core::CancelToken;
use amplifier_core::limits::LimitKind;
use amplifier_foundation::settings::duration;
use amplifier_foundation::settings::{LimitSettings, Set, Setter};
use amplifier_foundation::spawn::{self, Explanation};
use amplifier_foundation::{Host, SpawnRequest};
use serde_json::{Value, json};

use super::parent::{self, Parent};
use super::prompt::Prompt;
use super::request;
use crate::approve;
use crate::args::run::{RunArgs, SpawnArgs};
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output::{self, plain};

/// How the foundation names what this command asks for.
const REQUEST: &str = "the request";

/// Explains a run.
pub(crate) fn explain(args: SpawnArgs) -> Result<Code, Failure> {
    if !args.explain {
        return Err(crate::later::spawn());
    }
    super::check(&args.run)?;
    if args.run.fork_session {
        return Err(Failure::usage("--fork-session makes a copy, and --explain makes nothing")
            .help("leave it out: a copy has what the session has"));
    }
    let clock = std::sync::Arc::new(amplifier_foundation::host::SystemClock::new());
    let flags = context::flags(&args.run.options);
    let context = context::open(args.run.options.cwd.as_deref(), &flags, clock)?;
    context.tell_warnings();
    let mut explanation = context::small_runtime()?.block_on(explained(&args, &context))?;
    name_setters(&mut explanation, &context.settings().limits);
    if args.json {
        return output::print_json(&as_json(&explanation, &context));
    }
    Ok(output::print(&text(&explanation, &context)))
}

async fn explained(args: &SpawnArgs, context: &Context) -> Result<Explanation, Failure> {
    let run = &args.run;
    let mut host = open(run, context.cwd(), context).await?;
    let parent = match &run.parent_session {
        Some(text) => Some(parent::find(text, &host).await?),
        None => None,
    };
    if let Some(Parent { elsewhere: Some(dir), .. }) = &parent {
        host = open(run, dir, context).await?;
    }
    let parent = parent.map(|parent| parent.id);
    let can_ask = approve::approver(&CancelToken::new()).can_answer();
    let prompt = Prompt { typed: String::new(), piped: None };
    let asked = request::ask(run, prompt, context, (&host, can_ask), parent.clone()).await?;
    Ok(match (&args.agent, parent) {
        // Nobody named a bundle: it is the parent that delegates.
        (Some(agent), Some(parent)) if run.options.bundle.is_none() => {
            let request = SpawnRequest::agent(parent, agent.as_str(), "");
            spawn::explain(&host, request::with_options(request, run, context)).await?
        }
        (Some(agent), _) => spawn::explain_agent(&host, asked.request, agent).await?,
        (None, _) => spawn::explain(&host, asked.request).await?,
    })
}

async fn open(run: &RunArgs, dir: &std::path::Path, context: &Context) -> Result<Host, Failure> {
    context.builder(run.options.strict).open(dir).await.map_err(|error| Failure::config(&error))
}

/// Says which flag, variable or file a limit of this request comes from.
fn name_setters(explanation: &mut Explanation, settings: &LimitSettings) {
    fn by<T>(set: &Option<Set<T>>) -> Option<&Setter> {
        set.as_ref().map(|set| &set.by)
    }
    for limit in explanation.limits.iter_mut().filter(|limit| limit.set_by == REQUEST) {
        let setter = match limit.limit {
            LimitKind::Depth => by(&settings.max_depth),
            LimitKind::Concurrent => by(&settings.max_concurrent),
            LimitKind::Descendants => by(&settings.max_descendants),
            LimitKind::Turns => by(&settings.max_turns),
            LimitKind::Time => by(&settings.timeout),
            LimitKind::Tokens => by(&settings.max_tokens),
            LimitKind::Cost => by(&settings.max_cost_micro_usd),
            _ => None,
        };
        if let Some(setter) = setter {
            limit.set_by = setter.to_string();
        }
    }
}

fn as_json(explanation: &Explanation, context: &Context) -> Value {
    let mut object = json!(explanation);
    for (key, set) in wishes(context) {
        object[key] =
            set.map_or(Value::Null, |set| json!({ "value": set.value, "set_by": set.by.to_string() }));
    }
    object
}

/// The provider and the model that are asked for.
fn wishes(context: &Context) -> [(&'static str, Option<&Set<String>>); 2] {
    let settings = context.settings();
    [("provider", settings.provider.as_ref()), ("model", settings.model.as_ref())]
}

fn text(explanation: &Explanation, context: &Context) -> String {
    let mut text = String::new();
    let mut fact = |key: &str, value: String| {
        text.push_str(&format!("{:<13}{}\n", format!("{key}:"), plain(&value)));
    };
    fact("bundle", format!("{} ({})", explanation.bundle, explanation.content_hash));
    if let Some(agent) = &explanation.agent {
        fact("agent", agent.clone());
    }
    if let Some(parent) = &explanation.parent {
        fact("parent", parent.to_string());
    }
    fact("depth", explanation.depth.to_string());
    fact("directory", explanation.working_dir.clone());
    for (key, set) in wishes(context) {
        if let Some(set) = set {
            fact(key, format!("{} ({})", set.value, set.by));
        }
    }
    if !explanation.agents.is_empty() {
        fact("agents", explanation.agents.join(", "));
    }
    for preference in &explanation.preferences {
        let model = preference.model.as_deref().unwrap_or("its default model");
        fact("preference", format!("{} {model}", preference.provider));
    }
    if let Some(left_out) = &explanation.left_out {
        fact("notice", left_out.clone());
    }
    text.push('\n');
    text.push_str(&tables(explanation));
    text
}

fn tables(explanation: &Explanation) -> String {
    let modules = explanation.modules.iter().map(|module| {
        let id = module.id.clone().unwrap_or_default();
        [module.kind.to_owned(), module.module.clone(), id, module.from.clone(), module.places.join(", ")]
    });
    let modules: Vec<[String; 5]> = modules.collect();
    let layers = explanation.permissions.iter().map(|layer| {
        let mode = layer.mode.map_or("-", |mode| mode.as_str());
        [mode.to_owned(), layer.rules.to_string(), layer.origin.clone()]
    });
    let layers: Vec<[String; 3]> = layers.collect();
    let limits = explanation.limits.iter();
    let limits =
        limits.map(|limit| [limit.limit.to_string(), value(limit.limit, limit.value), limit.set_by.clone()]);
    let limits: Vec<[String; 3]> = limits.collect();
    [
        output::table(["KIND", "MODULE", "ID", "FROM", "WRITTEN IN"], &modules),
        output::table(["PERMISSIONS", "RULES", "SET BY"], &layers),
        output::table(["LIMIT", "VALUE", "SET BY"], &limits),
    ]
    .join("\n")
}

/// A limit's value for people.
fn value(kind: LimitKind, value: u64) -> String {
    match kind {
        LimitKind::Time | LimitKind::FirstProgress | LimitKind::Idle => {
            duration::format(std::time::Duration::from_millis(value))
        }
        LimitKind::Cost => format!("{:.6} USD", value as f64 / 1e6),
        _ => value.to_string(),
    }
}

//! `amplifier agents …`: whom a bundle can delegate to.

use std::collections::BTreeMap;
use std::sync::Arc;

use amplifier_app::meant::did_you_mean;
use amplifier_core::permission::Mode;
use amplifier_foundation::bundle::AgentDef;
use serde_json::{Value, json};

use crate::args::AgentsCommand;
use crate::context;
use crate::exit::{Code, Failure};
use crate::output;

/// Does what was asked.
pub(crate) fn run(command: AgentsCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    let of = match &command {
        AgentsCommand::List { of, .. } | AgentsCommand::Show { of, .. } => {
            context.bundle(of.bundle.as_deref())
        }
    };
    let prepared = context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        context::prepared(&host, &of).await
    })?;
    context::tell(&prepared.diagnostics);
    match command {
        AgentsCommand::List { json: true, .. } => {
            output::print_json(&prepared.agents.values().map(|agent| brief(agent)).collect::<Vec<_>>())
        }
        AgentsCommand::List { .. } => {
            if prepared.agents.is_empty() {
                output::say(&format!("bundle {} has no agents", prepared.name));
                return Ok(Code::Success);
            }
            let row = |(name, agent): (&String, &Arc<AgentDef>)| {
                [name.clone(), origin(agent).unwrap_or_default(), first_line(agent.description.as_deref())]
            };
            let rows: Vec<[String; 3]> = prepared.agents.iter().map(row).collect();
            Ok(output::print(&output::table(["NAME", "FROM", "DESCRIPTION"], &rows)))
        }
        AgentsCommand::Show { name, json, .. } => match find(&prepared.agents, &name) {
            Some(agent) => show(agent, json),
            None => {
                let known: Vec<&str> = prepared.agents.keys().map(String::as_str).collect();
                let short = known.iter().filter_map(|known| known.rsplit(':').next());
                let all = || format!("there are: {}", known.join(", "));
                let help = did_you_mean(&name, known.iter().copied().chain(short), all);
                Err(Failure::usage(format!("bundle {} has no agent `{name}`", prepared.name)).help(help))
            }
        },
    }
}

/// By its whole name, or by the part behind the namespace where only one agent has it.
fn find<'a>(agents: &'a BTreeMap<String, Arc<AgentDef>>, name: &str) -> Option<&'a AgentDef> {
    let short = |known: &str| known.rsplit(':').next() == Some(name);
    let mut similar = agents.iter().filter(|(known, _)| short(known));
    match (agents.get(name), similar.next(), similar.next()) {
        (Some(agent), ..) | (None, Some((_, agent)), None) => Some(agent),
        _ => None,
    }
}

fn show(agent: &AgentDef, as_json: bool) -> Result<Code, Failure> {
    let mut about = brief(agent);
    about["instruction"] = json!(agent.instruction);
    if as_json {
        return output::print_json(&about);
    }
    let mut text = String::new();
    for (key, value) in about.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
        let value = match value {
            Value::String(value) => value.clone(),
            Value::Array(values) => values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            value => value.to_string(),
        };
        match key.as_str() {
            "instruction" => text.push_str(&format!("\n{}\n", value.trim_end())),
            _ => text.push_str(&format!("{key}: {}\n", value.trim_end())),
        }
    }
    Ok(output::print(&text))
}

fn brief(agent: &AgentDef) -> Value {
    let modules =
        agent.tools.as_ref().map(|tools| tools.iter().map(|tool| tool.spec.key()).collect::<Vec<_>>());
    json!({
        "name": agent.name,
        "description": agent.description,
        "tools": modules,
        "allowed_tools": agent.tool_names.allowed,
        "denied_tools": Some(&agent.tool_names.denied).filter(|denied| !denied.is_empty()),
        "max_turns": agent.max_turns,
        "model_role": agent.model_role,
        "provider_preferences": agent.provider_preferences,
        "permission_mode": agent.permission_mode.map(Mode::as_str),
        "source": origin(agent),
    })
}

/// The file that says what the agent is: its own, where it has one.
fn origin(agent: &AgentDef) -> Option<String> {
    agent.origins.last().map(|origin| origin.file.display().to_string())
}

fn first_line(text: Option<&str>) -> String {
    text.unwrap_or_default()
        .lines()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

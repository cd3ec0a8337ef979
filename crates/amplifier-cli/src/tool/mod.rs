//! `amplifier tool …`: the tools of a bundle, and one call of one of them.
//!
//! Guarantees: a call goes through the permissions and hooks of a session; what it gives back is the result.

mod invoke;

use std::sync::Arc;

use amplifier_app::meant::did_you_mean;
use amplifier_app::toolbox::{self, Listed, Place, ToolboxError};
use amplifier_core::approval::NobodyToAsk;
use amplifier_foundation::SpawnRequest;
use amplifier_foundation::spawn::{self};
use serde_json::{Value, json};

use crate::args::OfBundle;
use crate::args::tool::{Output, ToolCommand};
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output::{self, plain};

/// Does what was asked.
pub(crate) fn run(command: ToolCommand) -> Result<Code, Failure> {
    match command {
        ToolCommand::Invoke(args) => invoke::invoke(*args),
        ToolCommand::List { of, modules: true, json, output } => {
            modules(&of, json || output == Some(Output::Json))
        }
        ToolCommand::List { of, json, output, .. } => list(&of, json || output == Some(Output::Json)),
        ToolCommand::Info { name, of, json, output } => {
            info(&name, &of, json || output == Some(Output::Json))
        }
    }
}

fn failure(error: ToolboxError) -> Failure {
    match error {
        ToolboxError::Bundle(error) => Failure::bundle(&error),
        ToolboxError::Spawn(error) => error.into(),
        ToolboxError::Unknown { ref known, ref name, .. } => {
            let all = || format!("there are: {}", known.join(", "));
            let help = did_you_mean(name, known.iter().map(String::as_str), all);
            Failure::config(&error).help(help)
        }
        ToolboxError::Ended(_) => Failure::work(&error),
        error => Failure::config(&error),
    }
}

/// The tools of a session of the bundle.
fn tools(of: &OfBundle) -> Result<(String, Vec<Listed>), Failure> {
    let context = context::here()?;
    let bundle = context.bundle(of.bundle.as_deref());
    let permissions = context.permissions(&[], false)?;
    let place = Place { dir: context.cwd(), bundle: &bundle, permissions: &permissions };
    let builder = context.builder(false).approver(Arc::new(NobodyToAsk));
    let listed = context::runtime()?.block_on(toolbox::list(builder, place)).map_err(failure)?;
    Ok((bundle, listed))
}

fn list(of: &OfBundle, as_json: bool) -> Result<Code, Failure> {
    let (bundle, tools) = tools(of)?;
    if as_json {
        return output::print_json(&tools.iter().map(as_value).collect::<Vec<_>>());
    }
    if tools.is_empty() {
        output::say(&format!("a session of bundle {bundle} has no tools"));
    }
    let row = |tool: &Listed| {
        let changes = if tool.pure { "no" } else { "may" };
        [tool.schema.name.clone(), changes.to_owned(), first_line(&tool.schema.description)]
    };
    Ok(output::print(&output::table(
        ["NAME", "CHANGES", "DESCRIPTION"],
        &tools.iter().map(row).collect::<Vec<_>>(),
    )))
}

fn as_value(tool: &Listed) -> Value {
    json!({
        "name": tool.schema.name, "description": tool.schema.description, "pure": tool.pure,
        "input_schema": tool.schema.input_schema,
    })
}

fn first_line(text: &str) -> String {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default().trim().to_owned()
}

fn info(name: &str, of: &OfBundle, as_json: bool) -> Result<Code, Failure> {
    let (bundle, tools) = tools(of)?;
    let Some(tool) = tools.iter().find(|tool| tool.schema.name == name) else {
        let known = tools.iter().map(|tool| tool.schema.name.clone()).collect();
        return Err(failure(ToolboxError::Unknown { name: name.to_owned(), bundle, known }));
    };
    if as_json {
        return output::print_json(&as_value(tool));
    }
    let schema =
        serde_json::to_string_pretty(&tool.schema.input_schema).map_err(|error| Failure::work(&error))?;
    let text =
        format!("name: {}\n\n{}\n\narguments:\n{schema}\n", tool.schema.name, tool.schema.description.trim());
    Ok(output::print(&plain(&text)))
}

/// The modules that bring the tools, with the layer that names each.
fn modules(of: &OfBundle, as_json: bool) -> Result<Code, Failure> {
    let context: Context = context::here()?;
    let bundle = context.bundle(of.bundle.as_deref());
    let explanation = context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        spawn::explain(&host, SpawnRequest::new(bundle, "")).await.map_err(Failure::from)
    })?;
    let tools: Vec<_> = explanation.modules.iter().filter(|module| module.kind == "tool").collect();
    if as_json {
        return output::print_json(&tools);
    }
    let row = |module: &&spawn::ExplainedModule| {
        [
            module.module.clone(),
            module.id.clone().unwrap_or_default(),
            module.from.clone(),
            module.places.join(", "),
        ]
    };
    let rows: Vec<[String; 4]> = tools.iter().map(row).collect();
    Ok(output::print(&output::table(["MODULE", "ID", "FROM", "WRITTEN IN"], &rows)))
}

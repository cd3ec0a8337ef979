//! `amplifier module …`: the modules that bundles can name.

use amplifier_app::meant::did_you_mean;
use amplifier_core::module::ModuleInfo;
use serde_json::{Value, json};

use crate::args::tool::ModuleCommand;
use crate::context;
use crate::exit::{Code, Failure};
use crate::output;

const KINDS: [&str; 5] = ["provider", "tool", "orchestrator", "context", "hook"];

/// Does what was asked.
pub(crate) fn run(command: ModuleCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    let host = context::small_runtime()?.block_on(context.host())?;
    let infos = host.modules().infos();
    match command {
        ModuleCommand::List { kind, json } => list(&infos, kind.as_deref(), json),
        ModuleCommand::Show { name, json } => {
            let found = host.modules().get(&name).map(|module| module.info());
            show(&found.ok_or_else(|| unknown(&name, &infos))?, json)
        }
    }
}

fn unknown(name: &str, infos: &[ModuleInfo]) -> Failure {
    let help = did_you_mean(name, infos.iter().map(|info| info.id), || {
        "`amplifier module list` shows what there is".into()
    });
    Failure::usage(format!("there is no module `{name}` here")).help(help)
}

fn list(infos: &[ModuleInfo], kind: Option<&str>, as_json: bool) -> Result<Code, Failure> {
    let kind = kind.map(|kind| kind.trim_end_matches('s'));
    if let Some(kind) = kind.filter(|kind| !KINDS.contains(kind)) {
        return Err(Failure::usage(format!("`{kind}` is no kind of module"))
            .help(format!("there are: {}", KINDS.join(", "))));
    }
    let wanted: Vec<&ModuleInfo> =
        infos.iter().filter(|info| kind.is_none_or(|kind| info.kind.as_str() == kind)).collect();
    if as_json {
        return output::print_json(&wanted.iter().map(|info| as_value(info)).collect::<Vec<_>>());
    }
    let row =
        |info: &&ModuleInfo| [info.kind.as_str().to_owned(), info.id.to_owned(), info.summary.to_owned()];
    Ok(output::print(&output::table(
        ["KIND", "MODULE", "SUMMARY"],
        &wanted.iter().map(row).collect::<Vec<_>>(),
    )))
}

fn as_value(info: &ModuleInfo) -> Value {
    json!({
        "module": info.id, "kind": info.kind.as_str(), "summary": info.summary,
        "aliases": info.aliases, "config_keys": info.config_keys,
    })
}

fn show(info: &ModuleInfo, as_json: bool) -> Result<Code, Failure> {
    if as_json {
        return output::print_json(&as_value(info));
    }
    let mut text =
        format!("module:   {}\nkind:     {}\nsummary:  {}\n", info.id, info.kind.as_str(), info.summary);
    if !info.aliases.is_empty() {
        text.push_str(&format!("aliases:  {}\n", info.aliases.join(", ")));
    }
    text.push_str(&match info.config_keys {
        [] => "config:   it has no settings\n".to_owned(),
        keys => format!("config:   {}\n", keys.join(", ")),
    });
    Ok(output::print(&text))
}

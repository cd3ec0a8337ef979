//! Slash commands that tell something. Nothing is changed.

use amplifier_app::chat::Conversation;
use amplifier_core::permission::{Mode, RuleEffect};
use amplifier_foundation::settings::{Set, duration};
use amplifier_foundation::storage::SessionQuery;
use amplifier_modules::tool::Skills;

use super::program::Chat;
use crate::exit::Failure;
use crate::output::{self, plain, table};

/// Sessions that are listed.
const SESSIONS: usize = 10;

fn tell(text: &str) {
    output::say(text.trim_end());
}

fn facts(rows: &[(&str, String)]) {
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    for (key, value) in rows {
        output::say(&format!("{key:<width$}  {}", plain(value)));
    }
}

/// `/status`
pub(super) async fn status(chat: &Chat, talk: &Conversation) -> Result<(), Failure> {
    let bundle = chat.bundle(talk).await?;
    let none = || "none yet".to_owned();
    let mut rows = vec![
        ("session", talk.session_id().map_or_else(none, ToString::to_string)),
        ("bundle", bundle.name.clone()),
        ("mode", chat.context.mode().as_str().to_owned()),
        ("directory", chat.context.cwd().display().to_string()),
    ];
    if let Some(open) = talk.session() {
        let session = open.session();
        rows.push(("model", session.model().unwrap_or_else(none)));
        rows.push(("messages", session.messages().len().to_string()));
        rows.push(("sub-sessions", open.tree_usage().running.to_string()));
    }
    if let Some(goal) = &chat.goal {
        rows.push(("goal", goal.standing()));
    }
    facts(&rows);
    Ok(())
}

/// `/cost`
pub(super) fn cost(talk: &Conversation) {
    let Some(open) = talk.session() else {
        return output::say("nothing was asked since the session was opened");
    };
    let (usage, tree) = (open.session().usage(), open.tree_usage());
    let money = |micro: Option<u64>| {
        micro.map_or("unknown".to_owned(), |micro| format!("{:.6} USD", micro as f64 / 1e6))
    };
    facts(&[
        ("input", format!("{} tokens", usage.input_tokens)),
        ("from the cache", format!("{} tokens", usage.cache_read_tokens)),
        ("output", format!("{} tokens", usage.output_tokens)),
        ("own cost", money(open.session().cost_micro_usd())),
        (
            "with sub-sessions",
            format!("{} tokens, {}", tree.tokens, money(Some(tree.micro_usd).filter(|cost| *cost > 0))),
        ),
    ]);
}

/// `/config`
pub(super) fn config(chat: &Chat) {
    fn row<T>(key: &'static str, set: Option<&Set<T>>, value: impl Fn(&T) -> String) -> Option<[String; 3]> {
        set.map(|set| [key.to_owned(), value(&set.value), set.by.to_string()])
    }
    let settings = chat.context.settings();
    let limits = &settings.limits;
    let text = |text: &String| text.clone();
    let rows: Vec<[String; 3]> = [
        row("bundle", settings.bundle.as_ref(), text),
        row("provider", settings.provider.as_ref(), text),
        row("model", settings.model.as_ref(), text),
        row("permission mode", settings.mode.as_ref(), |mode| mode.as_str().to_owned()),
        row("max turns", limits.max_turns.as_ref(), ToString::to_string),
        row("timeout", limits.timeout.as_ref(), |time| duration::format(*time)),
        row("max tokens", limits.max_tokens.as_ref(), ToString::to_string),
        row("max cost", limits.max_cost_micro_usd.as_ref(), |cost| format!("{:.2} USD", *cost as f64 / 1e6)),
    ]
    .into_iter()
    .flatten()
    .collect();
    match rows.is_empty() {
        true => output::say("nothing is set: everything is as it is built in"),
        false => tell(&table(["SETTING", "VALUE", "SET BY"], &rows)),
    }
    output::say("`amplifier spawn --explain` tells modules, permissions and limits with their origin");
}

/// `/tools`
pub(super) async fn tools(chat: &Chat, talk: &Conversation) -> Result<(), Failure> {
    let rows: Vec<[String; 2]> = match talk.session() {
        Some(open) => {
            let schemas = open.session().tools().schemas();
            schemas.iter().map(|tool| [tool.name.clone(), first_line(&tool.description)]).collect()
        }
        None => {
            let bundle = chat.bundle(talk).await?;
            bundle
                .plan
                .tools
                .iter()
                .map(|spec| [spec.module.clone(), "once the session begins".into()])
                .collect()
        }
    };
    match rows.is_empty() {
        true => output::say("there are no tools"),
        false => tell(&table(["TOOL", "DESCRIPTION"], &rows)),
    }
    Ok(())
}

/// `/agents`
pub(super) async fn agents(chat: &Chat, talk: &Conversation) -> Result<(), Failure> {
    let bundle = chat.bundle(talk).await?;
    if bundle.agents.is_empty() {
        output::say(&format!("bundle {} has no agents", bundle.name));
        return Ok(());
    }
    let agents = bundle.agents.iter();
    let rows =
        agents.map(|(name, agent)| [name.clone(), first_line(agent.description.as_deref().unwrap_or(""))]);
    tell(&table(["AGENT", "DESCRIPTION"], &rows.collect::<Vec<_>>()));
    Ok(())
}

/// `/skills`
pub(super) async fn skills(chat: &Chat, talk: &Conversation) -> Result<(), Failure> {
    let Some(open) = talk.session() else {
        let bundle = chat.bundle(talk).await?;
        output::say(match bundle.plan.tools.iter().any(|spec| spec.module == "tool-skills") {
            true => "skills are looked for once the session begins",
            false => "the bundle has no skills; tool-skills brings them",
        });
        return Ok(());
    };
    let Some(skills) = open.session().env().coordinator.capability::<Skills>() else {
        output::say("the bundle has no skills; tool-skills brings them");
        return Ok(());
    };
    let rows = skills.iter().map(|(name, about)| [name.to_owned(), first_line(about)]);
    let rows: Vec<[String; 2]> = rows.collect();
    match rows.is_empty() {
        true => output::say("there are no skills here"),
        false => tell(&table(["SKILL", "DESCRIPTION"], &rows)),
    }
    Ok(())
}

/// What `/skill NAME [TEXT]` says to the model.
pub(super) fn skill(rest: &str) -> Result<String, Failure> {
    let (name, text) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if name.is_empty() {
        return Err(Failure::usage("give its name: /skill NAME [TEXT]").help("/skills lists them"));
    }
    let text = if text.trim().is_empty() { "Do what it is for." } else { text.trim() };
    Ok(format!("Load the skill `{name}` first, then follow it.\n\n{text}"))
}

/// `/modes`
pub(super) fn modes(chat: &Chat) {
    let all = [
        (Mode::Default, "reads and writes in the working directory; asks for the rest"),
        (Mode::Plan, "reads, and changes nothing"),
        (Mode::AcceptEdits, "as default"),
        (Mode::DontAsk, "asks nobody: commands run in the sandbox, what else would be asked for is denied"),
        (Mode::BypassPermissions, "everything; from --permission-mode alone"),
    ];
    let now = chat.context.mode();
    for (mode, about) in all {
        let mark = if mode == now { "*" } else { " " };
        output::say(&format!("{mark} {:<17}  {about}", mode.as_str()));
    }
}

/// `/sessions`
pub(super) async fn sessions(talk: &Conversation) -> Result<(), Failure> {
    let query = SessionQuery::default().top_level().limit(SESSIONS);
    let sessions = talk.host().storage().list(&query).await?;
    if sessions.is_empty() {
        output::say("there is no session here yet");
        return Ok(());
    }
    tell(&super::earlier::listed(&sessions));
    output::say("/resume ID goes on with one; the beginning of the id is enough");
    Ok(())
}

/// `/verbose`
pub(super) fn folder(talk: &Conversation) {
    match talk.session() {
        Some(open) => {
            let folder = open.session().env().folder.as_ref();
            let folder = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
            facts(&[("session", open.id().to_string()), ("folder", folder)]);
        }
        None => output::say("the session begins with the first message"),
    }
}

/// `/providers`, as `/provider` alone.
pub(super) async fn providers(chat: &Chat, talk: &Conversation) -> Result<(), Failure> {
    let bundle = chat.bundle(talk).await?;
    let of_settings: Vec<_> = chat.context.settings().providers.iter().map(|set| set.value.clone()).collect();
    let of_bundle = &bundle.plan.providers;
    let shown = if of_bundle.is_empty() { &of_settings } else { of_bundle };
    let chosen = chat.context.settings().provider.as_ref().map(|set| set.value.clone());
    match (chosen, shown.is_empty()) {
        (Some(chosen), _) => output::say(&format!("{} is chosen", plain(&chosen))),
        (None, true) => output::say("those whose keys are in the environment"),
        (None, false) => {}
    }
    shown.iter().for_each(|spec| output::say(&plain(spec.key())));
    Ok(())
}

/// `/model` alone.
pub(super) fn model(chat: &Chat, talk: &Conversation) {
    let answered = talk.session().and_then(|open| open.session().model());
    let chosen = chat.context.settings().model.as_ref().map(|set| set.value.clone());
    output::say(&plain(&answered.or(chosen).unwrap_or_else(|| "the provider's own default".to_owned())));
}

/// `/allowed-dirs` alone.
pub(super) fn allowed(chat: &Chat) {
    output::say(&format!("{}  (working directory)", chat.context.cwd().display()));
    for dir in &chat.args.options.add_dir {
        output::say(&format!("{}  (added)", dir.display()));
    }
    rules(chat, RuleEffect::Allow);
}

/// `/denied-dirs`
pub(super) fn denied(chat: &Chat) {
    if !rules(chat, RuleEffect::Deny) {
        output::say("no rule denies anything; what is not allowed is asked for");
    }
}

fn rules(chat: &Chat, effect: RuleEffect) -> bool {
    let rules = chat.context.settings().rules.iter().filter(|rule| rule.value.effect == effect);
    let mut told = false;
    for rule in rules {
        output::say(&plain(&format!("{}  ({})", rule.value.text, rule.by)));
        told = true;
    }
    told
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(90).collect()
}

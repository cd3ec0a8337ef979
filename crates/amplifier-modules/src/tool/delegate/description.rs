//! What the model is told of the tool and of the agents that it may delegate to.
//!
//! Guarantees: bounded, whatever a bundle says of its agents; what is switched off is not in the schema.
//! Each byte is paid for in every request.

use amplifier_core::module::provider::ToolSchema;
use amplifier_foundation::spawn::AgentSummary;
use serde_json::{Map, Value, json};

use super::super::schema;
use super::settings::Settings;

/// Longest sentence about one agent, in characters.
const MAX_SENTENCE_CHARS: usize = 160;
/// Agents that are described, in bytes of their lines; further ones are named.
const MAX_DESCRIBED_BYTES: usize = 4_000;
/// Agents that are named without a description, in bytes; further ones are counted.
const MAX_NAMED_BYTES: usize = 1_000;

/// The tool as the model sees it.
pub(super) fn of(settings: &Settings, agents: &[AgentSummary]) -> ToolSchema {
    schema("delegate", &description(settings, agents), parameters(settings))
}

fn description(settings: &Settings, agents: &[AgentSummary]) -> String {
    let to_self = if settings.to_self { "agent: `self`, or" } else { "agent:" };
    let text = "Let an agent do a task in its own session; you get its answer. Say all it needs to know.";
    match agents {
        [] if settings.to_self => format!("{text} agent: `self`"),
        [] => text.to_owned(),
        agents => format!("{text} {to_self}{}", listed(agents)),
    }
}

/// One line an agent, as far as they fit.
fn listed(agents: &[AgentSummary]) -> String {
    let (mut lines, mut names, mut left) = (String::new(), Vec::new(), 0);
    let mut named_bytes = 0;
    for agent in agents {
        let line = line(agent);
        let fits = names.is_empty() && lines.len() + line.len() <= MAX_DESCRIBED_BYTES;
        named_bytes += if fits { 0 } else { agent.name.len() + 2 };
        match fits {
            true => lines.push_str(&line),
            false if named_bytes <= MAX_NAMED_BYTES => names.push(agent.name.as_str()),
            false => left += 1,
        }
    }
    if !names.is_empty() {
        lines.push_str(&format!("\n- {}", names.join(", ")));
    }
    if left > 0 {
        lines.push_str(&format!("\n- {left} more"));
    }
    lines
}

fn line(agent: &AgentSummary) -> String {
    match agent.description.as_deref().map(first_sentence).unwrap_or_default() {
        text if text.is_empty() => format!("\n- {}", agent.name),
        text => format!("\n- {}: {text}", agent.name),
    }
}

/// The first sentence of the first paragraph that has any words, on one line.
fn first_sentence(text: &str) -> String {
    let paragraph = text.split("\n\n").find(|part| !part.trim().is_empty()).unwrap_or_default();
    let words: Vec<&str> = paragraph.split_whitespace().collect();
    let ends = |at: usize| {
        let begins = words.get(at + 1).and_then(|word| word.chars().next());
        words[at].ends_with(['.', '!', '?']) && begins.is_none_or(|first| !first.is_lowercase())
    };
    let count = (0..words.len()).find(|at| ends(*at)).map_or(words.len(), |last| last + 1);
    let sentence = words[..count].join(" ");
    match sentence.char_indices().nth(MAX_SENTENCE_CHARS) {
        Some((end, _)) => format!("{}…", &sentence[..end]),
        None => sentence,
    }
}

fn parameters(settings: &Settings) -> Value {
    let mut all = Map::new();
    let mut add = |name: &str, of: Value| drop(all.insert(name.to_owned(), of));
    add("agent", json!({"type": "string"}));
    add("instruction", json!({"type": "string"}));
    if settings.resume {
        let text = "Of an earlier result: go on with that session";
        add("session_id", json!({"type": "string", "description": text}));
    }
    if settings.context {
        let text = "How much of this conversation it sees";
        add(
            "context_depth",
            json!({"type": "string", "enum": ["none", "recent", "all"], "description": text}),
        );
        add("context_turns", json!({"type": "integer"}));
        add("context_scope", json!({"type": "string", "enum": ["conversation", "agents", "full"]}));
    }
    if settings.preferences {
        let of = json!({"type": "object", "properties": {
            "provider": {"type": "string"}, "model": {"type": "string"}}});
        add("provider_preferences", json!({"type": "array", "items": of}));
    }
    add("background", json!({"type": "boolean", "description": "Do not wait"}));
    json!({"type": "object", "properties": all, "required": ["instruction"]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::ModuleSpec;

    fn settings(config: Value) -> Settings {
        let mut spec = ModuleSpec::new("tool-delegate");
        spec.config = config.as_object().cloned().unwrap_or_default();
        Settings::parse(&spec).unwrap()
    }

    fn agents(count: usize, description: &str) -> Vec<AgentSummary> {
        let one = |number| AgentSummary::new(format!("team:agent-{number}"), Some(description.to_owned()));
        (0..count).map(one).collect()
    }

    #[test]
    fn the_first_sentence_is_what_counts() {
        for (text, expect) in [
            ("Finds things. Changes nothing.", "Finds things."),
            ("\n\n  Finds\n  things e.g. bugs, fast! Then\n\nmore", "Finds things e.g. bugs, fast!"),
            ("no end", "no end"),
            ("", ""),
        ] {
            assert_eq!(first_sentence(text), expect);
        }
        let long = first_sentence(&"ä".repeat(1_000));
        assert_eq!(long.chars().count(), MAX_SENTENCE_CHARS + 1);
    }

    #[test]
    fn agents_are_listed_within_bounds() {
        let on = settings(json!({}));
        let few = of(&on, &agents(2, "Does it. Really.")).description;
        assert!(few.ends_with("`self`, or\n- team:agent-0: Does it.\n- team:agent-1: Does it."), "{few}");
        let many = of(&on, &agents(1_000, &"x".repeat(500))).description;
        assert!(many.len() < MAX_DESCRIBED_BYTES + MAX_NAMED_BYTES + 300, "{}", many.len());
        assert!(many.contains("team:agent-40,") && many.ends_with(" more"), "{many}");
        let listed = many.matches("team:agent-").count();
        assert!(many.ends_with(&format!("\n- {} more", 1_000 - listed)), "{many}");
        assert!(of(&on, &[]).description.ends_with("agent: `self`"));
    }

    #[test]
    fn what_is_switched_off_is_not_offered() {
        let names = |config: Value| {
            let schema = of(&settings(config), &[]);
            let all: Vec<String> =
                schema.input_schema["properties"].as_object().unwrap().keys().cloned().collect();
            (all, schema.description.contains("self"))
        };
        let all = [
            "agent",
            "instruction",
            "session_id",
            "context_depth",
            "context_turns",
            "context_scope",
            "provider_preferences",
            "background",
        ];
        assert_eq!(names(json!({})), (all.map(str::to_owned).to_vec(), true));
        let off = json!({"features": {"self_delegation": {"enabled": false}, "session_resume": {"enabled": false},
            "context_inheritance": {"enabled": false}, "provider_selection": {"enabled": false}}});
        assert_eq!(names(off), (["agent", "instruction", "background"].map(str::to_owned).to_vec(), false));
    }
}

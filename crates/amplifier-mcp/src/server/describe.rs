//! What the server says of its tools.
//!
//! Guarantees: each has schemas of what it takes and gives, and hints that are true: what starts or changes something
//! is never called read-only.

use amplifier_foundation::JsonSchema;
use rmcp::handler::server::tool::{schema_for_input, schema_for_output};
use rmcp::model::{Tool, ToolAnnotations};

use super::types::{
    Asked, CancelArgs, EmitArgs, Emitted, EventArgs, FireArgs, Fired, Heard, IssueAdded, IssueArgs, List,
    ListArgs, PromptArgs, ReplyArgs, SendArgs, SpawnArgs, Status, StatusArgs, Told, WaitArgs, Waited,
};

/// What a tool does to the world.
#[derive(Clone, Copy)]
enum Effect {
    Reads,
    /// Adds something, and takes nothing away.
    Adds,
    /// A session may do whatever its permissions allow.
    Works,
    /// Stops something; twice is as good as once.
    Stops,
}

/// All tools.
pub(super) fn tools() -> Vec<Tool> {
    use Effect::{Adds, Reads, Stops, Works};
    let all = [
        tool::<PromptArgs, Told>(
            "amplifier",
            Works,
            "Run an Amplifier session with one prompt and give its answer. After five minutes it comes back with status running; then call wait",
        ),
        tool::<ReplyArgs, Told>(
            "amplifier-reply",
            Works,
            "Go on with a session: one more prompt, its answer",
        ),
        tool::<SpawnArgs, Told>(
            "spawn",
            Works,
            "Start a session in the background, in a process of its own; wait gives its answer",
        ),
        tool::<WaitArgs, Waited>(
            "wait",
            Reads,
            "Wait until sessions have ended and give their answers. Those that still run when the time is up go on",
        ),
        tool::<SendArgs, Told>("send", Works, "Tell a session something more; it works on in the background"),
        tool::<ListArgs, List>("list", Reads, "List the sessions of the project, the latest first"),
        tool::<StatusArgs, Status>(
            "status",
            Reads,
            "Tell where a session stands, with its answer if it has ended",
        ),
        tool::<CancelArgs, Asked>("cancel", Stops, "Ask a session to stop; what it has done is kept"),
        tool::<EmitArgs, Emitted>(
            "emit",
            Adds,
            "Record an event in the project's log; background sessions may react to it",
        ),
        tool::<EventArgs, Heard>(
            "wait_for_event",
            Reads,
            "Wait for an event of the project, such as session_completed or work:*",
        ),
        tool::<FireArgs, Fired>("trigger_fire", Works, "Fire a background session that the project declares"),
        tool::<IssueArgs, IssueAdded>(
            "issue_add",
            Adds,
            "Add an issue to the project's queue, for its foreman's workers",
        ),
    ];
    all.into_iter().flatten().collect()
}

/// `None` for arguments that are no object, which no type here is.
fn tool<I: JsonSchema + 'static, O: JsonSchema + 'static>(
    name: &'static str,
    effect: Effect,
    description: &'static str,
) -> Option<Tool> {
    let hints = ToolAnnotations::new().open_world(matches!(effect, Effect::Works));
    let hints = match effect {
        Effect::Reads => hints.read_only(true),
        Effect::Adds => hints.read_only(false).destructive(false),
        Effect::Works => hints.read_only(false).destructive(true),
        Effect::Stops => hints.read_only(false).destructive(true).idempotent(true),
    };
    let input = schema_for_input::<I>().ok()?;
    let tool = Tool::new(name, description, input).with_raw_output_schema(schema_for_output::<O>());
    Some(tool.with_annotations(hints))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_schemas_of_objects_and_hints() {
        let tools = tools();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_ref()).collect();
        assert_eq!(
            names,
            [
                "amplifier",
                "amplifier-reply",
                "spawn",
                "wait",
                "send",
                "list",
                "status",
                "cancel",
                "emit",
                "wait_for_event",
                "trigger_fire",
                "issue_add",
            ]
        );
        for tool in tools {
            let output = tool.output_schema.unwrap();
            assert_eq!(
                (&tool.input_schema["type"], &output["type"]),
                (&"object".into(), &"object".into()),
                "{}",
                tool.name
            );
            assert!(tool.annotations.is_some_and(|hints| hints.read_only_hint.is_some()), "{}", tool.name);
            let properties = tool.input_schema["properties"].as_object().unwrap();
            assert!(
                properties.values().all(|one| one.get("description").is_some()),
                "{}: {properties:?}",
                tool.name
            );
        }
    }
}

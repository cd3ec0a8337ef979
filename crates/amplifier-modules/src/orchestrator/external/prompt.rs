//! What an agent is told, and which of its own sessions goes on.
//!
//! Guarantees: the agent hears each user message once; one that it was cut off from before it had said anything
//! goes with the next one. The bundle's instruction goes ahead of the first. A conversation that began
//! elsewhere is quoted.

use amplifier_core::id::SessionId;
use amplifier_core::message::{Message, Role};
use amplifier_core::turn::Turn;

use super::config::Kind;
use super::record::Mark;

/// What goes into the agent's input.
#[derive(Debug)]
pub(super) struct Prompt {
    pub(super) text: String,
    /// What the agent's last message of the conversation says of it.
    pub(super) before: Option<Mark>,
}

impl Prompt {
    pub(super) fn of(turn: &Turn<'_>, kind: Kind) -> Self {
        let messages = turn.messages().to_vec();
        let marks = messages.iter().enumerate().rev().filter_map(|(at, one)| Some((at, Mark::of(one)?)));
        let mut own = marks.filter(|(_, mark)| mark.agent == kind.name() && mark.session_id.is_some());
        let Some((at, before)) = own.next() else { return Self::anew(turn) };
        let unheard = messages[at + 1..].iter().filter(|message| message.role == Role::User);
        let text = unheard.map(|message| message.text()).collect::<Vec<_>>().join("\n\n");
        Self { text, before: Some(before) }
    }

    /// For an agent that knows nothing of the conversation.
    pub(super) fn anew(turn: &Turn<'_>) -> Self {
        let messages = turn.messages().to_vec();
        let messages: Vec<&Message> = messages.iter().map(AsRef::as_ref).collect();
        Self { text: first(turn.system().as_deref(), &messages), before: None }
    }

    /// The agent's session to go on with, and whether it belongs to another session of ours.
    pub(super) fn resume(&self, own: &SessionId) -> Option<(&str, bool)> {
        let mark = self.before.as_ref()?;
        Some((mark.session_id.as_deref()?, mark.session != own.as_str()))
    }
}

/// What an agent is told that knows nothing yet.
fn first(system: Option<&str>, messages: &[&Message]) -> String {
    let of_users =
        messages.iter().rposition(|message| message.role == Role::Assistant).map_or(0, |at| at + 1);
    let (earlier, unheard) = messages.split_at(of_users);
    let mut parts = Vec::new();
    if let Some(system) = system.map(str::trim).filter(|system| !system.is_empty()) {
        parts.push(format!("<instructions>\n{system}\n</instructions>"));
    }
    let line = |message: &&&Message| match message.role {
        Role::User => Some(format!("User: {}", message.text())),
        Role::Assistant => Some(format!("Assistant: {}", message.text())),
        _ => None,
    };
    let earlier: Vec<String> = earlier.iter().filter_map(|message| line(&message)).collect();
    if !earlier.is_empty() {
        parts.push(format!("<conversation>\n{}\n</conversation>", earlier.join("\n\n")));
    }
    parts.extend(unheard.iter().filter(|message| message.role == Role::User).map(|message| message.text()));
    parts.join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_knows_nothing_is_told_all() {
        let (a, b, c) = (Message::user("one"), Message::assistant("two"), Message::user("three"));
        assert_eq!(first(None, &[&a]), "one");
        assert_eq!(first(Some("Be kind."), &[&a]), "<instructions>\nBe kind.\n</instructions>\n\none");
        let told = "<conversation>\nUser: one\n\nAssistant: two\n</conversation>\n\nthree";
        assert_eq!(first(Some(" "), &[&a, &b, &c]), told);
        assert_eq!(first(None, &[&a, &c]), "one\n\nthree");
    }
}

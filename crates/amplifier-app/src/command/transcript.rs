//! What a session has written, as people read it.
//!
//! Guarantees: what others wrote moves no cursor. Whoever watches changes nothing.

use amplifier_core::{Message, Role};
use amplifier_foundation::host::Followed;

use crate::exit::Failure;
use crate::terminal::{Code, Signals, Stdout, plain};

/// Longest tool result that is shown, in characters.
const MAX_RESULT: usize = 400;

/// A message: who it is from, what it says, which tools it calls.
pub fn shown(message: &Message) -> String {
    let who = match message.role {
        Role::User => "user".to_owned(),
        Role::Assistant => "assistant".to_owned(),
        Role::Tool => format!("tool {}", message.name.as_deref().unwrap_or_default()),
        _ => "system".to_owned(),
    };
    let mut text = format!("[{}]\n", plain(&who));
    let body = message.text();
    let body = plain(body.trim_end());
    if message.role == Role::Tool && body.chars().count() > MAX_RESULT {
        text.extend(body.chars().take(MAX_RESULT));
        text.push_str("…\n");
    } else if !body.is_empty() {
        text.push_str(&format!("{body}\n"));
    }
    for call in &message.tool_calls {
        text.push_str(&plain(&format!("→ {} {}\n", call.name, call.arguments)));
    }
    text
}

/// Writes lines until the session has ended, somebody interrupts, or nobody reads.
pub async fn follow(followed: &mut Followed, stdout: &Stdout, raw: bool) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    loop {
        tokio::select! {
            biased;
            () = stdout.closed() => return Ok(stdout.code(Code::Success)),
            signal = signals.next() => return Ok(signal.code()),
            lines = followed.next() => match lines? {
                Some(lines) => write(stdout, &lines, raw),
                None => return Ok(stdout.code(Code::Success)),
            },
        }
    }
}

/// Writes lines of a session: messages for people, or each as it is.
pub fn write(stdout: &Stdout, lines: &[String], raw: bool) {
    for line in lines {
        match serde_json::from_str::<Message>(line) {
            Ok(message) if !raw => stdout.write(&format!("{}\n", shown(&message))),
            _ => stdout.write(&format!("{}\n", if raw { line.clone() } else { plain(line).into_owned() })),
        }
    }
}

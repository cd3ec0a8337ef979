//! Events for people and for programs.
//!
//! Guarantees: one line each; text of others moves no cursor; for programs nothing is left out.

use amplifier_core::{Payload, SessionEvent, Timestamp};
use amplifier_foundation::router::CloudEvent;

use crate::exit::Failure;
use crate::terminal as output;

/// Characters of the data that people are shown.
const MAX_DATA_CHARS: usize = 200;

/// How events are written.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Columns.
    Text,
    /// CloudEvents.
    Json,
}

impl Form {
    /// As JSON or not.
    pub fn of(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// The line of an event, with its end.
    pub fn line(self, event: &SessionEvent) -> Result<String, Failure> {
        let mut line = match self {
            Self::Text => text(event),
            Self::Json => CloudEvent::of(event).to_line().map_err(|error| Failure::work(&error))?,
        };
        line.push('\n');
        Ok(line)
    }
}

/// Sequence, time, name, session, data: columns as wide as what is usual in them.
pub fn text(event: &SessionEvent) -> String {
    let sequence = event.sequence.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string());
    let source = event.source.as_ref().map_or("-", |id| id.as_str());
    let (time, name, data) = (time(event.at), event.event_type.name(), data(&event.payload));
    format!("{sequence:>6}  {time}  {name:<20}  {source:<36}  {data}").trim_end().to_owned()
}

/// To the millisecond, in UTC.
pub fn time(at: Timestamp) -> String {
    let text = at.to_string();
    match text.split_once('.') {
        Some((seconds, micros)) if micros.len() >= 3 => format!("{seconds}.{}Z", &micros[..3]),
        _ => text,
    }
}

/// The beginning of the data, on one line; nothing for null.
pub fn data(payload: &Payload) -> String {
    let text = String::from_utf8_lossy(payload.as_bytes());
    let text = output::plain(&text);
    let text = text.trim();
    if text == "null" {
        return String::new();
    }
    let short: String =
        text.chars().take(MAX_DATA_CHARS).map(|c| if c.is_whitespace() { ' ' } else { c }).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}

//! Earlier conversations: what was said last, and which one to go on with.

use std::io::{BufRead, Write};
use std::sync::Arc;

use amplifier_app::chat::Screen;
use amplifier_core::{Message, Role, SessionId};
use amplifier_foundation::Host;
use amplifier_foundation::storage::{SessionQuery, SessionSummary};

use crate::args::run::HistoryFlags;
use crate::context;
use crate::exit::Failure;
use crate::output::{self, Style, plain, table};

/// Turns that are shown of a conversation.
const TURNS: usize = 3;

/// Sessions to pick from.
const CHOICE: usize = 10;

/// Lines of a message of the person that are shown.
const LINES: usize = 6;

/// Shows the end of a conversation, or all of it.
pub(super) async fn tell(
    host: &Host,
    id: &SessionId,
    screen: &Screen,
    how: &HistoryFlags,
) -> Result<(), Failure> {
    let stored = host.storage().load(id).await?;
    let name = stored.metadata.name.as_deref().map(|name| format!(" `{}`", plain(name))).unwrap_or_default();
    let style = Style::stderr();
    if how.no_history {
        output::say(&style.dim(&format!("session {id}{name}")));
        return Ok(());
    }
    let own = |message: &Message| message.role == Role::User && !message.metadata.contains_key("source");
    let places = stored.transcript.iter().enumerate().filter(|(_, message)| own(message));
    let places: Vec<usize> = places.map(|(place, _)| place).collect();
    let first = match how.full_history {
        true => 0,
        false => places.len().checked_sub(TURNS).map_or(0, |place| places[place]),
    };
    let left_out = places.iter().filter(|place| **place < first).count();
    let more = if left_out > 0 { format!(", {left_out} turns before these") } else { String::new() };
    output::say(&style.dim(&format!("session {id}{name}{more}")));
    for message in &stored.transcript[first..] {
        show(message, screen, style);
    }
    Ok(())
}

fn show(message: &Arc<Message>, screen: &Screen, style: Style) {
    let text = message.text();
    match message.role {
        Role::User => {
            let mut lines = text.trim_end().lines();
            let shown: Vec<String> =
                lines.by_ref().take(LINES).map(|line| plain(line).into_owned()).collect();
            let more = if lines.next().is_some() { "\n…" } else { "" };
            output::say(&format!("> {}{more}", shown.join("\n  ")));
        }
        Role::Assistant => {
            if !text.trim().is_empty() {
                screen.markdown(&text);
            }
            for call in &message.tool_calls {
                output::say(&style.dim(&format!("· {}", amplifier_app::terminal::call_line(call))));
            }
        }
        _ => {}
    }
}

/// Sessions as a table.
pub(super) fn listed(sessions: &[SessionSummary]) -> String {
    let row = |session: &SessionSummary| {
        let about = session.name.as_ref().or(session.description.as_ref()).or(session.broken.as_ref());
        let about: String = about.map(|about| about.chars().take(50).collect()).unwrap_or_default();
        let minute = |time: amplifier_core::Timestamp| time.to_string().chars().take(16).collect::<String>();
        [
            session.id.to_string(),
            session.turn_count.map_or_else(String::new, |turns| turns.to_string()),
            session.updated.or(session.created).map_or_else(String::new, minute).replace('T', " "),
            session.bundle.clone().unwrap_or_default(),
            about,
        ]
    };
    table(["ID", "TURNS", "UPDATED", "BUNDLE", "NAME"], &sessions.iter().map(row).collect::<Vec<_>>())
}

/// Lets the person pick a session; `None` where nothing was picked.
pub(super) fn pick() -> Result<Option<String>, Failure> {
    let context = context::here()?;
    let sessions = context::small_runtime()?.block_on(async {
        let host = context.host().await?;
        let query = SessionQuery::default().top_level().limit(CHOICE);
        let sessions = host.storage().list(&query).await?;
        Ok::<_, Failure>(sessions.into_iter().filter(|session| session.broken.is_none()).collect::<Vec<_>>())
    })?;
    if sessions.is_empty() {
        return Err(Failure::usage("there is no session here yet").help("begin one with `amplifier`"));
    }
    let text = listed(&sessions);
    for (number, line) in text.lines().enumerate() {
        let number = if number == 0 { String::new() } else { number.to_string() };
        output::say(&format!("{number:>3}  {line}"));
    }
    loop {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "which one? a number, the beginning of an id, or nothing to leave: ");
        let _ = stderr.flush();
        drop(stderr);
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        let line = line.trim();
        if !matches!(read, Ok(1..)) || line.is_empty() {
            return Ok(None);
        }
        let by_number = line.parse::<usize>().ok().filter(|number| *number <= sessions.len());
        let by_number = by_number.and_then(|number| sessions.get(number.checked_sub(1)?));
        let mut by_id = sessions.iter().filter(|session| session.id.as_str().starts_with(line));
        match (by_number, by_id.next(), by_id.next()) {
            (Some(found), ..) | (None, Some(found), None) => return Ok(Some(found.id.to_string())),
            _ => output::say(&format!("no session is `{}`", plain(line))),
        }
    }
}

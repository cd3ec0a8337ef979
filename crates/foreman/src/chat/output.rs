//! What the person sees: answers on stdout, notices on stderr.
//!
//! Guarantees: on a terminal an answer comes as the model writes it, elsewhere whole; with `--json` one object a
//! turn. What workers write is in no answer.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amplifier_app::terminal::{Code, Stdout, Style, plain, say};
use amplifier_core::approval::{Display, NoticeLevel, Origin, Shown};
use amplifier_core::{Role, SessionId};
use serde_json::json;

/// Writes a conversation.
#[derive(Debug)]
pub(super) struct Output {
    json: bool,
    streams: bool,
    asks: bool,
    stdout: Stdout,
    // Held for one piece, so that pieces and lines do not mix.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    own: Option<SessionId>,
    turn: u64,
    /// A line of the answer is open.
    open_line: bool,
    /// Something of the answer was written.
    streamed: bool,
    notices: Vec<String>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        let streams = !json && std::io::stdout().is_terminal();
        let asks = streams && std::io::stdin().is_terminal();
        Self { json, streams, asks, stdout: Stdout::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session whose answers are written.
    pub(super) fn of(&self, session: &SessionId) {
        self.state().own = Some(session.clone());
    }

    /// Asks for a line, where a person sits there.
    pub(super) fn prompt(&self) {
        if self.asks {
            self.stdout.write("> ");
        }
    }

    /// A turn begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.turn += 1;
        state.streamed = false;
        state.notices.clear();
    }

    /// The turn has ended with an answer, or without.
    pub(super) fn end(&self, session: &SessionId, answer: Result<String, String>) {
        let mut state = self.state();
        self.close_line(&mut state);
        if self.json {
            let (text, error) = (answer.as_ref().ok(), answer.as_ref().err());
            let object = json!({
                "type": "turn", "session_id": session, "turn": state.turn, "text": text, "error": error,
                "notices": state.notices,
            });
            self.stdout.write(&format!("{object}\n"));
        }
        match answer {
            Ok(text) if !self.json && !state.streamed => {
                let text = text.trim_end();
                self.stdout.write(&format!("{}\n", if self.streams { plain(text) } else { text.into() }));
            }
            Ok(_) => {}
            Err(error) => say(&Style::stderr().failure(&format!("error: {}", plain(&error)))),
        }
    }

    /// The conversation is over, and its crew ends.
    pub(super) fn leave(&self) {
        self.close_line(&mut self.state());
    }

    pub(super) fn code(&self, code: Code) -> Code {
        self.stdout.code(code)
    }

    fn close_line(&self, state: &mut State) {
        if std::mem::take(&mut state.open_line) {
            self.stdout.write("\n");
        }
    }

    fn piece(&self, state: &mut State, text: &str) {
        let text = plain(text);
        self.stdout.write(&text);
        state.streamed = true;
        state.open_line = !text.ends_with('\n');
    }
}

impl Display for Output {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        let mut state = self.state();
        // Before its id is known here, the session has nobody to tell something beside it.
        let own = state.own.as_ref().is_none_or(|own| *own == origin.session);
        match shown {
            Shown::Text(text) if own && self.streams => self.piece(&mut state, text),
            Shown::Message(message) if own && self.streams && message.role == Role::Assistant => {
                self.close_line(&mut state);
            }
            Shown::Restarted { .. } if own && state.streamed => {
                self.close_line(&mut state);
                say("what was written so far is void; the model is asked again");
            }
            Shown::Notice { level, source, text } if own => {
                self.close_line(&mut state);
                let line = format!("{source}: {}", plain(text));
                say(&match level {
                    NoticeLevel::Error => Style::stderr().failure(&line),
                    NoticeLevel::Warning => Style::stderr().warning(&line),
                    _ => line.clone(),
                });
                state.notices.push(line);
            }
            _ => {}
        }
    }
}

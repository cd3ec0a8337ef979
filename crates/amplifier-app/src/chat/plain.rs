//! A conversation line by line: answers on stdout, everything else on stderr.
//!
//! Guarantees: on a terminal an answer comes as the model writes it, elsewhere whole; with JSON one object a turn.
//! What other sessions write is in no answer.

use std::io::IsTerminal;
use std::sync::{Mutex, MutexGuard, PoisonError};

use amplifier_core::approval::{Display, NoticeLevel, Origin, Shown};
use amplifier_core::{Role, SessionId};
use serde_json::json;

use super::conversation::{Face, Figures};
use crate::terminal::{Code, Stdout, Style, plain, say};

/// Writes a conversation.
#[derive(Debug)]
pub struct Plain {
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

impl Plain {
    /// `json`: one object a turn.
    pub fn new(json: bool) -> Self {
        let streams = !json && std::io::stdout().is_terminal();
        let asks = streams && std::io::stdin().is_terminal();
        Self { json, streams, asks, stdout: Stdout::new(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

impl Face for Plain {
    fn of(&self, session: &SessionId) {
        self.state().own = Some(session.clone());
    }

    fn prompt(&self) {
        if self.asks {
            self.stdout.write("> ");
        }
    }

    fn begin(&self) {
        let mut state = self.state();
        state.turn += 1;
        state.streamed = false;
        state.notices.clear();
    }

    fn end(&self, session: &SessionId, answer: Result<&str, &str>, _figures: &Figures) {
        let mut state = self.state();
        self.close_line(&mut state);
        if self.json {
            let object = json!({
                "type": "turn", "session_id": session, "turn": state.turn, "text": answer.ok(),
                "error": answer.err(), "notices": state.notices,
            });
            self.stdout.write(&format!("{object}\n"));
        }
        match answer {
            Ok(text) if !self.json && !state.streamed => {
                let text = text.trim_end();
                self.stdout.write(&format!("{}\n", if self.streams { plain(text) } else { text.into() }));
            }
            Ok(_) => {}
            Err(error) => say(&Style::stderr().failure(&format!("error: {}", plain(error)))),
        }
    }

    fn leave(&self) {
        self.close_line(&mut self.state());
    }

    fn code(&self, code: Code) -> Code {
        self.stdout.code(code)
    }
}

impl Display for Plain {
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

//! `--output-format text`: the answer for people.
//!
//! Guarantees: on a terminal text comes as the model writes it; in a pipe the answer is written
//! once, whole, ending in one line end, or not at all where there is none. What sub-sessions write is
//! in it nowhere; while a line of the answer is open, their progress waits for its end.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use amplifier_core::Role;
use amplifier_core::approval::{Display, Origin, Shown};

use super::{Ended, Facts, Output, Stdout, plain};
use crate::exit::Failure;
use amplifier_app::terminal::Progress;

/// Writes the answer.
#[derive(Debug)]
pub(super) struct Text {
    progress: Progress,
    stdout: Stdout,
    terminal: bool,
    // Held while one thing is shown, so that pieces of text and lines do not mix.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines about sub-sessions that wait for the end of the line.
    held: Vec<String>,
    /// What was streamed since the last whole message.
    streamed: String,
    /// True if the cursor is behind a piece of text.
    open_line: bool,
}

impl Text {
    pub(super) fn new(progress: Progress) -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self { progress, stdout: Stdout::new(), terminal, state: Mutex::default() }
    }

    fn piece(&self, state: &mut State, text: &str) {
        let text = plain(text);
        self.stdout.write(&text);
        state.streamed.push_str(&text);
        state.open_line = !state.streamed.is_empty() && !state.streamed.ends_with('\n');
    }

    fn close_line(&self, state: &mut State) {
        if std::mem::take(&mut state.open_line) {
            self.stdout.write("\n");
        }
        tell(state);
    }

    /// What the run's own session shows.
    fn own(&self, state: &mut State, origin: &Origin, shown: &Shown<'_>) {
        match shown {
            Shown::Text(text) if self.terminal => self.piece(state, text),
            Shown::Text(_) | Shown::Thinking(_) => {}
            Shown::Message(message) if self.terminal && message.role == Role::Assistant => {
                if state.streamed.is_empty() {
                    self.piece(state, &message.text());
                }
                self.close_line(state);
                state.streamed.clear();
            }
            other => {
                if !matches!(other, Shown::Message(_) | Shown::ToolStarted(_)) {
                    self.close_line(state);
                }
                if matches!(other, Shown::Restarted { .. }) && !std::mem::take(&mut state.streamed).is_empty()
                {
                    super::say("what was written so far is void; the model is asked again");
                }
                self.progress.show(origin, other);
            }
        }
    }
}

impl Display for Text {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.progress.is_own(origin) {
            return self.own(&mut state, origin, &shown);
        }
        state.held.extend(self.progress.line(origin, &shown));
        if !state.open_line {
            tell(&mut state);
        }
    }
}

/// Tells the lines that waited.
fn tell(state: &mut State) {
    state.held.drain(..).for_each(|line| super::say(&line));
}

impl Output for Text {
    fn prepare(&self, facts: Facts) {
        self.progress.of(facts.session);
    }

    fn begin(&self) {}

    fn leave(&self) {
        self.progress.leave();
        self.close_line(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn end(&self, ended: &Ended<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if self.terminal {
            return self.close_line(&mut state);
        }
        let answer = ended.outcome.output.trim_end_matches(['\n', '\r']);
        if !answer.is_empty() {
            self.stdout.write(&format!("{answer}\n"));
        }
    }

    fn refuse(&self, _failure: &Failure) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.close_line(&mut state);
    }

    fn stdout(&self) -> &Stdout {
        &self.stdout
    }
}

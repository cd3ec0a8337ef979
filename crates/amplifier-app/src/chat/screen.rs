//! A conversation on a terminal: Markdown as it is written, tools while they run, sub-sessions below their session.
//!
//! Guarantees: pieces of an answer, lines and the line that moves never mix; nothing is written while somebody is
//! asked; at the prompt lines stand above what is typed. What others wrote moves no cursor. Without decoration text
//! is shown as it was written.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use amplifier_core::approval::{Display, Origin, Shown};
use amplifier_core::{Clock, MonoTime, Role, SessionId};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::conversation::{Face, Figures};
use super::desk::Desk;
use super::markdown::Markdown;
use crate::terminal::{Code, Lines, Progress, Stdout, Style, call_line, plain, rounded, write_line};

/// Lines that wait while somebody is asked, or a line of the answer is open.
const MAX_HELD: usize = 1_000;

/// What moves while something is waited for.
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// Waiting that is shorter is not told.
const PATIENCE: Duration = Duration::from_millis(400);

/// What becomes of a model's reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Thinking {
    /// That there is some is all that is seen.
    #[default]
    Hidden,
    /// It is written, dimmed.
    Dimmed,
}

/// Draws a conversation.
#[derive(Debug)]
pub struct Screen {
    desk: Arc<Desk>,
    clock: Arc<dyn Clock>,
    progress: Progress,
    stdout: Stdout,
    style: Style,
    /// Reasoning is written.
    thinks: AtomicBool,
    // Held while one thing is drawn; never across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The answer that is being written.
    answer: Option<Answer>,
    /// The cursor is behind a piece of reasoning.
    thinks: bool,
    /// Lines that wait, and how many there was no place for.
    held: Vec<String>,
    lost: usize,
    running: Vec<Running>,
    /// When the turn began; `None` between two.
    turn: Option<MonoTime>,
    frame: usize,
    /// The line that moves is there.
    drawn: bool,
}

#[derive(Debug)]
struct Answer {
    markdown: Markdown,
    wrote: bool,
    /// The cursor is behind a piece of it.
    open: bool,
}

#[derive(Debug)]
struct Running {
    session: SessionId,
    id: String,
    line: String,
    since: MonoTime,
}

impl Screen {
    /// Draws on the terminal of this desk.
    pub fn new(desk: Arc<Desk>, clock: Arc<dyn Clock>, verbose: bool, thinking: Thinking) -> Self {
        let progress = Progress::new(verbose).with_results();
        let (stdout, style) = (Stdout::new(), Style::stderr());
        let thinks = AtomicBool::new(thinking == Thinking::Dimmed);
        Self { desk, clock, progress, stdout, style, thinks, state: Mutex::default() }
    }

    /// From now on reasoning is written, or not.
    pub fn think_aloud(&self, thinking: Thinking) {
        self.thinks.store(thinking == Thinking::Dimmed, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes Markdown that is complete, such as an earlier answer.
    pub fn markdown(&self, text: &str) {
        let mut state = self.state();
        self.clear(&mut state);
        let text = plain(text);
        if !self.style.is_decorated() {
            return self.stdout.write(&format!("{}\n", text.trim_end()));
        }
        let mut markdown = Markdown::new(width());
        let shown = markdown.push(&text) + &markdown.finish();
        self.stdout.write(&format!("{}\n", shown.trim_end()));
    }

    fn clear(&self, state: &mut State) {
        if std::mem::take(&mut state.drawn) {
            write_raw("\r\u{1b}[K");
        }
    }

    /// The end of a line that is open.
    fn close(&self, state: &mut State) {
        self.clear(state);
        if let Some(mut answer) = state.answer.take() {
            let rest = answer.markdown.finish();
            self.stdout.write(&rest);
            if answer.open && rest.is_empty() {
                self.stdout.write("\n");
            }
        }
        if std::mem::take(&mut state.thinks) {
            self.stdout.write("\n");
        }
        self.tell_held(state);
    }

    fn tell_held(&self, state: &mut State) {
        if self.desk.is_asking() {
            return;
        }
        for line in std::mem::take(&mut state.held) {
            write_line(&line);
        }
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            write_line(&format!("{lost} lines were left out"));
        }
    }

    /// Shows a line where it disturbs nobody.
    fn note(&self, state: &mut State, line: &str) {
        if self.desk.is_edited() && self.desk.print(line) {
            return;
        }
        let open = state.thinks || state.answer.as_ref().is_some_and(|answer| answer.open);
        if !open && !self.desk.is_asking() {
            self.clear(state);
            self.tell_held(state);
            return write_line(line);
        }
        match state.held.len() < MAX_HELD {
            true => state.held.push(line.to_owned()),
            false => state.lost += 1,
        }
    }

    fn piece(&self, state: &mut State, text: &str) {
        self.clear(state);
        if std::mem::take(&mut state.thinks) {
            self.stdout.write("\n");
        }
        let text = plain(text);
        let (decorated, columns) = (self.style.is_decorated(), width());
        let answer = state.answer.get_or_insert_with(|| Answer {
            markdown: Markdown::new(columns),
            wrote: false,
            open: false,
        });
        answer.markdown.resize(columns);
        let shown = if decorated { answer.markdown.push(&text) } else { text.into_owned() };
        answer.wrote |= !text_is_blank(&shown);
        if !shown.is_empty() {
            self.stdout.write(&shown);
            answer.open = !shown.ends_with('\n');
        }
        if !answer.open {
            self.tell_held(state);
        }
    }

    fn think(&self, state: &mut State, text: &str) {
        if self.thinks.load(Ordering::Relaxed) && state.answer.is_none() {
            self.clear(state);
            self.stdout.write(&self.style.dim(&plain(text)));
            state.thinks = true;
        }
    }

    /// What the session itself shows.
    fn own(&self, state: &mut State, origin: &Origin, shown: &Shown<'_>) {
        match shown {
            Shown::Text(text) => return self.piece(state, text),
            Shown::Thinking(text) => return self.think(state, text),
            Shown::Message(message) if message.role == Role::Assistant => {
                if state.answer.is_none() && !message.text().trim().is_empty() {
                    self.piece(state, &message.text());
                }
                return self.close(state);
            }
            Shown::Message(_) => return,
            Shown::Restarted { .. } => {
                self.close(state);
                self.note(state, "what was written so far is void; the model is asked again");
                return;
            }
            Shown::ToolStarted(_) | Shown::ToolEnded { .. } => self.close(state),
            _ => {}
        }
        self.beside(state, origin, shown);
    }

    /// Lines, and the tools that run.
    fn beside(&self, state: &mut State, origin: &Origin, shown: &Shown<'_>) {
        match shown {
            Shown::ToolStarted(call) => state.running.push(Running {
                session: origin.session.clone(),
                id: call.id.clone(),
                line: call_line(call),
                since: self.clock.monotonic(),
            }),
            Shown::ToolEnded { call, .. } => {
                state.running.retain(|run| run.id != call.id || run.session != origin.session);
            }
            _ => {}
        }
        if let Some(line) = self.progress.line(origin, shown) {
            self.note(state, &line);
        }
    }

    /// The line that moves.
    fn moving(&self, state: &State) -> Option<String> {
        let now = self.clock.monotonic();
        let frame = FRAMES[state.frame % FRAMES.len()];
        let Some(first) = state.running.first() else {
            let waited = now.saturating_since(state.turn?);
            return (waited >= PATIENCE).then(|| format!("{frame} working ({})", seconds(waited)));
        };
        let ran = now.saturating_since(first.since);
        let more = match state.running.len() {
            1 => String::new(),
            many => format!(" and {} more", many - 1),
        };
        (ran >= PATIENCE).then(|| format!("{frame} {} ({}){more}", first.line, seconds(ran)))
    }
}

impl Face for Screen {
    fn of(&self, session: &SessionId) {
        self.progress.of(Some(session.clone()));
    }

    fn prompt(&self) {
        let mut state = self.state();
        self.close(&mut state);
    }

    fn begin(&self) {
        self.state().turn = Some(self.clock.monotonic());
    }

    fn moves(&self) -> bool {
        self.style.is_decorated()
    }

    fn tick(&self) {
        let mut state = self.state();
        let open = state.thinks || state.answer.as_ref().is_some_and(|answer| answer.open);
        if open || self.desk.is_asking() {
            return;
        }
        state.frame += 1;
        let Some(line) = self.moving(&state) else { return };
        let line = self.style.dim(&cut(&line, width().saturating_sub(1)));
        write_raw(&format!("\r{line}\u{1b}[K"));
        state.drawn = true;
    }

    fn end(&self, session: &SessionId, answer: Result<&str, &str>, figures: &Figures) {
        let mut state = self.state();
        state.turn = None;
        state.running.clear();
        self.close(&mut state);
        match answer {
            Ok(_) => write_line(&self.style.dim(&summary(session, figures))),
            Err("stopped") => write_line(&self.style.warning("stopped")),
            Err(error) => write_line(&self.style.failure(&format!("error: {}", plain(error)))),
        }
    }

    fn stop(&self) {
        self.desk.interrupt();
    }

    fn leave(&self) {
        self.progress.leave();
        self.desk.give_back();
        self.close(&mut self.state());
    }

    fn code(&self, code: Code) -> Code {
        self.stdout.code(code)
    }

    fn put_back(&self, text: &str) -> bool {
        self.desk.put_back(text);
        true
    }
}

impl Display for Screen {
    fn show(&self, origin: &Origin, shown: Shown<'_>) {
        let mut state = self.state();
        match self.progress.is_own(origin) {
            true => self.own(&mut state, origin, &shown),
            false => self.beside(&mut state, origin, &shown),
        }
    }
}

impl Lines for Screen {
    fn line(&self, line: &str) {
        // While somebody is asked, it is the question that speaks.
        if self.desk.is_asking() {
            return write_line(line);
        }
        let mut state = self.state();
        line.split('\n').for_each(|line| self.note(&mut state, line));
    }
}

fn text_is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// Whole seconds: the line is drawn often.
fn seconds(time: Duration) -> String {
    rounded(Duration::from_secs(time.as_secs()))
}

/// What a person wants to know of a turn.
fn summary(session: &SessionId, figures: &Figures) -> String {
    let mut parts = Vec::new();
    parts.extend(figures.model.as_deref().map(|model| plain(model).into_owned()));
    if figures.input_tokens + figures.output_tokens > 0 {
        parts.push(format!("{} in, {} out", figures.input_tokens, figures.output_tokens));
    }
    parts.extend(figures.micro_usd.map(dollars));
    parts.push(rounded(Duration::from_millis(u64::try_from(figures.took.as_millis()).unwrap_or(0))));
    parts.push(session.as_str().chars().take(8).collect());
    parts.join(" · ")
}

/// An amount for people: cents, or more digits where it is less.
pub(super) fn dollars(micro_usd: u64) -> String {
    match micro_usd {
        0 => "$0".to_owned(),
        less if less < 10_000 => format!("${}.{:06}", less / 1_000_000, less % 1_000_000),
        _ => format!("${}.{:02}", micro_usd / 1_000_000, micro_usd % 1_000_000 / 10_000),
    }
}

/// What fits into so many columns.
fn cut(line: &str, columns: usize) -> String {
    if line.width() <= columns {
        return line.to_owned();
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let width = c.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    let mut cut: String = line.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

/// Columns of the terminal.
fn width() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| if columns == 0 { 80 } else { columns.into() })
}

/// Writes to the terminal as it is.
pub(super) fn write_raw(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes());
    let _ = stderr.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_summed_up_with_what_is_known() {
        let id = SessionId::new("abcdefghij").unwrap();
        let mut figures = Figures { took: Duration::from_micros(1_500_999), ..Figures::default() };
        assert_eq!(summary(&id, &figures), "1s500ms · abcdefgh");
        (figures.input_tokens, figures.output_tokens) = (1_200, 34);
        figures.micro_usd = Some(1_234_567);
        figures.model = Some("p/m".to_owned());
        assert_eq!(summary(&id, &figures), "p/m · 1200 in, 34 out · $1.23 · 1s500ms · abcdefgh");
    }

    #[test]
    fn money_and_lines_are_cut_to_what_is_seen() {
        let check = |micro_usd: u64, expect: &str| assert_eq!(dollars(micro_usd), expect);
        check(0, "$0");
        check(120, "$0.000120");
        check(10_000, "$0.01");
        check(12_345_678, "$12.34");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "ab…");
        assert_eq!(cut("日本語", 5), "日本…");
    }
}

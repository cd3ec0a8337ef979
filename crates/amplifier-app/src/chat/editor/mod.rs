//! The line editor: what a person types at a terminal.
//!
//! Guarantees: it runs in a thread of its own, which waits for keys and costs nothing meanwhile; a line may have
//! several lines (Alt+Enter, `\` at the end of a line, a paste). Lines that others write meanwhile stand above what is
//! typed. History is kept in a file that only its owner reads; where that cannot be, it is kept in memory and told once.
//! Never here: what a line means.

mod complete;
mod prompt;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use amplifier_foundation::fs::write;
use amplifier_foundation::fs::write::Access;
use reedline::{
    ColumnarMenu, DefaultHinter, EditCommand, Emacs, ExternalPrinter, FileBackedHistory, History, KeyCode,
    KeyModifiers, MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal, default_emacs_keybindings,
};

use complete::Complete;
pub use complete::{Argument, Entry, Words};
use prompt::{Continues, Face, Watch};

use super::desk::Desk;
use super::input::Line;
use crate::terminal::{Style, say};

/// Lines of history that are kept.
const MAX_HISTORY: usize = 5_000;

/// Lines that may wait to be shown above what is typed.
const MAX_PRINTED: usize = 1_000;

/// How often the thread looks whether somebody else wants the terminal.
const LOOK: Duration = Duration::from_millis(200);

const MENU: &str = "completion";

/// What the editor is for.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file of the history.
    pub history: PathBuf,
    /// The directory whose files are completed.
    pub cwd: PathBuf,
    /// The slash commands.
    pub commands: &'static [Entry],
    /// What else is completed.
    pub words: Arc<Words>,
    /// What stands in front of a line.
    pub prompt: &'static str,
}

/// The editor.
#[derive(Debug)]
pub struct Editor {
    desk: Arc<Desk>,
    asks: Sender<()>,
    said: tokio::sync::mpsc::Receiver<Said>,
    waits: bool,
    /// The last thing was an interrupt of an empty line.
    warned: bool,
}

/// What comes of one line.
#[derive(Debug)]
enum Said {
    Text(String),
    /// Somebody else wanted the terminal.
    Suspended,
    /// Ctrl+C.
    Interrupted {
        empty: bool,
    },
    /// Ctrl+D on an empty line.
    End,
    Broken(String),
}

impl Editor {
    /// Begins to ask for a line, before it is waited for.
    pub fn start(options: Options, desk: Arc<Desk>) -> Self {
        let (asks, asked) = channel();
        let (tell, said) = tokio::sync::mpsc::channel(1);
        let at = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("line-editor".into());
        let started = thread.spawn(move || edit(&options, &at, &asked, &tell));
        if let Err(error) = started {
            say(&format!("error: the line editor cannot be started: {error}"));
        }
        Self { desk, asks, said, waits: false, warned: false }
    }

    /// The next line.
    pub async fn next(&mut self) -> Line {
        loop {
            if !self.waits {
                let asks = self.asks.clone();
                // Without the thread nothing is ever said, which is the end.
                self.desk.edit(|| _ = asks.send(())).await;
                self.waits = true;
            }
            let said = self.said.recv().await;
            self.waits = false;
            let warned = std::mem::take(&mut self.warned);
            return match said {
                Some(Said::Suspended) => continue,
                Some(Said::Text(text)) if text.trim().is_empty() => continue,
                Some(Said::Text(text)) => Line::Text(text),
                Some(Said::Interrupted { empty: true }) if warned => Line::End,
                Some(Said::Interrupted { empty }) => {
                    if empty {
                        say("Ctrl+C again, or Ctrl+D, leaves");
                        self.warned = true;
                    }
                    continue;
                }
                Some(Said::End) | None => Line::End,
                Some(Said::Broken(error)) => Line::Broken(error),
            };
        }
    }
}

/// The thread: a line each time that one is asked for.
fn edit(options: &Options, desk: &Desk, asked: &Receiver<()>, tell: &tokio::sync::mpsc::Sender<Said>) {
    let empty = Arc::new(AtomicBool::new(true));
    let (history, mut fault) = history(options);
    let mut editor = editor(options, desk, history, Arc::clone(&empty));
    let face = Face::new(options.prompt);
    while asked.recv().is_ok() {
        if let Some(fault) = fault.take() {
            super::screen::write_raw(&format!("notice: {fault}\r\n"));
        }
        let ahead = desk.ahead();
        if !ahead.is_empty() {
            editor.run_edit_commands(&[EditCommand::InsertString(ahead)]);
        }
        let read = editor.read_line(&face);
        if fault.is_none() && matches!(read, Ok(Signal::Success(_))) {
            fault = kept(&mut editor);
        }
        desk.edited();
        let said = match read {
            Ok(Signal::Success(text)) => Said::Text(prompt::joined(&text)),
            Ok(Signal::CtrlC) => Said::Interrupted { empty: empty.load(Ordering::Relaxed) },
            Ok(Signal::CtrlD) => Said::End,
            Ok(_) => Said::Suspended,
            Err(error) => Said::Broken(error.to_string()),
        };
        if tell.blocking_send(said).is_err() {
            return;
        }
    }
}

/// Writes the history; why that could not be, the first time.
fn kept(editor: &mut Reedline) -> Option<String> {
    let error = editor.sync_history().err()?;
    // From here on nothing is tried again.
    if let Ok(memory) = FileBackedHistory::new(MAX_HISTORY) {
        let mut memory = memory;
        let all = editor
            .history()
            .search(reedline::SearchQuery::everything(reedline::SearchDirection::Forward, None));
        for item in all.unwrap_or_default() {
            let _ = memory.save(item);
        }
        *editor = std::mem::replace(editor, Reedline::create()).with_history(Box::new(memory));
    }
    Some(format!("history is not kept: {error}"))
}

/// The history of the file, or one in memory and why.
fn history(options: &Options) -> (Option<FileBackedHistory>, Option<String>) {
    let file = &options.history;
    let folder = file.parent().map_or(Ok(()), |folder| write::create_dirs(folder, Access::Private));
    let made = folder.and_then(|()| match write::create(file, b"", Access::Private) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let opened = match made {
        Ok(()) => FileBackedHistory::with_file(MAX_HISTORY, file.clone()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match opened {
        Ok(history) => (Some(history), None),
        Err(error) => {
            let told = format!("history is not kept: {}: {error}", file.display());
            (FileBackedHistory::new(MAX_HISTORY).ok(), Some(told))
        }
    }
}

fn editor(
    options: &Options,
    desk: &Desk,
    history: Option<FileBackedHistory>,
    empty: Arc<AtomicBool>,
) -> Reedline {
    let printer = ExternalPrinter::new(MAX_PRINTED);
    desk.print_through(printer.sender());
    let coloured = Style::stderr().is_decorated();
    let mut keys = default_emacs_keybindings();
    let complete = ReedlineEvent::UntilFound(vec![
        ReedlineEvent::Menu(MENU.to_owned()),
        ReedlineEvent::MenuNext,
        ReedlineEvent::Edit(vec![EditCommand::Complete]),
    ]);
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, complete);
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    let menu = ReedlineMenu::EngineCompleter(Box::new(ColumnarMenu::default().with_name(MENU)));
    let mut editor = Reedline::create()
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_completer(Box::new(Complete::new(options)))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(menu)
        .with_validator(Box::new(Continues))
        .with_highlighter(Box::new(Watch::new(empty, coloured, options.commands)))
        .with_ansi_colors(coloured)
        .use_bracketed_paste(true)
        .with_break_signal(desk.stop_flag())
        .with_external_printer(printer)
        .with_poll_interval(LOOK);
    if coloured {
        let style = reedline::Color::Default.dimmed();
        editor = editor.with_hinter(Box::new(DefaultHinter::default().with_style(style)));
    }
    match history {
        Some(history) => editor.with_history(Box::new(history)),
        None => editor,
    }
}

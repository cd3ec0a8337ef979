//! Who has the terminal: the editor, the screen, or a question to the person.
//!
//! Guarantees: one of them at a time. Between two prompts what is typed is kept, unseen, for the next one; a question
//! is answered only by what is typed after it stands there. However the conversation ends, the terminal is left as it
//! was found.
//! Never here: what is asked or written.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::approval::{ApprovalAnswer, ApprovalRequest, Approver};
use async_trait::async_trait;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{InputFlags, LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use tokio::sync::watch;

/// Most bytes that are kept of what was typed ahead.
const MAX_AHEAD: usize = 64 << 10;

/// What a terminal is told on the way out: no bracketed paste, a cursor that is seen.
const PLAIN: &str = "\u{1b}[?2004l\u{1b}[?25h";

/// The terminal of a conversation.
#[derive(Debug)]
pub struct Desk {
    // Held to set one; the terminal as it was found, and as it is between two prompts.
    modes: Mutex<Modes>,
    /// The editor has the terminal.
    active: watch::Sender<bool>,
    /// Tells the editor to let go.
    stop: Arc<AtomicBool>,
    /// Somebody is asked.
    asking: watch::Sender<bool>,
    /// How often somebody wanted a turn to stop.
    interrupts: watch::Sender<u64>,
    // Held over a question, and while the editor takes the terminal.
    turn: tokio::sync::Mutex<()>,
    // Held for one change; never across an await.
    typed: Mutex<Typed>,
}

#[derive(Debug)]
struct Modes {
    found: Termios,
    quiet: Termios,
}

/// Which of them.
#[derive(Debug, Clone, Copy)]
enum Mode {
    Found,
    Quiet,
}

#[derive(Debug, Default)]
struct Typed {
    ahead: String,
    printer: Option<SyncSender<String>>,
    lost: usize,
}

impl Desk {
    /// Takes the terminal of standard input; `None` if it is none.
    pub fn take() -> Option<Arc<Self>> {
        let found = tcgetattr(std::io::stdin()).ok()?;
        let mut quiet = found.clone();
        quiet.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON);
        // Ctrl+C throws nothing away that was typed before it.
        quiet.local_flags.insert(LocalFlags::NOFLSH);
        quiet.input_flags.remove(InputFlags::ICRNL);
        let desk = Self {
            modes: Mutex::new(Modes { found, quiet }),
            active: watch::Sender::new(false),
            stop: Arc::default(),
            asking: watch::Sender::new(false),
            interrupts: watch::Sender::new(0),
            turn: tokio::sync::Mutex::default(),
            typed: Mutex::default(),
        };
        desk.set(Mode::Quiet);
        Some(Arc::new(desk))
    }

    /// The terminal as it was found.
    pub fn give_back(&self) {
        let was_active = self.active.send_replace(false);
        self.set(Mode::Found);
        if was_active {
            let end = if std::env::var_os("TERM").is_some() { PLAIN } else { "" };
            super::screen::write_raw(&format!("{end}\r\n"));
        }
    }

    /// True while somebody is asked, so that nothing else should be written.
    pub(super) fn is_asking(&self) -> bool {
        *self.asking.borrow()
    }

    /// True while the editor has the terminal.
    pub(super) fn is_edited(&self) -> bool {
        *self.active.borrow()
    }

    pub(super) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    pub(super) fn print_through(&self, printer: SyncSender<String>) {
        self.typed().printer = Some(printer);
    }

    /// Hands a line to the editor, which shows it above what is typed; false if it cannot now.
    pub(super) fn print(&self, line: &str) -> bool {
        let mut typed = self.typed();
        let lost = typed.lost;
        let Some(printer) = &typed.printer else { return false };
        if lost > 0 && printer.try_send(format!("{lost} lines were left out")).is_ok() {
            typed.lost = 0;
        }
        let sent = typed.printer.as_ref().is_some_and(|printer| printer.try_send(line.to_owned()).is_ok());
        typed.lost += usize::from(!sent);
        true
    }

    /// The editor may have the terminal once nobody is asked; true is told before it begins.
    pub(super) async fn edit(&self, begin: impl FnOnce()) {
        let _turn = self.turn.lock().await;
        self.active.send_replace(true);
        begin();
    }

    /// A question that is open has no for an answer.
    pub(super) fn interrupt(&self) {
        self.interrupts.send_modify(|count| *count += 1);
    }

    /// The editor has let go.
    pub(super) fn edited(&self) {
        self.active.send_replace(false);
    }

    /// What was typed while somebody else had the terminal, for the editor to begin with.
    pub(super) fn ahead(&self) -> String {
        std::mem::take(&mut self.typed().ahead)
    }

    /// What is to be in the editor at the next prompt, in front of what is typed.
    pub fn put_back(&self, text: &str) {
        self.typed().ahead.insert_str(0, text);
    }

    /// Keeps what was typed so far for the next prompt.
    fn keep_typed(&self) {
        let stdin = std::io::stdin();
        let mut bytes = [0; 4096];
        loop {
            let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wanted, PollTimeout::ZERO) != Ok(1) {
                return;
            }
            let Ok(read @ 1..) = nix::unistd::read(stdin.as_fd(), &mut bytes) else { return };
            let text = String::from_utf8_lossy(&bytes[..read]).replace('\r', "\n");
            let mut typed = self.typed();
            if typed.ahead.len() < MAX_AHEAD {
                typed.ahead.push_str(&crate::terminal::plain(&text));
            }
        }
    }

    fn set(&self, mode: Mode) {
        let modes = self.modes.lock().unwrap_or_else(PoisonError::into_inner);
        let modes = match mode {
            Mode::Found => &modes.found,
            Mode::Quiet => &modes.quiet,
        };
        // A terminal that is gone has no modes.
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, modes);
    }

    fn typed(&self) -> MutexGuard<'_, Typed> {
        self.typed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Gives the terminal back when the conversation is over, however that comes.
#[derive(Debug)]
#[must_use = "the terminal is given back when this is dropped"]
pub struct GiveBack(Option<Arc<Desk>>);

impl GiveBack {
    /// Of this desk, if there is one.
    pub fn new(desk: Option<Arc<Desk>>) -> Self {
        Self(desk)
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        crate::terminal::hand_lines_to(None);
        if let Some(desk) = &self.0 {
            desk.give_back();
        }
    }
}

/// Asks the person whom another approver asks, once the terminal is free.
#[derive(Debug)]
pub struct AtDesk {
    desk: Arc<Desk>,
    asks: Arc<dyn Approver>,
}

impl AtDesk {
    /// Asks through this one.
    pub fn new(desk: Arc<Desk>, asks: Arc<dyn Approver>) -> Self {
        Self { desk, asks }
    }
}

/// Gives the terminal free again, also where nobody waits for the answer any more.
struct Asking<'a>(&'a Desk);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.set(Mode::Quiet);
        self.0.asking.send_replace(false);
    }
}

#[async_trait]
impl Approver for AtDesk {
    fn can_answer(&self) -> bool {
        self.asks.can_answer()
    }

    async fn request(&self, request: ApprovalRequest) -> ApprovalAnswer {
        let mut interrupted = self.desk.interrupts.subscribe();
        let _turn = self.desk.turn.lock().await;
        let mut active = self.desk.active.subscribe();
        let was_edited = *active.borrow();
        while *active.borrow_and_update() {
            self.desk.stop.store(true, Ordering::Relaxed);
            if active.changed().await.is_err() {
                break;
            }
        }
        self.desk.keep_typed();
        self.desk.asking.send_replace(true);
        let _asking = Asking(&self.desk);
        self.desk.set(Mode::Found);
        if was_edited {
            super::screen::write_raw("\n");
        }
        tokio::select! {
            biased;
            answer = self.asks.request(request) => answer,
            _ = interrupted.changed() => {
                super::screen::write_raw("\n");
                ApprovalAnswer::Deny { reason: "the person stopped the turn".to_owned() }
            }
        }
    }
}

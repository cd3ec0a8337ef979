//! A person at a terminal of their own: what is on the screen, and what is typed.
//!
//! Guarantees: what is waited for comes within a time limit, or the test fails with the screen. The terminal answers
//! where its cursor is, as real ones do, so that an editor can draw.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::kit::{Place, Running};

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the thread that reads looks whether the person is still there, in milliseconds.
const LOOK: u16 = 50;

/// The question where the cursor is, and the answer.
const WHERE: &str = "\u{1b}[6n";
const HERE: &[u8] = b"\x1b[1;1R";

/// A person at a terminal.
pub(crate) struct Person {
    master: Option<File>,
    running: Running,
    screen: Receiver<String>,
    gone: Arc<AtomicBool>,
    seen: String,
    /// How often it was told where its cursor is.
    answered: usize,
    /// How far what is seen was looked at.
    read_to: usize,
}

impl Person {
    /// Calls the program at a terminal without colours.
    pub(crate) fn calls(place: &Place, args: &[&str]) -> Self {
        Self::calls_with(place, args, &[("NO_COLOR", "1")])
    }

    /// The same with these variables.
    pub(crate) fn calls_with(place: &Place, args: &[&str], vars: &[(&str, &str)]) -> Self {
        let (master, slave) = terminal();
        let stream = || slave.try_clone().unwrap();
        // The terminal is the program's own: its keys and its end are signals.
        let line = [&["setsid", "--ctty", env!("CARGO_BIN_EXE_amplifier")], args].concat();
        let mut call = place.call_program(&line).env("TERM", "xterm");
        for (name, value) in vars {
            call = call.env(name, value);
        }
        let running = call.stdin(stream()).stdout(stream()).stderr(stream()).start();
        drop(slave);
        let gone = Arc::new(AtomicBool::new(false));
        let screen = watch(master.try_clone().unwrap(), Arc::clone(&gone));
        Self { master: Some(master), running, screen, gone, seen: String::new(), answered: 0, read_to: 0 }
    }

    /// Waits until this is on the screen, behind what was waited for before.
    #[track_caller]
    pub(crate) fn sees(&mut self, text: &str) {
        while !self.has_come(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(piece) => self.take(&piece),
                Err(_) => {
                    panic!("{text:?} did not come; since then:\n{}", &shown(&self.seen)[self.read_to..])
                }
            }
        }
    }

    fn has_come(&mut self, text: &str) -> bool {
        let shown = shown(&self.seen);
        let found = shown.get(self.read_to..).and_then(|rest| rest.find(text));
        if let Some(at) = found {
            self.read_to += at + text.len();
        }
        found.is_some()
    }

    fn take(&mut self, piece: &str) {
        self.seen.push_str(piece);
        let asked = self.seen.matches(WHERE).count();
        for _ in std::mem::replace(&mut self.answered, asked)..asked {
            if let Some(master) = &mut self.master {
                // One that has gone wants no answer.
                let _ = master.write_all(HERE);
            }
        }
    }

    /// Types, without a new line at its end.
    pub(crate) fn types(&mut self, text: &str) {
        self.master.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Types a line once it is asked for one.
    #[track_caller]
    pub(crate) fn says(&mut self, line: &str) {
        self.sees("> ");
        self.types(line);
        self.types("\r");
    }

    /// Makes the terminal this wide.
    pub(crate) fn widens_to(&self, columns: u16) {
        tcsetwinsize(self.master.as_ref().unwrap(), size(columns)).unwrap();
    }

    /// True if the terminal echoes what is typed and has it line by line.
    pub(crate) fn is_as_it_was_found(&self) -> bool {
        use nix::sys::termios::{LocalFlags, tcgetattr};
        let modes = tcgetattr(self.master.as_ref().unwrap()).unwrap();
        modes.local_flags.contains(LocalFlags::ECHO | LocalFlags::ICANON)
    }

    /// Sends a signal.
    pub(crate) fn signals(&self, signal: Signal) {
        self.running.signal(signal);
    }

    /// Closes the terminal and waits for the end.
    pub(crate) fn goes_away(mut self) -> Option<i32> {
        self.gone.store(true, Ordering::Relaxed);
        // The thread that reads has a handle too.
        while self.screen.recv_timeout(PATIENCE).is_ok() {}
        self.master = None;
        self.running.done().code
    }

    /// Waits for the end; the exit code and all that was on the screen.
    pub(crate) fn ends(mut self) -> (Option<i32>, String) {
        loop {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(piece) => self.take(&piece),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", shown(&self.seen)),
            }
        }
        (self.running.done().code, shown(&self.seen))
    }
}

/// A new terminal. No process of another test gets a hand on it, which would keep it open.
fn terminal() -> (File, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let slave = nix::fcntl::open(name.as_c_str(), flags, Mode::empty()).unwrap();
    tcsetwinsize(&master, size(80)).unwrap();
    (File::from(master), slave)
}

fn size(columns: u16) -> Winsize {
    Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn watch(mut master: File, gone: Arc<AtomicBool>) -> Receiver<String> {
    let (tell, screen) = channel();
    std::thread::spawn(move || {
        let (mut bytes, mut rest) = ([0; 4096], Vec::new());
        while !gone.load(Ordering::Relaxed) {
            let mut wanted = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
            if poll(&mut wanted, PollTimeout::from(LOOK)) == Ok(0) {
                continue;
            }
            // The end of the other side is an error here.
            let Ok(read @ 1..) = master.read(&mut bytes) else { return };
            rest.extend_from_slice(&bytes[..read]);
            let whole = rest.utf8_chunks().next().map_or(0, |chunk| chunk.valid().len());
            let piece = String::from_utf8_lossy(&rest[..whole]).into_owned();
            rest.drain(..whole);
            if tell.send(piece).is_err() {
                return;
            }
        }
    });
    screen
}

/// The text without colours and movements of the cursor.
fn shown(raw: &str) -> String {
    let (mut text, mut chars) = (String::new(), raw.chars());
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.as_str().starts_with('[') => {
                chars.by_ref().skip(1).find(|c| c.is_ascii_alphabetic());
            }
            '\u{1b}' => drop(chars.next()),
            '\r' => {}
            c => text.push(c),
        }
    }
    text
}

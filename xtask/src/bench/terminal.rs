//! A program at a terminal of its own.
//!
//! Guarantees: the terminal answers where its cursor is, as real ones do, so that an editor can draw; a program that
//! does not come within [`PATIENCE`] to what is waited for is a failure. It ends with the value.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::pty::openpty;

use crate::error::Error;
use crate::run;

/// How long something may take to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// The question where the cursor is, and the answer.
const WHERE: &str = "\u{1b}[6n";
const HERE: &[u8] = b"\x1b[1;1R";

pub(super) struct Terminal {
    child: Child,
    screen: Receiver<String>,
    seen: String,
}

impl Terminal {
    /// Starts the program; what it is to be called with is in `command`.
    pub(super) fn start(command: &mut Command) -> Result<Self, Error> {
        let line = run::line(command);
        let failed = |source| Error::Start { command: line.clone(), source };
        let pty = openpty(None, None).map_err(|errno| failed(errno.into()))?;
        let stream = || pty.slave.try_clone().map(Stdio::from);
        command.stdin(stream().map_err(failed)?).stdout(stream().map_err(failed)?);
        command.stderr(stream().map_err(failed)?).env("TERM", "xterm").env("NO_COLOR", "1");
        let child = command.spawn().map_err(failed)?;
        // What is kept of it here would keep it open.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut master = File::from(pty.master);
        let (tell, screen) = channel();
        std::thread::spawn(move || {
            let (mut bytes, mut asked) = ([0; 4_096], String::new());
            // The end of the other side is an error here.
            while let Ok(read @ 1..) = master.read(&mut bytes) {
                let piece = String::from_utf8_lossy(&bytes[..read]).into_owned();
                asked.push_str(&piece);
                while let Some(at) = asked.find(WHERE) {
                    asked.drain(..at + WHERE.len());
                    let _ = master.write_all(HERE);
                }
                if tell.send(piece).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, screen, seen: String::new() })
    }

    /// Waits until this was written.
    pub(super) fn sees(&mut self, text: &str) -> Result<(), Error> {
        while !self.seen.contains(text) {
            match self.screen.recv_timeout(PATIENCE) {
                Ok(piece) => self.seen.push_str(&piece),
                Err(_) => {
                    let message = format!("{text:?} did not come; there is: {:?}", self.seen);
                    return Err(Error::Format { what: "a terminal".to_owned(), message });
                }
            }
        }
        Ok(())
    }

    /// The program's process.
    pub(super) fn process(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! Owners: processes that outlive whoever started them: one for a session, or one for all that a project's
//! triggers start.
//!
//! Both ends are here. [`Detached`] is the starter's: it runs its own program again, with nothing but
//! [`ARGUMENT`] on its command line, and hands over through a socket what was typed, so that a prompt
//! stands in no table of processes. [`Owner`] is the other end: it leaves the terminal's session, reads
//! what it was handed, tells when the session is recorded and what the run has come to, and hears signals
//! that are handed on.
//!
//! Guarantees: until [`Owner::leave`] the owner writes to the starter's own stdout and stderr, and after it
//! to neither; what it tells then goes to a log of at most [`MAX_LOG_BYTES`]. A starter that is gone stops
//! nothing. Nothing that is handed over is written anywhere.
//! Never here: what a session is.

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, ErrorKind, PipeReader, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;

use amplifier_core::SessionId;
use amplifier_foundation::fs::log::LogFile;
use amplifier_foundation::fs::read::nowhere;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout, setsid};
use tokio::sync::mpsc::{Receiver, channel};

use crate::terminal::{Code, Signalled};

/// The argument by which an owner is started. For this program alone.
pub const ARGUMENT: &str = "detached-owner";
/// Longest log of an owner, in bytes.
pub const MAX_LOG_BYTES: usize = 1 << 20;
/// Longest thing that is handed over, in bytes.
const MAX_FRAME: u32 = 16 << 20;
/// Things that wait for their reader.
const QUEUE: usize = 16;

/// What an owner is handed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handover {
    /// The command line, the program's name first.
    pub args: Vec<OsString>,
    /// What came in through standard input.
    pub piped: Option<String>,
}

/// What an owner tells.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// The session is recorded, and can be reached from any process.
    Recorded(SessionId),
    /// It does what it was started for; with a line for whoever started it.
    Ready(String),
    /// The run is over, as far as the starter is concerned, with this exit code.
    Ended(u8),
}

/// One thing on the socket.
#[derive(Debug, PartialEq, Eq)]
enum Frame {
    Argument(OsString),
    Piped(String),
    /// The handover is complete.
    Go,
    Signal(Signalled),
    Told(Told),
}

impl Frame {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let code;
        let (tag, body): (u8, &[u8]) = match self {
            Self::Argument(argument) => (b'a', argument.as_bytes()),
            Self::Piped(text) => (b'p', text.as_bytes()),
            Self::Go => (b'g', &[]),
            Self::Signal(Signalled::Interrupt) => (b'i', &[]),
            Self::Signal(Signalled::Terminate) => (b't', &[]),
            Self::Told(Told::Recorded(id)) => (b'r', id.as_str().as_bytes()),
            Self::Told(Told::Ready(line)) => (b'y', line.as_bytes()),
            Self::Told(Told::Ended(ended)) => {
                code = [*ended];
                (b'e', &code)
            }
        };
        let len = u32::try_from(body.len()).ok().filter(|len| *len <= MAX_FRAME);
        let len = len.ok_or_else(|| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut bytes = Vec::with_capacity(body.len() + 5);
        bytes.push(tag);
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(body);
        to.write_all(&bytes)
    }

    /// `None` at the end.
    fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 5];
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let [tag, len @ ..] = head;
        let len = u32::from_le_bytes(len);
        let odd = || io::Error::from(ErrorKind::InvalidData);
        if len > MAX_FRAME {
            return Err(odd());
        }
        let mut body = vec![0; usize::try_from(len).map_err(|_| odd())?];
        from.read_exact(&mut body)?;
        let text = |body| String::from_utf8(body).map_err(|_| odd());
        Ok(Some(match tag {
            b'a' => Self::Argument(OsString::from_vec(body)),
            b'p' => Self::Piped(text(body)?),
            b'g' => Self::Go,
            b'i' => Self::Signal(Signalled::Interrupt),
            b't' => Self::Signal(Signalled::Terminate),
            b'r' => Self::Told(Told::Recorded(SessionId::new(text(body)?).map_err(|_| odd())?)),
            b'y' => Self::Told(Told::Ready(text(body)?)),
            b'e' => Self::Told(Told::Ended(*body.first().ok_or_else(odd)?)),
            _ => return Err(odd()),
        }))
    }
}

impl Handover {
    fn write(&self, to: &mut impl Write) -> io::Result<()> {
        for argument in &self.args {
            Frame::Argument(argument.clone()).write(to)?;
        }
        if let Some(piped) = &self.piped {
            Frame::Piped(piped.clone()).write(to)?;
        }
        Frame::Go.write(to)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut handover = Self::default();
        loop {
            match Frame::read(from)? {
                Some(Frame::Argument(argument)) => handover.args.push(argument),
                Some(Frame::Piped(text)) => handover.piped = Some(text),
                Some(Frame::Go) => return Ok(handover),
                _ => return Err(ErrorKind::InvalidData.into()),
            }
        }
    }
}

/// An owner that was started, as its starter sees it. Dropped, the owner goes on.
#[derive(Debug)]
pub struct Detached {
    child: Child,
    stream: UnixStream,
    told: Receiver<Told>,
}

impl Detached {
    /// Starts an owner, and hands over. It has this process's environment, directory, stdout and stderr.
    pub fn start(handover: &Handover) -> io::Result<Self> {
        Self::with_streams(handover, Stdio::inherit(), Stdio::inherit())
    }

    /// The same for a starter whose stdout is for something else: what the owner says until it leaves comes
    /// through the pipe.
    pub fn start_aside(handover: &Handover) -> io::Result<(Self, PipeReader)> {
        let (said, theirs) = io::pipe()?;
        Ok((Self::with_streams(handover, Stdio::null(), Stdio::from(theirs))?, said))
    }

    fn with_streams(handover: &Handover, stdout: Stdio, stderr: Stdio) -> io::Result<Self> {
        let (mut stream, theirs) = UnixStream::pair()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ARGUMENT).stdin(Stdio::from(OwnedFd::from(theirs))).stdout(stdout).stderr(stderr);
        let child = command.spawn()?;
        // The parent's copy of the other end would keep it open.
        drop(command);
        handover.write(&mut stream)?;
        let mut from = BufReader::new(stream.try_clone()?);
        let (tell, told) = channel(QUEUE);
        thread::spawn(move || {
            while let Ok(Some(frame)) = Frame::read(&mut from) {
                if let Frame::Told(what) = frame
                    && tell.blocking_send(what).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { child, stream, told })
    }

    /// What the owner tells next; `None` if it is gone.
    pub async fn told(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// Hands a signal on. An owner that is gone hears nothing.
    pub fn signal(&mut self, signal: Signalled) {
        let _ = Frame::Signal(signal).write(&mut self.stream);
    }

    /// Waits for the owner's end, so that the system forgets it: for a starter that lives on. Blocks.
    pub fn collect(mut self) {
        let _ = self.child.wait();
    }

    /// The owner's process id.
    pub fn process(&self) -> u32 {
        self.child.id()
    }
}

/// The owner's end.
#[derive(Debug)]
pub struct Owner {
    stream: UnixStream,
    ended: bool,
}

impl Owner {
    /// Makes this process an owner: in a process session of its own, its standard input empty. Errors:
    /// somebody has called it by hand.
    pub fn enter() -> io::Result<(Self, Handover)> {
        // One that leads its group already is in nobody's way.
        let _ = setsid();
        let mut stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        dup2_stdin(nowhere()?)?;
        let handover = Handover::read(&mut stream)?;
        Ok((Self { stream, ended: false }, handover))
    }

    /// Signals that the starter hands on.
    pub fn signals(&self) -> io::Result<Receiver<Signalled>> {
        let mut from = self.stream.try_clone()?;
        let (hand, handed) = channel(QUEUE);
        thread::spawn(move || {
            while let Ok(Some(frame)) = Frame::read(&mut from) {
                if let Frame::Signal(signal) = frame
                    && hand.blocking_send(signal).is_err()
                {
                    return;
                }
            }
        });
        Ok(handed)
    }

    /// Tells that the session is recorded. False: nobody is there to hear it.
    pub fn recorded(&mut self, id: &SessionId) -> bool {
        Frame::Told(Told::Recorded(id.clone())).write(&mut self.stream).is_ok()
    }

    /// Tells that it does what it was started for. False: nobody is there to hear it.
    pub fn ready(&mut self, line: &str) -> bool {
        Frame::Told(Told::Ready(line.to_owned())).write(&mut self.stream).is_ok()
    }

    /// Tells what the run has come to. The first call counts.
    pub fn ended(&mut self, code: Code) {
        if !std::mem::replace(&mut self.ended, true) {
            let _ = Frame::Told(Told::Ended(code as u8)).write(&mut self.stream);
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }

    /// Leaves the starter's stdout: what is written from now on is nowhere.
    pub fn leave_stdout(&mut self) -> io::Result<()> {
        Ok(dup2_stdout(nowhere()?)?)
    }

    /// Leaves the starter's stdout and stderr: what is told from now on goes to the log at `path`.
    pub fn leave(&mut self, path: Option<PathBuf>) -> io::Result<()> {
        self.leave_stdout()?;
        let Some(path) = path else {
            return Ok(dup2_stderr(nowhere()?)?);
        };
        self.log_to(move |from| keep(from, LogFile::new(path)))
    }

    /// Leaves the starter's stdout and stderr: what is told on either from now on goes to the log at `path`, which
    /// is moved aside once it holds [`MAX_LOG_BYTES`], without end.
    pub fn leave_for_good(&mut self, path: PathBuf) -> io::Result<()> {
        let log = LogFile::new(path).bounded(MAX_LOG_BYTES as u64);
        self.log_to(move |from| keep_all(from, log))?;
        Ok(dup2_stdout(io::stderr())?)
    }

    fn log_to(&mut self, keep: impl FnOnce(PipeReader) + Send + 'static) -> io::Result<()> {
        let (from, to) = io::pipe()?;
        thread::Builder::new().name("owner-log".into()).spawn(move || keep(from))?;
        Ok(dup2_stderr(to)?)
    }
}

/// Writes what is told to the log, up to its bound; the rest is read and left out.
fn keep(from: PipeReader, mut log: LogFile) {
    let mut left = MAX_LOG_BYTES;
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        match left.checked_sub(line.len() + 1) {
            _ if left == 0 => {}
            Some(rest) => {
                left = rest;
                // A full disk must not keep the session.
                let _ = log.line(&line);
            }
            None => {
                left = 0;
                let _ = log.line(b"the log is full; what follows is left out");
            }
        }
    }
}

/// Writes all that is told to the log.
fn keep_all(from: PipeReader, mut log: LogFile) {
    for line in BufReader::new(from).split(b'\n') {
        let Ok(line) = line else { return };
        // A full disk must not keep what is logged about.
        let _ = log.line(&line);
    }
}

/// True for the command line of an owner.
pub fn is_owner(args: &[OsString]) -> bool {
    matches!(args, [_, only] if only == OsStr::new(ARGUMENT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_over_arrives_as_it_was() {
        let check = |args: &[&[u8]], piped: Option<&str>| {
            let args = args.iter().map(|argument| OsString::from_vec(argument.to_vec())).collect();
            let handover = Handover { args, piped: piped.map(str::to_owned) };
            let mut bytes = Vec::new();
            handover.write(&mut bytes).unwrap();
            assert_eq!(Handover::read(&mut bytes.as_slice()).unwrap(), handover);
            // A starter that dies in the middle starts nothing.
            bytes.pop();
            assert!(Handover::read(&mut bytes.as_slice()).is_err());
        };
        check(&[b"amplifier", b"run", b"", b"two\nlines", b"\xff"], None);
        check(&[], Some(""));
        check(&[b"x"], Some(&"ü".repeat(100_000)));
    }

    #[test]
    fn what_is_told_arrives_as_it_was() {
        let id = SessionId::new("a-b").unwrap();
        let frames = [
            Frame::Told(Told::Recorded(id)),
            Frame::Told(Told::Ready("listening".to_owned())),
            Frame::Told(Told::Ended(130)),
            Frame::Signal(Signalled::Interrupt),
            Frame::Signal(Signalled::Terminate),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes).unwrap());
        let mut from = bytes.as_slice();
        for frame in frames {
            assert_eq!(Frame::read(&mut from).unwrap(), Some(frame));
        }
        assert_eq!(Frame::read(&mut from).unwrap(), None);
        for odd in [&b"x\0\0\0\0"[..], b"e\0\0\0\0", b"p\xff\xff\xff\xff", b"r\x01\0\0\0/"] {
            assert!(Frame::read(&mut &odd[..]).is_err());
        }
    }
}

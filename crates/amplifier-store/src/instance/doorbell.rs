//! The doorbell: a datagram that says that there is something to look at.
//!
//! Guarantees: a ring never waits: a bell whose queue is full has been rung already, and one that
//! nobody hears is left alone. All rings before a wait count as one.
//! Never here: what has happened; that stands in the log.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use amplifier_fs::read;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::place;
use super::record::{self, Record};
use crate::OwnerId;

/// Most datagrams that one wait takes from the queue, so that it ends beside a flood of them.
const MAX_DRAINED: usize = 4096;

/// A socket to be rung at, and those of the others.
#[derive(Debug)]
pub(super) struct Doorbell {
    socket: UnixDatagram,
    path: PathBuf,
    /// The sockets of the others by the names of their lock files; `None`: nobody hears there.
    // Guards the map, and is held while all are rung, which never waits.
    others: Mutex<BTreeMap<String, Option<PathBuf>>>,
}

impl Doorbell {
    /// Makes a socket.
    pub(super) fn bind(run: &Path, owner: &OwnerId) -> io::Result<Self> {
        let (socket, path) = place::bind(run, owner)?;
        let bell = Self { socket, path, others: Mutex::default() };
        bell.socket.set_nonblocking(true)?;
        Ok(bell)
    }

    /// Where its socket lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the socket's name away; nobody new finds it.
    pub(super) fn unlink(&self) {
        place::remove_socket(&self.path);
    }

    /// Rings at each other process. Which there are is read from the folder each time, which is
    /// cheaper than to be wrong; their lock files are read once.
    pub(super) fn ring(&self, run: &Path, own: &str) {
        let Ok(mut names) = read::names(run) else { return };
        names.retain(|name| record::stem(name).is_some() && name != own);
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.retain(|known, _| names.contains(known));
        for name in names {
            let path = run.join(&name);
            let socket = others.entry(name).or_insert_with(|| Some(Record::read(&path)?.doorbell.into()));
            if socket.as_deref().is_some_and(|socket| self.is_deaf(socket)) {
                *socket = None;
            }
        }
    }

    /// Sends one datagram. True if nobody will ever hear there.
    fn is_deaf(&self, socket: &Path) -> bool {
        match self.socket.send_to(&[1], socket) {
            // A socket is bound before its lock file has a name, so it was unbound since.
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
            Ok(_) => false,
        }
    }

    /// Waits for a datagram, and takes all there are.
    pub(super) fn wait(&self, at_most: Duration) -> bool {
        let millis = i32::try_from(at_most.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        // Interrupted by a signal, it looks at once.
        let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout);
        let mut byte = [0];
        (0..MAX_DRAINED).take_while(|_| self.socket.recv(&mut byte).is_ok()).count() > 0
    }
}

impl Drop for Doorbell {
    fn drop(&mut self) {
        self.unlink();
    }
}

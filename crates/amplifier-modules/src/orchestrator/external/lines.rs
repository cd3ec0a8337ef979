//! An agent's output, line by line.
//!
//! Guarantees: no more than [`MAX_LINE`] bytes are held; of a longer line its length is told and nothing else; a
//! last line without its end is a line. Dropping the future of [`Lines::next`] loses nothing.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line that is read, in bytes.
pub(super) const MAX_LINE: usize = 16 * 1024 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Whole(Vec<u8>),
    /// Longer than is read; its length in bytes.
    TooLong(u64),
}

/// Lines of a pipe.
#[derive(Debug)]
pub(super) struct Lines<R> {
    pipe: R,
    held: Vec<u8>,
    /// Bytes of `held` that hold no end of a line.
    scanned: usize,
    /// Bytes of the present line that are gone.
    dropped: u64,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(pipe: R) -> Self {
        Self { pipe, held: Vec::new(), scanned: 0, dropped: 0, ended: false }
    }

    /// The next line; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Line> {
        loop {
            if let Some(line) = self.held_line() {
                return Some(line);
            }
            if self.ended {
                return self.rest();
            }
            self.held.reserve(READ_BYTES);
            // An error is an end: what was read before it counts.
            if !matches!(self.pipe.read_buf(&mut self.held).await, Ok(1..)) {
                self.ended = true;
            }
        }
    }

    fn held_line(&mut self) -> Option<Line> {
        let found = self.held[self.scanned..].iter().position(|byte| *byte == b'\n');
        let Some(at) = found.map(|at| at + self.scanned) else {
            self.scanned = self.held.len();
            if self.held.len() > MAX_LINE || self.dropped > 0 {
                self.dropped += self.held.len() as u64;
                self.held.clear();
                self.scanned = 0;
            }
            return None;
        };
        let mut line = self.held.split_off(at + 1);
        std::mem::swap(&mut line, &mut self.held);
        self.scanned = 0;
        line.pop();
        Some(self.whole(line))
    }

    fn rest(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.held);
        self.scanned = 0;
        (!line.is_empty() || self.dropped > 0).then(|| self.whole(line))
    }

    fn whole(&mut self, line: Vec<u8>) -> Line {
        let length = std::mem::take(&mut self.dropped) + line.len() as u64;
        if length > MAX_LINE as u64 { Line::TooLong(length) } else { Line::Whole(line) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Vec<Line> {
        let mut lines = Lines::new(bytes);
        let mut all = Vec::new();
        while let Some(line) = lines.next().await {
            all.push(line);
        }
        all
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.into())
    }

    #[tokio::test]
    async fn lines_come_one_by_one_and_the_last_needs_no_end() {
        assert_eq!(read(b"a\n\nb").await, [whole("a"), whole(""), whole("b")]);
        assert_eq!(read(b"a\n").await, [whole("a")]);
        assert_eq!(read(b"").await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_and_not_held() {
        let long = vec![b'x'; 3 * MAX_LINE];
        let text = [b"a\n", long.as_slice(), b"\nb\n"].concat();
        let length = long.len() as u64;
        assert_eq!(read(&text).await, [whole("a"), Line::TooLong(length), whole("b")]);
        assert_eq!(read(&long).await, [Line::TooLong(length)]);
        let most = vec![b'x'; MAX_LINE];
        assert_eq!(read(&[&most, b"\n".as_slice()].concat()).await, [Line::Whole(most)]);
    }
}

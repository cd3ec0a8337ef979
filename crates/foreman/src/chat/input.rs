//! What the person says: lines of standard input.
//!
//! Guarantees: a line is read only when one is wanted; what is read while nobody waits is not lost.

use std::io::BufRead;

use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Bytes of a line; the rest of it is the next one.
const MAX_LINE: usize = 1 << 20;

/// One line.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// Something for the foreman.
    Text(String),
    Empty,
    Status,
    Help,
    Quit,
    /// A command that there is not.
    Unknown(String),
    /// Nothing more comes.
    End,
    /// Nothing more can be read.
    Broken(String),
}

/// Standard input, and what was typed before it.
#[derive(Debug)]
pub(super) struct Input {
    typed: Option<String>,
    lines: Option<Receiver<Line>>,
}

impl Input {
    pub(super) fn new(typed: Option<String>) -> Self {
        Self { typed, lines: None }
    }

    /// The next line.
    pub(super) async fn next(&mut self) -> Line {
        if let Some(typed) = self.typed.take() {
            return Line::Text(typed);
        }
        let lines = self.lines.get_or_insert_with(|| {
            let (tell, lines) = channel(1);
            // A thread of its own: it may wait for ever.
            std::thread::spawn(move || read(&tell));
            lines
        });
        lines.recv().await.unwrap_or(Line::End)
    }
}

fn read(tell: &Sender<Line>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut stdin, MAX_LINE as u64);
        let told = match limited.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => tell.blocking_send(line_of(&String::from_utf8_lossy(&line))),
            Err(error) => {
                let _ = tell.blocking_send(Line::Broken(error.to_string()));
                return;
            }
        };
        if told.is_err() {
            return;
        }
    }
}

fn line_of(text: &str) -> Line {
    let text = text.trim();
    match text {
        "" => Line::Empty,
        "/status" => Line::Status,
        "/help" => Line::Help,
        "/quit" | "/exit" => Line::Quit,
        command if is_command(command) => Line::Unknown(command.to_owned()),
        text => Line::Text(text.to_owned()),
    }
}

/// `/word`, and no path.
fn is_command(text: &str) -> bool {
    text.strip_prefix('/').is_some_and(|word| word.chars().all(|c| c.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_told_from_what_is_said() {
        let text = |text: &str| Line::Text(text.to_owned());
        for (line, expect) in [
            ("  hello there \n", text("hello there")),
            ("\n", Line::Empty),
            ("/status\r\n", Line::Status),
            ("/help", Line::Help),
            ("/quit", Line::Quit),
            ("/stauts", Line::Unknown("/stauts".to_owned())),
            ("/etc/hosts is wrong", text("/etc/hosts is wrong")),
            ("/status please", text("/status please")),
        ] {
            assert_eq!(line_of(line), expect, "{line}");
        }
    }
}

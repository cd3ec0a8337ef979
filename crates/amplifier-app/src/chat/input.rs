//! What the person says: lines of the editor, or of standard input.
//!
//! Guarantees: a line is read only when one is wanted; what is read while nobody waits is not lost.

use std::io::BufRead;

use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::editor::Editor;

/// Bytes of a line of standard input; the rest of it is the next one.
const MAX_LINE: usize = 1 << 20;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Something was said.
    Text(String),
    /// Nothing more comes.
    End,
    /// Nothing more can be read, and why.
    Broken(String),
}

/// Where lines come from.
#[derive(Debug)]
pub enum Input {
    /// Standard input.
    Lines(Lines),
    /// A person at a terminal.
    Editor(Editor),
}

impl Input {
    /// The next line that is not empty.
    pub async fn next(&mut self) -> Line {
        match self {
            Self::Lines(lines) => lines.next().await,
            Self::Editor(editor) => editor.next().await,
        }
    }
}

/// Standard input, line by line.
#[derive(Debug, Default)]
pub struct Lines(Option<Receiver<Line>>);

impl Lines {
    async fn next(&mut self) -> Line {
        let lines = self.0.get_or_insert_with(|| {
            let (tell, lines) = channel(1);
            // A thread of its own: it may wait for ever.
            std::thread::spawn(move || read(&tell));
            lines
        });
        loop {
            match lines.recv().await.unwrap_or(Line::End) {
                Line::Text(text) if text.is_empty() => {}
                line => return line,
            }
        }
    }
}

fn read(tell: &Sender<Line>) {
    let mut stdin = std::io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let mut limited = std::io::Read::take(&mut stdin, MAX_LINE as u64);
        let told = match limited.read_until(b'\n', &mut line) {
            Ok(0) => return,
            Ok(_) => tell.blocking_send(Line::Text(String::from_utf8_lossy(&line).trim().to_owned())),
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

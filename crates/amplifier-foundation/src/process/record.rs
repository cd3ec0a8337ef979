//! The lines of a ledger.
//!
//! Guarantees: what was cut off in the middle of the last line is no error; a line that cannot be
//! read takes no other with it; nothing that is read becomes a reason to end a process unless it is
//! a whole mark, or an id with a start time.

use std::collections::HashSet;

use amplifier_core::{SessionId, Timestamp};
use serde::{Deserialize, Serialize};

use super::mark;
use super::scope::Known;
use amplifier_fs::boot::Place;

/// What this program writes.
const VERSION: u32 = 1;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Line {
    /// The first one: whose ledger it is.
    Owner(Owner),
    /// A program that is about to begin.
    Started(Started),
    /// What was in a program's process session when the program itself had ended.
    Left {
        /// The program's mark.
        mark: String,
        /// The processes.
        processes: Vec<Known>,
    },
}

/// The process that writes a ledger.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) version: u32,
    pub(super) pid: u32,
    /// Clock ticks since the system's start; unknown without `/proc`.
    pub(super) started: Option<u64>,
    pub(super) place: Place,
    pub(super) at: Timestamp,
}

/// A program, as it waits at its gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Started {
    pub(super) mark: String,
    pub(super) session: SessionId,
    pub(super) pid: i32,
    pub(super) group: i32,
    pub(super) process_session: i32,
    /// Clock ticks since the system's start; unknown without `/proc`.
    pub(super) started: Option<u64>,
    pub(super) at: Timestamp,
}

impl Owner {
    pub(super) fn this_process(started: Option<u64>, at: Timestamp) -> Self {
        Self { version: VERSION, pid: std::process::id(), started, place: Place::here(), at }
    }

    /// True if a later program wrote it, in a form that is not known here.
    pub(super) fn is_newer(&self) -> bool {
        self.version > VERSION
    }
}

impl Line {
    /// The line with its end.
    pub(super) fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// What a ledger holds.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// `None`: the first line is damaged or missing.
    pub(super) owner: Option<Owner>,
    pub(super) marks: HashSet<String>,
    pub(super) known: HashSet<Known>,
    /// Lines that could not be read, but for a torn last one.
    pub(super) damaged: usize,
}

impl Contents {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let mut contents = Self::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Owner(owner)) => contents.owner = Some(owner),
                Ok(Line::Started(started)) => contents.take(started),
                Ok(Line::Left { processes, .. }) => contents.known.extend(processes),
                Err(_) => contents.damaged += usize::from(line.ends_with(b"\n")),
            }
        }
        contents
    }

    fn take(&mut self, started: Started) {
        if let Some(ticks) = started.started {
            self.known.insert(Known { pid: started.pid, started: ticks });
        }
        match mark::is_mark(&started.mark) {
            true => drop(self.marks.insert(started.mark)),
            false => self.damaged += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(number: u32) -> Started {
        Started {
            mark: format!("0190b8a4-7c1e-4a5b-9d2f-3e4a5b6c7d8e.{number}"),
            session: SessionId::new("s").unwrap(),
            pid: 70,
            group: 70,
            process_session: 70,
            started: Some(9),
            at: Timestamp::from_micros(0),
        }
    }

    fn ledger() -> Vec<u8> {
        let owner = Owner::this_process(Some(7), Timestamp::from_micros(0));
        let left = Line::Left { mark: started(1).mark, processes: vec![Known { pid: 71, started: 10 }] };
        let lines = [Line::Owner(owner), Line::Started(started(1)), left, Line::Started(started(2))];
        lines.iter().flat_map(|line| line.to_bytes().unwrap()).collect()
    }

    #[test]
    fn a_ledger_that_is_cut_anywhere_gives_what_is_whole() {
        let whole = ledger();
        let ends: Vec<usize> =
            whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        for len in 0..=whole.len() {
            let contents = Contents::parse(&whole[..len]);
            // A line without its line feed is whole too.
            let lines = ends.iter().filter(|end| **end <= len).count();
            assert_eq!(contents.damaged, 0, "cut at {len}");
            assert_eq!(contents.owner.is_some(), lines >= 1, "cut at {len}");
            assert_eq!(contents.marks.len(), [0, 0, 1, 1, 2][lines], "cut at {len}");
            assert_eq!(contents.known.len(), [0, 0, 1, 2, 2][lines], "cut at {len}");
        }
    }

    #[test]
    fn a_damaged_line_is_counted_and_takes_no_other_with_it() {
        let mut text = String::from_utf8(ledger()).unwrap();
        let second = text.match_indices('\n').next().unwrap().0 + 1;
        text.insert_str(second, "{\"type\":\"started\",\"mark\":\"\n");
        let contents = Contents::parse(text.as_bytes());
        assert_eq!((contents.damaged, contents.marks.len()), (1, 2));
    }

    #[test]
    fn what_is_no_mark_is_not_searched_for() {
        let short = Line::Started(Started { mark: "1.1".into(), started: None, ..started(1) });
        let contents = Contents::parse(&short.to_bytes().unwrap());
        assert!(contents.marks.is_empty() && contents.known.is_empty());
        assert_eq!(contents.damaged, 1);
    }
}

//! Which processes run, and which of them carry a mark in their environment.
//!
//! Guarantees: a process that ends while the table is read is left out, never an error. Where
//! the system has no `/proc` in Linux's form, the table is empty.
//! Never here: signals.

use std::io::Read;
use std::path::Path;

/// Longest environment that is searched, in bytes.
const MAX_ENVIRONMENT_BYTES: u64 = 8 * 1024 * 1024;

/// One row of the process table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// The process that made it, or adopted it.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its process session.
    pub session: i32,
    /// True if it has ended and only waits to be collected.
    pub ended: bool,
    /// When it was started, in clock ticks since the system's start; with the id it names a
    /// process for good.
    pub started_ticks: u64,
}

impl Process {
    /// A process that has not ended and leads a group of its own.
    pub fn new(pid: i32, parent: i32, session: i32, started_ticks: u64) -> Self {
        Self { pid, parent, group: pid, session, ended: false, started_ticks }
    }
}

/// All processes that can be seen now.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pid = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
    entries.flatten().filter_map(|entry| process(pid(entry.file_name())?)).collect()
}

/// The process of this id.
pub fn process(pid: i32) -> Option<Process> {
    parse_stat(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// True if the environment with which the process was started has an entry (`NAME=value`) that
/// `wanted` accepts. False too if it cannot be read.
pub fn environment_has(pid: i32, wanted: impl Fn(&[u8]) -> bool) -> bool {
    let path = format!("/proc/{pid}/environ");
    let Ok(file) = std::fs::File::open(Path::new(&path)) else { return false };
    let mut bytes = Vec::new();
    // What was read before an error is searched all the same.
    let _ = file.take(MAX_ENVIRONMENT_BYTES).read_to_end(&mut bytes);
    bytes.split(|byte| *byte == 0).any(wanted)
}

/// The second field is a name in parentheses, which may hold blanks and parentheses itself.
fn parse_stat(pid: i32, stat: &str) -> Option<Process> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<i32>().ok();
    Some(Process {
        pid,
        parent: number(1)?,
        group: number(2)?,
        session: number(3)?,
        ended: matches!(*fields.first()?, "Z" | "X" | "x"),
        started_ticks: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) Z 1 2 3 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 99 0 0";
        let expect = Process { pid: 7, parent: 1, group: 2, session: 3, ended: true, started_ticks: 99 };
        assert_eq!(parse_stat(7, stat), Some(expect));
        assert_eq!(parse_stat(7, "7 (cut"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_in_the_table() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(processes().iter().any(|process| process.pid == own && !process.ended));
        let (name, value) = std::env::vars().next().unwrap();
        let entry = format!("{name}={value}");
        assert!(environment_has(own, |found| found == entry.as_bytes()));
        assert!(!environment_has(own, |found| found.starts_with(b"NO_SUCH_NAME_ANYWHERE=")));
    }
}

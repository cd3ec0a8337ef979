//! What a disk would hold after a loss of power, by a trace of all that a program wrote.
//!
//! `strace` tells each write with its bytes, each fsync, and what the program said on stdout, in their order. From
//! that follows what is surely on the disk at each moment, and what may be.
//!
//! Guarantees: a file holds what it held when its last fsync began that has ended; of what was written since,
//! nothing, or any part in sectors of 512 bytes, as the seed says. What was renamed or removed without an
//! fsync of the folder may be either way. Never here: a disk that lies about an fsync, and a file system that
//! forgets a file's name after its fsync.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::Dice;

/// The calls that change files, or make them durable.
const CALLS: &str = "trace=write,pwrite64,fsync,fdatasync,ftruncate,unlink,rename";
/// What a disk writes as one.
const SECTOR: usize = 512;

/// The program, traced with all that it writes; `inject` is what `strace --inject` takes.
pub fn traced(program: &Path, trace: &Path, inject: Option<&str>) -> Command {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-y", "-xx", "-s", "100000000", "-e", CALLS, "-e", "signal=none", "-o"])
        .arg(trace);
    command.args(inject.map(|inject| format!("--inject={inject}"))).arg(program);
    command
}

/// One thing that a program did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It said a line, or a part of one, on stdout.
    Said(String),
    /// Bytes at an offset; `None`: at the end.
    Wrote(String, Option<usize>, Vec<u8>),
    /// The file has this length now.
    Cut(String, usize),
    /// An fsync begins; its thread, so that its end can be told.
    Syncs(String, u32),
    /// It has ended.
    Synced(String, u32),
    /// The file is gone.
    Removed(String),
    /// The file has another name.
    Renamed(String, String),
}

/// Reads a trace. Calls that failed or were injected did nothing.
pub fn steps(trace: &str) -> Vec<Step> {
    let (mut steps, mut open) = (Vec::new(), BTreeMap::<u32, String>::new());
    for line in trace.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let (Ok(thread), call) = (thread.parse::<u32>(), call.trim_start()) else { continue };
        let whole = match (call.strip_suffix("<unfinished ...>"), call.strip_prefix("<... ")) {
            (Some(begun), _) => {
                let begun = begun.trim_end().to_owned();
                steps.extend(begins(&begun, thread));
                open.insert(thread, begun);
                continue;
            }
            (_, Some(resumed)) => {
                let rest = resumed.split_once("resumed>").map_or("", |(_, rest)| rest);
                open.remove(&thread).unwrap_or_default() + rest
            }
            _ => {
                steps.extend(begins(call, thread));
                call.to_owned()
            }
        };
        steps.extend(ends(&whole, thread));
    }
    steps
}

/// What counts from when a call begins: what is said may be heard from then on, and an fsync covers what was before.
fn begins(call: &str, thread: u32) -> Option<Step> {
    let call = Call::of(call)?;
    match call.name {
        "fsync" | "fdatasync" => Some(Step::Syncs(call.file()?, thread)),
        "write" if call.args.starts_with("1<") => {
            Some(Step::Said(String::from_utf8_lossy(&call.bytes()?).into_owned()))
        }
        _ => None,
    }
}

/// What counts once a call has come back.
fn ends(call: &str, thread: u32) -> Option<Step> {
    let (before, result) = call.rsplit_once(" = ")?;
    if result.contains("INJECTED") || result.starts_with('-') {
        return None;
    }
    // Short lines are filled up with blanks.
    let call = Call::of(before.trim_end())?;
    let number =
        |back: usize| call.args.trim_end_matches(')').rsplit(", ").nth(back)?.trim().parse::<usize>().ok();
    let written = || result.split(' ').next()?.parse::<usize>().ok();
    match call.name {
        "fsync" | "fdatasync" => Some(Step::Synced(call.file()?, thread)),
        "write" if call.args.starts_with("1<") => None,
        "write" => Some(Step::Wrote(call.file()?, None, call.bytes()?[..written()?].to_vec())),
        "pwrite64" => Some(Step::Wrote(call.file()?, Some(number(0)?), call.bytes()?[..written()?].to_vec())),
        "ftruncate" => Some(Step::Cut(call.file()?, number(0)?)),
        "unlink" => Some(Step::Removed(text(&call.bytes()?))),
        "rename" => {
            let (from, to) = call.args.split_once("\", \"")?;
            let [from, to] = [from, to].map(|one| text(&unhex(one)));
            Some(Step::Renamed(from, to))
        }
        _ => None,
    }
}

/// `name(args`, as `strace` writes it.
struct Call<'t> {
    name: &'t str,
    args: &'t str,
}

impl<'t> Call<'t> {
    fn of(call: &'t str) -> Option<Self> {
        let (name, args) = call.split_once('(')?;
        Some(Self { name, args })
    }

    /// The file of the descriptor that comes first.
    fn file(&self) -> Option<String> {
        let (_, rest) = self.args.split_once('<')?;
        Some(text(&unhex(rest.split_once('>')?.0)))
    }

    /// The bytes of the text in quotes.
    fn bytes(&self) -> Option<Vec<u8>> {
        let (_, rest) = self.args.split_once('"')?;
        Some(unhex(rest.split_once('"')?.0))
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The bytes that `\x61\x62` stands for; everything else is left out.
fn unhex(text: &str) -> Vec<u8> {
    text.split("\\x").skip(1).filter_map(|pair| u8::from_str_radix(pair.get(..2)?, 16).ok()).collect()
}

/// A change of a file that no fsync has covered.
#[derive(Debug, Clone)]
enum Change {
    Wrote(usize, Vec<u8>),
    Cut(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Cut(length) => content.resize(*length, 0),
            Self::Wrote(at, bytes) => {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// One file: what is surely there, and what was done since.
#[derive(Debug, Clone, Default)]
struct File {
    /// `None`: not even its name is sure.
    durable: Option<Vec<u8>>,
    /// How long it seems to be.
    length: usize,
    since: Vec<Change>,
    /// How many of `since` an fsync under way covers, by its thread.
    covered: BTreeMap<u32, usize>,
}

impl File {
    fn change(&mut self, change: Change) {
        self.length = match &change {
            Change::Cut(length) => *length,
            Change::Wrote(at, bytes) => self.length.max(at + bytes.len()),
        };
        self.since.push(change);
    }

    fn synced(&mut self, thread: u32) {
        let Some(covered) = self.covered.remove(&thread) else { return };
        let durable = self.durable.get_or_insert_default();
        self.since.drain(..covered).for_each(|change| change.apply(durable));
        self.covered.values_mut().for_each(|other| *other = other.saturating_sub(covered));
    }

    /// What is found there afterwards, if anything.
    fn left(&self, luck: Option<&mut Dice>) -> Option<Vec<u8>> {
        let Some(dice) = luck else { return self.durable.clone() };
        if self.durable.is_none() && dice.once_in(2) {
            return None;
        }
        let mut content = self.durable.clone().unwrap_or_default();
        for change in &self.since {
            match change {
                Change::Wrote(at, bytes) if dice.once_in(2) => {
                    let sectors = bytes.chunks(SECTOR).enumerate();
                    let whole = dice.once_in(2);
                    for (n, sector) in sectors.filter(|_| whole || dice.once_in(2)) {
                        Change::Wrote(at + n * SECTOR, sector.to_vec()).apply(&mut content);
                    }
                }
                Change::Cut(_) if dice.once_in(2) => change.apply(&mut content),
                _ => {}
            }
        }
        Some(content)
    }
}

/// The files that a program has changed.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    files: BTreeMap<String, File>,
    /// Files under names that they no longer have, as far as the folder's fsync is concerned.
    gone: BTreeMap<String, File>,
}

impl Disk {
    /// One more step.
    pub fn takes(&mut self, step: &Step) {
        match step {
            Step::Said(_) => {}
            Step::Wrote(name, at, bytes) => {
                let file = self.files.entry(name.clone()).or_default();
                let at = at.unwrap_or(file.length);
                file.change(Change::Wrote(at, bytes.clone()));
            }
            Step::Cut(name, length) => {
                self.files.entry(name.clone()).or_default().change(Change::Cut(*length))
            }
            Step::Syncs(name, thread) => {
                if let Some(file) = self.files.get_mut(name) {
                    file.covered.insert(*thread, file.since.len());
                }
            }
            Step::Synced(name, thread) => {
                if let Some(file) = self.files.get_mut(name) {
                    file.synced(*thread);
                }
                // Of a folder: what was removed in it is gone.
                self.gone.retain(|old, _| Path::new(old).parent() != Some(Path::new(name)));
            }
            Step::Removed(name) => self.gone.extend(self.files.remove_entry(name)),
            Step::Renamed(from, to) => {
                // What stood there before, or nothing, may be what is found.
                self.gone.insert(to.clone(), self.files.remove(to).unwrap_or_default());
                if let Some(file) = self.files.remove(from) {
                    self.files.insert(to.clone(), file);
                }
            }
        }
    }

    /// Puts what a loss of power leaves now into a folder: of files below `of` that `wanted` names. Without `luck`
    /// nothing that is not sure is there.
    pub fn lose_power(
        &self,
        of: &Path,
        into: &Path,
        wanted: impl Fn(&str) -> bool,
        mut luck: Option<&mut Dice>,
    ) {
        let names: Vec<&String> = self.files.keys().chain(self.gone.keys()).collect();
        for name in names {
            let Ok(below) = Path::new(name).strip_prefix(of) else { continue };
            if !wanted(&below.to_string_lossy()) {
                continue;
            }
            let (now, old) = (self.files.get(name), self.gone.get(name));
            let back = old.is_some() && luck.as_deref_mut().is_none_or(|dice| dice.once_in(2));
            let file = if back { old } else { now };
            if let Some(content) = file.and_then(|file| file.left(luck.as_deref_mut())) {
                let path = into.join(below);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn left(trace: &str, luck: Option<&mut Dice>) -> Option<String> {
        let mut disk = Disk::default();
        steps(trace).iter().for_each(|step| disk.takes(step));
        let folder = tempfile::tempdir().unwrap();
        disk.lose_power(Path::new("/d"), folder.path(), |_| true, luck);
        std::fs::read_to_string(folder.path().join("a")).ok()
    }

    #[test]
    fn only_what_an_fsync_has_covered_is_sure() {
        let (file, abc, de) = (hex("/d/a"), hex("abc"), hex("DE"));
        let wrote = format!("1 pwrite64(4<{file}>, \"{abc}\", 3, 0) = 3\n");
        let after = format!("1 pwrite64(4<{file}>, \"{de}\", 2, 1) = 2\n");
        let sync = format!("1 fdatasync(4<{file}>)   = 0\n");
        assert_eq!(left(&wrote, None), None);
        assert_eq!(left(&format!("{wrote}{sync}{after}"), None).as_deref(), Some("abc"));
        assert_eq!(left(&format!("{wrote}{after}{sync}"), None).as_deref(), Some("aDE"));
        let injected = sync.replace("= 0", "= 0 (INJECTED)");
        assert_eq!(left(&format!("{wrote}{injected}"), None), None, "an fsync that was not made");
        let failed = sync.replace("= 0", "= -1 EIO (Input/output error)");
        assert_eq!(left(&format!("{wrote}{failed}"), None), None);
        // What another thread writes while the fsync is under way is not sure.
        let begun = format!("1 fdatasync(4<{file}> <unfinished ...>\n");
        let meanwhile = format!(
            "2 pwrite64(4<{file}>, \"{de}\", 2, 1 <unfinished ...>\n2 <... pwrite64 resumed>)   = 2\n"
        );
        let trace = format!("{wrote}{begun}{meanwhile}1 <... fdatasync resumed>) = 0\n");
        assert_eq!(left(&trace, None).as_deref(), Some("abc"));
        let lucky = |seed| left(&trace, Some(&mut Dice::new(seed))).unwrap();
        let seen: std::collections::BTreeSet<String> = (0..50).map(lucky).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["aDE", "abc"], "it may be there, or not");
    }

    #[test]
    fn lines_are_said_when_their_write_begins() {
        let said = format!(
            "7 write(1<{}>, \"{}\", 7 <unfinished ...>\n7 <... write resumed>) = 7\n",
            hex("pipe:[1]"),
            hex("ok a 0\n")
        );
        assert_eq!(steps(&said), [Step::Said("ok a 0\n".to_owned())]);
    }

    #[test]
    fn what_was_removed_may_come_back_until_its_folder_is_synced() {
        let (file, folder) = (hex("/d/a"), hex("/d"));
        let made = format!("1 write(4<{file}>, \"{}\", 1) = 1\n1 fsync(4<{file}>) = 0\n", hex("x"));
        let removed = format!("{made}1 unlink(\"{file}\") = 0\n");
        assert_eq!(left(&removed, None).as_deref(), Some("x"));
        assert_eq!(left(&format!("{removed}1 fsync(3<{folder}>) = 0\n"), None), None);
    }
}

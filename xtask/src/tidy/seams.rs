//! One door each: time and randomness, files, YAML, the builder of sessions, and no `unsafe` at all.
//!
//! Guarantees: imports are followed through `use` trees and renames of the type
//! itself are findings. Never sees what a macro of another crate expands to.

use super::finding::Finding;
use super::imports::{Import, imports};
use super::source::Source;

/// Reads of clock and entropy, and waiting: words in order.
const TIME: [&str; 19] = [
    "SystemTime :: now",
    "Instant :: now",
    "UNIX_EPOCH . elapsed",
    "Timestamp :: now",
    "Zoned :: now",
    "Utc :: now",
    "Local :: now",
    "time :: sleep",
    "time :: sleep_until",
    "thread :: sleep",
    "Uuid :: new_v4",
    "Uuid :: now_v7",
    "Uuid :: now_v1",
    "thread_rng",
    "getrandom",
    "OsRng",
    "rand :: random",
    "rand :: rng",
    "fastrand ::",
];

/// Types whose renaming would hide a call of [`TIME`], and of the builder.
const NO_RENAME: [&str; 6] = ["SystemTime", "Instant", "Zoned", "Uuid", "AmplifierSession", "serde_yaml"];

const HOST: [&str; 2] =
    ["crates/amplifier-foundation/src/host/clock", "crates/amplifier-foundation/src/host/ids"];
const FILES: [&str; 1] = ["crates/amplifier-fs/src/"];
const YAML: &str = "crates/amplifier-bundle/src/bundle/yaml";
const SPAWN: [&str; 2] =
    ["crates/amplifier-foundation/src/spawn/", "crates/amplifier-foundation/src/spawn.rs"];

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    let imports = imports(&source.syntax);
    if source.krate() != "xtask" {
        time(source, &imports, found);
        files(source, &imports, found);
        renames(source, &imports, found);
        yaml(source, found);
    }
    for line in source.lines_with("unsafe") {
        let advice = "use a safe library for it";
        found.push(Finding::new("unsafe", (&source.path, line), "unsafe", "is not used here", advice));
    }
    if !SPAWN.iter().any(|seam| source.path.starts_with(seam)) {
        for line in source.code_lines_with("AmplifierSession :: builder") {
            let advice = "start sessions with `spawn_bundle()`";
            let words = "AmplifierSession::builder";
            found.push(Finding::new("one-spawn-path", (&source.path, line), words, "outside spawn", advice));
        }
    }
}

fn time(source: &Source, imports: &[Import], found: &mut Vec<Finding>) {
    if HOST.iter().any(|seam| source.path.starts_with(seam)) {
        return;
    }
    let advice = "take time from `Clock` and ids from `Ids`";
    let mut note = |line: usize, words: &str| {
        found.push(Finding::new("time", (&source.path, line), words, "outside its seam", advice));
    };
    for words in TIME {
        source.code_lines_with(words).into_iter().for_each(|line| note(line, &words.replace(' ', "")));
    }
    for import in imports.iter().filter(|import| !source.is_test(import.line)) {
        let path = import.path.as_str();
        if ["sleep", "sleep_until", "random", "rng"].iter().any(|name| {
            ["tokio::time", "std::thread", "rand"].iter().any(|owner| path == format!("{owner}::{name}"))
        }) {
            note(import.line, path);
        }
    }
}

fn files(source: &Source, imports: &[Import], found: &mut Vec<Finding>) {
    if FILES.iter().any(|seam| source.path.starts_with(seam)) {
        return;
    }
    let advice = "go through `amplifier_foundation::fs`";
    for root in ["std", "tokio"] {
        let path = format!("{root}::fs");
        let imported = imports
            .iter()
            .filter(|import| import.path == path || import.path.starts_with(&format!("{path}::")))
            .map(|import| import.line);
        let mut lines: Vec<usize> =
            source.lines_with(&format!("{root} :: fs")).into_iter().chain(imported).collect();
        lines.retain(|line| !source.is_test(*line));
        lines.sort_unstable();
        lines.dedup();
        for line in lines {
            found.push(Finding::new("files", (&source.path, line), &path, "outside its seam", advice));
        }
    }
}

fn yaml(source: &Source, found: &mut Vec<Finding>) {
    if source.path.starts_with(YAML) {
        return;
    }
    for library in ["serde_yaml", "saphyr_parser"] {
        for line in source.lines_with(library) {
            let advice = "read YAML with `amplifier_foundation::bundle`";
            found.push(Finding::new(
                "yaml",
                (&source.path, line),
                library,
                "outside `bundle/yaml.rs`",
                advice,
            ));
        }
    }
}

fn renames(source: &Source, imports: &[Import], found: &mut Vec<Finding>) {
    let renamed = |import: &&Import| {
        let last = import.path.rsplit("::").next().unwrap_or_default();
        import.renamed && NO_RENAME.contains(&last) && !source.is_test(import.line)
    };
    for import in imports.iter().filter(renamed) {
        let advice = "import it under its own name, so that this check sees it";
        let place = (source.path.as_str(), import.line);
        found.push(Finding::new("renamed-seam", place, &import.path, "has another name here", advice));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    const ELSEWHERE: &str = "crates/amplifier-modules/src/a.rs";

    fn fails(text: &str, rule: &str) {
        fails_in(ELSEWHERE, text, rule);
    }

    fn fails_in(path: &str, text: &str, rule: &str) {
        assert_eq!(testing::rules(super::check, path, text), [rule], "{path}: {text}");
    }

    fn passes(path: &str, text: &str) {
        assert!(testing::rules(super::check, path, text).is_empty(), "{path}: {text}");
    }

    #[test]
    fn clocks_and_entropy_fail_outside_their_seam() {
        fails("fn a() { std::time::SystemTime::now(); }", "time");
        fails("fn a() { b.unwrap_or_else(Instant::now); }", "time");
        fails("fn a() { Uuid::new_v4(); }", "time");
        fails("fn a() { uuid::Uuid::now_v7(); }", "time");
        fails("fn a() { jiff::Timestamp::now(); }", "time");
        fails("fn a() { Zoned::now(); }", "time");
        fails("fn a() { rand::thread_rng(); }", "time");
        fails("fn a() { getrandom(&mut b); }", "time");
        fails("fn a() { tokio::time::sleep(b); }", "time");
        fails("fn a() { std::thread::sleep(b); }", "time");
        fails("use tokio::time::{Duration, sleep};", "time");
        fails("use std::time::SystemTime as Wall;", "renamed-seam");
    }

    #[test]
    fn clocks_pass_in_their_seam_in_tests_and_in_words() {
        passes("crates/amplifier-foundation/src/host/clock.rs", "fn a() { SystemTime::now(); }");
        passes("crates/amplifier-foundation/src/host/ids.rs", "fn a() { getrandom(b); }");
        passes("crates/amplifier-core/tests/it/main.rs", "fn a() { Instant::now(); }");
        passes("xtask/src/a.rs", "fn a() { Instant::now(); std::fs::read(b); }");
        passes(ELSEWHERE, "// Instant::now()\nfn a(clock: &dyn Clock) { clock.now(); b(\"Instant::now\"); }");
    }

    #[test]
    fn files_fail_outside_their_seam() {
        fails("fn a() { std::fs::read(b); }", "files");
        fails("use std::{fs, io};", "files");
        fails("use std::fs::{self, File};", "files");
        fails("fn a() { use tokio::fs::File; }", "files");
        passes("crates/amplifier-fs/src/atomic.rs", "use std::fs;");
        fails_in("crates/amplifier-bundle/src/fs.rs", "use std::fs;", "files");
        passes(ELSEWHERE, "use amplifier_foundation::fs;\n#[cfg(test)]\nmod tests { use std::fs; }");
    }

    #[test]
    fn yaml_has_one_reader() {
        fails("use serde_yaml::Value;", "yaml");
        fails("fn a() { serde_yaml::from_str(b); }", "yaml");
        passes("crates/amplifier-bundle/src/bundle/yaml.rs", "use serde_yaml::Value;");
    }

    #[test]
    fn sessions_are_built_by_spawn_alone() {
        fails("fn a() { amplifier_core::AmplifierSession::builder(); }", "one-spawn-path");
        fails("use amplifier_core::AmplifierSession as S;", "renamed-seam");
        passes("crates/amplifier-foundation/src/spawn/start.rs", "fn a() { AmplifierSession::builder(); }");
        passes(ELSEWHERE, "#[test]\nfn a() { AmplifierSession::builder(); }");
    }

    #[test]
    fn unsafe_fails_even_in_tests() {
        assert_eq!(testing::rules(super::check, "tests/src/a.rs", "fn a() { unsafe { b() } }"), ["unsafe"]);
        passes(ELSEWHERE, "#![forbid(unsafe_code)]\nfn a() {}");
    }
}

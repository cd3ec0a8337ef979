//! What differs from run to run, replaced by what it is: ids, times, spans, processes, folders.
//!
//! Guarantees: two different ids never get one name within a case, and the same id always has the same one, so that
//! a case also shows which id comes again.

use std::collections::HashMap;

use amplifier_tests::project::TempProject;
use regex::{Captures, Regex};

/// The names that a case has given so far.
#[derive(Debug)]
pub(super) struct Mask {
    folders: Vec<(String, &'static str)>,
    ids: Regex,
    rest: Vec<(Regex, &'static str)>,
    names: HashMap<String, String>,
    /// True: times are what the case is about, and stay.
    times_stay: bool,
}

/// What has one name for all: pattern and name. Those behind `TIMES` are times.
const REST: [(&str, &str); 10] = [
    (r#"(duration_ms\\?"?: ?)\d+"#, "${1}<ms>"),
    (r"\b(process|pid|PID)(\W{1,3})\d+\b", "$1$2<pid>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<port>"),
    (r"\b[0-9a-f]{32,64}\b", "<hash>"),
    (r"\b[0-9a-f]{8}\b", "<short>"),
    (r"\b\d+(\.\d+)? ?(µs|ms|s|KiB|MiB|GiB)\b( ago\b)?", "<span>"),
    (r#"("(?:size_bytes|bytes)": ?)\d+"#, "${1}<bytes>"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", "<time>"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "<time>"),
    (r"\b\d\d:\d\d(:\d\d)?(\.\d+)?\b", "<time>"),
];

/// Where times begin in [`REST`].
const TIMES: usize = 7;

impl Mask {
    pub(super) fn new(project: &TempProject) -> Self {
        let around = std::fs::canonicalize(project.around()).unwrap();
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let project_path = text(project.path());
        let slug = project_path.replace('/', "-");
        let folders = vec![
            (project_path.replace('/', "%2F"), "<project-encoded>"),
            (slug, "<slug>"),
            (project_path, "<project>"),
            (text(around.join("home")), "<home>"),
            (text(around), "<around>"),
        ];
        let ids = r"[0-9a-f]{16}-[0-9a-f]{16}_[a-z0-9-]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
        let rest = REST.iter().map(|(pattern, name)| (Regex::new(pattern).unwrap(), *name)).collect();
        Self { folders, ids: Regex::new(ids).unwrap(), rest, names: HashMap::new(), times_stay: false }
    }

    /// Leaves times and spans as they are.
    pub(super) fn keep_times(&mut self) {
        self.times_stay = true;
    }

    /// The text with names in it.
    pub(super) fn hide(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (folder, name) in &self.folders {
            text = text.replace(folder, name);
        }
        let names = &mut self.names;
        let name = |found: &Captures<'_>| {
            let next = names.len() + 1;
            names.entry(found[0].to_owned()).or_insert_with(|| format!("<id-{next}>")).clone()
        };
        text = self.ids.replace_all(&text, name).into_owned();
        for (at, (pattern, name)) in self.rest.iter().enumerate() {
            let is_time = at >= TIMES || *name == "<span>";
            if !(self.times_stay && is_time) {
                text = pattern.replace_all(&text, *name).into_owned();
            }
        }
        text
    }

    /// A word of a command, with the ids that its names stand for.
    pub(super) fn show(&self, word: &str) -> String {
        let mut word = word.to_owned();
        for (id, name) in &self.names {
            word = word.replace(name, id);
        }
        for (folder, name) in &self.folders {
            word = word.replace(name, folder);
        }
        word
    }
}

#[test]
fn ids_times_and_folders_get_names_and_ids_come_back() {
    let project = TempProject::new();
    let mut mask = Mask::new(&project);
    let (one, two) = ("0192f0c4-1111-7222-8333-444455556666", "0192f0c4-1111-7222-8333-444455556667");
    let text =
        format!("{one} {two} {one} at 2026-11-23T07:15:00.123Z in 12 ms, {}", project.path().display());
    assert_eq!(mask.hide(&text), "<id-1> <id-2> <id-1> at <time> in <span>, <project>");
    assert_eq!(mask.show("fork=<id-2>"), format!("fork={two}"));
    assert_eq!(mask.hide("\"duration_ms\":15,\"num_turns\":2"), "\"duration_ms\":<ms>,\"num_turns\":2");
    mask.keep_times();
    assert_eq!(mask.hide("2026-11-23T07:15:00Z 5 s"), "2026-11-23T07:15:00Z 5 s");
}

//! grep: lines, files or counts that match a regular expression.
//!
//! Guarantees: binary files are skipped; lines and the whole result are bounded.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use amplifier_foundation::fs::tool_io::{self, Kind};
use async_trait::async_trait;
use globset::GlobMatcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkContextKind, SinkMatch,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Files, Stop, glob_matches, glob_of, search};
use crate::tool::{resolve, schema, shown, whole};

const LIMIT: usize = 200;
const MAX_LIMIT: usize = 5_000;
const MAX_CONTEXT: usize = 20;
const MAX_LINE_CHARS: usize = 400;
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Longest line that is searched, in bytes; a file with a longer one is counted as unreadable.
const MAX_HEAP_BYTES: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
struct Arguments {
    pattern: String,
    path: Option<String>,
    #[serde(alias = "include")]
    glob: Option<String>,
    #[serde(default, alias = "mode")]
    output_mode: Mode,
    #[serde(default, rename = "-i", alias = "ignore_case", alias = "case_insensitive")]
    ignore_case: bool,
    #[serde(default, alias = "-C", deserialize_with = "whole")]
    context: Option<u64>,
    #[serde(default, alias = "head_limit", deserialize_with = "whole")]
    limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[serde(alias = "files_with_matches")]
    Files,
    #[default]
    Content,
    Count,
}

/// The tool.
#[derive(Debug)]
pub struct Grep {
    schema: ToolSchema,
}

impl Default for Grep {
    fn default() -> Self {
        Self::new()
    }
}

impl Grep {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "pattern": {"type": "string"},
                "path": {"type": "string"},
                "glob": {"type": "string"},
                "output_mode": {"type": "string", "enum": ["content", "files", "count"]},
                "-i": {"type": "boolean"},
                "context": {"type": "integer"},
                "limit": {"type": "integer"},
            },
            "required": ["pattern"],
        });
        Self { schema: schema("grep", "Search file contents by regex", input) }
    }
}

#[async_trait]
impl Tool for Grep {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        Ok(vec![Access::Read(resolve(env, arguments.path.as_deref().unwrap_or("."))?)])
    }

    fn repeat(&self) -> Repeat {
        Repeat::Pure
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let root = resolve(cx.env, arguments.path.as_deref().unwrap_or("."))?;
        let root = cx.judged(Access::Read, root)?;
        if matches!(tool_io::kind(root.as_path()), Ok(Kind::Missing | Kind::Special)) {
            let name = shown(cx.env, root.as_path());
            return Err(ToolError::Refused(format!("{name} is neither a file nor a folder")));
        }
        let matcher = RegexMatcherBuilder::new()
            .case_insensitive(arguments.ignore_case)
            .line_terminator(Some(b'\n'))
            .build(&arguments.pattern)
            .map_err(|error| ToolError::Arguments(format!("pattern: {error}")))?;
        let glob = arguments.glob.as_deref().map(glob_of).transpose()?;
        let files = Files::new(cx, &root);
        let job = Job { matcher, glob, files, env: cx.env.clone(), arguments };
        search(cx, move |stop| Ok(ToolOutput::text(job.run(stop)))).await
    }
}

struct Job {
    matcher: RegexMatcher,
    glob: Option<GlobMatcher>,
    files: Files,
    env: SessionEnv,
    arguments: Arguments,
}

impl Job {
    fn run(&self, stop: &AtomicBool) -> String {
        let limit = bounded(self.arguments.limit, LIMIT).clamp(1, MAX_LIMIT);
        let context = bounded(self.arguments.context, 0).min(MAX_CONTEXT);
        let mut searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .line_number(true)
            .heap_limit(Some(MAX_HEAP_BYTES))
            .before_context(context)
            .after_context(context)
            .build();
        let mut found = Found { text: String::new(), items: 0, limit, full: false };
        let (mut unreadable, mut complete) = (0, true);
        for entry in self.files.walk() {
            if Stop::is_set(stop) {
                complete = false;
                break;
            }
            if self.glob.as_ref().is_some_and(|glob| !glob_matches(glob, &self.files.root, entry.path())) {
                continue;
            }
            if self.file(&mut searcher, entry.path(), &mut found, stop).is_err() {
                unreadable += 1;
            }
            if found.full {
                break;
            }
        }
        found.finish(unreadable, complete && !Stop::is_set(stop))
    }

    fn file(
        &self,
        searcher: &mut Searcher,
        path: &Path,
        found: &mut Found,
        stop: &AtomicBool,
    ) -> io::Result<()> {
        let mode = self.arguments.output_mode;
        let mut sink = FileSink { mode, found, stop, name: shown(&self.env, path), matches: 0, begun: false };
        let result = searcher.search_path(&self.matcher, path, &mut sink);
        let (matches, name) = (sink.matches, sink.name);
        if matches > 0 {
            match mode {
                Mode::Files => found.item(&name),
                Mode::Count => found.item(&format!("{name}:{matches}")),
                Mode::Content => {}
            }
        }
        result
    }
}

fn bounded(given: Option<u64>, default: usize) -> usize {
    given.map_or(default, |given| usize::try_from(given).unwrap_or(usize::MAX))
}

/// What all files gave so far.
struct Found {
    text: String,
    items: usize,
    limit: usize,
    /// True if something was left out.
    full: bool,
}

impl Found {
    /// Adds a line that counts against the limit.
    fn item(&mut self, line: &str) {
        if self.items >= self.limit || self.text.len() + line.len() > MAX_TEXT_BYTES {
            self.full = true;
            return;
        }
        self.items += 1;
        self.line(line);
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn finish(mut self, unreadable: usize, complete: bool) -> String {
        if self.items == 0 {
            self.line("(no matches)");
        }
        if self.full {
            self.line(&format!(
                "[there is more than these {}; narrow the search or raise limit]",
                self.items
            ));
        }
        if unreadable > 0 {
            self.line(&format!("[{unreadable} files could not be read]"));
        }
        if !complete {
            self.line("[the search was not finished; give a narrower path]");
        }
        self.text.truncate(self.text.trim_end().len());
        self.text
    }
}

/// What one file gives: its name once, then `number:line` and, for context, `number-line`.
struct FileSink<'a> {
    mode: Mode,
    found: &'a mut Found,
    stop: &'a AtomicBool,
    name: String,
    matches: u64,
    begun: bool,
}

impl FileSink<'_> {
    fn heading(&mut self) {
        if !self.begun {
            self.begun = true;
            self.found.line(&self.name);
        }
    }
}

impl Sink for FileSink<'_> {
    type Error = io::Error;

    fn matched(&mut self, _searcher: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        self.matches += 1;
        if Stop::is_set(self.stop) {
            return Ok(false);
        }
        match self.mode {
            Mode::Files => Ok(false),
            Mode::Count => Ok(true),
            Mode::Content => {
                if self.found.items < self.found.limit {
                    self.heading();
                }
                self.found.item(&numbered(found.line_number(), ':', found.bytes()));
                Ok(!self.found.full)
            }
        }
    }

    fn context(&mut self, _searcher: &Searcher, context: &SinkContext<'_>) -> io::Result<bool> {
        // Lines before a match that the limit leaves out are left out with it.
        let before = *context.kind() == SinkContextKind::Before;
        if self.mode == Mode::Content && !(before && self.found.items >= self.found.limit) {
            self.heading();
            self.found.line(&numbered(context.line_number(), '-', context.bytes()));
        }
        Ok(true)
    }

    fn context_break(&mut self, _searcher: &Searcher) -> io::Result<bool> {
        if self.mode == Mode::Content && self.found.items < self.found.limit {
            self.found.line("--");
        }
        Ok(true)
    }
}

fn numbered(number: Option<u64>, mark: char, line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\n', '\r']);
    let number = number.unwrap_or_default();
    match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{number}{mark}{} [… line cut]", &line[..end]),
        None => format!("{number}{mark}{line}"),
    }
}

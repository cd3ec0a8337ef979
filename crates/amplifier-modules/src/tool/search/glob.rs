//! glob: files by name, the last changed first.

use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use async_trait::async_trait;
use globset::GlobMatcher;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Files, Stop, glob_matches, glob_of, search};
use crate::tool::{resolve, schema, shown};

const LIMIT: usize = 200;
/// Matches that are held to be sorted; a tree with more is not searched to its end.
const MAX_FOUND: usize = 200_000;

#[derive(Deserialize)]
struct Arguments {
    pattern: String,
    path: Option<String>,
}

impl Arguments {
    /// The folder to search and the pattern below it; an absolute pattern brings its folder along.
    fn place(&self) -> (&str, &str) {
        let pattern = self.pattern.as_str();
        if let Some(folder) = self.path.as_deref() {
            let below = pattern.strip_prefix(folder).filter(|rest| rest.starts_with('/'));
            return (folder, below.unwrap_or(pattern));
        }
        if !pattern.starts_with('/') && !pattern.starts_with("~/") {
            return (".", pattern);
        }
        let literal = pattern.find(['*', '?', '[', '{']).unwrap_or(pattern.len());
        match pattern[..literal].rfind('/') {
            // The slash stays with the pattern, which then speaks of this folder alone.
            Some(slash) => (&pattern[..slash.max(1)], &pattern[slash..]),
            None => (".", pattern),
        }
    }
}

/// The tool.
#[derive(Debug)]
pub struct Glob {
    schema: ToolSchema,
}

impl Default for Glob {
    fn default() -> Self {
        Self::new()
    }
}

impl Glob {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {"pattern": {"type": "string"}, "path": {"type": "string"}},
            "required": ["pattern"],
        });
        Self { schema: schema("glob", "Find files by name: **/*.rs", input) }
    }
}

#[async_trait]
impl Tool for Glob {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        Ok(vec![Access::Read(resolve(env, arguments.place().0)?)])
    }

    fn repeat(&self) -> Repeat {
        Repeat::Pure
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let (folder, pattern) = arguments.place();
        let root = cx.judged(Access::Read, resolve(cx.env, folder)?)?;
        let glob = glob_of(pattern)?;
        let files = Files::new(cx, &root);
        let env = cx.env.clone();
        search(cx, move |stop| Ok(ToolOutput::text(list(&files, &glob, &env, stop)))).await
    }
}

fn list(files: &Files, glob: &GlobMatcher, env: &SessionEnv, stop: &AtomicBool) -> String {
    let mut found = Vec::new();
    let mut complete = true;
    for entry in files.walk() {
        if Stop::is_set(stop) || found.len() >= MAX_FOUND {
            complete = false;
            break;
        }
        if glob_matches(glob, &files.root, entry.path()) {
            let changed = entry.metadata().ok().and_then(|metadata| metadata.modified().ok());
            found.push((changed.unwrap_or(SystemTime::UNIX_EPOCH), entry.into_path()));
        }
    }
    found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut lines: Vec<String> = found.iter().take(LIMIT).map(|(_, path)| shown(env, path)).collect();
    if lines.is_empty() {
        lines.push("(no files)".into());
    }
    if found.len() > LIMIT {
        lines.push(format!("[{} more left out; narrow the pattern]", found.len() - LIMIT));
    }
    if !complete {
        lines.push("[the search was not finished; give a narrower path]".into());
    }
    lines.join("\n")
}

//! read_file: numbered lines of a file, or the entries of a folder.
//!
//! Guarantees: the result fits into what the kernel shows of a result; memory is bounded
//! whatever the file; what is left out is said, with the offset at which to go on.

use std::path::Path;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use amplifier_foundation::fs::tool_io::{self, Kind, Lines, Window};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tool::{blocking, resolve, schema, shown, whole};

const DEFAULT_LINES: u64 = 2_000;
/// Below the kernel's bound of 256 KiB, so that the note at the end survives.
const MAX_BYTES: usize = 250 * 1024;
const MAX_LINE_BYTES: usize = 4_000;
const MAX_ENTRIES: usize = 1_000;

#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "file_path")]
    path: String,
    #[serde(default, deserialize_with = "whole")]
    offset: Option<u64>,
    #[serde(default, deserialize_with = "whole")]
    limit: Option<u64>,
}

/// The tool.
#[derive(Debug)]
pub struct ReadFile {
    schema: ToolSchema,
}

impl Default for ReadFile {
    fn default() -> Self {
        Self::new()
    }
}

impl ReadFile {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "offset": {"type": "integer"},
                "limit": {"type": "integer"},
            },
            "required": ["path"],
        });
        Self { schema: schema("read_file", "Read a file as numbered lines, or list a folder", input) }
    }
}

#[async_trait]
impl Tool for ReadFile {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        Ok(vec![Access::Read(resolve(env, &arguments.path)?)])
    }

    fn repeat(&self) -> Repeat {
        Repeat::Pure
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let path = cx.judged(Access::Read, resolve(cx.env, &arguments.path)?)?;
        let name = shown(cx.env, path.as_path());
        blocking(cx.env, move || read(path.as_path(), &name, &arguments)).await
    }
}

fn read(path: &Path, name: &str, arguments: &Arguments) -> Result<ToolOutput, ToolError> {
    let failed = |error| ToolError::failed(format!("reading {name}"), error);
    if tool_io::kind(path).map_err(failed)? == Kind::Folder {
        return list(path).map_err(failed).map(ToolOutput::text);
    }
    let window = Window {
        first: arguments.offset.unwrap_or(1).max(1),
        max_lines: arguments.limit.unwrap_or(DEFAULT_LINES).max(1),
        max_bytes: MAX_BYTES,
        max_line_bytes: MAX_LINE_BYTES,
    };
    let found = tool_io::read_lines(path, window).map_err(failed)?;
    if found.lines.is_empty() {
        return match found.seen {
            0 => Ok(ToolOutput::text("(empty file)")),
            seen => Err(ToolError::Refused(format!(
                "{name} has {seen} lines; there is none at offset {}",
                window.first
            ))),
        };
    }
    numbered(&found, window.first).map(ToolOutput::text).ok_or_else(|| {
        ToolError::Refused(format!("{name} is not UTF-8 text; look at it with a command such as `file`"))
    })
}

/// `None` if a line is no text.
fn numbered(found: &Lines, first: u64) -> Option<String> {
    let mut text = String::new();
    let mut number = first;
    let mut cut = found.cut.iter().peekable();
    for (index, line) in found.lines.iter().enumerate() {
        let is_cut = cut.next_if(|cut| **cut == index).is_some();
        let line = whole_characters(line, is_cut)?;
        if text.len() + line.len() > MAX_BYTES {
            break;
        }
        let mark = if is_cut { " [… line cut]" } else { "" };
        text.push_str(&format!("{number}\t{line}{mark}\n"));
        number += 1;
    }
    if found.more || number <= found.seen {
        text.push_str(&format!("[the file goes on; continue with offset {number}]"));
    }
    Some(text)
}

/// The line as text. A cut may have gone through a character; that one is left out.
fn whole_characters(line: &[u8], is_cut: bool) -> Option<&str> {
    if line.contains(&0) {
        return None;
    }
    match std::str::from_utf8(line) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            std::str::from_utf8(&line[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

fn list(path: &Path) -> std::io::Result<String> {
    let (entries, all) = tool_io::list(path, MAX_ENTRIES)?;
    let line = |entry: &tool_io::Entry| format!("{}{}", entry.name, if entry.is_folder { "/" } else { "" });
    let mut lines: Vec<String> = entries.iter().map(line).collect();
    match all {
        0 => lines.push("(empty folder)".into()),
        all if all > lines.len() => lines.push(format!("[{} more entries left out]", all - lines.len())),
        _ => {}
    }
    Ok(lines.join("\n"))
}

//! edit_file: one text for another, matched exactly.
//!
//! Guarantees: an edit that is not unambiguous changes nothing; line ends stay as they are in
//! the file, whichever the arguments use.

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use amplifier_foundation::fs::tool_io;
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::hunk::nearest_line;
use super::{is_crlf, read_text, to_crlf};
use crate::tool::{blocking, resolve, schema, shown};

#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "file_path")]
    path: String,
    #[serde(alias = "old_str", alias = "old_text")]
    old_string: String,
    #[serde(alias = "new_str", alias = "new_text")]
    new_string: String,
    #[serde(default)]
    replace_all: bool,
}

/// The tool.
#[derive(Debug)]
pub struct EditFile {
    schema: ToolSchema,
}

impl Default for EditFile {
    fn default() -> Self {
        Self::new()
    }
}

impl EditFile {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "path": {"type": "string"},
                "old_string": {"type": "string"},
                "new_string": {"type": "string"},
                "replace_all": {"type": "boolean"},
            },
            "required": ["path", "old_string", "new_string"],
        });
        Self { schema: schema("edit_file", "Replace an exact, unique text in a file", input) }
    }
}

#[async_trait]
impl Tool for EditFile {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let path = resolve(env, &arguments.path)?;
        Ok(vec![Access::Read(path.clone()), Access::Write(path)])
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let path = cx.judged(Access::Write, resolve(cx.env, &arguments.path)?)?;
        let name = shown(cx.env, path.as_path());
        blocking(cx.env, move || {
            let text = read_text(path.as_path(), &name)?;
            let (changed, count, line) = edited(&text, &arguments, &name).map_err(ToolError::Refused)?;
            tool_io::replace(path.as_path(), changed.as_bytes())
                .map_err(|error| ToolError::failed(format!("writing {name}"), error))?;
            let places = if count == 1 { String::new() } else { format!(", {count} places, the first") };
            Ok(ToolOutput::text(format!("edited {name}{places} at line {line}")))
        })
        .await
    }
}

/// The new text, the number of places, and the line of the first.
fn edited(text: &str, arguments: &Arguments, name: &str) -> Result<(String, usize, usize), String> {
    if arguments.old_string.is_empty() {
        return Err("old_string is empty; use write_file for a whole file".into());
    }
    if arguments.old_string == arguments.new_string {
        return Err("old_string and new_string are the same".into());
    }
    let mut old = arguments.old_string.clone();
    let mut new = arguments.new_string.clone();
    if is_crlf(text) {
        (old, new) = (to_crlf(&old), to_crlf(&new));
    }
    let count = text.matches(&old).count();
    let Some(at) = text.find(&old) else {
        let hint = nearest_line(text, &old);
        return Err(format!("old_string is not in {name}{hint}"));
    };
    if count > 1 && !arguments.replace_all {
        return Err(format!("old_string is {count} times in {name}; give more context, or set replace_all"));
    }
    let line = text[..at].matches('\n').count() + 1;
    Ok((text.replace(&old, &new), count, line))
}

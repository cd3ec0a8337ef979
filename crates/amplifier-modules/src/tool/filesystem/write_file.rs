//! write_file: a whole file, made or replaced.
//!
//! Guarantees: a crash leaves the old content or the new; the mode of a replaced file is kept.

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::Access;
use amplifier_foundation::fs::tool_io::{self, Kind};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tool::{blocking, resolve, schema, shown};

#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "file_path")]
    path: String,
    content: String,
}

/// The tool.
#[derive(Debug)]
pub struct WriteFile {
    schema: ToolSchema,
}

impl Default for WriteFile {
    fn default() -> Self {
        Self::new()
    }
}

impl WriteFile {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
            "required": ["path", "content"],
        });
        Self { schema: schema("write_file", "Create or replace a file", input) }
    }
}

#[async_trait]
impl Tool for WriteFile {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        Ok(vec![Access::Write(resolve(env, &arguments.path)?)])
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let path = cx.judged(Access::Write, resolve(cx.env, &arguments.path)?)?;
        let name = shown(cx.env, path.as_path());
        blocking(cx.env, move || {
            let failed = |error| ToolError::failed(format!("writing {name}"), error);
            let verb = match tool_io::kind(path.as_path()).map_err(failed)? {
                Kind::Missing => "created",
                _ => "replaced",
            };
            tool_io::replace(path.as_path(), arguments.content.as_bytes()).map_err(failed)?;
            Ok(ToolOutput::text(format!("{verb} {name}, {} bytes", arguments.content.len())))
        })
        .await
    }
}

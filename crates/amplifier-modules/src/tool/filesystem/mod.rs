//! `tool-filesystem`: read_file, write_file, edit_file, apply_patch.
//!
//! Guarantees: whole files are replaced atomically and keep their mode; text that is not
//! UTF-8 is named, never shown and never changed.

mod apply_patch;
mod edit_file;
mod hunk;
mod patch;
mod read_file;
mod write_file;

use std::path::Path;
use std::sync::Arc;

use amplifier_core::ModuleSpec;
use amplifier_core::module::tool::ToolError;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_foundation::fs::tool_io;
use async_trait::async_trait;

pub use apply_patch::ApplyPatch;
pub use edit_file::EditFile;
pub use read_file::ReadFile;
pub use write_file::WriteFile;

/// Longest file that edit_file and apply_patch change, in bytes.
const MAX_EDIT_BYTES: u64 = 16 * 1024 * 1024;

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolFilesystem;

#[async_trait]
impl Module for ToolFilesystem {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-filesystem",
            aliases: &["tool-apply-patch"],
            kind: ModuleKind::Tool,
            summary: "reads, writes, edits and patches files",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.tool(Arc::new(ReadFile::new()));
        mount.tool(Arc::new(WriteFile::new()));
        mount.tool(Arc::new(EditFile::new()));
        mount.tool(Arc::new(ApplyPatch::new()));
        Ok(())
    }
}

/// The text of a file that is to be changed.
fn read_text(path: &Path, name: &str) -> Result<String, ToolError> {
    let bytes = tool_io::read(path, MAX_EDIT_BYTES)
        .map_err(|error| ToolError::failed(format!("reading {name}"), error))?;
    String::from_utf8(bytes)
        .map_err(|_| ToolError::Refused(format!("{name} is not UTF-8 text and is left as it is")))
}

/// True if every line end of the text is `\r\n`, and there is one.
fn is_crlf(text: &str) -> bool {
    let ends = text.matches('\n').count();
    ends > 0 && text.matches("\r\n").count() == ends
}

/// The text with `\r\n` for each line end.
fn to_crlf(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\n', "\r\n")
}

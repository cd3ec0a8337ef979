//! An agent's file of Codex (`.codex/agents/*.toml`) as an agent of ours.
//!
//! Guarantees: such an agent brings no module, no provider, no address and no wider permission; a
//! `sandbox_mode` that cannot be read is an error, and the file is not used.
//! Never here: finding the files.

use std::ops::Range;
use std::path::Path;

use amplifier_core::permission::Mode;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::bundle::diagnostic::{Code, Diagnostic, Parsed, Severity};
use crate::bundle::model::{AgentDef, ProviderPreference};
use crate::bundle::node::Position;
use crate::bundle::provenance::Origin;
use crate::bundle::yaml;

/// Reads an agent's file of Codex. `fallback_name` names an agent whose file does not.
pub fn parse_codex_agent(text: &str, file: &Path, fallback_name: &str) -> Parsed<AgentDef> {
    let mut reader = Reader { text, file, diagnostics: Vec::new() };
    if text.len() > yaml::MAX_BYTES {
        reader.note(Severity::Error, Code::Syntax, 0, "the file is too large", "move long text into files");
        return Parsed::new(None, reader.diagnostics);
    }
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            let message = format!("this is no TOML: {}", error.message());
            reader.note(Severity::Error, Code::Syntax, at, &message, "mend the file");
            return Parsed::new(None, reader.diagnostics);
        }
    };
    let mut def = AgentDef {
        origins: vec![Origin::new("", file, Position::START)],
        base_path: file.parent().map(Path::to_owned),
        ..AgentDef::default()
    };
    for (key, value) in &table {
        reader.key(key, value, &mut def);
    }
    if def.name.is_empty() {
        def.name = fallback_name.to_owned();
    }
    reader.diagnostics.sort_by_key(|diagnostic| diagnostic.position);
    Parsed::new(Some(def), reader.diagnostics)
}

struct Reader<'a> {
    text: &'a str,
    file: &'a Path,
    diagnostics: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn key(
        &mut self,
        key: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
        def: &mut AgentDef,
    ) {
        let at = key.span().start;
        match key.get_ref().as_ref() {
            "name" => def.name = self.text_of("name", value).unwrap_or_default(),
            "description" => def.description = self.text_of("description", value),
            "developer_instructions" => def.instruction = self.text_of("developer_instructions", value),
            "model" => {
                let model = self.text_of("model", value);
                def.provider_preferences =
                    model.map(|model| vec![ProviderPreference::new("openai", Some(model))]);
            }
            "sandbox_mode" => def.permission_mode = self.sandbox(value),
            "nickname_candidates" => {}
            other => {
                let message = format!("`{other}` of an agent of Codex is not read");
                let help = "say it in a bundle, or remove it";
                self.note(Severity::Warning, Code::NotRead, at, &message, help);
            }
        }
    }

    fn sandbox(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Mode> {
        let Range { start, .. } = value.span();
        match self.text_of("sandbox_mode", value)?.as_str() {
            "read-only" => return Some(Mode::Plan),
            // What its parent may do is held to the working directory already.
            "workspace-write" => {}
            "danger-full-access" => {
                let message = "`sandbox_mode = \"danger-full-access\"` widens and is not taken from a file";
                let help = "the agent may do what its parent may";
                self.note(Severity::Warning, Code::NotRead, start, message, help);
            }
            other => {
                let message = format!("`sandbox_mode` cannot be `{other}`");
                let help = "write `read-only` or `workspace-write`";
                self.note(Severity::Error, Code::BadValue, start, &message, help);
            }
        }
        None
    }

    fn text_of(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<String> {
        let text = value.get_ref().as_str().map(str::to_owned);
        if text.is_none() {
            let message = format!("`{key}` must be text");
            self.note(Severity::Error, Code::WrongType, value.span().start, &message, "put it in quotes");
        }
        text
    }

    fn note(&mut self, severity: Severity, code: Code, at: usize, message: &str, help: &str) {
        let before = self.text.get(..at).unwrap_or_default();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let line = before.matches('\n').count();
        let position = Position { line: count(line + 1), column: count(column + 1) };
        self.diagnostics.push(Diagnostic::new(severity, code, self.file, message).at(position).help(help));
    }
}

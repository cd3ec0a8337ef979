//! apply_patch: several files at once, or none.
//!
//! Guarantees: every hunk is checked before the first file changes; if a write fails, what was
//! changed before it is put back. A line of the result for each file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::permission::{Access, ResolvedPath};
use amplifier_foundation::fs::tool_io::{self, Kind, Staged};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::patch::{HunkLine, Section, parse};
use super::{hunk, read_text};
use crate::tool::{blocking, resolve, schema, shown};

#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "input", alias = "diff")]
    patch: String,
}

/// The tool.
#[derive(Debug)]
pub struct ApplyPatch {
    schema: ToolSchema,
}

impl Default for ApplyPatch {
    fn default() -> Self {
        Self::new()
    }
}

impl ApplyPatch {
    /// The tool.
    pub fn new() -> Self {
        let input = json!({
            "type": "object",
            "properties": {"patch": {"type": "string"}},
            "required": ["patch"],
        });
        let description = "Patch several files: *** Begin Patch, \
            *** Update|Add|Delete File: path, @@, *** End Patch";
        Self { schema: schema("apply_patch", description, input) }
    }
}

#[async_trait]
impl Tool for ApplyPatch {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let mut accesses = Vec::new();
        for step in steps(&arguments.patch, env)? {
            if !matches!(step.section, Section::Add { .. }) {
                accesses.push(Access::Read(step.path.clone()));
            }
            accesses.push(Access::Write(step.path));
            accesses.extend(step.move_to.map(Access::Write));
        }
        Ok(accesses)
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let steps = steps(&arguments.patch, cx.env)?;
        for path in steps.iter().flat_map(|step| [Some(&step.path), step.move_to.as_ref()]).flatten() {
            cx.judged(Access::Write, path.clone())?;
        }
        let env = cx.env.clone();
        blocking(cx.env, move || {
            let mut plan = Plan { env, files: BTreeMap::new(), report: Vec::new() };
            steps.iter().try_for_each(|step| plan.take(step))?;
            plan.write()?;
            Ok(ToolOutput::text(plan.report.join("\n")))
        })
        .await
    }
}

/// A section with its paths resolved.
struct Step {
    section: Section,
    path: ResolvedPath,
    move_to: Option<ResolvedPath>,
}

fn steps(patch: &str, env: &SessionEnv) -> Result<Vec<Step>, ToolError> {
    let sections = parse(patch).map_err(|error| ToolError::Arguments(format!("patch: {error}")))?;
    let step = |section: Section| {
        let (path, move_to) = match &section {
            Section::Add { path, .. } | Section::Delete { path } => (path, None),
            Section::Update { path, move_to, .. } => (path, move_to.as_deref()),
        };
        let path = resolve(env, path)?;
        let move_to = move_to.map(|target| resolve(env, target)).transpose()?;
        Ok(Step { section, path, move_to })
    };
    sections.into_iter().map(step).collect()
}

/// A file as it was, and as the sections so far would leave it; `None` is no file.
struct Planned {
    before: Option<String>,
    after: Option<String>,
}

struct Plan {
    env: SessionEnv,
    files: BTreeMap<PathBuf, Planned>,
    report: Vec<String>,
}

impl Plan {
    fn take(&mut self, step: &Step) -> Result<(), ToolError> {
        let path = step.path.as_path().to_owned();
        let name = shown(&self.env, &path);
        let refused = |reason: String| ToolError::Refused(format!("{name}: {reason}; no file was changed"));
        let now = self.file(&path, &name)?;
        let missing = || refused("there is no such file".into());
        match &step.section {
            Section::Add { .. } if now.after.is_some() => {
                return Err(refused("the file exists already; use `*** Update File:`".into()));
            }
            Section::Add { content, .. } => {
                now.after = Some(content.clone());
                self.report.push(format!("added {name}"));
            }
            Section::Delete { .. } => {
                now.after.take().ok_or_else(missing)?;
                self.report.push(format!("deleted {name}"));
            }
            Section::Update { hunks, .. } => {
                let old = now.after.as_deref().ok_or_else(missing)?;
                let new = hunk::apply(old, hunks)
                    .map_err(|(number, reason)| refused(format!("hunk {number}: {reason}")))?;
                let count = |wanted: fn(&HunkLine) -> bool| {
                    hunks.iter().flat_map(|hunk| &hunk.lines).filter(|line| wanted(line)).count()
                };
                let added = count(|line| matches!(line, HunkLine::Add(_)));
                let removed = count(|line| matches!(line, HunkLine::Remove(_)));
                let mut report = format!("updated {name} +{added} -{removed}");
                now.after = Some(new);
                if let Some(target) = step.move_to.as_ref().filter(|target| **target != step.path) {
                    let moved = now.after.take();
                    let target = target.as_path().to_owned();
                    let target_name = shown(&self.env, &target);
                    let place = self.file(&target, &target_name)?;
                    if place.after.is_some() {
                        return Err(refused(format!("it cannot move to {target_name}, which exists")));
                    }
                    place.after = moved;
                    report.push_str(&format!(", moved to {target_name}"));
                }
                self.report.push(report);
            }
        }
        Ok(())
    }

    /// The state of a file, read when it is first named.
    fn file(&mut self, path: &PathBuf, name: &str) -> Result<&mut Planned, ToolError> {
        if !self.files.contains_key(path) {
            let kind = tool_io::kind(path)
                .map_err(|error| ToolError::failed(format!("looking at {name}"), error))?;
            let text = if kind == Kind::Missing { None } else { Some(read_text(path, name)?) };
            self.files.insert(path.clone(), Planned { before: text.clone(), after: text });
        }
        self.files.get_mut(path).ok_or_else(|| ToolError::Refused(format!("{name} was lost")))
    }

    /// Stages every new content, then puts them in place; on a failure everything goes back.
    fn write(&self) -> Result<(), ToolError> {
        let failed = |path: &PathBuf, error| {
            let name = shown(&self.env, path);
            ToolError::failed(format!("writing {name} (no file was changed)"), error)
        };
        let changed = || self.files.iter().filter(|(_, file)| file.before != file.after);
        let mut staged = Vec::new();
        for (path, file) in changed() {
            if let Some(after) = &file.after {
                let content = Staged::write(path, after.as_bytes()).map_err(|error| failed(path, error))?;
                staged.push((path, content));
            }
        }
        let mut done: Vec<&PathBuf> = Vec::new();
        let removals = changed().filter(|(_, file)| file.after.is_none()).map(|(path, _)| path);
        let commits = staged.into_iter().map(|(path, content)| (path, content.commit()));
        let results = commits.chain(removals.map(|path| (path, tool_io::remove(path))));
        for (path, result) in results {
            if let Err(error) = result {
                self.put_back(&done);
                return Err(failed(path, error));
            }
            done.push(path);
        }
        Ok(())
    }

    fn put_back(&self, paths: &[&PathBuf]) {
        for path in paths {
            let before = self.files.get(*path).and_then(|file| file.before.as_ref());
            let result = match before {
                Some(text) => tool_io::replace(path, text.as_bytes()),
                None => tool_io::remove(path),
            };
            if let Err(error) = result {
                tracing::error!(path = %path.display(), %error, "a file could not be put back after a failed patch");
            }
        }
    }
}

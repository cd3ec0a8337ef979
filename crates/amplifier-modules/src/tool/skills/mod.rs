//! `tool-skills`: instructions for kinds of tasks, loaded when they are wanted.
//!
//! Guarantees: a request carries names and descriptions alone, within a bound; content is read when it is asked for;
//! each file that is read is an access that the permissions judge, and lies in its skill's folder; a broken skill is
//! told once and the rest works.
//! Never here: running anything of a skill. A skill is text: it allows nothing, whatever its `allowed-tools` says.

mod find;
mod skill;

use std::fmt::Write;
use std::sync::Arc;

use amplifier_core::SessionEnv;
use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::permission::{Access, ResolvedPath};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{blocking, resolve, schema, whole};
use skill::{FILE, Skill};

const ID: &str = "tool-skills";
/// Most bytes of names and descriptions in the tool's own description.
const LISTED_BYTES: usize = 8_000;
/// Most bytes of one description in it.
const LINE_BYTES: usize = 300;
/// Most skills in it, where nothing is said.
const VISIBLE: u64 = 50;
/// Most skills of one answer.
const ANSWERED: usize = 200;
/// Most broken skills that a notice names.
const NAMED: usize = 5;

/// The skills of a session, for people: a capability of sessions with `tool-skills`.
#[derive(Debug)]
pub struct Skills(Vec<(String, String)>);

impl Skills {
    /// Names and descriptions, also of those that a person alone calls.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, description)| (name.as_str(), description.as_str()))
    }
}

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToolSkills;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    skills: Places,
    skills_dirs: Places,
    skills_dir: Option<String>,
    visibility: Visibility,
}

/// A list of places, or one, or a map with `dirs` as settings of the reference system have it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Places {
    List(Vec<String>),
    One(String),
    Map { dirs: Vec<String> },
}

impl Default for Places {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl Places {
    fn into_vec(self) -> Vec<String> {
        match self {
            Self::List(all) | Self::Map { dirs: all } => all,
            Self::One(one) => vec![one],
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Visibility {
    enabled: bool,
    #[serde(deserialize_with = "whole")]
    max_skills_visible: Option<u64>,
}

impl Default for Visibility {
    fn default() -> Self {
        Self { enabled: true, max_skills_visible: None }
    }
}

#[async_trait]
impl Module for ToolSkills {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &["tool-skill"],
            kind: ModuleKind::Tool,
            summary: "loads instructions for kinds of tasks (SKILL.md)",
            config_keys: &["skills", "skills_dirs", "skills_dir", "visibility"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let env = mount.env();
        let mut configured = config.skills.into_vec();
        configured.extend(config.skills_dirs.into_vec());
        configured.extend(config.skills_dir);
        let (folders, mut broken) = find::folders(env, &configured).await;
        let found = blocking(env, move || Ok(find::below(&folders))).await;
        let found = found.map_err(|error| MountError::Failed {
            module: ID.to_owned(),
            action: "look for skills".to_owned(),
            source: Box::new(error),
        })?;
        broken.extend(found.broken);
        if let Some(text) = told(&broken) {
            let shown = Shown::Notice { level: NoticeLevel::Warning, source: ID, text: &text };
            env.display.show(&env.origin(), shown);
        }
        let visible = match config.visibility.enabled {
            true => config.visibility.max_skills_visible.unwrap_or(VISIBLE),
            false => 0,
        };
        let all = found.skills.iter().map(|skill| (skill.name.clone(), skill.description.clone()));
        mount.env().coordinator.provide(Arc::new(Skills(all.collect())));
        mount.tool(Arc::new(LoadSkill::new(found.skills, usize::try_from(visible).unwrap_or(usize::MAX))));
        Ok(())
    }
}

/// One line about what could not be read.
fn told(broken: &[String]) -> Option<String> {
    let named: Vec<&str> = broken.iter().take(NAMED).map(String::as_str).collect();
    let more = match broken.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    (!broken.is_empty()).then(|| format!("skills left out: {}{more}", named.join("; ")))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Arguments {
    #[serde(alias = "skill_name", alias = "skill")]
    name: Option<String>,
    #[serde(alias = "path")]
    file: Option<String>,
    list: bool,
    search: Option<String>,
    info: Option<String>,
}

/// What a call asks for.
enum Asked<'a> {
    List,
    Search(&'a str),
    Info(&'a Skill),
    Body(&'a Skill),
    File(&'a Skill, &'a str),
}

/// The tool.
#[derive(Debug)]
struct LoadSkill {
    schema: ToolSchema,
    skills: Vec<Skill>,
}

impl LoadSkill {
    fn new(skills: Vec<Skill>, visible: usize) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "skill to load"},
                "file": {"type": "string", "description": "file of that skill to read instead"},
                "list": {"type": "boolean"},
                "search": {"type": "string"},
                "info": {"type": "string", "description": "skill to describe"},
            },
        });
        let schema = schema("load_skill", &description(&skills, visible), input);
        Self { schema, skills }
    }

    fn asked<'a>(&'a self, arguments: &'a Arguments) -> Result<Asked<'a>, ToolError> {
        let said = |text: &'a Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty());
        match (said(&arguments.name), said(&arguments.info), said(&arguments.search)) {
            (Some(name), ..) => match said(&arguments.file) {
                Some(file) => Ok(Asked::File(self.find(name)?, file)),
                None => Ok(Asked::Body(self.find(name)?)),
            },
            (None, Some(name), _) => Ok(Asked::Info(self.find(name)?)),
            (None, None, Some(words)) => Ok(Asked::Search(words)),
            (None, None, None) if arguments.file.is_some() => {
                Err(ToolError::Arguments("`file` needs the `name` of its skill".to_owned()))
            }
            (None, None, None) => Ok(Asked::List),
        }
    }

    fn find(&self, name: &str) -> Result<&Skill, ToolError> {
        let exact = self.skills.iter().find(|skill| skill.name == name);
        let found = exact.or_else(|| self.skills.iter().find(|skill| skill.name.eq_ignore_ascii_case(name)));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.listed().take(ANSWERED).map(|skill| skill.name.as_str()).collect();
            let there = if names.is_empty() {
                "there are none".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            ToolError::Refused(format!(
                "there is no skill `{}`; {there}",
                name.chars().take(100).collect::<String>()
            ))
        })
    }

    fn listed(&self) -> impl Iterator<Item = &Skill> {
        self.skills.iter().filter(|skill| skill.listed)
    }

    /// The file that a call reads.
    fn path(asked: &Asked<'_>, env: &SessionEnv) -> Result<Option<ResolvedPath>, ToolError> {
        let path = match asked {
            Asked::List | Asked::Search(_) | Asked::Info(_) => return Ok(None),
            Asked::Body(skill) => skill.folder.join(FILE),
            Asked::File(skill, file) => skill.file(file).map_err(ToolError::Refused)?,
        };
        resolve(env, &path.to_string_lossy()).map(Some)
    }
}

/// The tool's description: what the skills are for.
fn description(skills: &[Skill], visible: usize) -> String {
    let mut text =
        "Load a skill: instructions for a kind of task. Load one before you do such a task.".to_owned();
    let listed: Vec<&Skill> = skills.iter().filter(|skill| skill.listed).collect();
    if visible == 0 || listed.is_empty() {
        text.push_str(if listed.is_empty() {
            " There are none now."
        } else {
            " `list` or `search` shows them."
        });
        return text;
    }
    let mut shown = 0;
    for skill in listed.iter().take(visible) {
        let line = format!("\n- {}: {}", skill.name, shortened(&skill.description, LINE_BYTES));
        if text.len() + line.len() > LISTED_BYTES {
            break;
        }
        text.push_str(&line);
        shown += 1;
    }
    if shown < listed.len() {
        let _ = write!(text, "\n{} more: `list` or `search` shows them.", listed.len() - shown);
    }
    text
}

fn shortened(text: &str, most: usize) -> String {
    match text.len() <= most {
        true => text.to_owned(),
        false => format!("{}…", &text[..text.floor_char_boundary(most)]),
    }
}

#[async_trait]
impl Tool for LoadSkill {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let path = Self::path(&self.asked(&arguments)?, env)?;
        Ok(path.map(Access::Read).into_iter().collect())
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let asked = self.asked(&arguments)?;
        if let Some(path) = Self::path(&asked, cx.env)? {
            cx.judged(Access::Read, path)?;
        }
        match asked {
            Asked::List => Ok(lines(self.listed().collect())),
            Asked::Search(words) => {
                let words: Vec<String> = words.split_whitespace().map(str::to_lowercase).collect();
                let matching = |skill: &&Skill| {
                    let text = format!("{} {}", skill.name, skill.description).to_lowercase();
                    words.iter().all(|word| text.contains(word))
                };
                Ok(lines(self.listed().filter(matching).collect()))
            }
            Asked::Info(skill) => Ok(info(skill)),
            Asked::Body(skill) => {
                let skill = skill.clone();
                blocking(cx.env, move || body(&skill)).await
            }
            Asked::File(skill, file) => {
                let path = skill.file(file).map_err(ToolError::Refused)?;
                let text = blocking(cx.env, move || skill::text(&path).map_err(ToolError::Refused)).await?;
                Ok(ToolOutput::text(text))
            }
        }
    }

    fn repeat(&self) -> Repeat {
        Repeat::Pure
    }
}

fn lines(skills: Vec<&Skill>) -> ToolOutput {
    if skills.is_empty() {
        return ToolOutput::text("no skills");
    }
    let line = |skill: &&Skill| format!("- {}: {}", skill.name, shortened(&skill.description, LINE_BYTES));
    let mut text: Vec<String> = skills.iter().take(ANSWERED).map(line).collect();
    if skills.len() > ANSWERED {
        text.push(format!("{} more: search for words", skills.len() - ANSWERED));
    }
    ToolOutput::text(text.join("\n"))
}

fn info(skill: &Skill) -> ToolOutput {
    let more =
        [("version", &skill.version), ("license", &skill.license), ("allowed-tools", &skill.allowed_tools)];
    let mut text = format!("{}: {}\nfolder: {}", skill.name, skill.description, skill.folder.display());
    for (key, value) in more {
        if let Some(value) = value {
            let _ = write!(text, "\n{key}: {value}");
        }
    }
    ToolOutput::text(text)
}

fn body(skill: &Skill) -> Result<ToolOutput, ToolError> {
    let body = skill.body().map_err(ToolError::Refused)?;
    let (files, more) = skill.files();
    let mut text = format!("# Skill {} ({})\n\n{body}", skill.name, skill.folder.display());
    if !files.is_empty() {
        let more = if more { ", …" } else { "" };
        let _ = write!(text, "\n\nFiles of this skill (read them with `file`): {}{more}", files.join(", "));
    }
    Ok(ToolOutput::text(text))
}

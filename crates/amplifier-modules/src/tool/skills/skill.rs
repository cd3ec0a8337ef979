//! One skill: a folder with a `SKILL.md`, in the format of Agent Skills.
//!
//! Guarantees: what is read is bounded; a file that a skill names is read only if it lies in the skill's folder, links
//! resolved.

use std::path::{Path, PathBuf};

use amplifier_foundation::bundle::parse_front;
use amplifier_foundation::fs::read;
use serde::Deserialize;

/// The file that makes a folder a skill.
pub(super) const FILE: &str = "SKILL.md";
/// Longest file of a skill, in bytes.
const MAX_BYTES: u64 = 256 * 1024;
/// Longest name and description, in characters.
const MAX_NAME: usize = 100;
const MAX_DESCRIPTION: usize = 1_024;
/// Most files of a skill that are named.
const MAX_FILES: usize = 100;
/// How deep files are looked for.
const DEPTH: usize = 4;

/// A skill as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Skill {
    pub(super) name: String,
    pub(super) description: String,
    /// Its folder.
    pub(super) folder: PathBuf,
    pub(super) version: Option<String>,
    pub(super) license: Option<String>,
    pub(super) allowed_tools: Option<String>,
    /// False if only a person shall call it by its name.
    pub(super) listed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Front {
    name: Option<String>,
    description: Option<String>,
    version: Option<Words>,
    license: Option<String>,
    allowed_tools: Option<Words>,
    #[serde(alias = "disable_model_invocation", default)]
    disable_model_invocation: bool,
}

/// A text, or a list of texts.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Text(String),
    Number(f64),
    List(Vec<String>),
}

impl Words {
    fn joined(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Number(number) => number.to_string(),
            Self::List(texts) => texts.join(", "),
        }
    }
}

impl Skill {
    /// Reads the skill of a folder. `Err` says what is wrong with it, with its place.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let file = folder.join(FILE);
        let (front, _) = document(&file)?;
        let wrong = |what: &str| format!("{}: {what}", file.display());
        let own_name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = front.name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let name = name.or(own_name).ok_or_else(|| wrong("it has no `name`"))?;
        if name.chars().count() > MAX_NAME || name.contains(['\n', '<', '>']) {
            return Err(wrong("its `name` is no short line of text"));
        }
        let description = front.description.unwrap_or_default();
        let words: Vec<&str> = description.split_whitespace().collect();
        if words.is_empty() {
            return Err(wrong("it has no `description`; say what it does and when to use it"));
        }
        Ok(Self {
            name,
            description: words.join(" ").chars().take(MAX_DESCRIPTION).collect(),
            folder: folder.to_owned(),
            version: front.version.map(Words::joined),
            license: front.license,
            allowed_tools: front.allowed_tools.map(Words::joined),
            listed: !front.disable_model_invocation,
        })
    }

    /// Its instructions, as they are now.
    pub(super) fn body(&self) -> Result<String, String> {
        document(&self.folder.join(FILE)).map(|(_, body)| body)
    }

    /// A file of the skill.
    pub(super) fn file(&self, path: &str) -> Result<PathBuf, String> {
        let outside = || format!("`{path}` is no file of skill {}", self.name);
        let folder = read::canonical(&self.folder).map_err(|error| error.to_string())?;
        let found = read::canonical(&folder.join(path)).map_err(|_| outside())?;
        match found.starts_with(&folder) && read::is_file(&found) {
            true => Ok(found),
            false => Err(outside()),
        }
    }

    /// The files beside `SKILL.md`, relative to the folder, and whether there are more.
    pub(super) fn files(&self) -> (Vec<String>, bool) {
        let (mut found, mut more) = (Vec::new(), false);
        list(&self.folder, "", 0, &mut found, &mut more);
        (found, more)
    }
}

fn list(folder: &Path, prefix: &str, depth: usize, found: &mut Vec<String>, more: &mut bool) {
    let Ok((entries, cut)) = read::list(folder, MAX_FILES * 4) else { return };
    *more |= cut;
    for entry in entries.into_iter().filter(|entry| !entry.name.starts_with('.')) {
        let path = format!("{prefix}{}", entry.name);
        match entry.directory {
            true if depth < DEPTH => {
                list(&folder.join(&entry.name), &format!("{path}/"), depth + 1, found, more);
            }
            true => *more = true,
            false if path == FILE => {}
            false if found.len() == MAX_FILES => *more = true,
            false => found.push(path),
        }
        if found.len() == MAX_FILES && *more {
            return;
        }
    }
}

/// A text file of a skill.
pub(super) fn text(path: &Path) -> Result<String, String> {
    read::text(path, MAX_BYTES).map(|(text, _)| text).map_err(|error| error.to_string())
}

fn document(file: &Path) -> Result<(Front, String), String> {
    let text = text(file)?;
    let parsed = parse_front(&text, file).map_err(|error| error.to_string())?;
    parsed.ok_or_else(|| format!("{}: it has no front matter with `name` and `description`", file.display()))
}

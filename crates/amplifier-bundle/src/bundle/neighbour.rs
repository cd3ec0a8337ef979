//! Agents in a bundle's roster that the bundle does not bring: the project's own, and those of other programs.
//!
//! The project's own lie in its `.amplifier/agents` and are in every bundle's roster. Those of other programs lie in `.claude/agents` and `.codex/agents` of the project's folder, of the folders above it up to the
//! repository's root, and of the user's home; the nearest file of a name counts. A bundle's own agent of that name
//! stands before them.
//!
//! Guarantees: folders, depth and number of files are bounded, and what is left out is told; a project's files stay in
//! the project, links resolved; a bad file costs that agent alone; a bundle that was fetched brings
//! no agent of the user's home.
//! Never here: what a file says (`parse`).

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Diagnostic, Parsed, Severity};
use super::include::{Graph, describe};
use super::model::{AgentDef, AgentEntry, Bundle, Neighbours};
use super::parse::{parse_agent, parse_claude_agent, parse_codex_agent};
use super::yaml;
use crate::source::file;
use amplifier_fs::read::{self, Kind};

/// Most files of agents that one folder gives.
const MAX_FILES: usize = 200;
/// How deep folders of agents hold folders.
const MAX_DEPTH: usize = 4;
/// Most folders above the project that are looked at.
const MAX_ABOVE: usize = 16;

/// A program whose agents are read.
struct Program {
    folder: &'static str,
    suffix: &'static str,
    parse: fn(&str, &Path, &str) -> Parsed<AgentDef>,
}

const OWN: Program = Program { folder: ".amplifier/agents", suffix: "md", parse: parse_agent };
const CLAUDE: Program = Program { folder: ".claude/agents", suffix: "md", parse: parse_claude_agent };
const CODEX: Program = Program { folder: ".codex/agents", suffix: "toml", parse: parse_codex_agent };

/// A folder above or in which agents may lie.
struct Place {
    folder: PathBuf,
    /// What its files must not leave.
    root: Option<PathBuf>,
}

impl Graph<'_> {
    /// Adds the project's agents, and those of other programs that the bundle or the settings want.
    pub(crate) fn add_neighbours(&mut self, bundle: &mut Bundle, by_settings: Neighbours) {
        let project = self.locator.project.clone();
        let own = Place { root: read::canonical(&project).ok(), folder: project };
        self.add_agents_of(&OWN, &own, bundle);
        let local = self.nodes.iter().filter(|node| node.checkout.is_none());
        let by_person = local.fold(by_settings, |all, node| all.or(node.bundle.agents.neighbours));
        let by_bundle = bundle.agents.neighbours;
        let programs = [
            (&CLAUDE, by_settings.claude || by_bundle.claude, by_person.claude),
            (&CODEX, by_settings.codex || by_bundle.codex, by_person.codex),
        ];
        for (program, wanted, with_home) in programs {
            if wanted {
                for place in self.places(with_home) {
                    self.add_agents_of(program, &place, bundle);
                }
            }
        }
    }

    /// The nearest first, the user's home last.
    fn places(&self, with_home: bool) -> Vec<Place> {
        let project = self.locator.project.as_path();
        let home = self.locator.user_home.as_deref();
        let up_to_root = up_to_root(project);
        let root = up_to_root.last().and_then(|root| read::canonical(root).ok());
        let of_project = up_to_root.iter().filter(|folder| Some(**folder) != home);
        let mut places: Vec<Place> =
            of_project.map(|folder| Place { folder: (*folder).to_owned(), root: root.clone() }).collect();
        if with_home {
            places.extend(home.map(|home| Place { folder: home.to_owned(), root: None }));
        }
        places
    }

    fn add_agents_of(&mut self, program: &Program, place: &Place, bundle: &mut Bundle) {
        let folder = place.folder.join(program.folder);
        let mut files = Vec::new();
        self.collect(&folder, program.suffix, MAX_DEPTH, &mut files);
        if files.len() > MAX_FILES {
            let message =
                format!("{} holds more than {MAX_FILES} agents; the others are left out", folder.display());
            self.diagnostics.push(Diagnostic::new(Severity::Warning, Code::Dropped, &folder, message));
            files.truncate(MAX_FILES);
        }
        for path in files {
            let Some(def) = self.read_neighbour(program, &path, place.root.as_deref()) else { continue };
            let roster = &mut bundle.agents.roster;
            let same = |entry: &AgentEntry| entry.name.rsplit(':').next() == Some(&def.name);
            if roster.iter().any(same) {
                continue;
            }
            let origin = def.origins.first().cloned().unwrap_or_default();
            roster.push(AgentEntry { name: def.name.clone(), by_name: false, def, origin });
        }
    }

    /// The files below a folder, in the order of their names.
    fn collect(&mut self, folder: &Path, suffix: &str, depth: usize, files: &mut Vec<PathBuf>) {
        if read::kind(folder) != Kind::Directory {
            return self.inputs.absent(folder.to_owned());
        }
        self.inputs.folder(folder);
        let Ok((entries, _)) = read::list(folder, 2 * MAX_FILES) else { return };
        for entry in entries {
            let path = folder.join(&entry.name);
            if entry.directory && depth > 1 {
                self.collect(&path, suffix, depth - 1, files);
            } else if path.extension().is_some_and(|known| known == suffix) && files.len() <= MAX_FILES {
                files.push(path);
            }
        }
    }

    fn read_neighbour(&mut self, program: &Program, path: &Path, root: Option<&Path>) -> Option<AgentDef> {
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let read = file::confined(path, &name, root).map_err(|error| describe(&error)).and_then(|path| {
            let text = self.inputs.text(&path, yaml::MAX_BYTES as u64);
            text.map_err(|error| describe(&error))
        });
        let parsed = match read {
            Ok(text) => (program.parse)(&text, path, &name),
            Err(why) => return self.no_agent(path, &format!("agent `{name}` is left out: {why}")),
        };
        let usable = !parsed.has_errors();
        for mut diagnostic in parsed.diagnostics {
            diagnostic.severity = diagnostic.severity.min(Severity::Warning);
            self.diagnostics.push(diagnostic);
        }
        match parsed.value.filter(|_| usable) {
            // Names part a namespace from an agent by `:`, and `self` is nobody's.
            Some(def) if def.name.contains(':') || def.name == "self" => {
                self.no_agent(path, &format!("agent `{}` is left out: the name is not free", def.name))
            }
            Some(def) => Some(def),
            None => self.no_agent(path, &format!("the file of agent `{name}` has errors and is not used")),
        }
    }

    fn no_agent(&mut self, path: &Path, message: &str) -> Option<AgentDef> {
        self.diagnostics.push(Diagnostic::new(Severity::Warning, Code::Dropped, path, message));
        None
    }
}

/// The folder and those above it, up to the root of its repository; the folder alone where it is in none.
pub(crate) fn up_to_root(folder: &Path) -> Vec<&Path> {
    let above: Vec<&Path> = folder.ancestors().take(MAX_ABOVE).collect();
    let root = above.iter().position(|folder| read::kind(&folder.join(".git")) != Kind::Missing);
    let count = root.map_or(1, |root| root + 1);
    above.into_iter().take(count).collect()
}

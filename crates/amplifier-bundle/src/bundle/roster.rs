//! Agents and context files of a bundle: from names to files.
//!
//! An agent `ns:name` is `agents/name.md` in the namespace's folder, a bare one in
//! its bundle's own folder. A file only fills the gaps of an inline definition.
//!
//! Guarantees: a bad or missing file is a warning and costs that entry alone; a
//! bundle of a checkout reads no file outside it by a relative path.
//! Never here: mentions, which are followed anew at each request.

use std::path::{Path, PathBuf};

use super::diagnostic::{Code, Diagnostic, Severity};
use super::include::{Base, Graph, describe};
use super::model::{AgentDef, AgentEntry, Bundle, ContextEntry, ContextTarget};
use super::parse::parse_agent;
use super::{builtin, yaml};
use crate::mention::MAX_FILE_BYTES;
use crate::source::file;
use amplifier_fs::read::{self, Kind};

/// A context file of a composed bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContextFile {
    /// Its name: `bundle:path`.
    pub key: String,
    /// The file, canonical.
    pub path: PathBuf,
}

impl Graph<'_> {
    /// Reads the files of all agents that the graph's bundles list.
    pub(crate) fn read_agents(&mut self) {
        for node in 0..self.nodes.len() {
            let roster = std::mem::take(&mut self.nodes[node].bundle.agents.roster);
            let read = roster.into_iter().filter_map(|entry| self.read_agent(node, entry)).collect();
            self.nodes[node].bundle.agents.roster = read;
        }
    }

    fn read_agent(&mut self, node: usize, mut entry: AgentEntry) -> Option<AgentEntry> {
        match self.agent_file(node, &entry) {
            Ok(Some(path)) => match self.parse_agent(&entry, &path) {
                Some(def) => entry.def.fill_gaps(def),
                None if entry.by_name => return None,
                None => {}
            },
            Ok(None) => {}
            Err(why) => {
                let message = format!("agent `{}` is left out: {why}", entry.name);
                self.warn_agent(&entry, message);
                return None;
            }
        }
        Some(entry)
    }

    /// The file of an agent; an inline definition needs none.
    fn agent_file(&mut self, node: usize, entry: &AgentEntry) -> Result<Option<PathBuf>, String> {
        let (base, name) = match entry.name.split_once(':') {
            Some((namespace, name)) => (self.base(node, namespace), name),
            None => (Some(self.own_base(node)), entry.name.as_str()),
        };
        let Some(base) = base else {
            return if entry.by_name {
                Err(format!("no bundle of `{}` is known", entry.name))
            } else {
                Ok(None)
            };
        };
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err("its name leaves its bundle".to_owned());
        }
        let attempts = self.agent_attempts(node, &base, name, entry.name.contains(':'));
        let found = attempts.iter().find(|path| is_file(path));
        match found {
            Some(path) => confine(path, name, base.checkout.as_deref()).map(Some),
            None if !entry.by_name => Ok(None),
            None => {
                let wanted = attempts.into_iter().next().unwrap_or_default();
                let why = format!("{} does not exist", wanted.display());
                self.inputs.absent(wanted);
                Err(why)
            }
        }
    }

    fn agent_attempts(&self, node: usize, base: &Base, name: &str, namespaced: bool) -> Vec<PathBuf> {
        let file = format!("{name}.md");
        let mut attempts = vec![base.folder.join("agents").join(&file)];
        if namespaced {
            attempts.push(base.folder.join(&file));
        }
        // A behavior in a subfolder may mean the agents of the bundle that it is a part of.
        let bundle = &self.nodes[node].bundle;
        if let Some(root) = bundle.source_base_paths.get(&bundle.name).filter(|_| !namespaced) {
            attempts.push(root.join("agents").join(&file));
        }
        attempts
    }

    fn own_base(&self, node: usize) -> Base {
        let node = &self.nodes[node];
        Base { folder: node.folder().to_owned(), checkout: node.checkout.clone() }
    }

    fn parse_agent(&mut self, entry: &AgentEntry, path: &Path) -> Option<AgentDef> {
        let text = match self.inputs.text(path, yaml::MAX_BYTES as u64) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("agent `{}` is left out: {}", entry.name, describe(&error));
                self.warn_agent(entry, message);
                return None;
            }
        };
        let short = entry.name.rsplit([':', '/']).next().unwrap_or(&entry.name);
        let mut parsed = parse_agent(&text, path, short);
        let owner = entry.name.split_once(':').map_or(&*entry.origin.bundle, |(namespace, _)| namespace);
        for origin in parsed.value.iter_mut().flat_map(|def| &mut def.origins) {
            origin.bundle = owner.into();
        }
        let usable = !parsed.has_errors();
        for mut diagnostic in parsed.diagnostics {
            diagnostic.severity = diagnostic.severity.min(Severity::Warning);
            self.diagnostics.push(diagnostic);
        }
        if !usable {
            let message = format!("the file of agent `{}` has errors and is not used", entry.name);
            self.warn_agent(entry, message);
        }
        parsed.value.filter(|_| usable)
    }

    fn warn_agent(&mut self, entry: &AgentEntry, message: String) {
        let origin = &entry.origin;
        let warning = Diagnostic::new(Severity::Warning, Code::Dropped, &origin.file, message);
        self.diagnostics.push(warning.at(origin.position));
    }

    /// Finds and reads the context files of a composed bundle.
    pub(crate) fn read_context(&mut self, bundle: &Bundle) -> Vec<ContextFile> {
        bundle.context.iter().filter_map(|entry| self.read_context_file(entry)).collect()
    }

    fn read_context_file(&mut self, entry: &ContextEntry) -> Option<ContextFile> {
        let read = self.context_file(entry).and_then(|path| {
            let read = self.inputs.text(&path, MAX_FILE_BYTES);
            read.map(|_| path).map_err(|error| describe(&error))
        });
        match read {
            Ok(path) => Some(ContextFile { key: entry.key.clone(), path }),
            Err(why) => {
                self.warn_at(&entry.origin, format!("context `{}` is left out: {why}", entry.key));
                None
            }
        }
    }

    fn context_file(&mut self, entry: &ContextEntry) -> Result<PathBuf, String> {
        let (path, checkout) = match &entry.target {
            ContextTarget::File(path) => {
                (path.clone(), self.checkout_of(&entry.origin.file).map(Path::to_owned))
            }
            ContextTarget::Pending { namespace, path } => {
                if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                    return Err("its path leaves its namespace".to_owned());
                }
                let node = self.node_of(&entry.origin.file);
                let base = self.base(node, namespace);
                let base = base.ok_or_else(|| format!("no bundle `{namespace}` is known"))?;
                (base.folder.join(path), base.checkout)
            }
        };
        let with_suffix = PathBuf::from(format!("{}.md", path.display()));
        let found = [&path, &with_suffix].into_iter().find(|path| is_file(path));
        if let Some(found) = found {
            return confine(found, &entry.key, checkout.as_deref());
        }
        let why = format!("{} does not exist", path.display());
        self.inputs.absent(path);
        Err(why)
    }
}

fn is_file(path: &Path) -> bool {
    if builtin::owns(path) { builtin::text(path).is_some() } else { read::kind(path) == Kind::File }
}

fn confine(path: &Path, written: &str, checkout: Option<&Path>) -> Result<PathBuf, String> {
    if builtin::owns(path) {
        return Ok(path.to_owned());
    }
    file::confined(path, written, checkout).map_err(|error| describe(&error))
}

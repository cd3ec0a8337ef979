//! From the trees of files to background sessions, with all that is wrong.
//!
//! Guarantees: reading goes on after a fault; a value is never repeated in a message, only names are.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use amplifier_bundle::bundle::{Code, Diagnostic, Node, Position, PreparedBundle, Severity, yaml};
use amplifier_core::permission::Mode;
use amplifier_foundation::fs::read;
use amplifier_trigger::{ConfigFault, TriggerRegistry};

use super::merge::Said;
use super::{Declarations, DeclareError, Declared, DeclaredAt, FILE_KEYS, LIST, NOTIFY, place};
use crate::config::BackgroundConfig;

/// Background sessions of one project at most.
const MAX_SESSIONS: usize = 100_000;

/// Files that are read one after the other.
pub(super) struct Reading<'r> {
    registry: &'r TriggerRegistry,
    found: Declarations,
    /// Where each name was declared first.
    names: BTreeMap<String, DeclaredAt>,
}

/// Who vouches for a declaration.
#[derive(Clone, Copy)]
struct Voucher {
    vouched: bool,
    by_project: bool,
}

impl<'r> Reading<'r> {
    pub(super) fn new(registry: &'r TriggerRegistry) -> Self {
        Self { registry, found: Declarations::default(), names: BTreeMap::new() }
    }

    /// What a bundle and those that it includes declare.
    pub(super) fn bundle(&mut self, bundle: &PreparedBundle, vouched: bool, by_project: bool) {
        let mut said: Vec<Said> = Vec::new();
        for declared in bundle.bundle.declared.get(LIST).into_iter().flatten() {
            let origin = &declared.origin;
            let name = if origin.bundle.is_empty() { bundle.name.as_str() } else { &origin.bundle };
            for one in self.list(&declared.node, &origin.file, Some(name)) {
                let same = |other: &Said| one.name().is_some() && other.name() == one.name();
                match said.iter().position(|other| same(other) && other.file != one.file) {
                    Some(at) => {
                        let earlier = said.remove(at);
                        said.insert(at, earlier.under(one));
                    }
                    None => said.push(one),
                }
            }
        }
        said.iter().for_each(|said| self.session(said, Voucher { vouched, by_project }));
    }

    /// What the project's file declares, if there is one.
    pub(super) fn file(&mut self, path: &Path, trusted: bool) -> Result<(), DeclareError> {
        let text = match read::text(path, yaml::MAX_BYTES as u64) {
            Ok((text, _)) => text,
            Err(error) if error.is_missing() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match yaml::parse(&text, path) {
            Ok(node) => self.tree(&node, path, trusted),
            Err(error) => self.found.diagnostics.push(error.into()),
        }
        Ok(())
    }

    fn tree(&mut self, root: &Node, path: &Path, trusted: bool) {
        if root.is_null() {
            return;
        }
        let Some(entries) = root.as_map() else {
            let help = format!("write `{LIST}:` with a list");
            return self.fault(path, root.position, format!("this is {}, not a map", root.kind()), &help);
        };
        for entry in entries {
            let key = entry.key.as_str();
            if !FILE_KEYS.contains(&key) {
                let message = format!("the key `{}` is not known here", key.escape_debug());
                let help = format!("there are {}", FILE_KEYS.join(" and "));
                self.fault(path, entry.key_position, message, &help);
            }
            if key == LIST && !entry.value.is_null() {
                let voucher = Voucher { vouched: trusted, by_project: true };
                for said in self.list(&entry.value, &Arc::from(path), None) {
                    self.session(&said, voucher);
                }
            }
            if key == NOTIFY && trusted {
                self.found.notify = Some(entry.value.clone());
            } else if key == NOTIFY {
                self.ignored(path, entry.key_position, NOTIFY.to_owned());
            }
        }
    }

    fn list(&mut self, node: &Node, file: &Arc<Path>, bundle: Option<&str>) -> Vec<Said> {
        let Some(items) = node.as_seq() else {
            let message = format!("`{LIST}` is {}, not a list", node.kind());
            self.fault(file, node.position, message, "begin each background session with `- name:`");
            return Vec::new();
        };
        if items.len() > MAX_SESSIONS {
            let message = format!("there are {} background sessions", items.len());
            self.fault(file, node.position, message, &format!("declare at most {MAX_SESSIONS}"));
            return Vec::new();
        }
        let mut said = Vec::with_capacity(items.len());
        for item in items {
            match Said::new(item, file, bundle.map(str::to_owned)) {
                Some(one) => said.push(one),
                None => {
                    let message = format!("a background session is a map, not {}", item.kind());
                    self.fault(file, item.position, message, "begin it with `- name:`");
                }
            }
        }
        said
    }

    fn session(&mut self, said: &Said, voucher: Voucher) {
        let place = DeclaredAt {
            file: Arc::clone(&said.file),
            line: said.position.line,
            bundle: said.bundle.clone(),
        };
        if let Some(name) = said.name() {
            if let Some(first) = self.names.get(&name) {
                let message = format!("the background session `{name}` is declared twice, first in {first}");
                let (file, position) = said.place("name");
                let (file, position) = (Arc::clone(file), position);
                return self.fault(&file, position, message, "give one of them another name, or remove it");
            }
            self.names.insert(name, place.clone());
        }
        match BackgroundConfig::parse(&said.node(), self.registry) {
            Ok(mut config) => {
                config.bundle = place::resolved(&config.bundle, said.folder_of("bundle"));
                config.chosen_by_project = voucher.by_project;
                if !voucher.vouched {
                    self.narrow(&mut config, said);
                }
                self.found.sessions.push(Declared { config, place });
            }
            Err(error) => error.faults.iter().for_each(|fault| self.config_fault(said, fault)),
        }
    }

    /// Takes away what widens. Limits bind besides those of the user, so that they widen nothing.
    fn narrow(&mut self, config: &mut BackgroundConfig, said: &Said) {
        if config.permissions.is_some_and(|mode| mode != Mode::Plan) {
            config.permissions = None;
            let (file, position) = said.place("permissions");
            let file = Arc::clone(file);
            self.ignored(&file, position, format!("permissions of {}", config.name));
        }
    }

    fn ignored(&mut self, file: &Path, position: Position, what: String) {
        let message = format!("{what} does not count, because the directory is not trusted");
        let warning = Diagnostic::new(Severity::Warning, Code::NotRead, file, message);
        self.found.diagnostics.push(warning.at(position).help("run `amplifier trust` if you trust it"));
    }

    fn config_fault(&mut self, said: &Said, fault: &ConfigFault) {
        let (file, position) = said.place(&fault.field);
        let of = said.name().map_or_else(String::new, |name| format!("{}: ", name.escape_debug()));
        let message = format!("{of}{fault}");
        let error = Diagnostic::new(Severity::Error, Code::BadValue, file, message);
        self.found.diagnostics.push(error.at(position));
    }

    fn fault(&mut self, file: &Path, position: Position, message: String, help: &str) {
        let error = Diagnostic::new(Severity::Error, Code::BadValue, file, message);
        self.found.diagnostics.push(error.at(position).help(help));
    }

    pub(super) fn finish(self) -> Result<Declarations, DeclareError> {
        let found = self.found;
        match found.diagnostics.iter().any(Diagnostic::is_error) {
            true => Err(DeclareError::Files { diagnostics: found.diagnostics }),
            false => Ok(found),
        }
    }
}

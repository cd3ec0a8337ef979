//! Bundles that a project chose for which nobody vouches.
//!
//! Such a bundle runs, but its providers and its agents' send no key elsewhere: their addresses on other machines,
//! names of keys' variables and values with variables do not count. Nor do its modules start programs by themselves, say which program answers, or
//! reach hosts of the user's own. Agents of its `.amplifier/agents` are held to the same, whoever's bundle has them. Who vouches: a person who typed a path or an address,
//! for that run; the user's own settings and bundles; the program itself.
//! Guarantees: what a project's folder, settings or added names lead to, directly or through
//! includes, is stripped; a bundle that is built in or the user's own never is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_core::ModuleSpec;
use serde_json::{Map, Value};

use super::request::BundleRef;
use crate::bundle::locate::is_place;
use crate::bundle::{AgentDef, ModuleEntry, Origin, PreparedBundle, builtin};
use crate::host::Host;
use crate::settings::redirect;
use amplifier_fs::read;

/// The folder of a project's agents.
const AGENTS: &str = ".amplifier/agents";

/// Takes out of a module's configuration what takes trust; the names of what was taken out.
type Strip = fn(&mut Map<String, Value>) -> Vec<String>;

/// The bundle without what would redirect keys or reach beyond the permissions, and the line that tells it.
pub(super) fn without_redirects(
    host: &Host,
    bundle: Arc<PreparedBundle>,
    reference: &BundleRef,
    chosen_by_project: bool,
) -> (Arc<PreparedBundle>, Option<String>) {
    if !host.0.untrusted_project {
        return (bundle, None);
    }
    let (stripped, taken) = taken(host, &bundle, reference, chosen_by_project);
    if taken.is_empty() {
        return (bundle, None);
    }
    let line = format!(
        "ignored in bundle {}, because the directory is not trusted: {}; run `amplifier trust`",
        bundle.name,
        taken.join(", ")
    );
    (Arc::new(stripped), Some(line))
}

/// What of a bundle does not count, because nobody vouches for the project that chose it or brings agents.
pub(crate) fn withheld(
    host: &Host,
    bundle: &PreparedBundle,
    name: &str,
    chosen_by_project: bool,
) -> Vec<String> {
    taken(host, bundle, &BundleRef::Named(name.to_owned()), chosen_by_project).1
}

/// The bundle without it, and the names of what was taken out.
fn taken(
    host: &Host,
    bundle: &PreparedBundle,
    reference: &BundleRef,
    chosen_by_project: bool,
) -> (PreparedBundle, Vec<String>) {
    let mut stripped = bundle.clone();
    let mut taken = Vec::new();
    if !host.0.untrusted_project {
        return (stripped, taken);
    }
    let suspects = Suspects::new(host, bundle, reference, chosen_by_project);
    let plan = &mut stripped.plan;
    let lists: [(&str, &mut Vec<ModuleSpec>, Strip); 3] = [
        ("providers", &mut plan.providers, redirect::strip),
        ("tools", &mut plan.tools, redirect::strip_powers),
        ("hooks", &mut plan.hooks, redirect::strip_powers),
    ];
    for (section, specs, strip) in lists {
        for spec in specs {
            if suspects.set(bundle.plan.provenance.of(&format!("{section}.{}", spec.key()))) {
                let names = strip(&mut spec.config);
                taken.extend(names.into_iter().map(|name| format!("{name} of {}", spec.key())));
            }
        }
    }
    let slots = [&mut plan.session.orchestrator, &mut plan.session.context];
    for entry in slots.into_iter().flatten() {
        taken.extend(of_entry(entry, &suspects, redirect::strip_loop));
    }
    for entry in stripped.spawn.tools.iter_mut().flatten() {
        taken.extend(of_entry(entry, &suspects, redirect::strip_powers));
    }
    for (name, def) in &mut stripped.agents {
        let names = of_agent(def, &suspects);
        taken.extend(names.into_iter().map(|what| format!("{what} of agent {name}")));
    }
    (stripped, taken)
}

/// Takes out of an agent's modules what takes trust; what that was.
fn of_agent(def: &mut Arc<AgentDef>, suspects: &Suspects<'_>) -> Vec<String> {
    let mut stripped = AgentDef::clone(def);
    let mut taken = Vec::new();
    let lists: [(&mut Option<Vec<ModuleEntry>>, Strip); 3] = [
        (&mut stripped.providers, redirect::strip),
        (&mut stripped.tools, redirect::strip_powers),
        (&mut stripped.hooks, redirect::strip_powers),
    ];
    for (entries, strip) in lists {
        for entry in entries.iter_mut().flatten() {
            taken.extend(of_entry(entry, suspects, strip));
        }
    }
    if let Some(session) = &mut stripped.session {
        for entry in [&mut session.orchestrator, &mut session.context].into_iter().flatten() {
            taken.extend(of_entry(entry, suspects, redirect::strip_loop));
        }
    }
    if !taken.is_empty() {
        *def = Arc::new(stripped);
    }
    taken
}

fn of_entry(entry: &mut ModuleEntry, suspects: &Suspects<'_>, strip: Strip) -> Vec<String> {
    if !suspects.set(&entry.origins) {
        return Vec::new();
    }
    let names = strip(&mut entry.spec.config);
    names.into_iter().map(|name| format!("{name} of {}", entry.spec.key())).collect()
}

/// Which files of a bundle nobody vouches for.
struct Suspects<'a> {
    bundle: &'a PreparedBundle,
    /// The user's own bundles.
    own: Option<PathBuf>,
    project: &'a Path,
    /// Files that names of the project led to.
    named: BTreeSet<PathBuf>,
    /// All but the user's own.
    all: bool,
    /// All outside of the place of the bundle's own file.
    others: bool,
}

impl<'a> Suspects<'a> {
    fn new(host: &'a Host, bundle: &'a PreparedBundle, reference: &BundleRef, by_project: bool) -> Self {
        let own = host.home().map(|home| home.join("bundles"));
        let own = own.map(|path| read::canonical(&path).unwrap_or(path));
        let named = host.bundles().distrusted();
        let pointed_at = match reference {
            BundleRef::Prepared(_) => true,
            BundleRef::Named(name) => host.0.in_memory_bundles.contains_key(name) || is_place(name),
        };
        let root_named = named.contains(root(bundle));
        let all = by_project || (!pointed_at && root_named);
        let others = !root_named && bundle.files.iter().any(|(file, _)| named.contains(file));
        Self { bundle, own, project: host.project(), named, all, others }
    }

    /// True if one of them set it. Who did is not known: then it was not the user.
    fn set(&self, origins: &[Origin]) -> bool {
        origins.is_empty() || origins.iter().any(|origin| self.contains(&origin.file))
    }

    fn contains(&self, file: &Path) -> bool {
        if file.starts_with(self.project.join(AGENTS)) {
            return true;
        }
        if builtin::owns(file) || self.own.as_ref().is_some_and(|own| file.starts_with(own)) {
            return false;
        }
        let root = root(self.bundle);
        let of_project = file.starts_with(self.project) && !root.starts_with(self.project);
        let beside =
            !of_project && !self.named.contains(file) && file.starts_with(self.bundle.place_of(root));
        self.all || (self.others && !beside)
    }
}

/// The bundle's own file.
fn root(bundle: &PreparedBundle) -> &Path {
    bundle.bundle.file.as_deref().unwrap_or(Path::new(""))
}

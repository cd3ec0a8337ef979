//! Bundles that a project chose for which nobody vouches.
//!
//! Such a bundle runs, but its providers and its agents' send no key elsewhere: their addresses on other machines,
//! names of keys' variables and values with variables do not count. Who vouches: a person who typed a path or an address,
//! for that run; the user's own settings and bundles; the program itself.
//! Guarantees: what a project's folder, settings or added names lead to, directly or through
//! includes, is stripped; a bundle that is built in or the user's own never is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::request::BundleRef;
use crate::bundle::locate::is_place;
use crate::bundle::{AgentDef, ModuleEntry, PreparedBundle, builtin};
use crate::host::Host;
use crate::settings::redirect;
use amplifier_fs::read;

/// The bundle without what would redirect keys, and the line that tells it.
pub(super) fn without_redirects(
    host: &Host,
    bundle: Arc<PreparedBundle>,
    reference: &BundleRef,
    chosen_by_project: bool,
) -> (Arc<PreparedBundle>, Option<String>) {
    let of_agents = || bundle.agents.values().any(|def| def.providers.is_some());
    if !host.0.untrusted_project || (bundle.plan.providers.is_empty() && !of_agents()) {
        return (bundle, None);
    }
    let suspects = Suspects::new(host, &bundle, reference, chosen_by_project);
    let mut stripped = PreparedBundle::clone(&bundle);
    let mut taken = Vec::new();
    for spec in &mut stripped.plan.providers {
        let origins = bundle.plan.provenance.of(&format!("providers.{}", spec.key()));
        // Who set it is not known: then it was not the user.
        if origins.is_empty() || origins.iter().any(|origin| suspects.contains(&origin.file)) {
            let key = spec.key().to_owned();
            taken
                .extend(redirect::strip(&mut spec.config).into_iter().map(|name| format!("{name} of {key}")));
        }
    }
    for (name, def) in &mut stripped.agents {
        taken.extend(of_agent(name, def, &suspects));
    }
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

/// Takes out of an agent's providers what would redirect keys; what that was.
fn of_agent(name: &str, def: &mut Arc<AgentDef>, suspects: &Suspects<'_>) -> Vec<String> {
    let is_suspect = |entry: &ModuleEntry| {
        entry.origins.is_empty() || entry.origins.iter().any(|origin| suspects.contains(&origin.file))
    };
    if !def.providers.iter().flatten().any(is_suspect) {
        return Vec::new();
    }
    let mut taken = Vec::new();
    for entry in Arc::make_mut(def).providers.iter_mut().flatten().filter(|entry| is_suspect(entry)) {
        let what = redirect::strip(&mut entry.spec.config);
        let key = entry.spec.key().to_owned();
        taken.extend(what.into_iter().map(|what| format!("{what} of {key} of agent {name}")));
    }
    taken
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

    fn contains(&self, file: &Path) -> bool {
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

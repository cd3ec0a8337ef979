//! Bundles inside bundles: which folder a namespace stands for.
//!
//! A file whose folder, or one above it, holds another bundle is nested in that; it
//! knows the namespace of that bundle besides its own.
//! Guarantees: nothing is looked for above a checkout or a repository; a namespace of
//! a checkout never points out of it.

use std::path::{Path, PathBuf};

use super::{Base, Graph};
use crate::bundle::builtin;
use crate::bundle::locate::Located;
use crate::bundle::model::Bundle;
use crate::source::file::{self, BUNDLE_FILES};
use amplifier_fs::read;

/// How far up an enclosing bundle is looked for.
const MAX_ANCESTORS: usize = 16;

impl Graph<'_> {
    pub(super) fn register_named(&mut self, name: &str, located: &Located) {
        let folder = match self.peek(&located.file) {
            Some(bundle) => namespace_folder(bundle, located),
            None => located.file.parent().unwrap_or(Path::new("")).to_owned(),
        };
        let base = Base { folder, checkout: located.checkout.clone() };
        self.namespaces.entry(name.to_owned()).or_insert(base);
    }

    /// A nested bundle also knows the namespace of the bundle whose folder it is in.
    pub(super) fn name_enclosing(
        &mut self,
        bundle: &mut Bundle,
        enclosing: Option<&Path>,
        located: &Located,
    ) {
        let Some(root) = enclosing else { return };
        let at = Located { file: root.to_owned(), checkout: located.checkout.clone() };
        let known = self.by_file.get(root).and_then(|node| self.nodes.get(*node));
        let (name, folder) = match known {
            Some(node) => (node.bundle.name.clone(), namespace_folder(&node.bundle, &at)),
            None => match self.peek(root) {
                Some(root) => (root.name.clone(), namespace_folder(root, &at)),
                None => return,
            },
        };
        if !name.is_empty() {
            bundle.source_base_paths.entry(name).or_insert(folder);
        }
    }

    /// What a file says of itself, without its becoming a part of the result.
    fn peek(&mut self, file: &Path) -> Option<&Bundle> {
        if let Some(node) = self.by_file.get(file) {
            return self.nodes.get(*node).map(|node| &node.bundle);
        }
        if !self.peeked.contains_key(file) {
            let parsed = self.parse(file).ok()?;
            self.peeked.insert(file.to_owned(), parsed);
        }
        self.peeked.get(file).and_then(|parsed| parsed.value.as_ref())
    }

    /// The nearest bundle whose folder encloses a file, not above its checkout or repository.
    pub(super) fn enclosing(&mut self, located: &Located) -> Option<PathBuf> {
        if builtin::owns(&located.file) {
            return None;
        }
        let folder = located.file.parent()?;
        let name = located.file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        // A bundle's own folder file encloses its other files, but not itself.
        let start = if BUNDLE_FILES.contains(&name) {
            if is_top(folder, located.checkout.as_deref()) {
                return None;
            }
            folder.parent()?
        } else {
            folder
        };
        self.nearest(start, located.checkout.as_deref(), MAX_ANCESTORS)
    }

    fn nearest(&mut self, folder: &Path, checkout: Option<&Path>, left: usize) -> Option<PathBuf> {
        if let Some(known) = self.enclosing.get(folder) {
            return known.clone();
        }
        let found = file::folder_bundle(folder).and_then(|file| read::canonical(&file).ok());
        let found = match (found, folder.parent()) {
            (Some(file), _) => Some(file),
            (None, Some(parent)) if left > 0 && !is_top(folder, checkout) => {
                self.nearest(parent, checkout, left - 1)
            }
            _ => None,
        };
        self.enclosing.insert(folder.to_owned(), found.clone());
        found
    }
}

fn is_top(folder: &Path, checkout: Option<&Path>) -> bool {
    match checkout {
        Some(root) => folder == root,
        None => read::kind(&folder.join(".git")) != read::Kind::Missing,
    }
}

fn namespace_folder(bundle: &Bundle, located: &Located) -> PathBuf {
    let own = located.file.parent().unwrap_or(Path::new("")).to_owned();
    let folder = bundle.source_base_paths.get(&bundle.name).cloned().unwrap_or(own);
    namespace_folder_at(&folder, located)
}

/// A namespace of a checkout never points out of it.
pub(super) fn namespace_folder_at(folder: &Path, located: &Located) -> PathBuf {
    match &located.checkout {
        Some(root) if !folder.starts_with(root) => root.clone(),
        _ => folder.to_owned(),
    }
}

//! Includes: from one bundle's file to all that it builds on, composed.
//!
//! Loading goes in waves: whatever a wave names is located together, so that slow
//! sources are fetched side by side, and read in the order in which it is listed, so
//! that the result does not depend on which answer came first. A file is one node,
//! however many bundles include it.
//!
//! Guarantees: loading ends, whatever includes what; each file is read once; what
//! is left out is named in a diagnostic with its place.
//! Never here: agents' and context files (`roster`), what the result is used for.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::join_all;

use super::diagnostic::{Code, Diagnostic, Parsed, Severity};
use super::error::BundleError;
use super::inputs::Inputs;
use super::locate::{Located, Locator};
use super::model::{Bundle, Include};
use super::parse::parse_bundle;
use super::provenance::Origin;
use super::{builtin, yaml};
use crate::fs::read;
use crate::source::file::{self, BUNDLE_FILES};
use crate::source::uri::{NamespacedUri, SourceUri, without_credentials};

/// Most bundles that one may build on.
pub const MAX_BUNDLES: usize = 2000;

/// Longest chain of bundles that include each other.
pub const MAX_DEPTH: usize = 64;

/// How far up an enclosing bundle is looked for.
const MAX_ANCESTORS: usize = 16;

/// Where the files of a namespace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) folder: PathBuf,
    pub(crate) checkout: Option<PathBuf>,
}

/// One file among those that a bundle builds on.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) bundle: Bundle,
    pub(crate) file: PathBuf,
    pub(crate) checkout: Option<PathBuf>,
    enclosing: Option<PathBuf>,
    children: Vec<Option<usize>>,
}

impl Node {
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// An include of a node that is still to be followed.
struct Want {
    node: usize,
    slot: usize,
    include: Include,
    namespaced: Option<NamespacedUri>,
}

/// Everything that one load has found.
pub(crate) struct Graph<'a> {
    locator: &'a Locator,
    name: String,
    pub(crate) inputs: Inputs<'a>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) diagnostics: Vec<Diagnostic>,
    pub(crate) namespaces: BTreeMap<String, Base>,
    by_file: HashMap<PathBuf, usize>,
    peeked: HashMap<PathBuf, Parsed<Bundle>>,
    enclosing: HashMap<PathBuf, Option<PathBuf>>,
    unusable: BTreeMap<String, String>,
}

impl<'a> Graph<'a> {
    pub(crate) fn new(locator: &'a Locator, inputs: Inputs<'a>, name: &str) -> Self {
        Self {
            locator,
            name: without_credentials(name),
            inputs,
            nodes: Vec::new(),
            diagnostics: Vec::new(),
            namespaces: BTreeMap::new(),
            by_file: HashMap::new(),
            peeked: HashMap::new(),
            enclosing: HashMap::new(),
            unusable: BTreeMap::new(),
        }
    }

    /// Loads a file and all that it includes. The file is the first node.
    pub(crate) async fn discover(&mut self, root: Located) -> Result<(), BundleError> {
        self.intern(root)?;
        self.follow_all().await
    }

    /// As [`Self::discover`], for a bundle that is in memory already.
    pub(crate) async fn discover_parsed(
        &mut self,
        parsed: Parsed<Bundle>,
        file: PathBuf,
    ) -> Result<(), BundleError> {
        self.add(parsed, Located { file, checkout: None }, None)?;
        self.follow_all().await
    }

    async fn follow_all(&mut self) -> Result<(), BundleError> {
        let mut deferred = Vec::new();
        let mut wants = self.wants_since(0);
        loop {
            let (mut ready, unknown) = self.partition(wants);
            deferred.extend(unknown);
            if ready.is_empty() {
                (ready, deferred) = self.last_chance(deferred).await;
            }
            if ready.is_empty() {
                deferred.iter().for_each(|want| self.unregistered(want));
                return Ok(());
            }
            let known = self.nodes.len();
            self.follow(ready).await?;
            wants = self.wants_since(known);
        }
    }

    fn wants_since(&self, first: usize) -> Vec<Want> {
        let fresh = self.nodes.iter().enumerate().skip(first);
        let wants = fresh.flat_map(|(node, found)| {
            found.bundle.includes.iter().enumerate().map(move |(slot, include)| Want {
                node,
                slot,
                include: include.clone(),
                namespaced: match include.source.parse() {
                    Ok(SourceUri::Namespaced(uri)) => Some(uri),
                    _ => None,
                },
            })
        });
        wants.collect()
    }

    /// Those that can be followed, and those whose namespace is not known so far.
    fn partition(&self, wants: Vec<Want>) -> (Vec<Want>, Vec<Want>) {
        wants.into_iter().partition(|want| match &want.namespaced {
            Some(uri) => self.base(want.node, &uri.namespace).is_some(),
            None => true,
        })
    }

    /// Nothing more will be loaded by itself, so namespaces are looked up as names of bundles.
    async fn last_chance(&mut self, deferred: Vec<Want>) -> (Vec<Want>, Vec<Want>) {
        let locator = self.locator;
        let unknown: Vec<String> = deferred.iter().filter_map(|want| want.namespaced.as_ref()).fold(
            Vec::new(),
            |mut all: Vec<String>, uri| {
                if !all.contains(&uri.namespace) && !self.unusable.contains_key(&uri.namespace) {
                    all.push(uri.namespace.clone());
                }
                all
            },
        );
        let found = join_all(unknown.iter().map(|name| locator.named(name, 0))).await;
        for (name, found) in unknown.into_iter().zip(found) {
            match found {
                Ok(Some(located)) => self.register_named(&name, &located),
                Ok(None) => {}
                Err(error) => {
                    self.unusable.insert(name, describe(&error));
                }
            }
        }
        self.partition(deferred)
    }

    fn register_named(&mut self, name: &str, located: &Located) {
        let folder = match self.peek(&located.file) {
            Some(bundle) => namespace_folder(bundle, located),
            None => located.file.parent().unwrap_or(Path::new("")).to_owned(),
        };
        let base = Base { folder, checkout: located.checkout.clone() };
        self.namespaces.entry(name.to_owned()).or_insert(base);
    }

    async fn follow(&mut self, wants: Vec<Want>) -> Result<(), BundleError> {
        let found = join_all(wants.iter().map(|want| self.locate(want))).await;
        for (want, found) in wants.into_iter().zip(found) {
            match found.and_then(|located| self.intern(located)) {
                Ok(child) => self.nodes[want.node].children[want.slot] = Some(child),
                Err(error) => self.leave_out(&want, error)?,
            }
        }
        Ok(())
    }

    async fn locate(&self, want: &Want) -> Result<Located, BundleError> {
        let node = &self.nodes[want.node];
        let Some(uri) = &want.namespaced else {
            return self.locator.written(&want.include.source, node.folder(), node.checkout.as_deref()).await;
        };
        let Some(base) = self.base(want.node, &uri.namespace) else {
            return Err(BundleError::NotFound { name: uri.namespace.clone(), near: Vec::new() });
        };
        let file = file::in_namespace(&base.folder, &uri.path, base.checkout.as_deref())?;
        let file = file.ok_or_else(|| BundleError::IncludePath {
            include: want.include.source.clone(),
            namespace: uri.namespace.clone(),
            folder: base.folder.clone(),
            at: place(&want.include.origin),
        })?;
        Ok(Located { file, checkout: base.checkout })
    }

    /// Where a namespace's files are, as a node sees it: its own names first.
    pub(crate) fn base(&self, node: usize, namespace: &str) -> Option<Base> {
        let own = self.nodes.get(node).and_then(|node| {
            let folder = node.bundle.source_base_paths.get(namespace)?.clone();
            Some(Base { folder, checkout: node.checkout.clone() })
        });
        own.or_else(|| self.namespaces.get(namespace).cloned())
    }

    fn intern(&mut self, located: Located) -> Result<usize, BundleError> {
        if let Some(known) = self.by_file.get(&located.file) {
            return Ok(*known);
        }
        let parsed = match self.peeked.remove(&located.file) {
            Some(parsed) => parsed,
            None => self.parse(&located.file)?,
        };
        let enclosing = self.enclosing(&located);
        self.add(parsed, located, enclosing)
    }

    fn add(
        &mut self,
        parsed: Parsed<Bundle>,
        located: Located,
        enclosing: Option<PathBuf>,
    ) -> Result<usize, BundleError> {
        if self.nodes.len() >= MAX_BUNDLES {
            return Err(BundleError::TooMany { name: self.name.clone(), limit: MAX_BUNDLES });
        }
        let (mut bundle, noticed) =
            parsed.into_result().map_err(|diagnostics| BundleError::Invalid { diagnostics })?;
        self.diagnostics.extend(noticed);
        let Located { file, checkout } = located.clone();
        if let Some(folder) = bundle.source_base_paths.get_mut(&bundle.name) {
            *folder = namespace_folder_at(folder, &located);
        }
        self.name_enclosing(&mut bundle, enclosing.as_deref(), &located);
        for (name, folder) in &bundle.source_base_paths {
            let base = Base { folder: folder.clone(), checkout: checkout.clone() };
            self.namespaces.entry(name.clone()).or_insert(base);
        }
        let children = vec![None; bundle.includes.len()];
        self.by_file.insert(file.clone(), self.nodes.len());
        self.nodes.push(Node { bundle, file, checkout, enclosing, children });
        Ok(self.nodes.len() - 1)
    }

    /// A nested bundle also knows the namespace of the bundle whose folder it is in.
    fn name_enclosing(&mut self, bundle: &mut Bundle, enclosing: Option<&Path>, located: &Located) {
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

    fn parse(&mut self, file: &Path) -> Result<Parsed<Bundle>, BundleError> {
        let text = self.inputs.text(file, yaml::MAX_BYTES as u64)?;
        Ok(parse_bundle(&text, file))
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
    fn enclosing(&mut self, located: &Located) -> Option<PathBuf> {
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

    /// What cannot be followed is left out with a warning; a wrong path in a known namespace is fatal.
    fn leave_out(&mut self, want: &Want, error: BundleError) -> Result<(), BundleError> {
        if matches!(error, BundleError::IncludePath { .. } | BundleError::TooMany { .. }) {
            return Err(error);
        }
        self.inputs.missing(&error);
        let source = without_credentials(&want.include.source);
        let message = match &error {
            BundleError::Invalid { .. } => format!("include `{source}` is left out, its file has errors"),
            error => format!("include `{source}` is left out: {}", describe(error)),
        };
        self.warn_at(&want.include.origin, message);
        if let BundleError::Invalid { diagnostics } = error {
            self.diagnostics.extend(diagnostics.into_iter().map(|mut diagnostic| {
                diagnostic.severity = diagnostic.severity.min(Severity::Warning);
                diagnostic
            }));
        }
        Ok(())
    }

    fn unregistered(&mut self, want: &Want) {
        let Some(uri) = &want.namespaced else { return };
        let why = match self.unusable.get(&uri.namespace) {
            Some(why) => why.clone(),
            None => format!("no bundle `{}` is known", uri.namespace),
        };
        let source = without_credentials(&want.include.source);
        self.warn_at(&want.include.origin, format!("include `{source}` is left out: {why}"));
    }

    pub(crate) fn warn_at(&mut self, origin: &Origin, message: String) {
        self.note_at(origin, Severity::Warning, message);
    }

    fn note_at(&mut self, origin: &Origin, severity: Severity, message: String) {
        let diagnostic = Diagnostic::new(severity, Code::Include, &origin.file, message).at(origin.position);
        if !self.diagnostics.contains(&diagnostic) {
            self.diagnostics.push(diagnostic);
        }
    }

    /// The first node with all that it builds on: what is listed first comes first, itself last.
    pub(crate) fn compose(&mut self) -> Bundle {
        let mut done = vec![None; self.nodes.len()];
        let whole = self.compose_node(0, &mut Vec::new(), &mut done);
        drop(done);
        Arc::unwrap_or_clone(whole)
    }

    fn compose_node(
        &mut self,
        at: usize,
        chain: &mut Vec<usize>,
        done: &mut [Option<Arc<Bundle>>],
    ) -> Arc<Bundle> {
        if let Some(done) = &done[at] {
            return Arc::clone(done);
        }
        chain.push(at);
        let mut whole = Bundle::default();
        for slot in 0..self.nodes[at].children.len() {
            let Some(child) = self.nodes[at].children[slot] else { continue };
            if self.may_follow(at, slot, child, chain) {
                whole = whole.compose(&self.compose_node(child, chain, done));
            }
        }
        chain.pop();
        let whole = Arc::new(whole.compose(&self.nodes[at].bundle));
        done[at] = Some(Arc::clone(&whole));
        whole
    }

    fn may_follow(&mut self, at: usize, slot: usize, child: usize, chain: &[usize]) -> bool {
        let origin = self.nodes[at].bundle.includes[slot].origin.clone();
        if let Some(first) = chain.iter().position(|known| *known == child) {
            let circle: Vec<String> =
                chain[first..].iter().chain([&child]).map(|node| self.label(*node)).collect();
            let message = format!("includes form a circle, the last one is left out: {}", circle.join(" → "));
            let severity = if self.belong_together(at, child) { Severity::Note } else { Severity::Warning };
            self.note_at(&origin, severity, message);
            return false;
        }
        if chain.len() >= MAX_DEPTH {
            let message = format!("includes are nested deeper than {MAX_DEPTH}, the rest is left out");
            self.warn_at(&origin, message);
            return false;
        }
        true
    }

    /// A nested bundle may include the one that encloses it.
    fn belong_together(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.enclosing.as_ref() == Some(&b.file) || b.enclosing.as_ref() == Some(&a.file)
    }

    fn label(&self, node: usize) -> String {
        let node = &self.nodes[node];
        match node.bundle.name.as_str() {
            "" => node.file.display().to_string(),
            name => name.to_owned(),
        }
    }

    /// The node of a file; the first one for a file that is none.
    pub(crate) fn node_of(&self, file: &Path) -> usize {
        self.by_file.get(file).copied().unwrap_or(0)
    }

    /// The checkout that a node's files must not leave.
    pub(crate) fn checkout_of(&self, file: &Path) -> Option<&Path> {
        self.nodes.get(self.node_of(file)).and_then(|node| node.checkout.as_deref())
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
fn namespace_folder_at(folder: &Path, located: &Located) -> PathBuf {
    match &located.checkout {
        Some(root) if !folder.starts_with(root) => root.clone(),
        _ => folder.to_owned(),
    }
}

fn place(origin: &Origin) -> String {
    format!("{}:{}", origin.file.display(), origin.position.line)
}

/// An error with all that caused it, on one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

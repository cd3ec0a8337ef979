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

mod nesting;
mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use futures_util::future::join_all;

use self::nesting::namespace_folder_at;
use super::diagnostic::{Code, Diagnostic, Parsed, Severity};
use super::error::BundleError;
use super::inputs::Inputs;
use super::locate::{Located, Locator};
use super::model::{Bundle, Include};
use super::parse::parse_bundle;
use super::provenance::Origin;
use super::yaml;
use crate::source::file;
use crate::source::uri::{NamespacedUri, SourceUri, without_credentials};

/// Most bundles that one may build on.
pub const MAX_BUNDLES: usize = 2000;

/// Longest chain of bundles that include each other.
pub const MAX_DEPTH: usize = 64;

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
    pub(crate) locator: &'a Locator,
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
        let (ready, deferred) = self.partition(deferred);
        if !ready.is_empty() {
            return (ready, deferred);
        }
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

    fn parse(&mut self, file: &Path) -> Result<Parsed<Bundle>, BundleError> {
        let text = self.inputs.text(file, yaml::MAX_BYTES as u64)?;
        Ok(parse_bundle(&text, file))
    }

    /// What cannot be followed is left out with a warning; a wrong path in a known namespace is fatal.
    fn leave_out(&mut self, want: &Want, error: BundleError) -> Result<(), BundleError> {
        match error {
            BundleError::IncludePath { .. } => {
                self.note_at(&want.include.origin, Severity::Error, error.to_string());
                return Err(BundleError::Invalid { diagnostics: std::mem::take(&mut self.diagnostics) });
            }
            BundleError::TooMany { .. } => return Err(error),
            _ => {}
        }
        self.inputs.missing(&error);
        let source = without_credentials(&want.include.source);
        let message = match &error {
            BundleError::Invalid { .. } => format!("include `{source}` is left out, its file has errors"),
            error => match describe(error) {
                why if why.contains(&source) => format!("an include is left out: {why}"),
                why => format!("include `{source}` is left out: {why}"),
            },
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

    /// The roots of all checkouts that files were read from.
    pub(crate) fn checkouts(&self) -> Vec<PathBuf> {
        let of_nodes = self.nodes.iter().filter_map(|node| node.checkout.as_ref());
        let of_names = self.namespaces.values().filter_map(|base| base.checkout.as_ref());
        let roots: BTreeSet<&PathBuf> = of_nodes.chain(of_names).collect();
        roots.into_iter().cloned().collect()
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

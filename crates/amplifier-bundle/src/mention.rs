//! `@mentions`: files that a text names and a model is shown.
//!
//! `@ns:path` is a bundle's file, `@path` one below the working directory, `@~/path`
//! one of the home folder. Mentions in code are none. What cannot be found is left
//! out and reported in [`Expansion::failed`].
//!
//! Guarantees: each content appears once, whatever its paths; files mention further
//! files down to [`MAX_DEPTH`]; no file above [`MAX_FILE_BYTES`] and no more than
//! [`MAX_TOTAL_BYTES`] in all is read; a file is opened only if it changed.
//! Where a session's permissions are given, a file is read only if they allow a tool to read it.
//! Never here: changing the text, asking a person.

mod scan;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_core::permission::{Access, Paths, Permissions, Ruling};

use amplifier_fs::memo::Memo;
use amplifier_fs::read::{self, Kind, ReadError, Stamp};

pub use scan::mentions;

/// How deep files mention files.
pub const MAX_DEPTH: usize = 3;
/// Largest file that is shown, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Most bytes that one text brings in.
pub const MAX_TOTAL_BYTES: u64 = 4 * 1024 * 1024;
/// Most entries of a directory that are listed.
pub const MAX_LISTED: usize = 500;

/// Where a mention led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceKind {
    /// A file of a bundle.
    Bundle,
    /// A file below the working directory, or at an absolute path.
    Project,
    /// A file of the home folder.
    Home,
}

/// Why a mention brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureReason {
    /// Nothing is there.
    NotFound,
    /// No bundle has that namespace.
    UnknownNamespace,
    /// It could not be read.
    Unreadable,
    /// It is no UTF-8 text.
    NotText,
    /// Larger than [`MAX_FILE_BYTES`].
    TooLarge,
    /// With it, more than [`MAX_TOTAL_BYTES`] would have been read.
    TotalLimit,
    /// A file of a fetched source named something outside of its checkout.
    OutsideCheckout,
    /// The session may not read it, or not without being asked.
    NotPermitted,
}

/// A mention that led somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// As written, with the `@`.
    pub mention: String,
    /// The absolute path.
    pub path: PathBuf,
    /// Where it led.
    pub kind: SourceKind,
    /// BLAKE3 of the content, in hex.
    pub content_hash: String,
    /// False if the same content was there already.
    pub is_new: bool,
}

/// A mention that led nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// As written, with the `@`.
    pub mention: String,
    /// Why.
    pub reason: FailureReason,
}

/// A content that a model is shown, with every name under which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContextFile {
    /// `(mention, path)`; for a file that a bundle lists, the mention that would lead to it.
    pub names: Vec<(String, PathBuf)>,
    /// The content, or the listing of a directory.
    pub content: String,
}

/// What the mentions of a text brought.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Expansion {
    /// The contents, in the order in which they were first met.
    pub files: Vec<ContextFile>,
    /// Mentions that led somewhere.
    pub resolutions: Vec<Resolution>,
    /// Mentions that led nowhere.
    pub failed: Vec<Failure>,
    /// Files that went in, for a later check by `stat`.
    pub stamps: Vec<(PathBuf, Stamp)>,
    total_bytes: u64,
    by_hash: HashMap<blake3::Hash, usize>,
    visited: HashSet<PathBuf>,
}

impl Expansion {
    /// How many contents were met again under another path.
    pub fn deduplicated_count(&self) -> usize {
        self.files.iter().map(|file| file.names.len().saturating_sub(1)).sum()
    }

    /// The contents as `<context_file>` blocks with blank lines between; empty if there are none.
    pub fn blocks(&self) -> String {
        let size: usize = self.files.iter().map(|file| file.content.len() + 128).sum();
        let mut text = String::with_capacity(size);
        for file in &self.files {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            let names: Vec<String> = file.names.iter().map(|(mention, path)| label(mention, path)).collect();
            let content = file.content.replace("</context_file", "&lt;/context_file");
            let _ = write!(text, "<context_file paths=\"{}\">\n{content}\n</context_file>", names.join(", "));
        }
        text
    }

    /// Adds a content; false if it is there already.
    fn add(&mut self, hash: blake3::Hash, content: &str, mention: &str, path: &Path) -> bool {
        let name = (mention.to_owned(), path.to_owned());
        if let Some(file) = self.by_hash.get(&hash).and_then(|at| self.files.get_mut(*at)) {
            if !file.names.contains(&name) {
                file.names.push(name);
            }
            return false;
        }
        self.by_hash.insert(hash, self.files.len());
        self.files.push(ContextFile { names: vec![name], content: content.to_owned() });
        true
    }

    fn fail(&mut self, mention: &str, reason: FailureReason) {
        let failure = Failure { mention: mention.to_owned(), reason };
        if !self.failed.contains(&failure) {
            self.failed.push(failure);
        }
    }
}

fn label(mention: &str, path: &Path) -> String {
    let path = path.display().to_string().replace('"', "&quot;").replace('<', "&lt;");
    format!("{mention} → {path}")
}

/// A text with the contents of its mentions before it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Prepended {
    /// The blocks, a blank line, and the text as it was.
    pub text: String,
    /// What was found.
    pub expansion: Expansion,
}

/// Turns mentions into files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct MentionResolver {
    cwd: PathBuf,
    home: Option<PathBuf>,
    namespaces: Arc<BTreeMap<String, PathBuf>>,
    named: Arc<BTreeMap<String, PathBuf>>,
    pub(crate) checkouts: Arc<[PathBuf]>,
    memo: Arc<Memo>,
    judge: Option<Judge>,
}

/// Where a text stands that mentions files.
#[derive(Debug, Clone, Copy, Default)]
struct Origin<'a> {
    /// The folder in which `@./` begins.
    from: Option<&'a Path>,
    /// The checkout that it may not leave.
    checkout: Option<&'a Path>,
}

/// What a session may read.
#[derive(Debug, Clone)]
struct Judge {
    permissions: Permissions,
    paths: Arc<dyn Paths>,
    asked: bool,
}

impl Judge {
    fn allows(&self, path: &Path) -> bool {
        let resolved = path.to_str().and_then(|text| self.paths.resolve(Path::new("/"), text).ok());
        resolved.is_some_and(|path| {
            self.permissions.decide(&Access::Read(path), self.asked).ruling == Ruling::Allow
        })
    }
}

impl MentionResolver {
    /// Where the session works.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// A resolver for a session that works in `cwd`.
    pub fn new(cwd: impl Into<PathBuf>) -> Self {
        Self {
            cwd: cwd.into(),
            home: None,
            namespaces: Arc::default(),
            named: Arc::default(),
            checkouts: Arc::default(),
            memo: Arc::default(),
            judge: None,
        }
    }

    /// The same with a home folder for `@~/…`.
    #[must_use]
    pub fn home(mut self, home: Option<PathBuf>) -> Self {
        self.home = home;
        self
    }

    /// The same with the folders of bundles, by namespace.
    #[must_use]
    pub fn namespaces(mut self, namespaces: BTreeMap<String, PathBuf>) -> Self {
        self.namespaces = Arc::new(namespaces);
        self
    }

    /// The same with context files that have a name of their own: `ns:name` → path.
    #[must_use]
    pub fn named(mut self, named: BTreeMap<String, PathBuf>) -> Self {
        self.named = Arc::new(named);
        self
    }

    /// The same with the roots of fetched sources: what their files mention lies in their checkout, in
    /// the folder of a namespace, or in the working directory, links resolved.
    #[must_use]
    pub fn checkouts(mut self, roots: Vec<PathBuf>) -> Self {
        self.checkouts = roots.into();
        self
    }

    /// The same for a session that works in `cwd`: the rest is shared.
    #[must_use]
    pub(crate) fn at(&self, cwd: &Path, home: Option<PathBuf>) -> Self {
        Self { cwd: cwd.to_owned(), home, ..self.clone() }
    }

    /// The same, sharing files in memory with others.
    #[must_use]
    pub fn memo(mut self, memo: Arc<Memo>) -> Self {
        self.memo = memo;
        self
    }

    /// The same for a session with these permissions: what a tool of it could not read, or only after
    /// a question, is left out. `asked` tells whether somebody can answer.
    #[must_use]
    pub fn permitted(mut self, permissions: Permissions, paths: Arc<dyn Paths>, asked: bool) -> Self {
        self.judge = Some(Judge { permissions, paths, asked });
        self
    }

    /// The path that a mention leads to, or why it leads nowhere. A final `.md` may be left out.
    pub fn resolve(&self, mention: &str) -> Result<(PathBuf, SourceKind), FailureReason> {
        self.resolve_from(mention, Origin::default())
    }

    fn resolve_from(
        &self,
        mention: &str,
        origin: Origin<'_>,
    ) -> Result<(PathBuf, SourceKind), FailureReason> {
        let written = mention.strip_prefix('@').unwrap_or(mention);
        match self.lookup(written, origin) {
            // The end of a sentence is no part of a name.
            Err(FailureReason::NotFound) if written.ends_with(['.', ':']) => {
                self.lookup(written.trim_end_matches(['.', ':']), origin)
            }
            found => found,
        }
    }

    fn lookup(&self, written: &str, origin: Origin<'_>) -> Result<(PathBuf, SourceKind), FailureReason> {
        if let Some((namespace, path)) = written.split_once(':') {
            if let Some(path) = self.named.get(written) {
                return existing(path.clone()).map(|path| (path, SourceKind::Bundle));
            }
            let folder = self.namespaces.get(namespace).ok_or(FailureReason::UnknownNamespace)?;
            let climbs = path.starts_with('/') || path.split('/').any(|part| part == "..");
            if climbs || path.is_empty() {
                return Err(FailureReason::NotFound);
            }
            let path = self.confined(existing(folder.join(path))?, folder)?;
            return Ok((path, SourceKind::Bundle));
        }
        if let Some(rest) = written.strip_prefix("~/") {
            let home = self.home.as_ref().ok_or(FailureReason::NotFound)?;
            let path = existing(home.join(rest))?;
            return self.reachable(path, origin, None).map(|path| (path, SourceKind::Home));
        }
        if written.is_empty() || written.starts_with('~') {
            return Err(FailureReason::NotFound);
        }
        let explicit = written.starts_with("./") || written.starts_with("../");
        let base = origin.from.filter(|_| explicit).unwrap_or(&self.cwd);
        let path = existing(base.join(written))?;
        let path = if explicit { self.confined(path, base)? } else { path };
        let project = (!written.starts_with('/')).then_some(self.cwd.as_path());
        self.reachable(path, origin, project).map(|path| (path, SourceKind::Project))
    }

    /// What a text of a checkout mentions lies in it, or in the folder that its mention begins in.
    fn reachable(
        &self,
        found: PathBuf,
        origin: Origin<'_>,
        project: Option<&Path>,
    ) -> Result<PathBuf, FailureReason> {
        let Some(checkout) = origin.checkout else { return Ok(found) };
        let project = project.and_then(|path| read::canonical(path).ok());
        match found.starts_with(checkout) || project.is_some_and(|project| found.starts_with(project)) {
            true => Ok(found),
            false => Err(FailureReason::OutsideCheckout),
        }
    }

    fn checkout_of(&self, path: &Path) -> Option<&Path> {
        self.checkouts.iter().find(|root| path.starts_with(root)).map(PathBuf::as_path)
    }

    /// What begins in a checkout stays in it.
    fn confined(&self, found: PathBuf, begin: &Path) -> Result<PathBuf, FailureReason> {
        match self.checkout_of(begin) {
            Some(root) if !found.starts_with(root) => Err(FailureReason::NotFound),
            _ => Ok(found),
        }
    }

    /// What the mentions of a text bring. `@./x` is relative to `from`, else to the working directory.
    pub fn expand(&self, text: &str, from: Option<&Path>) -> Expansion {
        let mut expansion = Expansion::default();
        self.expand_into(&mut expansion, text, from);
        expansion
    }

    /// As [`Self::expand`], adding to what was found already.
    pub fn expand_into(&self, expansion: &mut Expansion, text: &str, from: Option<&Path>) {
        self.expand_within(expansion, text, from, from.and_then(|from| self.checkout_of(from)));
    }

    /// As [`Self::expand_into`], for a text that a file in a checkout brought.
    pub(crate) fn expand_within(
        &self,
        expansion: &mut Expansion,
        text: &str,
        from: Option<&Path>,
        checkout: Option<&Path>,
    ) {
        self.follow(expansion, text, Origin { from, checkout }, 0);
    }

    /// Adds a file that is not mentioned but listed under a name, and what it mentions.
    pub fn include(&self, expansion: &mut Expansion, name: &str, path: &Path) -> Result<(), FailureReason> {
        self.open(expansion, &format!("@{name}"), path, 0).map(|_| ())
    }

    /// Adds the first `limit_bytes` of a file, and what they mention; its own mentions begin in its folder and stay
    /// in `root`, links resolved. How many bytes were added.
    pub(crate) fn include_start(
        &self,
        expansion: &mut Expansion,
        (name, path): (&str, &Path),
        limit_bytes: usize,
        root: &Path,
    ) -> Result<usize, FailureReason> {
        let loaded = self.memo.text(path, MAX_FILE_BYTES).map_err(|error| reason(&error))?;
        let end = loaded.text.floor_char_boundary(limit_bytes);
        let start = &loaded.text[..end];
        let left_out = loaded.text.len() - end;
        let shown = match left_out {
            0 => start.to_owned(),
            _ => format!("{start}\n[cut here: {left_out} bytes of this file are left out]"),
        };
        let hash = if left_out == 0 { loaded.hash } else { blake3::hash(shown.as_bytes()) };
        expansion.add(hash, &shown, &format!("@{name}"), path);
        if expansion.visited.insert(path.to_owned()) {
            expansion.stamps.push((path.to_owned(), loaded.stamp));
            let roots = self.checkouts.iter().cloned().chain([root.to_owned()]).collect();
            let origin = Origin { from: path.parent(), checkout: Some(root) };
            let folder = path.parent().unwrap_or(root).to_owned();
            let within = Self { cwd: folder, ..self.clone() }.checkouts(roots);
            within.follow(expansion, start, origin, 1);
        }
        Ok(end)
    }

    /// The text with the contents of its mentions before it.
    pub fn prepend(&self, text: &str) -> Prepended {
        let expansion = self.expand(text, None);
        let text = match expansion.blocks() {
            blocks if blocks.is_empty() => text.to_owned(),
            blocks => format!("{blocks}\n\n{text}"),
        };
        Prepended { text, expansion }
    }

    fn follow(&self, expansion: &mut Expansion, text: &str, origin: Origin<'_>, depth: usize) {
        for mention in mentions(text) {
            let found = self.resolve_from(&mention, origin).and_then(|(path, kind)| {
                let (hash, is_new) = self.open(expansion, &mention, &path, depth)?;
                let content_hash = hash.to_hex().to_string();
                Ok(Resolution { mention: mention.clone(), path, kind, content_hash, is_new })
            });
            match found {
                Ok(resolution) => expansion.resolutions.push(resolution),
                Err(reason) => expansion.fail(&mention, reason),
            }
        }
    }

    fn open(
        &self,
        expansion: &mut Expansion,
        mention: &str,
        path: &Path,
        depth: usize,
    ) -> Result<(blake3::Hash, bool), FailureReason> {
        if self.judge.as_ref().is_some_and(|judge| !judge.allows(path)) {
            return Err(FailureReason::NotPermitted);
        }
        if read::kind(path) == Kind::Directory {
            let content = listing(path).map_err(|error| reason(&error))?;
            let hash = blake3::hash(content.as_bytes());
            return Ok((hash, expansion.add(hash, &content, mention, path)));
        }
        let loaded = self.memo.text(path, MAX_FILE_BYTES).map_err(|error| reason(&error))?;
        if !expansion.by_hash.contains_key(&loaded.hash) {
            let total = expansion.total_bytes.saturating_add(loaded.text.len() as u64);
            if total > MAX_TOTAL_BYTES {
                return Err(FailureReason::TotalLimit);
            }
            expansion.total_bytes = total;
        }
        let is_new = expansion.add(loaded.hash, &loaded.text, mention, path);
        // The path, not the content, ends a circle: equal files in two folders mention different ones.
        if expansion.visited.insert(path.to_owned()) {
            expansion.stamps.push((path.to_owned(), loaded.stamp));
            if depth < MAX_DEPTH {
                let origin = Origin { from: path.parent(), checkout: self.checkout_of(path) };
                self.follow(expansion, &loaded.text, origin, depth + 1);
            }
        }
        Ok((loaded.hash, is_new))
    }
}

/// The canonical path if something is there, also with `.md` behind it.
fn existing(path: PathBuf) -> Result<PathBuf, FailureReason> {
    let mut with_suffix = path.clone().into_os_string();
    with_suffix.push(".md");
    let found = [path, with_suffix.into()].into_iter().find(|path| read::kind(path) != Kind::Missing);
    let found = found.ok_or(FailureReason::NotFound)?;
    read::canonical(&found).map_err(|error| reason(&error))
}

fn reason(error: &ReadError) -> FailureReason {
    match error {
        ReadError::Missing { .. } => FailureReason::NotFound,
        ReadError::NotText { .. } => FailureReason::NotText,
        ReadError::TooLarge { .. } => FailureReason::TooLarge,
        _ => FailureReason::Unreadable,
    }
}

fn listing(path: &Path) -> Result<String, ReadError> {
    let (entries, more) = read::list(path, MAX_LISTED)?;
    let mut text = format!("Directory {}", path.display());
    for entry in entries {
        let _ = write!(text, "\n  {}{}", entry.name, if entry.directory { "/" } else { "" });
    }
    if more {
        let _ = write!(text, "\n  … more than {MAX_LISTED} entries");
    }
    Ok(text)
}

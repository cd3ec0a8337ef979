//! From a name, path or address to the file of a bundle.
//!
//! Guarantees: names are looked up in one order (project, user, added, built in,
//! registered, well-known); nothing is fetched without a [`Notice`] before it, and
//! at most [`MAX_FETCHES`] things at once.
//! Never here: reading the file that was found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use amplifier_core::clock::BoxFuture;

use super::builtin;
use super::error::BundleError;
use crate::source::file::{self, Places, SUFFIXES};
use crate::source::registry::{self, Registry, RegistryError};
use crate::source::uri::{FileUri, NameUri, NamespacedUri};
use crate::source::{GitUri, SourceError, SourceUri, WebUri};
use amplifier_fs::read::{self, Kind};

/// How many sources are fetched at once.
pub const MAX_FETCHES: usize = 16;

/// How many names may stand for names before a file is reached.
const MAX_ALIASES: usize = 8;

/// Something that a person may want to know while a bundle is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// A source is fetched now; it was not cached.
    Fetching {
        /// The name that led there, if it was a name.
        name: Option<String>,
        /// The source, without credentials.
        uri: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fetching { name: Some(name), uri } => write!(f, "fetching {name} from {uri}"),
            Self::Fetching { name: None, uri } => write!(f, "fetching {uri}"),
        }
    }
}

/// Who hears of notices.
pub type OnNotice = Arc<dyn Fn(&Notice) + Send + Sync>;

/// A bundle's file, and the checkout that it must not leave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Located {
    /// The file, canonical; or one that is built in.
    pub file: PathBuf,
    /// The root of the checkout that it is in.
    pub checkout: Option<PathBuf>,
}

/// Looks names up and fetches what must be fetched.
pub(crate) struct Locator {
    pub(crate) amplifier_home: PathBuf,
    pub(crate) user_home: Option<PathBuf>,
    pub(crate) project: PathBuf,
    pub(crate) cwd: PathBuf,
    pub(crate) added: BTreeMap<String, String>,
    /// Names among those that nobody vouches for.
    pub(crate) untrusted: BTreeSet<String>,
    /// The files that they, the project's folder of bundles, and folders that answer to a name led to.
    // Held for one step; never across an await.
    pub(crate) distrusted: Mutex<BTreeSet<PathBuf>>,
    #[cfg(feature = "git")]
    pub(crate) git: crate::source::git::GitCache,
    #[cfg(feature = "web")]
    pub(crate) web: crate::source::web::WebCache,
    #[cfg_attr(not(any(feature = "git", feature = "web")), allow(dead_code))]
    pub(crate) on_notice: Option<OnNotice>,
    #[cfg(feature = "git")]
    pub(crate) fetches: Fetches,
}

/// Who fetches what at the moment.
#[cfg(feature = "git")]
pub(crate) struct Fetches {
    places: tokio::sync::Semaphore,
    // Guards the map alone; never held across an await.
    turns: std::sync::Mutex<BTreeMap<String, Turn>>,
}

/// Held by whoever fetches one source.
#[cfg(feature = "git")]
type Turn = Arc<tokio::sync::Mutex<()>>;

#[cfg(feature = "git")]
impl Fetches {
    pub(crate) fn new() -> Self {
        let places = tokio::sync::Semaphore::new(MAX_FETCHES);
        Self { places, turns: std::sync::Mutex::default() }
    }

    fn turn(&self, uri: &GitUri) -> Turn {
        let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        let key = format!("{}@{}", uri.url(), uri.reference().unwrap_or_default());
        Arc::clone(turns.entry(key).or_default())
    }
}

impl Locator {
    /// What somebody typed: a path that is there wins over every name.
    pub(crate) async fn typed(&self, text: &str) -> Result<Located, BundleError> {
        let path = self.cwd.join(text.trim());
        if !text.trim().is_empty() && is_bundle(&path) {
            let found = local(file::bundle_file(&path)?);
            if !self.points(text) {
                self.distrust(&found);
            }
            return Ok(found);
        }
        self.written(text, &self.cwd, None).await
    }

    /// True if a person who types this points at a place: it says so, or it is a path of several parts whose first
    /// is no bundle's name.
    fn points(&self, text: &str) -> bool {
        is_place(text)
            || match text.parse() {
                Ok(SourceUri::Name(name)) if name.sub.is_some() => {
                    !self.names().iter().any(|(known, _)| *known == name.name)
                }
                _ => false,
            }
    }

    /// What a file says, relative to its folder; within its checkout if it is in one.
    pub(crate) async fn written(
        &self,
        text: &str,
        folder: &Path,
        checkout: Option<&Path>,
    ) -> Result<Located, BundleError> {
        let uri: SourceUri = text.parse().map_err(SourceError::from)?;
        if let SourceUri::Name(name) = &uri
            && (name.sub.is_some() || has_suffix(&name.name))
            && is_bundle(&folder.join(text.trim()))
        {
            return self.file(&relative_file(text), folder, checkout);
        }
        self.resolve(uri, folder, checkout, 0).await
    }

    fn resolve<'a>(
        &'a self,
        uri: SourceUri,
        folder: &'a Path,
        checkout: Option<&'a Path>,
        aliases: usize,
    ) -> BoxFuture<'a, Result<Located, BundleError>> {
        Box::pin(async move {
            match uri {
                SourceUri::Git(uri) => self.git(&uri, None).await,
                SourceUri::File(uri) if is_archive_file(&uri) => self.archive(&uri, folder, checkout).await,
                SourceUri::File(uri) => self.file(&uri, folder, checkout),
                SourceUri::Name(uri) => self.name(&uri, aliases).await,
                SourceUri::Namespaced(uri) => self.namespaced(&uri, aliases).await,
                SourceUri::Zip(uri) => self.web(&uri, true, checkout).await,
                SourceUri::Http(uri) => self.web(&uri, false, checkout).await,
            }
        })
    }

    fn file(&self, uri: &FileUri, folder: &Path, checkout: Option<&Path>) -> Result<Located, BundleError> {
        let places = Places { base: folder, home: self.user_home.as_deref() };
        let found = places.find(uri)?;
        match checkout {
            Some(root) => {
                let file = file::confined(&found, &uri.path, Some(root))?;
                Ok(Located { file, checkout: Some(root.to_owned()) })
            }
            None => Ok(local(found)),
        }
    }

    /// A bundle from the web or from an archive. What was fetched may name no address of this machine's own network.
    #[cfg(feature = "web")]
    async fn web(&self, uri: &WebUri, zipped: bool, checkout: Option<&Path>) -> Result<Located, BundleError> {
        use crate::source::web::{WebCache, is_near};
        let shown = if zipped { format!("zip+{uri}") } else { uri.to_string() };
        let local = uri.address().starts_with("file://");
        if checkout.is_some() && (local || is_near(uri.address())) {
            return Err(SourceError::Near { uri: shown }.into());
        }
        if !local
            && self.web.cached(uri).is_none()
            && self.web.may_fetch()
            && let Some(hear) = &self.on_notice
        {
            hear(&Notice::Fetching { name: None, uri: shown.clone() });
        }
        let root = self.web.folder(uri, zipped).await?;
        let root = read::canonical(&root).map_err(SourceError::from)?;
        let file = WebCache::bundle_file(&root, uri.subdirectory(), &shown)?;
        Ok(Located { file, checkout: Some(root) })
    }

    #[cfg(not(feature = "web"))]
    async fn web(
        &self,
        uri: &WebUri,
        zipped: bool,
        _checkout: Option<&Path>,
    ) -> Result<Located, BundleError> {
        match zipped {
            true => Err(unsupported(format!("zip+{uri}"), "zip").into()),
            false => Err(unsupported(uri.to_string(), "http").into()),
        }
    }

    /// A bundle in an archive of this machine; within its checkout if it is named in one.
    #[cfg(feature = "web")]
    async fn archive(
        &self,
        uri: &FileUri,
        folder: &Path,
        checkout: Option<&Path>,
    ) -> Result<Located, BundleError> {
        use crate::source::web::WebCache;
        let places = Places { base: folder, home: self.user_home.as_deref() };
        let path = places.join(&uri.path)?;
        if checkout.is_some() {
            file::confined(&path, &uri.path, checkout)?;
        }
        let root = self.web.archive(&path).await?;
        let root = read::canonical(&root).map_err(SourceError::from)?;
        let file = WebCache::bundle_file(&root, uri.subdirectory.as_deref(), &uri.path)?;
        Ok(Located { file, checkout: Some(root) })
    }

    #[cfg(not(feature = "web"))]
    async fn archive(
        &self,
        uri: &FileUri,
        _folder: &Path,
        _checkout: Option<&Path>,
    ) -> Result<Located, BundleError> {
        Err(unsupported(uri.path.clone(), "zip").into())
    }

    #[cfg(feature = "git")]
    async fn git(&self, uri: &GitUri, name: Option<&str>) -> Result<Located, BundleError> {
        use crate::source::git::GitCache;
        let root = match self.git.cached(uri) {
            Some(root) => root,
            None => self.fetch(uri, name).await?,
        };
        let root = read::canonical(&root).map_err(SourceError::from)?;
        let file = GitCache::bundle_file(&root, uri)?;
        Ok(Located { file, checkout: Some(root) })
    }

    /// Fetches, or waits for the one who does already.
    #[cfg(feature = "git")]
    async fn fetch(&self, uri: &GitUri, name: Option<&str>) -> Result<PathBuf, BundleError> {
        let turn = self.fetches.turn(uri);
        let _alone = turn.lock().await;
        if let Some(root) = self.git.cached(uri) {
            return Ok(root);
        }
        let _place = self.fetches.places.acquire().await;
        if self.git.may_fetch()
            && let Some(hear) = &self.on_notice
        {
            hear(&Notice::Fetching { name: name.map(str::to_owned), uri: uri.to_string() });
        }
        Ok(self.git.checkout(uri).await?)
    }

    #[cfg(not(feature = "git"))]
    async fn git(&self, uri: &GitUri, _name: Option<&str>) -> Result<Located, BundleError> {
        Err(unsupported(uri.to_string(), "git").into())
    }

    async fn name(&self, uri: &NameUri, aliases: usize) -> Result<Located, BundleError> {
        let bundle = self.named(&uri.name, aliases).await?.ok_or_else(|| self.not_found(&uri.name))?;
        match &uri.sub {
            None => Ok(bundle),
            Some(sub) => {
                let folder = bundle.file.parent().unwrap_or(Path::new("/")).to_owned();
                below(&folder, sub, &bundle, &uri.name)
            }
        }
    }

    async fn namespaced(&self, uri: &NamespacedUri, aliases: usize) -> Result<Located, BundleError> {
        if uri.namespace == builtin::NAMESPACE
            && let Some(file) = builtin::bundle(&uri.path)
        {
            return Ok(local(file));
        }
        let named = self.named(&uri.namespace, aliases).await?;
        let bundle = named.ok_or_else(|| self.not_found(&uri.namespace))?;
        let folder = bundle.file.parent().unwrap_or(Path::new("/")).to_owned();
        below(&folder, &uri.path, &bundle, &uri.namespace)
    }

    /// The bundle of a name; `None` if nobody knows the name.
    pub(crate) async fn named(&self, name: &str, aliases: usize) -> Result<Option<Located>, BundleError> {
        let [project, user] = self.name_folders();
        if let Some(found) = in_folder(&project, name) {
            let found = local(file::bundle_file(&found)?);
            self.distrust(&found);
            return Ok(Some(found));
        }
        if let Some(found) = in_folder(&user, name) {
            return Ok(Some(local(file::bundle_file(&found)?)));
        }
        if let Some(uri) = self.added.get(name) {
            let found = self.alias(name, uri, aliases).await?;
            if self.untrusted.contains(name) {
                self.distrust(&found);
            }
            return Ok(Some(found));
        }
        if let Some(file) = builtin::bundle(name) {
            return Ok(Some(local(file)));
        }
        let registry = Registry::read(&self.amplifier_home)?;
        match registry.uri(name).or_else(|| registry::well_known(name)) {
            Some(uri) => self.alias(name, uri, aliases).await.map(Some),
            None => Ok(None),
        }
    }

    /// Remembers what a name of the project led to.
    fn distrust(&self, found: &Located) {
        self.distrusted.lock().unwrap_or_else(PoisonError::into_inner).insert(found.file.clone());
    }

    async fn alias(&self, name: &str, uri: &str, aliases: usize) -> Result<Located, BundleError> {
        if aliases >= MAX_ALIASES {
            return Err(BundleError::AliasLoop { name: name.to_owned() });
        }
        match uri.parse().map_err(SourceError::from)? {
            SourceUri::Git(uri) => self.git(&uri, Some(name)).await,
            uri => self.resolve(uri, &self.project, None, aliases + 1).await,
        }
    }

    /// Folders whose entries are bundles by name: the project's, then the user's.
    pub(crate) fn name_folders(&self) -> [PathBuf; 2] {
        [self.project.join(".amplifier").join("bundles"), self.amplifier_home.join("bundles")]
    }

    /// Every name that would resolve, with where it comes from; the first of a name wins.
    pub(crate) fn names(&self) -> Vec<(String, NameOrigin)> {
        let mut names = Vec::new();
        for (folder, origin) in self.name_folders().iter().zip([NameOrigin::Project, NameOrigin::User]) {
            let entries = read::list(folder, 1000).map(|(entries, _)| entries).unwrap_or_default();
            for entry in entries {
                let stem = Path::new(&entry.name).file_stem().and_then(|stem| stem.to_str());
                let name = if entry.directory { Some(entry.name.as_str()) } else { stem };
                names.extend(name.filter(|n| in_folder(folder, n).is_some()).map(|n| (n.to_owned(), origin)));
            }
        }
        names.extend(self.added.keys().map(|name| (name.clone(), NameOrigin::Added)));
        names.extend(builtin::NAMES.map(|name| (name.to_owned(), NameOrigin::BuiltIn)));
        let registry = Registry::read(&self.amplifier_home).unwrap_or_default();
        names.extend(registry.bundles.into_keys().map(|name| (name, NameOrigin::Registered)));
        names.extend(registry::WELL_KNOWN.map(|(name, _)| (name.to_owned(), NameOrigin::WellKnown)));
        let mut seen = std::collections::HashSet::new();
        names.retain(|(name, _)| seen.insert(name.clone()));
        names
    }

    /// Why the names of `registry.json` are missing among [`Self::names`]; `None`: they are there.
    pub(crate) fn names_fault(&self) -> Option<RegistryError> {
        Registry::read(&self.amplifier_home).err()
    }

    fn not_found(&self, name: &str) -> BundleError {
        let known = self.names();
        let near = registry::near(name, known.iter().map(|(name, _)| name.as_str()));
        BundleError::NotFound { name: name.to_owned(), near }
    }
}

/// Where a name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameOrigin {
    /// The project's `.amplifier/bundles`.
    Project,
    /// The user's `bundles` folder.
    User,
    /// Added by a setting.
    Added,
    /// Part of the program.
    BuiltIn,
    /// In `registry.json`.
    Registered,
    /// Known to everybody; fetched when it is used.
    WellKnown,
}

fn local(file: PathBuf) -> Located {
    Located { file, checkout: None }
}

fn below(folder: &Path, sub: &str, bundle: &Located, name: &str) -> Result<Located, BundleError> {
    let found = file::in_namespace(folder, sub, bundle.checkout.as_deref())?;
    let file = found.ok_or_else(|| BundleError::NotInBundle {
        name: name.to_owned(),
        path: sub.to_owned(),
        folder: folder.to_owned(),
    })?;
    Ok(Located { file, checkout: bundle.checkout.clone() })
}

#[cfg(not(all(feature = "git", feature = "web")))]
fn unsupported(uri: String, kind: &'static str) -> SourceError {
    let instead = match kind {
        "git" => "this program was built without git support, use a local folder",
        "zip" => "unpack it and use the folder, or use git+https://",
        _ => "download it and use the file, or use git+https://",
    };
    SourceError::Unsupported { uri, kind, instead }
}

/// True for a path that names an archive.
fn is_archive_file(uri: &FileUri) -> bool {
    uri.path.to_ascii_lowercase().ends_with(".zip")
}

fn relative_file(text: &str) -> FileUri {
    FileUri { path: text.trim().to_owned(), subdirectory: None }
}

fn has_suffix(name: &str) -> bool {
    SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| stem.ends_with('.')))
}

/// True if a person who writes this points at a place, and does not name something. Looks at the text
/// alone: there may be nothing at that place.
pub fn is_place(written: &str) -> bool {
    match written.parse() {
        Ok(SourceUri::Git(_) | SourceUri::File(_) | SourceUri::Http(_) | SourceUri::Zip(_)) => true,
        Ok(SourceUri::Name(_)) => has_suffix(written.trim()),
        _ => false,
    }
}

pub(crate) fn is_bundle(path: &Path) -> bool {
    match read::kind(path) {
        Kind::File => path.to_str().is_some_and(has_suffix),
        Kind::Directory => file::folder_bundle(path).is_some(),
        _ => false,
    }
}

pub(crate) fn in_folder(folder: &Path, name: &str) -> Option<PathBuf> {
    let direct = folder.join(name);
    if read::kind(&direct) == Kind::Directory && file::folder_bundle(&direct).is_some() {
        return Some(direct);
    }
    let files = SUFFIXES.iter().map(|suffix| folder.join(format!("{name}.{suffix}")));
    files.into_iter().find(|path| read::kind(path) == Kind::File)
}

#[cfg(test)]
mod tests {
    use super::is_place;

    #[test]
    fn a_place_is_told_from_a_name() {
        for place in ["./x", "../x", "/x", "~/x", "x.md", "a/x.yaml", "git+https://h.io/o/r", "file:///x"] {
            assert!(is_place(place), "{place}");
        }
        for name in ["default", "kit/sub", "ns:path", "builtin:default", ""] {
            assert!(!is_place(name), "{name}");
        }
    }
}

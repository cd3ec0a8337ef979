//! Bundles from the web and from archives: `https://…/bundle.md`, `zip+https://…`, `zip+file://…`, `./bundle.zip`.
//!
//! Guarantees: what is cached is used without the network; an archive of this machine is cached by its content; a fetch
//! ends within its deadline; an entry appears whole; two processes never write one entry; nothing of an archive lies
//! outside its entry; no message holds credentials.
//! Never here: HTTP. That is [`Fetch`]'s, which whoever builds the host brings.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::Clock;
use amplifier_core::clock::BoxFuture;
use amplifier_core::until::until;
use amplifier_fs::read;
use amplifier_fs::write::{Access, create};
use serde::{Deserialize, Serialize};

use super::cache::{Entry, Locked};
use super::uri::{WebUri, bare};
use super::{SourceError, archive, file};

/// How long one fetch may take.
pub const FETCH_DEADLINE: Duration = Duration::from_secs(120);
/// Most bytes of one answer, and of an archive of this machine.
pub const MAX_DOWNLOAD_BYTES: u64 = 64 << 20;

/// What is known of an entry, in a file beside what was fetched.
const MARK: &str = ".amplifier-source.json";

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fetched {
    /// It is as it was: the entity tag that was sent still holds.
    Same,
    /// What is there now.
    Body {
        /// All of it.
        bytes: Vec<u8>,
        /// Its entity tag, as it came.
        etag: Option<String>,
    },
}

/// Gets what is at an address.
pub trait Fetch: std::fmt::Debug + Send + Sync {
    /// One GET of at most `limit` bytes, with `If-None-Match` where there is an entity tag. A redirection may lead to
    /// no address of this machine's own network unless the first one was one. `Err`: one clause, without credentials.
    fn get<'a>(
        &'a self,
        address: &'a str,
        etag: Option<&'a str>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Fetched, String>>;
}

/// What an update did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Updated {
    /// BLAKE3 of what was cached before, in hex, if anything was.
    pub before: Option<String>,
    /// The same of what is there now.
    pub after: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    /// Without credentials.
    uri: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    blake3: String,
}

/// The cache of archives and of what was fetched from the web.
#[derive(Debug, Clone)]
pub struct WebCache {
    pub(crate) root: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) fetch: Option<Arc<dyn Fetch>>,
    pub(crate) offline: bool,
}

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Archive,
    File,
}

impl WebCache {
    /// The folder of a source if it is cached already.
    pub fn cached(&self, uri: &WebUri) -> Option<PathBuf> {
        let entry = self.entry(uri);
        entry.is_present().then(|| entry.path())
    }

    /// Whether what is not cached may be fetched.
    pub fn may_fetch(&self) -> bool {
        self.fetch.is_some() && !self.offline
    }

    /// The folder of a source, fetched if it is not cached.
    pub async fn folder(&self, uri: &WebUri, zipped: bool) -> Result<PathBuf, SourceError> {
        if let Some(path) = uri.address().strip_prefix("file://") {
            return self.archive(Path::new(path)).await;
        }
        if let Some(found) = self.cached(uri) {
            return Ok(found);
        }
        let locked = self.lock(&self.entry(uri), uri).await?;
        if let Some(found) = self.cached(uri) {
            return Ok(found);
        }
        self.fetched(uri, zipped, &locked, None).await?;
        Ok(self.entry(uri).path())
    }

    /// Fetches a source again, unless it is as it was. The old content stays until the new one is whole.
    pub async fn update(&self, uri: &WebUri, zipped: bool) -> Result<Updated, SourceError> {
        let entry = self.entry(uri);
        let locked = self.lock(&entry, uri).await?;
        let known = mark_of(&entry.path());
        let before = known.as_ref().map(|mark| mark.blake3.clone());
        let after = self.fetched(uri, zipped, &locked, known).await?;
        Ok(Updated { before, after })
    }

    /// What is there now, without changing the cache: its BLAKE3, and that of what is cached.
    pub async fn check(&self, uri: &WebUri) -> Result<Updated, SourceError> {
        let known = mark_of(&self.entry(uri).path()).unwrap_or_default();
        let before = Some(known.blake3.clone()).filter(|hash| !hash.is_empty());
        let after = match self.get(uri, known.etag.as_deref()).await? {
            Fetched::Same => known.blake3,
            Fetched::Body { bytes, .. } => blake3::hash(&bytes).to_hex().to_string(),
        };
        Ok(Updated { before, after })
    }

    /// The folder of an archive of this machine, unpacked if this content was not before.
    pub async fn archive(&self, path: &Path) -> Result<PathBuf, SourceError> {
        let (bytes, _) = read::bytes(path, MAX_DOWNLOAD_BYTES)?;
        let hash = blake3::hash(&bytes).to_hex();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let entry = Entry::new(&self.root, format!("{}-{}", plain(&stem), &hash[..16]));
        if !entry.is_present() {
            let shown = path.display().to_string();
            let locked = entry.lock(&self.clock, FETCH_DEADLINE, &shown).await?;
            if !entry.is_present() {
                let scratch = locked.scratch()?;
                let faulty = |why| SourceError::Archive { uri: shown.clone(), why };
                archive::unpack(bytes, scratch.path()).map_err(faulty)?;
                locked.install(scratch.path())?;
            }
        }
        Ok(entry.path())
    }

    fn entry(&self, uri: &WebUri) -> Entry {
        let address = bare(uri.address());
        let digest = blake3::hash(address.as_bytes()).to_hex();
        Entry::new(&self.root, format!("{}-{}", plain(last_part(&address)), &digest[..16]))
    }

    async fn lock(&self, entry: &Entry, uri: &WebUri) -> Result<Locked, SourceError> {
        entry.lock(&self.clock, FETCH_DEADLINE, &uri.to_string()).await
    }

    async fn get(&self, uri: &WebUri, etag: Option<&str>) -> Result<Fetched, SourceError> {
        if self.offline {
            return Err(SourceError::Offline { uri: uri.to_string() });
        }
        let Some(fetch) = &self.fetch else {
            let instead = "nothing here fetches over HTTP, use git+https:// or a local folder";
            return Err(SourceError::Unsupported { uri: uri.to_string(), kind: "http", instead });
        };
        let asking = fetch.get(uri.address(), etag, MAX_DOWNLOAD_BYTES);
        match until(asking, self.clock.sleep(FETCH_DEADLINE)).await {
            None => Err(SourceError::Deadline { uri: uri.to_string(), deadline: FETCH_DEADLINE }),
            Some(Err(why)) => Err(SourceError::Web { uri: uri.to_string(), why }),
            Some(Ok(fetched)) => Ok(fetched),
        }
    }

    /// Fetches into the cache; the BLAKE3 of what is there now.
    async fn fetched(
        &self,
        uri: &WebUri,
        zipped: bool,
        locked: &Locked,
        known: Option<Mark>,
    ) -> Result<String, SourceError> {
        let etag = known.as_ref().and_then(|mark| mark.etag.as_deref());
        let (bytes, etag) = match (self.get(uri, etag).await?, known) {
            (Fetched::Same, Some(mark)) => return Ok(mark.blake3),
            (Fetched::Same, None) => {
                let why = "the server says that nothing has changed, and nothing is cached".to_owned();
                return Err(SourceError::Web { uri: uri.to_string(), why });
            }
            (Fetched::Body { bytes, etag }, _) => (bytes, etag),
        };
        let scratch = locked.scratch()?;
        let mark = Mark { uri: uri.to_string(), etag, blake3: blake3::hash(&bytes).to_hex().to_string() };
        let kind = if zipped || is_archive(uri) { Kind::Archive } else { Kind::File };
        match kind {
            Kind::Archive => archive::unpack(bytes, scratch.path())
                .map_err(|why| SourceError::Archive { uri: uri.to_string(), why })?,
            Kind::File => write(&scratch.path().join(file_name(uri, &bytes)), &bytes)?,
        }
        let text = serde_json::to_vec(&mark).unwrap_or_default();
        write(&scratch.path().join(MARK), &text)?;
        locked.install(scratch.path())?;
        Ok(mark.blake3)
    }

    /// The bundle's file in a folder that [`WebCache::folder`] gave: below the subdirectory if there is one. An archive
    /// may have all its files in one folder of its own.
    pub fn bundle_file(root: &Path, subdirectory: Option<&str>, uri: &str) -> Result<PathBuf, SourceError> {
        let root = read::canonical(root)?;
        let in_folder = |folder: &Path| match subdirectory {
            Some(sub) => file::below(folder, sub).and_then(|path| file::bundle_file(&path)),
            None => file::bundle_file(folder).or_else(|error| only_file(folder).ok_or(error)),
        };
        let found = in_folder(&root).or_else(|error| match only_folder(&root) {
            Some(folder) => in_folder(&folder),
            None => Err(error),
        });
        match found {
            Ok(found) => file::confined(&found, subdirectory.unwrap_or("."), Some(&root)),
            Err(error) if error.is_missing() => Err(SourceError::NotInRepository { uri: uri.to_owned() }),
            Err(error) => Err(error),
        }
    }
}

/// True for an address that names an archive by itself.
pub(crate) fn is_archive(uri: &WebUri) -> bool {
    last_part(&bare(uri.address())).to_ascii_lowercase().ends_with(".zip")
}

/// True for an address of this machine, or of a network of its own, as far as its text says.
pub fn is_near(address: &str) -> bool {
    let after = address.split_once("://").map_or(address, |(_, after)| after);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => is_near_v4(ip),
        Ok(std::net::IpAddr::V6(ip)) => {
            let first = ip.segments()[0];
            let mapped = ip.to_ipv4_mapped().is_some_and(is_near_v4);
            ip.is_loopback()
                || ip.is_unspecified()
                || first & 0xfe00 == 0xfc00
                || first & 0xffc0 == 0xfe80
                || mapped
        }
        // A number alone is an address to many a resolver.
        Err(_) => {
            name == "localhost"
                || name.ends_with(".localhost")
                || name.ends_with(".local")
                || name.ends_with(".internal")
                || name.chars().all(|c| c.is_ascii_hexdigit() || matches!(c, 'x' | '.'))
        }
    }
}

fn is_near_v4(ip: std::net::Ipv4Addr) -> bool {
    let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified() || shared
}

fn last_part(address: &str) -> &str {
    let path = address.split(['?', '#']).next().unwrap_or(address);
    path.trim_end_matches('/').rsplit('/').next().unwrap_or("source")
}

/// A name that is one of a folder everywhere.
fn plain(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars().take(60) {
        let _ = write!(
            text,
            "{}",
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' }
        );
    }
    text.trim_start_matches('.').to_owned()
}

/// The name of a bundle's file that was fetched alone: that of its address where it is one, else by its beginning.
fn file_name(uri: &WebUri, bytes: &[u8]) -> String {
    let name = plain(last_part(uri.address()));
    let known =
        file::SUFFIXES.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')));
    match (known, bytes.starts_with(b"---") || bytes.starts_with("\u{feff}---".as_bytes())) {
        (true, _) => name,
        (false, true) => "bundle.md".to_owned(),
        (false, false) => "bundle.yaml".to_owned(),
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SourceError> {
    create(path, bytes, Access::Shared)
        .map_err(amplifier_fs::tree::fails(path, "written"))
        .map_err(SourceError::from)
}

fn mark_of(root: &Path) -> Option<Mark> {
    let (text, _) = read::text(&root.join(MARK), 16 * 1024).ok()?;
    serde_json::from_str(&text).ok()
}

/// What lies in a folder beside the mark.
fn entries(folder: &Path) -> Vec<read::Entry> {
    let found = read::list(folder, 3).map(|(found, _)| found).unwrap_or_default();
    found.into_iter().filter(|entry| entry.name != MARK).collect()
}

fn only_folder(root: &Path) -> Option<PathBuf> {
    match entries(root).as_slice() {
        [only] if only.directory => Some(root.join(&only.name)),
        _ => None,
    }
}

fn only_file(root: &Path) -> Option<PathBuf> {
    match entries(root).as_slice() {
        [only] if !only.directory => file::bundle_file(&root.join(&only.name)).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn addresses_of_the_own_network_are_told_by_their_text() {
        for near in [
            "http://127.0.0.1:80/x",
            "http://localhost/x",
            "https://a.localhost",
            "http://[::1]/",
            "http://10.1.2.3",
            "http://192.168.0.1:8",
            "http://169.254.169.254/latest",
            "http://u:p@127.0.0.1/",
            "http://[::ffff:127.0.0.1]/",
            "http://[fd00::1]/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://100.64.0.1/",
            "http://printer.local/",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "https://example.org/x",
            "http://8.8.8.8/",
            "https://127.0.0.1.example.org/",
            "https://[2606:4700::1]/",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }
}

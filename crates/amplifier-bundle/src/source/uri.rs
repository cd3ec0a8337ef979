//! Where a bundle comes from, as people write it: parsing, nothing else.
//!
//! Guarantees: parsing never panics and touches neither disk nor network; a URI
//! that parsed holds no part that `git` could take for an option and no
//! subdirectory that climbs out; `Display` and `Debug` never show credentials.
//! Never here: whether the thing exists.

use std::fmt;

/// Longest URI that is accepted, in bytes.
pub const MAX_URI_BYTES: usize = 4096;

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UriError {
    /// Nothing was written.
    #[error("the source is empty; give a path, a bundle name or a git+https:// address")]
    Empty,
    /// Longer than [`MAX_URI_BYTES`].
    #[error("the source has {bytes} bytes; at most {MAX_URI_BYTES} are allowed")]
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A line break or another control character.
    #[error("source `{uri}` holds a control character; remove it")]
    Control {
        /// The source, escaped.
        uri: String,
    },
    /// A part that `git` or `ssh` would read as an option.
    #[error("source `{uri}` has a {part} that begins with `-`; it would be taken for an option")]
    Option {
        /// The source without credentials.
        uri: String,
        /// `ref`, `host`, `path`, …
        part: &'static str,
    },
    /// A ref that no git repository can have.
    #[error("source `{uri}` has a ref with `{found}` in it; name a branch, a tag or a commit")]
    Ref {
        /// The source without credentials.
        uri: String,
        /// The characters that no ref holds, escaped.
        found: String,
    },
    /// A path that climbs out of what it belongs to.
    #[error("source `{uri}` leaves its {container}; remove `..` and leading slashes")]
    Escape {
        /// The source without credentials.
        uri: String,
        /// `repository`, `bundle`, …
        container: &'static str,
    },
    /// A scheme that is not known.
    #[error("source `{uri}` has the unknown scheme `{scheme}`; use git+https, git+ssh, git+file or file")]
    Scheme {
        /// The source without credentials.
        uri: String,
        /// The scheme as written.
        scheme: String,
    },
    /// A path of Windows.
    #[error("source `{uri}` is a Windows path; Windows is not supported yet, use a path with `/`")]
    Foreign {
        /// The source as written.
        uri: String,
    },
    /// The scheme is known, and what follows it is not enough.
    #[error("source `{uri}` is incomplete; {hint}")]
    Incomplete {
        /// The source without credentials.
        uri: String,
        /// What to write.
        hint: &'static str,
    },
}

/// A parsed source.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SourceUri {
    /// `git+https://host/org/repo@ref#subdirectory=path`.
    Git(GitUri),
    /// `zip+https://…`, `zip+file://…`: parsed, not resolved yet.
    Zip(WebUri),
    /// `https://…`: parsed, not resolved yet.
    Http(WebUri),
    /// `file://…`, `/abs`, `./rel`, `../rel`, `~/…`.
    File(FileUri),
    /// `name` or `name/sub/path`.
    Name(NameUri),
    /// `namespace:path`.
    Namespaced(NamespacedUri),
}

/// A git repository, one ref of it, one folder of it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct GitUri {
    url: String,
    reference: Option<String>,
    subdirectory: Option<String>,
    parameters: Vec<(String, String)>,
}

impl GitUri {
    /// What `git` is given: `https://host/org/repo`. May hold credentials.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The branch, tag or commit that was written.
    pub fn reference(&self) -> Option<&str> {
        self.reference.as_deref()
    }

    /// The path below the repository's root.
    pub fn subdirectory(&self) -> Option<&str> {
        self.subdirectory.as_deref()
    }

    /// Further `key=value` parts of the fragment, in order.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The same repository and ref with another path below its root.
    pub fn with_subdirectory(&self, path: &str) -> Result<Self, UriError> {
        let checked = relative(path, "repository", &self.to_string())?;
        Ok(Self { subdirectory: checked, ..self.clone() })
    }

    /// What `git` is given, without credentials: the same repository for everybody.
    pub fn bare_url(&self) -> String {
        with_credentials(&self.url, "", "")
    }

    /// As it is written, with this for the URL.
    fn written(&self, url: &str) -> String {
        let reference = self.reference.iter().map(|reference| format!("@{reference}"));
        let mut text: String = std::iter::once(format!("git+{url}")).chain(reference).collect();
        let subdirectory = self.subdirectory.as_ref().map(|path| ("subdirectory", path.as_str()));
        let others = self.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        for (at, (key, value)) in subdirectory.into_iter().chain(others).enumerate() {
            text.extend([if at == 0 { "#" } else { "&" }, key, "=", value]);
        }
        text
    }

    /// The last part of the path, which names the cache folder.
    pub fn repository(&self) -> String {
        let url = self.bare_url();
        url.trim_end_matches('/').rsplit('/').next().unwrap_or("repository").to_owned()
    }
}

impl fmt::Display for GitUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written(&without_credentials(&self.url)))
    }
}

impl fmt::Debug for GitUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GitUri({self})")
    }
}

/// Something behind HTTP or in an archive.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WebUri {
    address: String,
    subdirectory: Option<String>,
}

impl WebUri {
    /// The address as written, without the fragment. May hold credentials.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The path below the archive's root.
    pub fn subdirectory(&self) -> Option<&str> {
        self.subdirectory.as_deref()
    }
}

impl fmt::Display for WebUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&without_credentials(&self.address))?;
        self.subdirectory.iter().try_for_each(|path| write!(f, "#subdirectory={path}"))
    }
}

impl fmt::Debug for WebUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebUri({self})")
    }
}

/// A path of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileUri {
    /// As written, without `file://`: absolute, relative or beginning with `~`.
    pub path: String,
    /// The path below it.
    pub subdirectory: Option<String>,
}

/// A registered name, and possibly something inside that bundle.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NameUri {
    /// The bundle's name.
    pub name: String,
    /// A path below the bundle's folder.
    pub sub: Option<String>,
}

/// Something inside the bundle that owns a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamespacedUri {
    /// The namespace: the name of a bundle.
    pub namespace: String,
    /// The path below the namespace's folder.
    pub path: String,
}

impl fmt::Display for SourceUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tail = |f: &mut fmt::Formatter<'_>, sub: &Option<String>, mark: &str| {
            sub.iter().try_for_each(|path| write!(f, "{mark}{path}"))
        };
        match self {
            Self::Git(uri) => uri.fmt(f),
            Self::Zip(uri) => write!(f, "zip+{uri}"),
            Self::Http(uri) => uri.fmt(f),
            Self::File(uri) => {
                f.write_str(&uri.path).and_then(|()| tail(f, &uri.subdirectory, "#subdirectory="))
            }
            Self::Name(uri) => f.write_str(&uri.name).and_then(|()| tail(f, &uri.sub, "/")),
            Self::Namespaced(uri) => write!(f, "{}:{}", uri.namespace, uri.path),
        }
    }
}

impl std::str::FromStr for SourceUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let text = text.trim();
        check_text(text)?;
        if let Some(rest) = text.strip_prefix("git+") {
            return git(rest, text).map(Self::Git);
        }
        if let Some(rest) = text.strip_prefix("zip+") {
            let known = ["https://", "http://", "file://"].iter().any(|scheme| rest.starts_with(scheme));
            return if known { web(rest, text).map(Self::Zip) } else { Err(unknown_scheme(text)) };
        }
        if let Some(rest) = text.strip_prefix("file://") {
            return file_address(rest, text).map(Self::File);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return web(text, text).map(Self::Http);
        }
        if text.contains("://") {
            return Err(unknown_scheme(text));
        }
        if is_windows(text) {
            return Err(UriError::Foreign { uri: text.to_owned() });
        }
        if is_path(text) {
            return file_path(text).map(Self::File);
        }
        named(text)
    }
}

fn check_text(text: &str) -> Result<(), UriError> {
    if text.is_empty() {
        return Err(UriError::Empty);
    }
    if text.len() > MAX_URI_BYTES {
        return Err(UriError::TooLong { bytes: text.len() });
    }
    if text.chars().any(char::is_control) {
        let uri = without_credentials(text).escape_debug().to_string();
        return Err(UriError::Control { uri });
    }
    Ok(())
}

fn unknown_scheme(text: &str) -> UriError {
    let scheme = text.split("://").next().unwrap_or_default();
    let scheme = scheme.chars().take(40).collect();
    UriError::Scheme { uri: without_credentials(text), scheme }
}

fn is_windows(text: &str) -> bool {
    let bytes = text.as_bytes();
    let drive = matches!(bytes, [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic());
    drive || text.starts_with("\\\\") || text.starts_with(".\\") || text.starts_with("..\\")
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
        || text.starts_with('~')
        || matches!(text, "." | "..")
        || text.starts_with("./")
        || text.starts_with("../")
}

fn git(rest: &str, whole: &str) -> Result<GitUri, UriError> {
    let shown = without_credentials(whole);
    let (address, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let Some((scheme @ ("https" | "ssh" | "file"), after)) = address.split_once("://") else {
        return Err(unknown_scheme(whole));
    };
    let slash = after.find('/').unwrap_or(after.len());
    let (authority, path) = after.split_at(slash);
    check_authority(authority, scheme, &shown)?;
    let (path, reference) = match path.rsplit_once('@') {
        Some((path, reference)) => (path, Some(check_ref(reference, &shown)?)),
        None => (path, None),
    };
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        let hint = "write git+https://host/org/repository@ref";
        return Err(UriError::Incomplete { uri: shown, hint });
    }
    if trimmed.split('/').any(|part| part.starts_with('-')) {
        return Err(UriError::Option { uri: shown, part: "path" });
    }
    let (subdirectory, parameters) = fragment_parts(fragment, "repository", &shown)?;
    let url = format!("{scheme}://{authority}{trimmed}");
    Ok(GitUri { url, reference, subdirectory, parameters })
}

fn check_authority(authority: &str, scheme: &str, shown: &str) -> Result<(), UriError> {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    let option = |part| Err(UriError::Option { uri: shown.to_owned(), part });
    if user.starts_with('-') {
        return option("user");
    }
    if host.starts_with('-') {
        return option("host");
    }
    if host.is_empty() != (scheme == "file") {
        let hint = match scheme {
            "file" => "write git+file:///absolute/path",
            _ => "name a host: git+https://host/org/repository",
        };
        return Err(UriError::Incomplete { uri: shown.to_owned(), hint });
    }
    Ok(())
}

fn check_ref(reference: &str, shown: &str) -> Result<String, UriError> {
    if reference.is_empty() {
        let hint = "write a branch, a tag or a commit after `@`, or remove the `@`";
        return Err(UriError::Incomplete { uri: shown.to_owned(), hint });
    }
    if reference.starts_with('-') {
        return Err(UriError::Option { uri: shown.to_owned(), part: "ref" });
    }
    // What `git check-ref-format` refuses, and what would make a refspec of it.
    let single = |c: char| c.is_whitespace() || "~^:?*[\\+".contains(c);
    let found = reference.chars().find(|c| single(*c)).map(String::from);
    let found =
        found.or_else(|| ["..", "@{", "//"].iter().find(|s| reference.contains(**s)).map(|s| (*s).into()));
    match found {
        Some(found) => Err(UriError::Ref { uri: shown.to_owned(), found: found.escape_debug().to_string() }),
        None => Ok(reference.to_owned()),
    }
}

fn web(address: &str, whole: &str) -> Result<WebUri, UriError> {
    let shown = without_credentials(whole);
    let (address, fragment) = address.split_once('#').unwrap_or((address, ""));
    let after = address.split_once("://").map_or("", |(_, after)| after);
    if after.trim_matches('/').is_empty() {
        return Err(UriError::Incomplete { uri: shown, hint: "write the whole address" });
    }
    let (subdirectory, _) = fragment_parts(fragment, "archive", &shown)?;
    Ok(WebUri { address: address.to_owned(), subdirectory })
}

fn file_address(rest: &str, whole: &str) -> Result<FileUri, UriError> {
    let rest = rest.strip_prefix("localhost").filter(|rest| rest.starts_with('/')).unwrap_or(rest);
    if !is_path(rest) {
        let hint = "write file:///absolute/path";
        return Err(UriError::Incomplete { uri: whole.to_owned(), hint });
    }
    let (path, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (subdirectory, _) = fragment_parts(fragment, "folder", whole)?;
    Ok(FileUri { path: path.to_owned(), subdirectory })
}

fn file_path(text: &str) -> Result<FileUri, UriError> {
    // A `#` is a legal character of a file name, so only this fragment counts.
    let Some((path, fragment)) = text.split_once("#subdirectory=") else {
        return Ok(FileUri { path: text.to_owned(), subdirectory: None });
    };
    let subdirectory = relative(fragment.split('&').next().unwrap_or_default(), "folder", text)?;
    Ok(FileUri { path: path.to_owned(), subdirectory })
}

fn named(text: &str) -> Result<SourceUri, UriError> {
    let shown = || without_credentials(text);
    if let Some((namespace, path)) = text.split_once(':') {
        if namespace.contains('@') {
            let hint = "write git+ssh://user@host/org/repository";
            return Err(UriError::Incomplete { uri: shown(), hint });
        }
        if namespace.is_empty() || namespace.contains('/') {
            let hint = "write namespace:path with the name of a bundle before the colon";
            return Err(UriError::Incomplete { uri: shown(), hint });
        }
        let path = relative(path, "namespace", text)?.unwrap_or_default();
        return Ok(SourceUri::Namespaced(NamespacedUri { namespace: namespace.to_owned(), path }));
    }
    if text.starts_with('-') {
        return Err(UriError::Option { uri: shown(), part: "name" });
    }
    let (name, sub) = text.split_once('/').unwrap_or((text, ""));
    let sub = relative(sub, "bundle", text)?;
    Ok(SourceUri::Name(NameUri { name: name.to_owned(), sub }))
}

type Fragment = (Option<String>, Vec<(String, String)>);

fn fragment_parts(fragment: &str, container: &'static str, shown: &str) -> Result<Fragment, UriError> {
    let mut subdirectory = None;
    let mut parameters = Vec::new();
    for part in fragment.split('&').filter(|part| !part.is_empty()) {
        match part.split_once('=').unwrap_or((part, "")) {
            ("subdirectory", path) => subdirectory = relative(path, container, shown)?,
            (key, value) => parameters.push((key.to_owned(), value.to_owned())),
        }
    }
    Ok((subdirectory, parameters))
}

/// A path that stays below what it is joined to; `None` if it names that itself.
fn relative(path: &str, container: &'static str, shown: &str) -> Result<Option<String>, UriError> {
    let escape = || UriError::Escape { uri: without_credentials(shown), container };
    if path.starts_with('/') || path.contains('\\') {
        return Err(escape());
    }
    let mut parts = Vec::new();
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(escape());
        }
        parts.push(part);
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}

/// The text with `user:password@` of an address and the values of its query replaced: for people.
pub fn without_credentials(text: &str) -> String {
    with_credentials(text, "***@", "?***")
}

/// The text without `user:password@` of an address and without its query: it can be used again, with
/// credentials from elsewhere. `git@` stays.
pub fn bare(text: &str) -> String {
    match text.parse() {
        Ok(SourceUri::Git(uri)) => uri.written(&uri.bare_url()),
        _ => with_credentials(text, "", ""),
    }
}

/// The text with these in the place of what may be secret.
fn with_credentials(text: &str, user: &str, query: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some(("git", _)) | None => authority.to_owned(),
        Some((_, host)) => format!("{user}{host}"),
    };
    let tail = match tail.find('?') {
        Some(at) => {
            let fragment = tail.find('#').filter(|hash| *hash > at).map_or("", |hash| &tail[hash..]);
            format!("{}{query}{fragment}", &tail[..at])
        }
        None => tail.to_owned(),
    };
    format!("{scheme}://{authority}{tail}")
}

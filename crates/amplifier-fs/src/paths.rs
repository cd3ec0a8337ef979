//! Paths as the system sees them: links followed, `..` taken, `~/` expanded.
//!
//! Guarantees: the result is absolute and, at the time of the call, holds no link and no `..`;
//! it is the file that an open of the given text would reach, or would make. A link that
//! dangles resolves to its target, so a link inside a folder that points out of it is judged
//! by where it points. Parts that do not exist keep their names.
//! Never here: a change to the file system, and any promise about what happens to the path
//! afterwards.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use amplifier_core::permission::{PathError, Paths, ResolvedPath};

/// Links that are followed in one path before it counts as a loop, as Linux does.
const MAX_LINKS: usize = 40;

/// [`Paths`] over the real file system.
#[derive(Debug, Clone, Default)]
pub struct SystemPaths {
    home: Option<PathBuf>,
}

impl SystemPaths {
    /// With the home folder of the user who runs the process, where the system knows one.
    pub fn from_system() -> Self {
        Self { home: std::env::home_dir().filter(|home| home.is_absolute()) }
    }

    /// With this home folder; `None` refuses paths that begin with `~`.
    pub fn with_home(home: Option<PathBuf>) -> Self {
        Self { home }
    }

    fn absolute(&self, base: &Path, text: &str) -> io::Result<PathBuf> {
        if text.is_empty() {
            return Err(invalid("the path is empty"));
        }
        if text.contains('\0') {
            return Err(invalid("the path holds a zero byte"));
        }
        if !base.is_absolute() {
            return Err(invalid("the folder that it is relative to is not absolute"));
        }
        let in_home = if text == "~" { Some("") } else { text.strip_prefix("~/") };
        match (in_home, &self.home) {
            (None, _) => Ok(base.join(text)),
            (Some(rest), Some(home)) => Ok(home.join(rest.trim_start_matches('/'))),
            (Some(_), None) => Err(invalid("there is no home folder for `~`")),
        }
    }
}

impl Paths for SystemPaths {
    fn resolve(&self, base: &Path, text: &str) -> Result<ResolvedPath, PathError> {
        self.absolute(base, text)
            .and_then(|path| resolve(&path))
            .map(ResolvedPath::vouched)
            .map_err(|source| PathError { path: text.to_owned(), source })
    }
}

/// One step of a path that is still to be taken.
enum Step {
    Root,
    Up,
    Into(OsString),
}

fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut steps: VecDeque<Step> = steps_of(path).collect();
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(step) = steps.pop_front() {
        match step {
            Step::Root => resolved = PathBuf::from("/"),
            Step::Up => {
                resolved.pop();
            }
            Step::Into(name) => match link_target(&resolved, &name)? {
                None => resolved.push(name),
                Some(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(invalid("too many links; they may form a loop"));
                    }
                    for step in steps_of(&target).collect::<Vec<_>>().into_iter().rev() {
                        steps.push_front(step);
                    }
                }
            },
        }
    }
    Ok(resolved)
}

fn steps_of(path: &Path) -> impl Iterator<Item = Step> + '_ {
    path.components().filter_map(|component| match component {
        Component::RootDir | Component::Prefix(_) => Some(Step::Root),
        Component::CurDir => None,
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Into(name.to_owned())),
    })
}

/// Where the link `name` in `folder` points; `None` if it is no link or does not exist.
fn link_target(folder: &Path, name: &OsStr) -> io::Result<Option<PathBuf>> {
    let path = folder.join(name);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_symlink() => std::fs::read_link(&path).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

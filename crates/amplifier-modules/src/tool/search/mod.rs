//! `tool-search`: grep and glob, with ripgrep's libraries.
//!
//! Guarantees: `.gitignore` and its like are respected, links are not followed, so nothing
//! outside the given folder is seen; a file that the permissions deny is skipped; results and
//! time are bounded, and what is left out is said.

mod glob;
mod grep;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use amplifier_core::ModuleSpec;
use amplifier_core::module::tool::{ToolContext, ToolError};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_core::permission::{Access, Permissions, ResolvedPath, Ruling};
use amplifier_core::until::until;
use async_trait::async_trait;
use globset::{GlobBuilder, GlobMatcher};
use ignore::{DirEntry, WalkBuilder};

pub use glob::Glob;
pub use grep::Grep;

/// How long a search may take; what was found until then is shown.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a search that was asked to stop is waited for.
const STOP: Duration = Duration::from_secs(5);
/// Folders of version control are never searched.
const SKIPPED: [&str; 4] = [".git", ".hg", ".svn", ".jj"];

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolSearch;

#[async_trait]
impl Module for ToolSearch {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-search",
            aliases: &["tool-grep", "tool-glob"],
            kind: ModuleKind::Tool,
            summary: "searches contents and names of files",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.tool(Arc::new(Grep::new()));
        mount.tool(Arc::new(Glob::new()));
        Ok(())
    }
}

/// Set when a search shall stop; also when nobody waits for it any more.
#[derive(Debug, Default)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(flag: &AtomicBool) -> bool {
        flag.load(Ordering::Relaxed)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a search where it blocks no session. It looks at the flag and stops when it is set.
async fn search<T: Send + 'static>(
    cx: &ToolContext<'_>,
    work: impl FnOnce(&AtomicBool) -> Result<T, ToolError> + Send + 'static,
) -> Result<T, ToolError> {
    let stop = Stop::default();
    let flag = Arc::clone(&stop.0);
    let mut task = tokio::task::spawn_blocking(move || work(&flag));
    let after = |span| cx.env.clock.sleep(span);
    let result = match until(&mut task, after(DEADLINE)).await {
        Some(result) => Some(result),
        None => {
            drop(stop);
            until(&mut task, after(STOP)).await
        }
    };
    match result {
        Some(Ok(result)) => result,
        Some(Err(error)) => Err(ToolError::failed("the search", error)),
        None => Err(ToolError::Refused("the search took too long; give a narrower path".into())),
    }
}

/// The files below a folder that a search may see.
struct Files {
    root: PathBuf,
    visible: Visible,
}

impl Files {
    fn new(cx: &ToolContext<'_>, root: &ResolvedPath) -> Self {
        Self { root: root.as_path().to_owned(), visible: Visible::new(cx, root) }
    }

    /// Regular files, as the folders hold them; a root that is a file stands for itself.
    fn walk(&self) -> impl Iterator<Item = DirEntry> + '_ {
        let mut builder = WalkBuilder::new(&self.root);
        builder.hidden(false).require_git(false).follow_links(false);
        builder.filter_entry(|entry| entry.file_name().to_str().is_none_or(|name| !SKIPPED.contains(&name)));
        let is_file = |entry: &DirEntry| entry.file_type().is_some_and(|kind| kind.is_file());
        let entries = builder.build().filter_map(Result::ok).filter(is_file);
        entries.filter(|entry| self.visible.allows(entry.path()))
    }
}

/// Rules may deny a file in a folder that may be searched.
struct Visible {
    permissions: Permissions,
    asked: bool,
    limit: Ruling,
}

impl Visible {
    fn new(cx: &ToolContext<'_>, root: &ResolvedPath) -> Self {
        let asked = cx.env.approver.can_answer();
        let limit = cx.permissions.decide(&Access::Read(root.clone()), asked).ruling;
        Self { permissions: cx.permissions.clone(), asked, limit }
    }

    /// A file is seen if reading it needs no more than reading the root did, which was allowed.
    fn allows(&self, path: &Path) -> bool {
        if self.permissions.layers().iter().all(|layer| layer.rules.is_empty()) {
            return true;
        }
        // Walked from a resolved root without following links, the path is resolved.
        let access = Access::Read(ResolvedPath::vouched(path.to_owned()));
        self.permissions.decide(&access, self.asked).ruling <= self.limit
    }
}

/// A glob over paths relative to the root; without a slash it speaks of names at any depth.
fn glob_of(pattern: &str) -> Result<GlobMatcher, ToolError> {
    let pattern = pattern.trim_start_matches("./");
    let anywhere = if pattern.contains('/') { pattern.to_owned() } else { format!("**/{pattern}") };
    let built = GlobBuilder::new(anywhere.trim_start_matches('/')).literal_separator(true).build();
    built.map(|glob| glob.compile_matcher()).map_err(|error| ToolError::Arguments(format!("glob: {error}")))
}

/// True if the glob speaks of the path; a root that is a file goes by its name.
fn glob_matches(glob: &GlobMatcher, root: &Path, path: &Path) -> bool {
    match path.strip_prefix(root) {
        Ok(inside) if !inside.as_os_str().is_empty() => glob.is_match(inside),
        _ => path.file_name().is_some_and(|name| glob.is_match(Path::new(name))),
    }
}

//! Bundles that are part of the program: they need no disk and no network.
//!
//! Their files have paths below [`ROOT`], which no real file has.
//! The bundle `default` is what a session gets when nobody names a bundle. It has
//! no provider; those come from settings and the environment. The bundle `foreman` is that of `foreman chat`.

use std::path::{Path, PathBuf};

/// Where built-in files seem to be.
pub const ROOT: &str = "builtin:";

/// `builtin:default` is the built-in bundle, whatever else has that name.
pub const NAMESPACE: &str = "builtin";

/// The name of the bundle that is used when none is named.
pub const DEFAULT: &str = "default";

/// The name of the bundle that breaks work down into issues.
pub const FOREMAN: &str = "foreman";

const FILES: [(&str, &str); 4] = [
    ("builtin:/default/bundle.md", include_str!("builtin/default.md")),
    ("builtin:/foreman/bundle.md", include_str!("builtin/foreman.md")),
    ("builtin:/default/agents/explorer.md", include_str!("builtin/agents/explorer.md")),
    ("builtin:/default/agents/builder.md", include_str!("builtin/agents/builder.md")),
];

/// The names of all built-in bundles.
pub const NAMES: [&str; 2] = [DEFAULT, FOREMAN];

/// The file of a built-in bundle.
pub fn bundle(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(format!("{ROOT}/{name}/bundle.md"));
    text(&path).map(|_| path)
}

/// The content of a built-in file.
pub fn text(path: &Path) -> Option<&'static str> {
    let path = path.to_str()?;
    FILES.iter().find(|(known, _)| *known == path).map(|(_, text)| *text)
}

/// Whether a path is one of a built-in file, there or not.
pub fn owns(path: &Path) -> bool {
    path.starts_with(ROOT)
}

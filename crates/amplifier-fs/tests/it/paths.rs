//! Paths: what a text reaches is what is judged.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use amplifier_core::permission::Paths;
use amplifier_fs::paths::SystemPaths;
use tempfile::TempDir;

struct Tree {
    _folder: TempDir,
    root: PathBuf,
}

/// `cwd/{file, sub/, links…}` and `outside/{secret, deep/}`.
fn tree() -> Tree {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for dir in ["cwd/sub", "outside/deep", "home"] {
        std::fs::create_dir_all(root.join(dir)).unwrap();
    }
    std::fs::write(root.join("cwd/file"), "x").unwrap();
    std::fs::write(root.join("outside/secret"), "x").unwrap();
    symlink("../outside", root.join("cwd/out")).unwrap();
    symlink(root.join("outside/new"), root.join("cwd/dangling")).unwrap();
    symlink("dangling", root.join("cwd/twice")).unwrap();
    symlink("../outside/deep", root.join("cwd/deep")).unwrap();
    symlink("loop", root.join("cwd/loop")).unwrap();
    Tree { _folder: folder, root }
}

impl Tree {
    fn resolve(&self, text: &str) -> Result<PathBuf, String> {
        let paths = SystemPaths::with_home(Some(self.root.join("home")));
        let text = text.replace("ROOT", self.root.to_str().unwrap());
        let resolved = paths.resolve(&self.root.join("cwd"), &text);
        resolved.map(|path| path.as_path().to_owned()).map_err(|error| {
            use std::error::Error;
            error.source().map(ToString::to_string).unwrap_or_default()
        })
    }
}

#[test]
fn a_path_becomes_the_file_that_an_open_would_reach() {
    let tree = tree();
    for (text, expect) in [
        ("file", "cwd/file"),
        ("./sub//../file", "cwd/file"),
        ("new", "cwd/new"),
        ("new/deep/file", "cwd/new/deep/file"),
        ("new/../file", "cwd/file"),
        ("new/../out/x", "outside/x"),
        ("..", ""),
        ("../outside/secret", "outside/secret"),
        ("out/secret", "outside/secret"),
        ("out/missing", "outside/missing"),
        ("dangling", "outside/new"),
        ("twice", "outside/new"),
        ("deep/../secret", "outside/secret"),
        ("~/a", "home/a"),
        ("~", "home"),
        ("~//etc", "home/etc"),
        ("~user", "cwd/~user"),
        ("ROOT/cwd/out/../cwd/file", "cwd/file"),
    ] {
        let expect = if expect.is_empty() { tree.root.clone() } else { tree.root.join(expect) };
        assert_eq!(tree.resolve(text).unwrap(), expect, "{text}");
    }
    assert_eq!(tree.resolve("/../../etc").unwrap(), Path::new("/etc").canonicalize().unwrap());
}

#[test]
fn what_cannot_be_judged_is_refused() {
    let tree = tree();
    for (text, expect) in
        [("", "empty"), ("a\0b", "zero byte"), ("loop", "too many links"), ("file/x", "Not a directory")]
    {
        let message = tree.resolve(text).unwrap_err();
        assert!(message.contains(expect), "{text:?}: {message}");
    }
    let homeless = SystemPaths::with_home(None);
    assert!(homeless.resolve(&tree.root, "~/x").is_err());
    assert!(homeless.resolve(Path::new("relative"), "x").is_err());
}

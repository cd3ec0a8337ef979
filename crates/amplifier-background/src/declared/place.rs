//! Bundles named in a file: paths are relative to the folder of the file that names them.
//!
//! Guarantees: an absolute path, an address and a name stay as they are; turning a path around and
//! resolving it leads to the same place.

use std::path::{Component, Path, PathBuf};

use amplifier_bundle::bundle::locate::is_place;
use amplifier_foundation::fs::read;

/// What a file in `folder` means by the name of a bundle: a path becomes absolute.
pub fn resolved(written: &str, folder: &Path) -> String {
    match is_relative(written, folder) {
        true => tidied(&folder.join(written.trim())).display().to_string(),
        false => written.to_owned(),
    }
}

/// What a file in `folder` has to say for what somebody typed in `typed_in`.
pub fn relative_to(folder: &Path, typed: &str, typed_in: &Path) -> String {
    if !is_relative(typed, typed_in) {
        return typed.to_owned();
    }
    let target = tidied(&typed_in.join(typed.trim()));
    let (own, theirs): (Vec<_>, Vec<_>) = (folder.components().collect(), target.components().collect());
    let shared = own.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
    if shared <= 1 {
        return target.display().to_string();
    }
    let up = std::iter::repeat_n(Component::ParentDir, own.len() - shared);
    let path: PathBuf = up.chain(theirs[shared..].iter().copied()).collect();
    let text = path.display().to_string();
    match text.as_str() {
        "" => ".".to_owned(),
        up if up.starts_with("..") => text,
        _ => format!("./{text}"),
    }
}

/// True for a path that is not absolute: one that is written as a path, or a file or folder that is there.
fn is_relative(written: &str, folder: &Path) -> bool {
    let text = written.trim();
    if text.starts_with(['/', '~']) || text.contains(':') {
        return false;
    }
    let is_dots = matches!(text, "." | "..") || text.starts_with("./") || text.starts_with("../");
    let is_there = || text.contains('/') && !matches!(read::kind(&folder.join(text)), read::Kind::Missing);
    is_dots || is_place(text) || is_there()
}

/// The path without `.` and, as far as that goes, without `..`.
fn tidied(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if tidy.file_name().is_some() => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_in_one_folder_means_the_same_in_another() {
        let check = |typed: &str, written: &str, means: &str| {
            let folder = Path::new("/p/.amplifier");
            assert_eq!(relative_to(folder, typed, Path::new("/p")), written, "{typed}");
            assert_eq!(resolved(written, folder), means, "{written}");
        };
        check("./x.md", "../x.md", "/p/x.md");
        check("x.yaml", "../x.yaml", "/p/x.yaml");
        check(".", "..", "/p");
        check("../other", "/other", "/other");
        check(".amplifier/bundles/b.yaml", "./bundles/b.yaml", "/p/.amplifier/bundles/b.yaml");
        for same in ["/abs/x.md", "~/x.md", "name", "name/sub", "ns:path", "git+https://h.io/o/r"] {
            check(same, same, same);
        }
    }
}

//! The folder in which Amplifier keeps what belongs to a user: `$AMPLIFIER_HOME`.
//!
//! Guarantees: the path is absolute. Never here: making the folder or looking into it.

use std::path::{Component, Path, PathBuf};

use super::environment::ProcessEnv;

/// The folder's name below the user's home, and the name of a project's own folder.
pub const FOLDER: &str = ".amplifier";

/// Why there is no such folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// `AMPLIFIER_HOME` holds a relative path.
    #[error("AMPLIFIER_HOME is `{value}`, a relative path; set it to an absolute one")]
    Relative {
        /// What it holds.
        value: String,
    },
    /// `AMPLIFIER_HOME` holds `~name` or `..`.
    #[error("AMPLIFIER_HOME is `{value}`, which is not expanded; write the path out")]
    NotExpanded {
        /// What it holds.
        value: String,
    },
    /// The user's home folder is needed and `HOME` is unset, empty or relative.
    #[error("HOME names no absolute path; set HOME or AMPLIFIER_HOME")]
    NoUserHome,
}

/// The folder of a user, and where things lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmplifierHome {
    path: PathBuf,
    user_home: Option<PathBuf>,
}

impl AmplifierHome {
    /// `$AMPLIFIER_HOME` if it is set and not empty, else `~/.amplifier`. A leading `~` is expanded.
    pub fn discover(environment: &ProcessEnv) -> Result<Self, HomeError> {
        let user_home = environment.get("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let in_home = |rest: &str| match &user_home {
            Some(home) if rest.is_empty() => Ok(home.clone()),
            Some(home) => Ok(home.join(rest)),
            None => Err(HomeError::NoUserHome),
        };
        let path = match environment.get("AMPLIFIER_HOME") {
            None => in_home(FOLDER)?,
            Some(value) => {
                let not_expanded = || HomeError::NotExpanded { value: value.to_owned() };
                let path = match value.strip_prefix('~') {
                    Some(rest) if rest.is_empty() || rest.starts_with('/') => {
                        in_home(rest.trim_start_matches('/'))?
                    }
                    Some(_) => return Err(not_expanded()),
                    None => PathBuf::from(value),
                };
                if !path.is_absolute() {
                    return Err(HomeError::Relative { value: value.to_owned() });
                }
                if path.components().any(|part| part == Component::ParentDir) {
                    return Err(not_expanded());
                }
                path
            }
        };
        Ok(Self { path, user_home })
    }

    /// This folder, with no home of the user's: for programs that bring their own. It should be absolute.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), user_home: None }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user's own home folder, for `~/` in paths and rules.
    pub fn user_home(&self) -> Option<&Path> {
        self.user_home.as_deref()
    }

    /// The settings of scope user.
    pub fn settings_file(&self) -> PathBuf {
        self.path.join("settings.yaml")
    }

    /// Keys of providers.
    pub fn keys_file(&self) -> PathBuf {
        self.path.join("keys.env")
    }

    /// Trusted directories.
    pub fn trust_file(&self) -> PathBuf {
        self.path.join("trust.json")
    }

    /// Registered bundles.
    pub fn registry_file(&self) -> PathBuf {
        self.path.join("registry.json")
    }

    /// Fetched bundles.
    pub fn cache_dir(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The user's own bundles.
    pub fn bundles_dir(&self) -> PathBuf {
        self.path.join("bundles")
    }

    /// Sessions, project by project.
    pub fn projects_dir(&self) -> PathBuf {
        self.path.join("projects")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_over_the_users_home() {
        let check = |variables: &[(&str, &str)], expect: Result<&str, &str>| {
            let environment = ProcessEnv::from_pairs(variables.iter().copied());
            let got = AmplifierHome::discover(&environment).map(|home| home.path().display().to_string());
            let got = got.map_err(|error| error.to_string());
            match (&got, expect) {
                (Ok(path), Ok(expect)) => assert_eq!(path, expect, "{variables:?}"),
                (Err(error), Err(part)) => assert!(error.contains(part), "{error}"),
                _ => panic!("{variables:?} gave {got:?}"),
            }
        };
        check(&[("HOME", "/home/u")], Ok("/home/u/.amplifier"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "")], Ok("/home/u/.amplifier"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "/srv/a")], Ok("/srv/a"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "~/a/b")], Ok("/home/u/a/b"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "~")], Ok("/home/u"));
        check(&[("AMPLIFIER_HOME", "/srv/a")], Ok("/srv/a"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "a/b")], Err("`a/b`, a relative path"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "./a")], Err("absolute"));
        check(&[("HOME", "/home/u"), ("AMPLIFIER_HOME", "~v/a")], Err("write the path out"));
        check(&[("AMPLIFIER_HOME", "/a/../b")], Err("write the path out"));
        check(&[("AMPLIFIER_HOME", "~/a")], Err("set HOME"));
        check(&[], Err("set HOME or AMPLIFIER_HOME"));
        check(&[("HOME", "relative")], Err("set HOME"));
    }
}

//! Which variables a program gets.
//!
//! Guarantees: a program inherits the process's variables, except those whose name looks like
//! a secret's and that the configuration does not let through; it gets the session's ids and a
//! mark by which its whole tree is found again.
//! Never here: values. A secret under a harmless name is passed on; and the system lets any
//! process of the same user, in the sandbox too, read the variables with which this process was
//! started (`/proc/<pid>/environ`). A key that commands must not see belongs into configuration.

use std::ffi::OsString;
use std::fmt;
use std::process::Command;

use amplifier_core::SessionEnv;
use amplifier_foundation::process::MARK;

/// Changes to the inherited variables.
#[derive(Default)]
pub struct Variables {
    remove: Vec<OsString>,
    set: Vec<(OsString, OsString)>,
}

/// Names alone: a value may be a secret.
impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set: Vec<_> = self.set.iter().map(|(name, _)| name).collect();
        f.debug_struct("Variables").field("remove", &self.remove).field("set", &set).finish()
    }
}

impl Variables {
    /// Those of a program that no session starts, whose tree has this mark.
    pub fn of_program(mark: &str) -> Self {
        Self { remove: held_back(&[]), set: vec![(MARK.into(), mark.into())] }
    }

    /// Those of a session's program whose tree has this mark; `passthrough` names variables that it
    /// gets although they look like secrets.
    pub fn of_child(env: &SessionEnv, passthrough: &[String], mark: &str) -> Self {
        let mut variables = Self { remove: held_back(passthrough), set: Vec::new() }
            .with("AMPLIFIER_SESSION_ID", env.session.to_string())
            .with("AMPLIFIER_ROOT_SESSION_ID", env.root.to_string())
            .with("AMPLIFIER_SPAWN_DEPTH", env.depth.to_string())
            .with(MARK, mark);
        match &env.parent {
            Some(parent) => variables.with("AMPLIFIER_PARENT_SESSION_ID", parent.to_string()),
            None => {
                variables.remove.push("AMPLIFIER_PARENT_SESSION_ID".into());
                variables
            }
        }
    }

    /// The same and one more, whatever its name looks like.
    #[must_use]
    pub fn with(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.set.push((name.into(), value.into()));
        self
    }

    /// The same without this one, whoever set it.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.set.retain(|(set, _)| set != name);
        self.remove.push(name.into());
        self
    }

    pub(super) fn apply(self, onto: &mut Command) {
        self.remove.iter().for_each(|name| {
            onto.env_remove(name);
        });
        onto.envs(self.set);
    }
}

fn held_back(passthrough: &[String]) -> Vec<OsString> {
    let held_back = |name: &OsString| {
        let name = name.to_string_lossy();
        is_secret(&name) && !passthrough.iter().any(|passed| *passed == name)
    };
    std::env::vars_os().map(|(name, _)| name).filter(held_back).collect()
}

/// Parts of a name, between underscores, that make it a secret's wherever they stand.
const SECRET_PARTS: &[&str] = &[
    "APIKEY",
    "SECRET",
    "SECRETS",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "PWD",
    "CREDENTIAL",
    "CREDENTIALS",
    "TOKEN",
];
/// Ends of a name that make it a secret's.
const SECRET_ENDS: &[&str] = &["_KEY", "_KEY_ID", "_PAT", "_AUTH", "TOKEN", "APIKEY", "PASSWORD", "SECRET"];
/// Names that would match and hold no secret.
const HARMLESS: &[&str] = &["PWD", "OLDPWD"];

/// True if a variable of this name is held back.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if HARMLESS.contains(&name.as_str()) {
        return false;
    }
    let part = |part: &str| SECRET_PARTS.contains(&part) || part.contains("PASSWORD");
    name.split('_').any(part) || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_shown() {
        let variables = Variables::of_program("a-mark").with("SOME_TOKEN", "hidden");
        let shown = format!("{variables:?}");
        assert!(shown.contains("SOME_TOKEN") && !shown.contains("hidden"), "{shown}");
    }

    #[test]
    fn a_name_tells_a_secret() {
        for name in [
            "ANTHROPIC_API_KEY",
            "OPENAI_KEY",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "GH_TOKEN",
            "NPM_TOKEN_READ",
            "token",
            "DB_PASSWORD",
            "PGPASSWORD",
            "MYSQL_PWD",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "SIGNING_PASSPHRASE",
            "CLIENT_SECRET",
            "AZURE_OPENAI_APIKEY",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "HOME",
            "PWD",
            "OLDPWD",
            "LANG",
            "SSH_AUTH_SOCK",
            "MAX_TOKENS",
            "TOKENIZERS_PARALLELISM",
            "KEYBOARD",
            "CARGO_TARGET_DIR",
            "AMPLIFIER_HOME",
            "HTTPS_PROXY",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }
}

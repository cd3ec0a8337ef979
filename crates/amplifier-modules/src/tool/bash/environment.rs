//! Which variables a command gets.
//!
//! Guarantees: a command inherits the process's variables, except those whose name looks like
//! a secret's and that the configuration does not let through; it gets the session's ids and a
//! mark by which its whole tree is found again.
//! Never here: values. A secret under a harmless name is passed on; and the system lets any
//! process of the same user, in the sandbox too, read the variables with which this process was
//! started (`/proc/<pid>/environ`). A key that commands must not see belongs into configuration.

use std::ffi::OsString;

use amplifier_core::SessionEnv;
use amplifier_foundation::process::MARK;

/// Changes to the inherited variables.
#[derive(Debug, Default)]
pub(crate) struct Variables {
    pub(super) remove: Vec<OsString>,
    pub(super) set: Vec<(&'static str, String)>,
}

impl Variables {
    /// Those of a program that no session starts, whose tree has this mark.
    pub(crate) fn of_program(mark: &str) -> Self {
        let held_back = |name: &OsString| is_secret(&name.to_string_lossy());
        let remove = std::env::vars_os().map(|(name, _)| name).filter(held_back).collect();
        Self { remove, set: vec![(MARK, mark.to_owned())] }
    }
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
pub(super) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    if HARMLESS.contains(&name.as_str()) {
        return false;
    }
    let part = |part: &str| SECRET_PARTS.contains(&part) || part.contains("PASSWORD");
    name.split('_').any(part) || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

/// The variables of a command's tree with this mark.
pub(super) fn of_child(env: &SessionEnv, passthrough: &[String], mark: &str) -> Variables {
    let held_back = |name: &OsString| {
        let name = name.to_string_lossy();
        is_secret(&name) && !passthrough.iter().any(|passed| *passed == name)
    };
    let mut remove: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).filter(held_back).collect();
    let mut set = vec![
        ("AMPLIFIER_SESSION_ID", env.session.to_string()),
        ("AMPLIFIER_ROOT_SESSION_ID", env.root.to_string()),
        ("AMPLIFIER_SPAWN_DEPTH", env.depth.to_string()),
        (MARK, mark.to_owned()),
    ];
    match &env.parent {
        Some(parent) => set.push(("AMPLIFIER_PARENT_SESSION_ID", parent.to_string())),
        None => remove.push("AMPLIFIER_PARENT_SESSION_ID".into()),
    }
    Variables { remove, set }
}

#[cfg(test)]
mod tests {
    use super::*;

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

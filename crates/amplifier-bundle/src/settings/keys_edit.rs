//! Changes one key in `$AMPLIFIER_HOME/keys.env`.
//!
//! Guarantees: every other line stays as it is; the file is replaced whole and is open to its owner alone (0600); one
//! process at a time. A file that cannot be read as keys is left as it is. No value is in an error.

use std::io;
use std::path::PathBuf;

use amplifier_fs::read::{self, ReadError};
use amplifier_fs::write::{Access, create_dirs, replace};
use secrecy::{ExposeSecret, SecretString};

use super::home::AmplifierHome;
use super::keys::{KeysError, MAX_KEYS_BYTES, name_of, well_formed};
use super::lock::{LockError, behind_link, exclusive};

/// Why a key was not written. The file is as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyEditError {
    /// The file cannot be read, or holds what is no key.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The name is none of a variable.
    #[error("`{name}` is no name of a variable; use letters, digits and `_`, a letter first")]
    Name {
        /// The name.
        name: String,
    },
    /// The value cannot be a key.
    #[error("the value for {name} is empty, or holds a control character")]
    Value {
        /// The name.
        name: String,
    },
    /// Another process writes there.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It cannot be written.
    #[error("{} cannot be written; check the disk and who owns the folder", file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Sets a key: its line is replaced, or one is added at the end. `Ok`: durable.
pub fn set_key(home: &AmplifierHome, name: &str, value: &SecretString) -> Result<(), KeyEditError> {
    let secret = value.expose_secret().trim();
    if secret.is_empty() || secret.chars().any(char::is_control) {
        return Err(KeyEditError::Value { name: name.to_owned() });
    }
    let line = format!("{name}={}", quoted(secret));
    if name_of(&line) != Some(name) {
        return Err(KeyEditError::Name { name: name.to_owned() });
    }
    let file = home.keys_file();
    let _alone = exclusive(home, "keys.lock")?;
    let text = match read::text(&file, MAX_KEYS_BYTES) {
        Ok((text, _)) => text,
        Err(error) if error.is_missing() => String::new(),
        Err(error) => return Err(KeysError::from(error).into()),
    };
    well_formed(&text, &file)?;
    let mut lines: Vec<&str> = text.lines().filter(|line| name_of(line) != Some(name)).collect();
    lines.push(&line);
    let failed = |source| KeyEditError::Write { file: file.clone(), source };
    create_dirs(home.path(), Access::Private).map_err(failed)?;
    let text = lines.join("\n") + "\n";
    replace(&behind_link(&file), text.as_bytes(), Access::Private).map_err(failed)
}

/// As it is where that is safe, else in double quotes.
fn quoted(value: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '+' | '=' | '~');
    if value.chars().all(plain) {
        return value.to_owned();
    }
    let mut text = String::from("\"");
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
    text
}

impl From<ReadError> for KeyEditError {
    fn from(error: ReadError) -> Self {
        Self::Keys(error.into())
    }
}

//! Keys of providers: `$AMPLIFIER_HOME/keys.env`, beside the environment.
//!
//! A line is `NAME=value`, `export NAME=value`, a comment or empty. A value may stand in single
//! quotes (taken as it is) or double ones (`\n`, `\t`, `\"`, `\\`, `\$` are escapes); without
//! quotes it ends before ` #`. Nothing is expanded.
//!
//! Guarantees: the environment wins over the file; what is read goes into configuration and never
//! into the environment of this process or of another; no value shows in `Debug`, in an error or in
//! a warning. A damaged file is an error with its line, never half read.
//! Never here: writing the file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use amplifier_core::env::Variables;
use secrecy::{ExposeSecret, SecretString};

use super::environment::ProcessEnv;
use super::home::AmplifierHome;
use crate::bundle::diagnostic::{Code, Diagnostic, Severity};
use crate::redact::MIN_KNOWN_BYTES;
use amplifier_fs::mode;
use amplifier_fs::read::{self, ReadError};

/// Largest `keys.env` that is read, in bytes.
pub const MAX_KEYS_BYTES: u64 = 1 << 20;

/// Why `keys.env` cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A line is none of those that are known.
    #[error("{}:{line}: {fault}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong; holds nothing of the value.
        fault: LineFault,
    },
}

/// What is wrong with a line of `keys.env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineFault {
    /// No `=`.
    #[error("the line has no `=`; write NAME=value, or begin a comment with `#`")]
    NoEquals,
    /// The name is no name of a variable.
    #[error("the name before `=` is no variable's; use letters, digits and `_`, a letter first")]
    BadName,
    /// A quote without its end.
    #[error("the quote is not closed on its line; close it, or write `\\n` in double quotes")]
    OpenQuote,
    /// Text after a closing quote.
    #[error("text follows the closing quote; put all of the value in quotes")]
    AfterQuote,
    /// A control character, which no key and no header may hold.
    #[error("the value holds a control character; remove it")]
    Control,
}

/// The variables that modules see: the environment first, then `keys.env`.
pub struct Keys {
    process: ProcessEnv,
    file: BTreeMap<String, SecretString>,
    warnings: Vec<Diagnostic>,
}

impl Keys {
    /// Reads `keys.env`; a missing one is empty. A file that others may read gives a warning.
    pub fn load(home: &AmplifierHome, process: ProcessEnv) -> Result<Self, KeysError> {
        let path = home.keys_file();
        let text = match read::text(&path, MAX_KEYS_BYTES) {
            Ok((text, _)) => text,
            Err(error) if error.is_missing() => return Ok(Self::of_environment(process)),
            Err(error) => return Err(error.into()),
        };
        let file =
            parse(&text).map_err(|(line, fault)| KeysError::Line { file: path.clone(), line, fault })?;
        let open = mode::is_open_to_others(&path).unwrap_or(false);
        Ok(Self { process, file, warnings: open.then(|| open_to_others(&path)).into_iter().collect() })
    }

    /// The environment alone.
    pub fn of_environment(process: ProcessEnv) -> Self {
        Self { process, file: BTreeMap::new(), warnings: Vec::new() }
    }

    /// What was noticed while reading, to be shown once.
    pub fn warnings(&self) -> &[Diagnostic] {
        &self.warnings
    }

    /// The names in `keys.env`, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.keys().map(String::as_str)
    }

    /// The values that must never be written: those of `keys.env` unless their name says that they are
    /// addresses or the like, and those of the environment whose name says that they are secret.
    /// Values under [`MIN_KNOWN_BYTES`] are left out. Made for the redactor.
    pub fn known_secrets(&self) -> Vec<SecretString> {
        let of_file = self.file.iter().filter(|(name, _)| !is_plain(name)).map(|(_, value)| value.clone());
        let of_process = self.process.iter().filter(|(name, _)| is_secret(name));
        let of_process = of_process.map(|(_, value)| SecretString::from(value.to_owned()));
        of_file.chain(of_process).filter(|value| value.expose_secret().len() >= MIN_KNOWN_BYTES).collect()
    }
}

impl Variables for Keys {
    fn get(&self, name: &str) -> Option<String> {
        let of_file = || self.file.get(name).map(|value| value.expose_secret().to_owned());
        self.process.get(name).map(str::to_owned).or_else(of_file)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.names().collect();
        f.debug_struct("Keys").field("process", &self.process).field("file", &names).finish()
    }
}

fn open_to_others(path: &Path) -> Diagnostic {
    let message = "others than you may read the keys";
    Diagnostic::new(Severity::Warning, Code::BadValue, path, message)
        .help(format!("run `chmod 600 {}`", path.display()))
}

/// The parts of a variable's name that say that its value is secret.
const SECRET_WORDS: [&str; 9] =
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "CREDENTIALS", "PAT"];
/// The last parts of a variable's name that say that its value is none.
const PLAIN_WORDS: [&str; 12] = [
    "URL",
    "BASE",
    "ENDPOINT",
    "HOST",
    "MODEL",
    "REGION",
    "VERSION",
    "DEPLOYMENT",
    "PROJECT",
    "LOCATION",
    "PATH",
    "FILE",
];

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name.split('_').any(|word| SECRET_WORDS.contains(&word) || word.ends_with("APIKEY")) && !is_plain(&name)
}

fn is_plain(name: &str) -> bool {
    name.rsplit('_').next().is_some_and(|word| PLAIN_WORDS.contains(&word.to_ascii_uppercase().as_str()))
}

/// The name that a line gives a value to; `None` for any other line.
pub(super) fn name_of(line: &str) -> Option<&str> {
    parse_line(line.trim()).ok().flatten().map(|(name, _)| name)
}

/// Whether every line of a text is one that is known.
pub(super) fn well_formed(text: &str, file: &Path) -> Result<(), KeysError> {
    let fault = |(line, fault)| KeysError::Line { file: file.to_owned(), line, fault };
    parse(text).map(drop).map_err(fault)
}

/// The last of several lines with one name counts.
fn parse(text: &str) -> Result<BTreeMap<String, SecretString>, (usize, LineFault)> {
    let mut keys = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        let parsed = parse_line(line.trim()).map_err(|fault| (index + 1, fault))?;
        if let Some((name, value)) = parsed
            && !value.is_empty()
        {
            keys.insert(name.to_owned(), SecretString::from(value));
        }
    }
    Ok(keys)
}

fn parse_line(line: &str) -> Result<Option<(&str, String)>, LineFault> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let exported = line.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t']));
    let (name, value) = exported.unwrap_or(line).split_once('=').ok_or(LineFault::NoEquals)?;
    let name = name.trim();
    let of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(of_name) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(LineFault::BadName);
    }
    let value = value.trim();
    let value = match value.chars().next() {
        Some('\'') => single_quoted(&value[1..])?,
        Some('"') => double_quoted(&value[1..])?,
        _ => bare(value).to_owned(),
    };
    let refused = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if value.contains(refused) { Err(LineFault::Control) } else { Ok(Some((name, value))) }
}

/// Without quotes: up to a `#` that begins the value or follows white space.
fn bare(value: &str) -> &str {
    let comment = |at: &usize| value[..*at].chars().next_back().is_none_or(char::is_whitespace);
    let end = value.match_indices('#').map(|(at, _)| at).find(comment).unwrap_or(value.len());
    value[..end].trim_end()
}

fn single_quoted(text: &str) -> Result<String, LineFault> {
    let (value, rest) = text.split_once('\'').ok_or(LineFault::OpenQuote)?;
    nothing_after(rest)?;
    Ok(value.to_owned())
}

fn double_quoted(text: &str) -> Result<String, LineFault> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        match next {
            '"' => {
                nothing_after(chars.as_str())?;
                return Ok(value);
            }
            '\\' => match chars.next().ok_or(LineFault::OpenQuote)? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                escaped @ ('"' | '\\' | '$' | '`') => value.push(escaped),
                other => value.extend(['\\', other]),
            },
            other => value.push(other),
        }
    }
    Err(LineFault::OpenQuote)
}

fn nothing_after(rest: &str) -> Result<(), LineFault> {
    let rest = rest.trim();
    if rest.is_empty() || rest.starts_with('#') { Ok(()) } else { Err(LineFault::AfterQuote) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<Option<(String, String)>, LineFault> {
        parse_line(line.trim()).map(|found| found.map(|(name, value)| (name.to_owned(), value)))
    }

    #[test]
    fn lines_are_read_as_shells_write_them() {
        let check = |line: &str, value: &str| {
            assert_eq!(one(line).unwrap().unwrap(), ("K".to_owned(), value.to_owned()), "{line}");
        };
        check("K=abc", "abc");
        check("  export K = abc  ", "abc");
        check("export\tK=abc", "abc");
        check("K=a#b", "a#b");
        check("K=abc # comment", "abc");
        check("K=  # comment", "");
        check("K=a=b==", "a=b==");
        check("K='a #b\\n$X'", "a #b\\n$X");
        check("K='abc' # comment", "abc");
        check(r#"K="a \"b\" \\ \n \$ \x""#, "a \"b\" \\ \n $ \\x");
        check("K=\"\"", "");
        check("K=ä$HOME", "ä$HOME");
        for nothing in ["", "   ", "# K=v", "  #"] {
            assert_eq!(one(nothing).unwrap(), None, "{nothing}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        let check = |line: &str, fault: LineFault| assert_eq!(one(line).unwrap_err(), fault, "{line}");
        check("sk-123", LineFault::NoEquals);
        check("export", LineFault::NoEquals);
        check("=abc", LineFault::BadName);
        check("1K=abc", LineFault::BadName);
        check("A-B=abc", LineFault::BadName);
        check("A B=abc", LineFault::BadName);
        check("K='abc", LineFault::OpenQuote);
        check("K=\"abc\\\"", LineFault::OpenQuote);
        check("K=\"abc\"d", LineFault::AfterQuote);
        check("K='abc' d", LineFault::AfterQuote);
        check("K=a\0b", LineFault::Control);
        check("K=a\x1b[0m", LineFault::Control);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s)[Kx=#'\"\\\\\n \u{e4}$]{0,40}") {
            let _ = parse(&text);
        }
    }
}

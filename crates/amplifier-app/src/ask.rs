//! Questions to a person at the terminal.
//!
//! Guarantees: questions go to stderr; where stdin or stderr is no terminal nobody is asked, and the caller is told so;
//! the end of input is no answer. A secret is not shown while it is typed, and the terminal is as before after it,
//! Ctrl+C included.

use std::io::{BufRead, IsTerminal, Write};

use amplifier_foundation::redact::SecretValue;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::terminal::{Style, plain, say};

/// How often an answer that is none is asked for again.
const ATTEMPTS: usize = 3;

/// True if somebody is there to ask.
pub fn somebody_is_there() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for a line; `None`: nobody is there, or the input has ended. An empty line is the default.
pub fn line(question: &str, default: &str) -> Option<String> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{}]", plain(default)) };
    let typed = read(&format!("{question}{shown}: "))?;
    let typed = typed.trim();
    Some(if typed.is_empty() { default.to_owned() } else { typed.to_owned() })
}

/// Asks yes or no; `None` as in [`line()`]. Anything else than yes is no.
pub fn yes(question: &str) -> Option<bool> {
    let typed = read(&format!("{question} [y/N] "))?;
    Some(matches!(typed.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Has one of several chosen, by number or by name; `None` as in [`line()`], or nothing that was typed is one of them.
pub fn choice(question: &str, options: &[String], default: usize) -> Option<usize> {
    say(question);
    for (at, option) in options.iter().enumerate() {
        say(&format!("  {} {}", at + 1, plain(option)));
    }
    for _ in 0..ATTEMPTS {
        let typed = line("which", &(default + 1).to_string())?;
        let by_number = typed.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        let named = |option: &String| option.split_whitespace().next() == Some(typed.as_str());
        match by_number.filter(|at| *at < options.len()).or_else(|| options.iter().position(named)) {
            Some(at) => return Some(at),
            None => say(&format!("please give a number from 1 to {}", options.len())),
        }
    }
    None
}

/// Asks for what nobody may see; `None` as in [`line()`], and for nothing typed.
pub fn secret(question: &str) -> Option<SecretValue> {
    let hidden = Hidden::begin()?;
    let typed = read(&format!("{question} (not shown): "));
    drop(hidden);
    say("");
    let typed = typed?;
    let typed = typed.trim();
    (!typed.is_empty()).then(|| SecretValue::from(typed.to_owned()))
}

fn read(question: &str) -> Option<String> {
    if !somebody_is_there() {
        return None;
    }
    let mut stderr = std::io::stderr().lock();
    let _ = write!(stderr, "{}", Style::stderr().warning(question));
    let _ = stderr.flush();
    drop(stderr);
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line),
    }
}

/// The terminal shows nothing that is typed, until this is dropped. Ctrl+C counts as a line then, so that it cannot
/// leave the terminal like this.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Option<Self> {
        let stdin = std::io::stdin();
        let before = tcgetattr(&stdin).ok()?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO | LocalFlags::ISIG);
        tcsetattr(&stdin, SetArg::TCSADRAIN, &hidden).ok()?;
        Some(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), SetArg::TCSADRAIN, &self.0);
    }
}

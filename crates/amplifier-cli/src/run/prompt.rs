//! What the session is asked: the argument, standard input, or both.
//!
//! Guarantees: a pipe, a socket or a file is read to its end; a terminal, `/dev/null` or a closed
//! standard input is not waited for; more than [`MAX_STDIN_BYTES`] is refused, never cut.

use std::io::Read;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{SFlag, fstat};

use crate::exit::{Code, Failure};
use crate::output;

/// Most that is read from standard input, in bytes.
const MAX_STDIN_BYTES: u64 = 10 << 20;

/// When a person is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the session is asked. Mentions count in what a person typed only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prompt {
    /// The argument; empty if there is none.
    pub(super) typed: String,
    /// What came in through standard input, as it stands behind the argument.
    pub(super) piped: Option<String>,
}

/// The prompt of the argument and of standard input.
pub(super) fn read(argument: Option<&str>, timeout: Option<Duration>) -> Result<Prompt, Failure> {
    let piped = if is_piped() { Some(read_stdin(timeout)?) } else { None };
    join(argument, piped.as_deref()).ok_or_else(|| {
        Failure::usage("there is no prompt")
            .help("give one: `amplifier run \"…\"`, or pipe it to standard input")
    })
}

/// The same, of standard input that was read before.
pub(super) fn handed(argument: Option<&str>, piped: Option<String>) -> Prompt {
    let typed = argument.filter(|text| !text.trim().is_empty()).unwrap_or_default().to_owned();
    Prompt { typed, piped }
}

/// Both parts; `None` if there is nothing but white space.
fn join(argument: Option<&str>, piped: Option<&str>) -> Option<Prompt> {
    let told = |text: &&str| !text.trim().is_empty();
    let typed = argument.filter(told).unwrap_or_default().to_owned();
    let piped = piped.filter(told).map(|text| text.trim_end_matches(['\n', '\r']));
    let piped = piped.map(|text| match typed.is_empty() {
        true => text.to_owned(),
        false => format!("<stdin>\n{text}\n</stdin>"),
    });
    (!typed.is_empty() || piped.is_some()).then_some(Prompt { typed, piped })
}

/// True if somebody may have put something into standard input.
fn is_piped() -> bool {
    let Ok(stat) = fstat(std::io::stdin().as_fd()) else { return false };
    let kind = SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits());
    [SFlag::S_IFIFO, SFlag::S_IFREG, SFlag::S_IFSOCK].contains(&kind)
}

fn read_stdin(timeout: Option<Duration>) -> Result<String, Failure> {
    wait_for_stdin(timeout)?;
    let mut bytes = Vec::new();
    let mut bounded = std::io::stdin().lock().take(MAX_STDIN_BYTES + 1);
    bounded.read_to_end(&mut bytes).map_err(|error| Failure {
        message: format!("standard input cannot be read: {error}"),
        ..Failure::work(&error)
    })?;
    if bytes.len() as u64 > MAX_STDIN_BYTES {
        let help = "write it to a file in the working directory and name the file in the prompt";
        return Err(Failure::usage("standard input is longer than 10 MiB").help(help));
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            output::say("warning: standard input is no UTF-8 text; what cannot be read is replaced");
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        }
    })
}

/// Waits for the first byte or the end, at most as long as the run may take.
fn wait_for_stdin(timeout: Option<Duration>) -> Result<(), Failure> {
    if is_ready(Some(timeout.map_or(PATIENCE, |timeout| timeout.min(PATIENCE)))) {
        return Ok(());
    }
    output::say("waiting for standard input; end it with Ctrl+D, or run with `< /dev/null`");
    if is_ready(timeout.map(|timeout| timeout.saturating_sub(PATIENCE))) {
        return Ok(());
    }
    Err(Failure::usage("the time was up before standard input ended").code(Code::TimedOut, "timed_out"))
}

fn is_ready(timeout: Option<Duration>) -> bool {
    let stdin = std::io::stdin();
    let mut wanted = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN | PollFlags::POLLHUP)];
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
        PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX)
    });
    // An error of poll is for the read that follows to tell.
    poll(&mut wanted, timeout) != Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_and_standard_input_are_told_apart() {
        let check = |argument: Option<&str>, piped: Option<&str>, expect: Option<(&str, Option<&str>)>| {
            let prompt = join(argument, piped);
            let found = prompt.as_ref().map(|prompt| (prompt.typed.as_str(), prompt.piped.as_deref()));
            assert_eq!(found, expect, "{argument:?} {piped:?}");
        };
        check(Some("do"), None, Some(("do", None)));
        check(None, Some("do\n\n"), Some(("", Some("do"))));
        check(Some("do"), Some("a\nb\n"), Some(("do", Some("<stdin>\na\nb\n</stdin>"))));
        check(Some("do"), Some(" \n"), Some(("do", None)));
        check(Some(" "), Some("do"), Some(("", Some("do"))));
        check(Some(""), None, None);
        check(None, Some("\n"), None);
        check(None, None, None);
    }
}

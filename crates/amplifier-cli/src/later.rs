//! Commands and flags that have a place in the interface and are not there yet.
//!
//! Guarantees: each of them is refused with exit code 2 and one line; none is taken for a
//! prompt or ignored.

use std::ffi::OsString;

use crate::exit::Failure;

/// Commands that come later.
const COMMANDS: [&str; 1] = ["update"];

/// Refuses a command that is not there yet, before arguments are parsed.
pub(crate) fn check(arguments: &[OsString]) -> Result<(), Failure> {
    let word = |at: usize| arguments.get(at).and_then(|word| word.to_str()).unwrap_or_default();
    match word(1) {
        first if COMMANDS.contains(&first) => Err(not_yet(&format!("`amplifier {first}`"))),
        _ => Ok(()),
    }
}

/// `amplifier spawn` without `--explain`.
pub(crate) fn spawn() -> Failure {
    let help =
        "`amplifier run` starts a session; `amplifier run --background` starts one and comes back at once";
    Failure { kind: "not_yet", ..Failure::usage("`amplifier spawn` starts nothing: it tells with --explain") }
        .help(help)
}

/// Something that has a place and is not there yet.
pub(crate) fn not_yet(what: &str) -> Failure {
    Failure { kind: "not_yet", ..Failure::usage(format!("{what} is not there yet in this version")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_place_of_a_command_counts() {
        let check = |line: &str, refused: bool| {
            let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(check(&words).is_err(), refused, "{line}");
        };
        check("amplifier update", true);
        check("amplifier mcp serve", false);
        check("amplifier session wait abc", false);
        check("amplifier session tree abc", false);
        check("amplifier trigger list", false);
        check("amplifier spawn", false);
        check("amplifier run update", false);
        check("amplifier session show wait", false);
        check("amplifier", false);
    }
}

//! Commands that have a place in the interface and are not there yet.
//!
//! Guarantees: each of them is refused with exit code 2 and one line.

use std::ffi::OsString;

use crate::exit::Failure;

/// Commands that come later.
pub(crate) const COMMANDS: [&str; 1] = ["chat"];

/// Refuses a command that is not there yet, before arguments are parsed.
pub(crate) fn check(arguments: &[OsString]) -> Result<(), Failure> {
    let first = arguments.get(1).and_then(|word| word.to_str()).unwrap_or_default();
    match COMMANDS.contains(&first) {
        false => Ok(()),
        true => Err(Failure::usage(format!("`foreman {first}` is not available in this version"))
            .kind("not_yet")
            .help("`foreman run ISSUES.jsonl` works on a file of issues without it")),
    }
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
        check("foreman chat --json", true);
        check("foreman issue list", false);
        check("foreman run issue", false);
        check("foreman", false);
    }
}

//! Examples for `--help`, one list for all commands.
//!
//! Guarantees: every command has at least one, and each is understood by the command line that it stands in.

use clap::Command;

/// The words of a command, and its examples without `amplifier`.
const EXAMPLES: [(&str, &[&str]); 58] = [
    (
        "run",
        &[
            "run \"Review src/\"",
            "run -B reviewer --max-turns 20 \"Review this change\"",
            "run --background \"Run the tests\"",
        ],
    ),
    ("continue", &["continue \"and now?\""]),
    ("resume", &["resume 4f1c \"and now?\""]),
    ("spawn", &["spawn --explain -B reviewer --max-turns 20"]),
    ("session list", &["session list --running", "session list --all-projects -n 50"]),
    ("session show", &["session show 4f1c --transcript"]),
    ("session tree", &["session tree", "session tree 4f1c --json"]),
    ("session wait", &["session wait 4f1c 77ab --timeout 15m"]),
    ("session cancel", &["session cancel 4f1c --now"]),
    ("session logs", &["session logs 4f1c -f"]),
    ("session attach", &["session attach 4f1c"]),
    ("session reindex", &["session reindex --json"]),
    ("session fork", &["session fork 4f1c --at-turn 2"]),
    ("session resume", &["session resume 4f1c \"and now?\""]),
    ("session delete", &["session delete 4f1c --force"]),
    ("session cleanup", &["session cleanup --dry-run", "session cleanup --days 7 --force"]),
    ("session export", &["session export 4f1c --format markdown"]),
    ("event emit", &["event emit build:done '{\"ok\": true}'"]),
    ("event tail", &["event tail \"build:*\" --json"]),
    ("event wait", &["event wait build:done --timeout 15m"]),
    ("event replay", &["event replay --from 1 --json"]),
    ("event why", &["event why 1042"]),
    ("background start", &["background start -B nightly"]),
    ("background list", &["background list --json"]),
    ("background status", &["background status nightly"]),
    (
        "background add",
        &[
            "background add nightly -B reviewer --cron \"0 3 * * *\" --timezone Europe/Berlin \"Review what changed\"",
        ],
    ),
    ("background rm", &["background rm nightly"]),
    ("background pause", &["background pause nightly"]),
    ("background resume", &["background resume nightly"]),
    ("background fire", &["background fire nightly --wait"]),
    ("background logs", &["background logs nightly -f"]),
    ("background stop", &["background stop"]),
    ("bundle list", &["bundle list --all"]),
    ("bundle show", &["bundle show default --json"]),
    ("bundle use", &["bundle use reviewer --project"]),
    ("bundle current", &["bundle current"]),
    ("bundle clear", &["bundle clear --local"]),
    ("bundle validate", &["bundle validate ./reviewer.md --strict"]),
    (
        "bundle add",
        &["bundle add git+https://github.com/example/bundles@main#subdirectory=reviewer.md --name reviewer"],
    ),
    ("bundle update", &["bundle update --check", "bundle update --all"]),
    ("bundle remove", &["bundle remove reviewer"]),
    ("agents list", &["agents list -B default"]),
    ("agents show", &["agents show explorer -B default"]),
    ("runs", &["runs --since 12h", "runs retry 01J8"]),
    ("trigger list", &["trigger list"]),
    ("trigger fire", &["trigger fire nightly"]),
    ("trigger history", &["trigger history nightly --since 7d"]),
    (
        "trigger simulate",
        &[
            "trigger simulate --cron \"0 9 * * MON-FRI\" --timezone Europe/Berlin --from 2026-11-23T00:00:00Z --count 5",
        ],
    ),
    ("trust", &["trust", "trust list", "trust revoke"]),
    ("provider list", &["provider list"]),
    ("provider remove", &["provider remove lab"]),
    ("tool list", &["tool list -B default", "tool list --modules"]),
    ("tool info", &["tool info read_file"]),
    ("module list", &["module list --kind tool"]),
    ("module show", &["module show tool-bash"]),
    ("schema", &["schema settings"]),
    ("completions", &["completions bash"]),
    ("doctor", &["doctor", "doctor --json"]),
];

/// The command line with its examples.
pub(super) fn with(command: Command) -> Command {
    EXAMPLES.iter().fold(command, |command, (words, examples)| {
        let words: Vec<&str> = words.split(' ').collect();
        added(command, &words, examples)
    })
}

fn added(command: Command, words: &[&str], examples: &[&str]) -> Command {
    let Some((first, rest)) = words.split_first() else {
        let known =
            command.get_after_help().map(ToString::to_string).filter(|known| !known.contains("Example"));
        let plural = if examples.len() == 1 { "" } else { "s" };
        let lines: String = examples.iter().map(|example| format!("\n  amplifier {example}")).collect();
        let own = format!("Example{plural}:{lines}");
        return match (command.get_after_help().is_some(), known) {
            // It has examples of its own.
            (true, None) => command,
            (_, Some(known)) => command.after_help(format!("{known}\n\n{own}")),
            (false, None) => command.after_help(own),
        };
    };
    if command.find_subcommand(first).is_none() {
        return command;
    }
    command.mut_subcommand(first, |below| added(below, rest, examples))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Cli;

    /// The words of a line of shell.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
        for c in line.chars().chain([' ']) {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, ' ') => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
                (_, c) => word.push(c),
            }
        }
        words
    }

    fn leaves<'a>(command: &'a Command, path: &str, found: &mut Vec<(String, &'a Command)>) {
        let below: Vec<&Command> = command
            .get_subcommands()
            .filter(|below| !below.is_hide_set() && below.get_name() != "help")
            .collect();
        if below.is_empty() || ["runs", "trust"].contains(&command.get_name()) {
            found.push((path.to_owned(), command));
            return;
        }
        for one in below {
            leaves(one, format!("{path} {}", one.get_name()).trim(), found);
        }
    }

    #[test]
    fn every_command_has_an_example_that_is_understood() {
        let command = with(Cli::command());
        let mut found = Vec::new();
        leaves(&command, "", &mut found);
        assert!(found.len() > 40, "{}", found.len());
        for (path, leaf) in found {
            let help = leaf.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(
                help.contains("Example") || help.contains("Switch it on"),
                "`amplifier {path} --help` has no example"
            );
        }
        for (path, examples) in EXAMPLES {
            for example in examples {
                assert!(example.starts_with(path), "{example} is no example of {path}");
                let line = words(&format!("amplifier {example}"));
                let parsed = with(Cli::command()).try_get_matches_from(line);
                assert!(
                    parsed.is_ok(),
                    "{example}: {}",
                    parsed.err().map_or_else(String::new, |error| error.to_string())
                );
            }
        }
    }
}

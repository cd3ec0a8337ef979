//! What is refused, with which exit code and which words.

use crate::kit::Place;

#[test]
fn what_cannot_be_done_is_refused_with_code_2_and_a_reason() {
    let place = Place::scripted("- text: hello");
    place.write("not-a-dir", "");
    let check = |args: &[&str], parts: &[&str]| {
        let done = place.run(args).code(2).says(parts);
        assert_eq!(done.stdout, "", "{args:?}");
    };
    // Not there yet.
    check(&[], &["there is no prompt"]);
    check(&["event", "tail", "--from", "x"], &["--from"]);
    check(&["spawn", "-B", "b"], &["`amplifier spawn` starts nothing", "amplifier run --background"]);
    check(&["run", "--mode", "chat", "--background", "hi"], &["a chat has no place for --background"]);
    // Not understood.
    check(&["rum", "hi"], &["unrecognized subcommand 'rum'", "run"]);
    check(&["run", "--nope", "hi"], &["--nope"]);
    check(&["run", "one", "two"], &["unexpected argument 'two'"]);
    check(&["run", "--timeout", "5", "hi"], &["`5` is no duration"]);
    check(&["run", "--max-turns", "0", "hi"], &["--max-turns"]);
    for amount in ["-1", "NaN", "inf", "much", "1e3", ""] {
        check(
            &["continue", "--max-budget-usd", amount, "hi"],
            &["--max-budget-usd", "US dollars such as 2.50"],
        );
    }
    check(&["run", "--on-exit", "wait", "hi"], &["--on-exit", "drain, cancel, detach"]);
    check(&["run", "--drain-timeout", "soon", "hi"], &["--drain-timeout", "`soon` is no duration"]);
    check(&["run", "--permission-mode", "yolo", "hi"], &["dontAsk"]);
    check(&["run", "--output-format", "xml", "hi"], &["stream-json"]);
    check(&["run", "--resume", "x", "--continue", "hi"], &["cannot be used with"]);
    // Without sense.
    check(&["run"], &["there is no prompt"]);
    check(&["run", "  "], &["there is no prompt"]);
    check(&["resume"], &["no session is named", "amplifier continue"]);
    check(&["run", "--fork-session", "hi"], &["--fork-session copies a session"]);
    check(&["run", "--resume", "x", "--session-id", "y", "hi"], &["--session-id names a new session"]);
    check(&["run", "-B", "b", "--session-id", "../x", "hi"], &["session id", "../x"]);
    check(&["run", "-B", "b", "-o", "no/such/folder", "hi"], &["-o no/such/folder"]);
    check(&["run", "-B", "nope", "hi"], &["there is no bundle `nope`"]);
    check(&["run", "-C", "nowhere", "hi"], &["nowhere"]);
    check(&["run", "-C", "not-a-dir", "hi"], &["not-a-dir is no directory"]);
    check(&["run", "-B", "b", "--add-dir", "nowhere", "hi"], &["nowhere"]);
    check(&["run", "-B", "b", "--add-dir", "not-a-dir", "hi"], &["not-a-dir: that is no directory"]);
    check(&["continue", "hi"], &["there is no session in"]);
    check(
        &["run", "-B", "b", "--parent-session", "abc", "hi"],
        &["--parent-session: session abc was not found", "session list --all"],
    );
    check(
        &["run", "--resume", "x", "--parent-session", "y", "hi"],
        &["--parent-session is for a new session"],
    );
    check(&["session", "tree", "abc"], &["session abc was not found"]);
    check(&["session", "wait", "abc"], &["session abc was not found"]);
    check(&["session", "wait"], &["<ID>"]);
    check(&["detached-owner"], &["this command is for amplifier itself"]);
    check(&["run", "--resume", "abc", "hi"], &["session abc was not found"]);
    check(&["run", "--resume", "../x", "hi"], &["session id", "../x"]);
    check(&["run", "hi"], &["no provider is configured", "ANTHROPIC_API_KEY"]);
    assert_eq!(place.sessions(), Vec::<String>::new(), "a refused run leaves nothing behind");
}

#[test]
fn help_and_version_are_results() {
    let place = Place::new();
    let version = place.run(&["--version"]).ok();
    assert_eq!(version.stdout, format!("amplifier {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(place.run(&["-V"]).ok().stdout, version.stdout);
    for args in [&["--help"][..], &["run", "--help"], &["session", "fork", "-h"], &["help", "bundle"]] {
        let help = place.run(args).ok();
        assert!(help.stdout.contains("Usage: amplifier"), "{help:?}");
        assert_eq!(help.stderr, "");
    }
    let help = place.run(&["run", "--help"]).ok().stdout;
    assert!(help.contains("--background") && help.contains("detach"), "{help}");
}

#[test]
fn old_spellings_are_accepted() {
    let place = Place::scripted("- text: hello");
    assert_eq!(place.run(&["run", "--mode", "single", "-B", "b", "hi"]).ok().stdout, "hello\n");
    assert_eq!(place.run(&["continue", "--force-bundle", "b", "hi"]).ok().stdout, "hello\n");
    let trace = place.run(&["run", "-B", "b", "--output-format", "json-trace", "hi"]).ok().json();
    assert_eq!(trace["execution_trace"], serde_json::json!([]));
}

#[test]
fn the_bundle_comes_from_the_flag_then_the_environment_then_settings() {
    let place = Place::scripted("- text: from b");
    place.bundle("c", "- text: from c", "");
    place.bundle("d", "- text: from d", "");
    place.write_home("settings.yaml", "bundle: {active: c}\n");
    assert_eq!(place.run(&["run", "hi"]).ok().stdout, "from c\n");
    let with_variable = |args: &[&str]| place.call(args).env("AMPLIFIER_BUNDLE", "d").done().ok().stdout;
    assert_eq!(with_variable(&["run", "hi"]), "from d\n");
    assert_eq!(with_variable(&["run", "-B", "b", "hi"]), "from b\n");
}

#[test]
fn broken_settings_and_keys_stop_a_command_with_their_place() {
    let place = Place::scripted("- text: hello");
    place.write_home("settings.yaml", "bundle: {active: [1]}\n");
    place.run(&["run", "hi"]).code(2).says(&["settings.yaml:1:"]);
    let done = place.run(&["bundle", "current"]).code(2);
    assert!(done.stderr.starts_with('/'), "a fault in a file begins with its place: {}", done.stderr);
    place.write_home("settings.yaml", "bundel: {}\n");
    place.run(&["run", "-B", "b", "hi"]).ok().says(&["settings.yaml:1:1: warning", "bundel"]);
    place.write_home("keys.env", "no key here\n");
    let done = place.run(&["run", "-B", "b", "hi"]).code(2).says(&["keys.env:1"]);
    assert!(!done.stderr.contains("no key here"), "a line of keys is never quoted");
}

/// Lines of the program's own sources that are no comments.
fn source_lines(folder: &std::path::Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // `later.rs` refuses flags that are not there, `git.rs` and `external` call other programs.
        let skipped = ["later.rs", "git.rs", "external", "args"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !skipped {
            source_lines(&path, lines);
        } else if !skipped && path.extension().is_some_and(|suffix| suffix == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            lines.extend(text.map(str::to_owned));
        }
    }
}

#[test]
fn messages_name_only_commands_and_flags_that_exist() {
    let place = Place::new();
    let mut help = String::new();
    for command in [
        &["run"][..],
        &["bundle"],
        &["bundle", "add"],
        &["session", "delete"],
        &["session", "list"],
        &["session", "wait"],
        &["session", "cancel"],
        &["event", "emit"],
        &["event", "tail"],
        &["event", "wait"],
        &["event", "replay"],
        &["trigger", "simulate"],
        &["background", "add"],
        &["background", "start"],
        &["background", "fire"],
        &["runs"],
        &["runs", "retry"],
        &["spawn"],
        &["trust"],
        &["provider", "add"],
        &["provider", "test"],
        &["tool", "invoke"],
        &["session", "cleanup"],
        &[],
    ] {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        help.push_str(&place.run(&args).ok().stdout);
    }
    let crates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut lines = Vec::new();
    for name in ["amplifier-cli", "amplifier-core", "amplifier-foundation", "amplifier-modules"] {
        source_lines(&crates.join(name).join("src"), &mut lines);
    }
    let known = |word: &str| help.split(|c: char| !c.is_alphanumeric() && c != '-').any(|w| w == word);
    let begins = |text: &'static str| {
        let is_word = |c: char| c.is_ascii_lowercase() || c == '-';
        lines.iter().flat_map(move |line| line.match_indices(text).map(move |(at, _)| (line, at))).map(
            move |(line, at)| {
                let rest = &line[at + text.len()..];
                (line, &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())])
            },
        )
    };
    assert!(!lines.iter().any(|line| line.contains("by a flag")), "a flag has a name");
    let mut seen = 0;
    for mark in [" --", "`--", "\"--"] {
        for (line, flag) in begins(mark).filter(|(_, flag)| flag.len() > 1) {
            // A string that is a flag and nothing else is an argument, of another program too.
            let text =
                line.split_once("\"--").map_or("", |(_, text)| text.split('"').next().unwrap_or_default());
            if mark == "\"--" && !text.contains(' ') {
                continue;
            }
            assert!(known(&format!("--{flag}")), "{line}");
            seen += 1;
        }
    }
    for (line, command) in begins("`amplifier ").filter(|(_, command)| !command.is_empty()) {
        assert!(known(command), "{line}");
        seen += 1;
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_setting_of_the_wrong_type_is_one_error_with_its_place_in_each_scope() {
    let wrong = "limits:\n  max_turns: many\n";
    let said = |place: &Place, file: &str| {
        for line in [&["run", "-B", "b", "hi"][..], &["bundle", "list"], &["session", "list"]] {
            let done = place
                .run(line)
                .code(2)
                .says(&[file, ":2:14: error: `limits.max_turns` must be a whole number"]);
            assert_eq!(done.stderr.matches("max_turns").count(), 1, "{done:#?}");
            assert!(done.stdout.is_empty(), "{done:#?}");
        }
    };
    let place = Place::scripted("- text: hello");
    place.write_home("settings.yaml", wrong);
    said(&place, "settings.yaml");
    for name in [".amplifier/settings.yaml", ".amplifier/settings.local.yaml"] {
        let place = Place::scripted("- text: hello");
        place.write(name, wrong);
        said(&place, name);
        assert!(!place.home().join("projects").exists(), "nothing has begun");
    }
    let place = Place::scripted("- text: hello");
    for (name, value) in [("AMPLIFIER_MAX_SPAWN_DEPTH", "deep"), ("AMPLIFIER_MAX_BUDGET_USD", "much")] {
        place.call(&["run", "-B", "b", "hi"]).env(name, value).done().code(2).says(&[name]);
    }
    place.run(&["run", "-B", "b", "--max-turns", "many", "hi"]).code(2).says(&["--max-turns"]);
}

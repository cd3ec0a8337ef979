//! What a person at a terminal sees and is asked.

use std::fs::File;
use std::io::{Read, Write};

use nix::pty::openpty;

use crate::kit::Place;

/// Runs at a terminal. When the screen shows the first text of a pair, the second is typed; if it
/// is empty, before the program begins.
#[track_caller]
pub(crate) fn at_terminal(
    place: &Place,
    args: &[&str],
    typed: &[(&str, &str)],
    colour: bool,
) -> (Option<i32>, String) {
    let pty = openpty(None, None).unwrap();
    let stream = || pty.slave.try_clone().unwrap();
    let mut call = place.call(args).env("TERM", "xterm");
    if !colour {
        call = call.env("NO_COLOR", "1");
    }
    let mut master = File::from(pty.master);
    let ahead = typed.iter().take_while(|(question, _)| question.is_empty()).count();
    typed[..ahead].iter().for_each(|(_, line)| master.write_all(line.as_bytes()).unwrap());
    let running = call.stdin(stream()).stdout(stream()).stderr(stream()).start();
    drop(pty.slave);
    let screen = watch(master, &typed[ahead..]);
    (running.done().code, screen)
}

fn watch(mut master: File, typed: &[(&str, &str)]) -> String {
    let (mut screen, mut read_to, mut typed) = (String::new(), 0, typed.iter());
    let mut next = typed.next();
    let mut bytes = [0; 4096];
    // The end of the other side is an error here.
    while let Ok(read @ 1..) = master.read(&mut bytes) {
        screen.push_str(&String::from_utf8_lossy(&bytes[..read]).replace('\r', ""));
        while let Some((question, answer)) = next
            && let Some(at) = screen[read_to..].find(question)
        {
            read_to += at + question.len();
            master.write_all(answer.as_bytes()).unwrap();
            next = typed.next();
        }
    }
    assert!(next.is_none(), "{next:?} was never shown: {screen}");
    screen
}

fn writing_twice() -> Place {
    let place = Place::new();
    let write = |name: &str| {
        format!("tool_calls: [{{tool: write_file, arguments: {{path: ../{name}, content: x}}}}]")
    };
    let script = format!(
        "- {{when: {{turn: 1}}, text: I write., {}}}\n- {{when: {{after_tool: write_file}}, times: 1, {}}}\n- {{when: {{after_tool: write_file}}, text: I tried.}}",
        write("one.txt"),
        write("two.txt"),
    );
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    place
}

#[test]
fn the_person_is_asked_before_a_write_elsewhere() {
    let check = |typed: &[(&str, &str)], code: i32, one: bool, two: bool| {
        let place = writing_twice();
        let (ended, screen) = at_terminal(&place, &["run", "-B", "b", "go"], typed, false);
        assert_eq!(ended, Some(code), "{screen}");
        let written = |name: &str| place.project().join("..").join(name).exists();
        assert_eq!((written("one.txt"), written("two.txt")), (one, two), "{screen}");
        assert!(screen.contains("I tried."), "{screen}");
    };
    check(&[("[n]o: ", "y\n"), ("[n]o: ", "n\n")], 0, true, false);
    check(&[("[n]o: ", "n\n"), ("[n]o: ", "yes\n")], 0, false, true);
    // What was typed before the question stood there is no answer to it.
    check(&[("", "y\n"), ("[n]o: ", "n\n"), ("[n]o: ", "n\n")], 0, false, false);
    check(
        &[("[n]o: ", "what?\n"), ("please answer", ""), ("[n]o: ", "n\n"), ("[n]o: ", "n\n")],
        0,
        false,
        false,
    );
}

#[test]
fn text_streams_and_tools_are_told_in_a_line_each() {
    let place = Place::new();
    place.write("a.txt", "x\n");
    let script = "- {when: {turn: 1}, text: 'one two', tool_calls: [{tool: read_file, arguments: {path: a.txt}}]}\n\
                  - {when: {after_tool: read_file}, text: \"three \\x1b[2J four\"}";
    place.bundle("b", script, "tools: [{module: tool-filesystem}]");
    let (code, screen) = at_terminal(&place, &["run", "-B", "b", "go"], &[], false);
    assert_eq!(code, Some(0), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    let at = |wanted: &str| {
        lines.iter().position(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{screen}"))
    };
    assert!(
        at("one two") < at("· read_file a.txt (") && at("· read_file") < at("three [2J four"),
        "{screen}"
    );
    assert!(!screen.contains('\u{1b}'), "no decoration, and no control characters of a model: {screen}");
    assert_eq!(screen.matches("one two").count(), 1, "{screen}");
    let (_, screen) = at_terminal(&place, &["run", "-B", "b", "go"], &[], true);
    assert!(screen.contains("\u{1b}[2m· read_file"), "{screen}");
}

#[test]
fn what_sub_sessions_do_is_marked_and_what_they_write_is_not_shown() {
    let place = Place::new();
    place.write("a.txt", "x\n");
    let arguments = "{agent: self, instruction: job, context_depth: none}";
    let script = format!(
        "- {{when: {{prompt: go}}, text: I ask., tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{when: {{after_tool: delegate}}, text: the answer}}\n\
         - {{when: {{prompt: job}}, text: I read., tool_calls: [{{tool: read_file, arguments: {{path: a.txt}}}}]}}\n\
         - {{when: {{after_tool: read_file}}, text: its answer}}"
    );
    place.bundle(
        "b",
        &script,
        "tools: [{module: tool-delegate}, {module: tool-filesystem}, {module: tool-nope}]",
    );
    let (code, screen) = at_terminal(&place, &["run", "-B", "b", "go"], &[], false);
    assert_eq!(code, Some(0), "{screen}");
    let lines: Vec<&str> = screen.lines().collect();
    let at = |wanted: &str| {
        lines.iter().position(|line| line.starts_with(wanted)).unwrap_or_else(|| panic!("{wanted}: {screen}"))
    };
    let order = [
        at("I ask."),
        at("  [self] began as session"),
        at("  [self] · read_file a.txt ("),
        at("  [self] completed ("),
        at("· delegate self ("),
        at("the answer"),
    ];
    assert!(order.is_sorted(), "{screen}");
    assert!(!screen.contains("I read.") && !screen.contains("its answer"), "{screen}");
    assert_eq!(screen.matches("tool-nope").count(), 1, "told once, not by each session: {screen}");
}

#[test]
fn deleting_asks_and_takes_no_for_an_answer() {
    let place = Place::scripted("- text: hello");
    place.run(&["run", "-B", "b", "--session-id", "abc", "hi"]).ok();
    let delete =
        |answer: &str| at_terminal(&place, &["session", "delete", "abc"], &[("[y/N] ", answer)], false);
    assert_eq!(delete("\n").0, Some(1));
    assert_eq!(place.sessions(), ["abc"]);
    assert_eq!(delete("y\n").0, Some(0));
    assert_eq!(place.sessions(), Vec::<String>::new());
}

#[test]
fn without_a_prompt_a_terminal_is_not_waited_for() {
    let (code, screen) = at_terminal(&Place::new(), &["run"], &[], false);
    assert_eq!(code, Some(2));
    assert!(screen.contains("there is no prompt"), "{screen}");
}

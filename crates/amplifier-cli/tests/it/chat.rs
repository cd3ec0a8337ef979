//! `amplifier` alone: a conversation at a terminal.

use nix::sys::signal::Signal;

use crate::kit::Place;
use crate::person::Person;

/// Answers that tell what they answer.
const SCRIPT: &str = "- {when: {prompt: slow}, delay_ms: 600000, text: too late}\n\
                      - {when: {prompt: broken}, error: {kind: invalid, message: it broke, times: 1}, text: 'you said {{prompt}}'}\n\
                      - {text: 'you said {{prompt}}'}";

fn place() -> Place {
    Place::scripted(SCRIPT)
}

fn transcript(place: &Place, id: &str) -> String {
    std::fs::read_to_string(place.session_folder(id).join("transcript.jsonl")).unwrap()
}

/// Who leaves, and is told what to type to go on; the session's id.
#[track_caller]
fn leaves(mut person: Person, place: &Place) -> (String, String) {
    person.says("/exit");
    let (code, screen) = person.ends();
    assert_eq!(code, Some(0), "{screen}");
    let id = place.sessions().remove(0);
    assert!(screen.contains(&format!("session {id} is kept; go on with: amplifier resume {id}")), "{screen}");
    (id, screen)
}

#[test]
fn one_message_after_the_other_is_answered_in_one_session() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.sees("notice: provider scripted answers from a script");
    person.sees("/help tells what there is");
    person.says("one");
    person.sees("you said one");
    person.says("two");
    person.sees("you said two");
    let (id, screen) = leaves(person, &place);
    assert!(screen.contains("scripted/scripted · "), "a line about each turn: {screen}");
    assert_eq!(place.sessions(), [id.as_str()]);
    assert_eq!(transcript(&place, &id).matches("\"role\":\"user\"").count(), 2);
}

#[test]
fn a_message_may_have_several_lines() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("one\\\rtwo");
    person.sees("you said one\ntwo");
    person.sees("> ");
    person.types("three\u{1b}\rfour\r");
    person.sees("you said three\nfour");
    person.sees("> ");
    person.types("\u{1b}[200~five\rsix\u{1b}[201~\r");
    person.sees("you said five\nsix");
    leaves(person, &place);
}

#[test]
fn what_was_said_is_remembered_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("a secret thought");
    person.sees("you said a secret thought");
    leaves(person, &place);
    let history = place.home().join("history");
    assert_eq!(history.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.sees("> ");
    // Two up: the last was /exit.
    person.types("\u{1b}[A\u{1b}[A\r");
    person.sees("you said a secret thought");
    person.sees("> ");
    // Ctrl+R searches.
    person.types("\u{12}thought\r\r");
    person.sees("you said a secret thought");
    leaves(person, &place);
}

#[test]
fn a_history_that_cannot_be_written_is_told_once() {
    let place = place();
    std::fs::create_dir_all(place.home().join("history")).unwrap();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.sees("notice: history is not kept");
    person.says("one");
    person.sees("you said one");
    person.sees("> ");
    person.types("\u{1b}[A\r");
    person.sees("you said one");
    let (_, screen) = leaves(person, &place);
    assert_eq!(screen.matches("history is not kept").count(), 1, "{screen}");
}

#[test]
fn commands_and_files_are_completed() {
    let place = place();
    place.write("notes-of-mine.txt", "x");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/stat\t");
    person.sees("session");
    person.says("read @notes\t");
    person.sees("you said <context_file paths=\"@notes-of-mine.txt");
    leaves(person, &place);
}

#[test]
fn commands_are_told_from_what_is_said() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/stauts");
    person.sees("there is no /stauts; did you mean /status?");
    person.says("/etc/hosts is a file");
    person.sees("you said /etc/hosts is a file");
    person.says("/help");
    person.sees("/goal [--max-turns N] [CONDITION]");
    for (command, answer) in [
        ("/status", "messages      2"),
        ("/cost", "own cost"),
        ("/config", "SET BY"),
        ("/tools", "there are no tools"),
        ("/agents", "bundle b has no agents"),
        ("/sessions", "BUNDLE"),
        ("/allowed-dirs", "(working directory)"),
        ("/denied-dirs", "no rule denies"),
        ("/model", "scripted/scripted"),
        ("/skills", "the bundle has no skills"),
        ("/skill", "give its name"),
        ("/modes", "* default"),
        ("/mode", "default"),
        ("/mode yolo", "`yolo` is no mode"),
        ("/stop", "nothing runs"),
        ("/goal", "there is no goal"),
        ("/fork x", "a turn is a number"),
        ("/resume nope", "nope"),
    ] {
        person.says(command);
        person.sees(answer);
    }
    leaves(person, &place);
}

#[test]
fn an_interrupt_stops_the_turn_and_what_was_typed_ahead_stays() {
    let place = place();
    let mut person = Person::calls_with(&place, &["-B", "b"], &[]);
    person.says("slow one");
    person.sees("working");
    person.types("typed ahead");
    person.types("\u{3}");
    person.sees("stopping this turn; Ctrl+C again stops at once");
    person.sees("stopped");
    person.sees("typed ahead");
    person.types("\r");
    person.sees("you said typed ahead");
    let (id, screen) = leaves(person, &place);
    assert!(!screen.contains("too late"), "{screen}");
    assert_eq!(place.sessions(), [id], "one session, gone on with");
}

#[test]
fn a_second_interrupt_stops_a_tool_at_once() {
    let place = Place::new();
    let script = "- {when: {prompt: go}, times: 1, tool_calls: [{tool: bash, arguments: {command: 'echo begun > begun; sleep 600'}}]}\n- text: next answer";
    place.bundle("b", script, "tools: [{module: tool-bash}]");
    let mut person = Person::calls_with(&place, &["-B", "b"], &[]);
    person.says("go");
    person.sees("[n]o: ");
    person.types("y\r");
    person.sees("bash echo begun");
    person.types("\u{3}");
    person.sees("stopping this turn");
    person.types("\u{3}");
    person.sees("stopping at once");
    person.sees("stopped");
    person.says("and now");
    person.sees("next answer");
    leaves(person, &place);
}

#[test]
fn at_the_prompt_an_interrupt_clears_the_line_and_two_leave() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.sees("> ");
    person.types("not this");
    person.sees("not this");
    person.types("\u{3}");
    person.says("but this");
    person.sees("you said but this");
    person.sees("> ");
    person.types("\u{3}");
    person.sees("Ctrl+C again, or Ctrl+D, leaves");
    person.sees("> ");
    person.types("\u{3}");
    let (code, screen) = person.ends();
    assert_eq!(code, Some(0), "{screen}");
    assert!(!screen.contains("you said not this"), "{screen}");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.sees("> ");
    person.types("\u{4}");
    assert_eq!(person.ends().0, Some(0));
}

#[test]
fn the_text_of_a_turn_that_failed_stands_at_the_prompt_again() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("broken thing");
    person.sees("it broke");
    person.sees("what you said stands at the prompt again");
    person.sees("broken thing");
    person.types("\r");
    person.sees("you said broken thing");
    leaves(person, &place);
}

#[test]
fn without_a_provider_the_conversation_stays_and_says_what_to_set() {
    let place = Place::new();
    let mut person = Person::calls(&place, &[]);
    person.says("hello");
    person.sees("error: ");
    person.sees("provider");
    person.sees("hello");
    person.types("\u{3}");
    person.says("/exit");
    assert_eq!(person.ends().0, Some(0));
}

#[test]
fn a_terminal_that_is_closed_loses_nothing() {
    let place = place();
    let mut person = Person::calls_with(&place, &["-B", "b"], &[]);
    person.says("one");
    person.sees("you said one");
    person.says("slow two");
    person.sees("working");
    assert_eq!(person.goes_away(), Some(143));
    let id = place.sessions().remove(0);
    let mut person = Person::calls(&place, &["-c"]);
    person.sees("> one");
    person.sees("you said one");
    person.says("three");
    person.sees("you said three");
    leaves(person, &place);
    assert_eq!(place.sessions(), [id.as_str()]);
    assert!(transcript(&place, &id).contains("slow two"));
    let mut person = Person::calls(&place, &["-c"]);
    person.sees("you said three");
    person.sees("> ");
    assert_eq!(person.goes_away(), Some(143), "at the prompt too");
}

#[test]
fn what_the_model_thinks_is_shown_to_who_wants_it() {
    let place = Place::scripted("- {thinking: let me see, text: the answer}");
    for (args, seen) in [(&["-B", "b"][..], false), (&["-B", "b", "--show-thinking"], true)] {
        let mut person = Person::calls(&place, args);
        person.says("go");
        person.sees("the answer");
        let (_, screen) = leaves(person, &place);
        assert_eq!(screen.contains("let me see"), seen, "{screen}");
    }
    let display = "hooks: [{module: hooks-streaming-ui, config: {ui: {show_thinking_stream: true}}}]";
    place.bundle("b", "- {thinking: let me see, text: the answer}", display);
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("go");
    person.sees("let me see");
    person.sees("the answer");
    leaves(person, &place);
}

#[test]
fn a_terminal_is_left_as_it_was_found() {
    let place = place();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("one");
    person.sees("you said one");
    person.sees("> ");
    person.types("half a li");
    person.sees("half a li");
    assert!(!person.is_as_it_was_found());
    person.signals(Signal::SIGTERM);
    person.sees("is kept; go on with: amplifier resume");
    assert!(person.is_as_it_was_found());
    assert_eq!(person.ends().0, Some(143));
}

#[test]
fn a_resized_terminal_has_lines_of_its_new_width() {
    let place = Place::scripted("- text: '- one two three four five six seven eight nine ten'");
    let mut person = Person::calls_with(&place, &["-B", "b"], &[]);
    person.says("go");
    person.sees("• one two three four five six seven eight nine ten\n");
    person.sees("> ");
    person.widens_to(24);
    person.types("go\r");
    person.sees("• one two three four\n  five six seven eight\n  nine ten\n");
    leaves(person, &place);
}

#[test]
fn a_schema_for_answers_has_no_place_in_a_chat() {
    let place = place();
    place.write("s.json", "{}");
    let line = ["run", "--mode", "chat", "-B", "b", "--output-schema", "s.json"];
    let (code, screen) = Person::calls(&place, &line).ends();
    assert_eq!(code, Some(2), "{screen}");
    assert!(screen.contains("a chat has no place for --output-schema"), "{screen}");
    place.call(&line).input("hi\n").done().code(2).says(&["no place for --output-schema"]);
}

#[test]
fn skills_are_listed_and_loaded_by_name() {
    let place = Place::new();
    place.bundle("b", SCRIPT, "tools: [{module: tool-skills}]");
    let skill = "---\nname: release\ndescription: How a release is made here.\n---\nTag it.\n";
    place.write(".amplifier/skills/release/SKILL.md", skill);
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/skills");
    person.sees("once the session begins");
    person.says("one");
    person.sees("you said one");
    person.says("/skills");
    person.sees("release");
    person.sees("How a release is made here.");
    person.says("/skill release 1.2 of it");
    person.sees("you said Load the skill `release` first");
    person.sees("1.2 of it");
    leaves(person, &place);
}

#[test]
fn a_long_conversation_is_gone_on_with_by_its_summary() {
    let place = Place::scripted(&format!(
        "- {{when: {{prompt: Summarize the conversation}}, text: 'all of it in short'}}\n{SCRIPT}"
    ));
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/compact");
    person.sees("there is no session yet");
    person.says("one");
    person.sees("you said one");
    person.says("/compact the numbers");
    person.sees("the next message begins a new session with a summary");
    let before = place.sessions();
    let first = before.iter().find(|id| transcript(&place, id).contains("you said one")).unwrap().clone();
    let said = transcript(&place, &first);
    person.says("two");
    person.sees("you said <summary of=\"session ");
    person.sees("all of it in short");
    person.sees("two");
    person.says("three");
    person.sees("you said three");
    leaves(person, &place);
    assert_eq!(transcript(&place, &first), said, "the conversation is kept as it was");
    let asked =
        place.sessions().into_iter().find(|id| transcript(&place, id).contains("matters most: the numbers"));
    let shown = place.run(&["session", "show", &asked.unwrap(), "--json"]).ok().json();
    assert_eq!(shown["parent_id"], first.as_str(), "{shown}");
}

#[test]
fn a_summary_that_fails_leaves_the_conversation_as_it_was() {
    let place = Place::scripted(&format!(
        "- {{when: {{prompt: Summarize the conversation}}, error: {{kind: invalid, message: no summary today}}}}\n{SCRIPT}"
    ));
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("one");
    person.sees("you said one");
    person.says("/compact");
    person.sees("no summary today");
    person.says("two");
    person.sees("you said two");
    let (id, _) = leaves(person, &place);
    assert_eq!(transcript(&place, &id).matches("\"role\":\"user\"").count(), 2, "the same session goes on");
}

#[test]
fn a_mode_that_was_chosen_is_left_again_and_no_later_session_is_held_to_it() {
    let write = |turn: &str| {
        format!(
            "- {{when: {{prompt: {turn}}}, times: 1, tool_calls: [{{tool: write_file, arguments: {{path: {turn}.txt, content: x}}}}]}}\n"
        )
    };
    let script =
        format!("{}{}{}- {{text: 'you said {{{{prompt}}}}'}}", write("uno"), write("due"), write("tre"));
    let place = Place::new();
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    let there = |name: &str| place.project().join(name).exists();
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/mode plan");
    person.sees("permission mode plan from the next message on");
    person.says("uno");
    person.sees("permission denied");
    person.sees("you said uno");
    assert!(!there("uno.txt"));
    person.says("/mode default");
    person.sees("permission mode default from the next message on");
    person.says("due");
    person.sees("you said due");
    assert!(there("due.txt"), "back to what the person began with");
    person.says("/mode plan");
    person.sees("permission mode plan");
    person.says("four");
    person.sees("you said four");
    let (id, _) = leaves(person, &place);
    place.run(&["run", "--resume", &id, "tre"]).ok();
    assert!(there("tre.txt"), "what was chosen in the chat is not recorded");
}

#[test]
fn a_mode_widens_no_session_that_was_begun_with_a_stricter_one() {
    let place = Place::new();
    let write = "tool_calls: [{tool: write_file, arguments: {path: x.txt, content: x}}]";
    let script = format!(
        "- {{when: {{prompt: go}}, times: 1, {write}}}\n- {{when: {{prompt: anew}}, times: 1, {write}}}\n- {{text: 'you said {{{{prompt}}}}'}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    let mut person = Person::calls(&place, &["-B", "b", "--permission-mode", "plan"]);
    person.says("one");
    person.sees("you said one");
    person.says("/mode default");
    person.sees("/clear begins a new one");
    person.says("go");
    person.sees("permission denied");
    person.sees("you said go");
    assert!(!place.project().join("x.txt").exists());
    person.says("/clear");
    person.sees("begins a new session");
    person.says("anew");
    person.sees("you said anew");
    assert!(place.project().join("x.txt").exists());
    person.says("/mode bypassPermissions");
    person.sees("is no mode that can be chosen here");
    leaves(person, &place);
}

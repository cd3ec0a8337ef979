//! What a conversation at a terminal does to sessions: resume, fork, rename, other bundles; questions; goals.

use crate::kit::Place;
use crate::person::Person;

const ECHO: &str = "- {text: 'you said {{prompt}}'}";

/// A session of these messages; its id.
fn session(place: &Place, id: &str, said: &[&str]) -> String {
    let (first, rest) = said.split_first().unwrap();
    place.run(&["run", "-B", "b", "--session-id", id, first]).ok();
    for text in rest {
        place.run(&["run", "--resume", id, text]).ok();
    }
    id.to_owned()
}

fn exits(mut person: Person) -> String {
    person.says("/exit");
    let (code, screen) = person.ends();
    assert_eq!(code, Some(0), "{screen}");
    screen
}

#[test]
fn a_session_is_gone_on_with_below_its_last_turns() {
    let place = Place::scripted(ECHO);
    session(&place, "abc", &["m1", "m2", "m3", "m4"]);
    let check = |args: &[&str], shown: &[&str], hidden: &[&str]| {
        let mut person = Person::calls(&place, args);
        person.says("/status");
        person.sees("abc");
        let screen = exits(person);
        shown.iter().for_each(|text| assert!(screen.contains(text), "{args:?} {text}: {screen}"));
        hidden.iter().for_each(|text| assert!(!screen.contains(text), "{args:?} {text}: {screen}"));
    };
    let all = ["> m1", "> m2", "you said m4"];
    check(&["continue"], &["1 turns before these", "> m2", "you said m4"], &["> m1"]);
    check(&["-c"], &["> m2"], &["> m1"]);
    check(&["resume", "ab"], &["> m2"], &["> m1"]);
    check(&["--resume", "abc", "--full-history"], &all, &["turns before"]);
    check(&["continue", "--no-history"], &["session abc"], &all);
    check(&["run", "--mode", "chat", "--resume", "abc"], &["> m2"], &[]);
}

#[test]
fn a_session_to_go_on_with_is_picked() {
    let place = Place::scripted(ECHO);
    session(&place, "abc", &["one"]);
    session(&place, "xyz", &["two"]);
    let mut person = Person::calls(&place, &["resume"]);
    person.sees("2  abc");
    person.sees("which one?");
    person.types("7\r");
    person.sees("no session is `7`");
    person.sees("which one?");
    person.types("2\r");
    person.sees("you said one");
    person.says("three");
    person.sees("you said three");
    exits(person);
    let mut person = Person::calls(&place, &["resume"]);
    person.sees("which one?");
    person.types("\r");
    assert_eq!(person.ends().0, Some(0));
}

#[test]
fn forks_names_and_new_sessions_are_durable() {
    let place = Place::scripted(ECHO);
    let id = session(&place, "abc", &["one", "two"]);
    let mut person = Person::calls(&place, &["resume", "abc"]);
    person.says("/fork 1");
    person.sees("the next message goes on in the copy");
    assert_eq!(place.sessions().len(), 2, "before anything is said in it");
    person.says("/rename a thing of mine");
    person.sees("is `a thing of mine` now");
    let named = place.run(&["session", "list", "--json"]).ok().json();
    let named: Vec<&str> = named.as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(named, ["a thing of mine"]);
    person.says("three");
    person.sees("you said three");
    person.says("/clear");
    person.sees("the next message begins a new session");
    person.says("four");
    person.sees("you said four");
    person.says("/resume abc");
    person.sees("goes on with session abc");
    person.says("five");
    person.sees("you said five");
    person.says("/save talk.md");
    person.sees("talk.md has the conversation, 6 messages");
    person.says("/save talk.md");
    person.sees("talk.md is there already");
    exits(person);
    assert_eq!(place.sessions().len(), 3);
    let saved = std::fs::read_to_string(place.project().join("talk.md")).unwrap();
    assert!(saved.contains("you said five") && !saved.contains("three"), "{saved}");
    assert_eq!(place.sessions()[0], id);
}

#[test]
fn another_bundle_and_model_count_from_the_next_message_on() {
    let place = Place::scripted(ECHO);
    place.bundle("c", "- text: the other bundle", "");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("one");
    person.sees("you said one");
    person.says("/bundle nope");
    person.sees("there is no bundle `nope`");
    person.says("/bundle c");
    person.sees("bundle c from the next message on");
    person.says("two");
    person.sees("the other bundle");
    person.says("/model big");
    person.sees("model big from the next message on");
    person.says("three");
    person.sees("the other bundle");
    person.sees("scripted/big");
    person.says("/mode plan");
    person.sees("permission mode plan");
    person.says("four");
    person.sees("the other bundle");
    exits(person);
    assert_eq!(place.sessions().len(), 1, "one session all the while");
}

#[test]
fn the_person_is_asked_and_an_answer_is_remembered() {
    let place = Place::new();
    let write = |name: &str| {
        format!("tool_calls: [{{tool: write_file, arguments: {{path: ../{name}, content: x}}}}]")
    };
    let script = format!(
        "- {{when: {{prompt: go}}, times: 1, {}}}\n- {{when: {{prompt: again}}, times: 1, {}}}\n- text: done",
        write("one.txt"),
        write("one.txt"),
    );
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("go");
    person.types("y");
    person.sees("[n]o: ");
    // What was typed before the question stands at the next prompt.
    person.types("a\r");
    person.sees("· write_file ../one.txt");
    person.sees("done");
    person.sees("> y");
    person.types("\u{3}");
    person.says("again");
    person.sees("· write_file ../one.txt");
    person.sees("done");
    let screen = exits(person);
    assert_eq!(screen.matches("[n]o: ").count(), 1, "always is for the session: {screen}");
    assert!(place.project().join("../one.txt").exists());
}

#[test]
fn what_a_hook_asks_is_asked_once_for_the_session() {
    let place = Place::new();
    let write = |turn: &str, name: &str| {
        format!(
            "- {{when: {{prompt: {turn}}}, times: 1, tool_calls: [{{tool: write_file, arguments: {{path: {name}, content: {turn}}}}}]}}\n"
        )
    };
    let script =
        [write("uno", "a.txt"), write("due", "a.txt"), write("tre", "b.txt"), "- text: done".to_owned()]
            .concat();
    let hook = "hooks: [{module: hooks-approval, config: {rules: [{tool: write_file, action: ask}]}}]";
    place.bundle("b", &script, &format!("tools: [{{module: tool-filesystem}}]\n{hook}"));
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("uno");
    person.sees("write_file `a.txt`: a rule asks about write_file");
    person.sees("[n]o: ");
    person.types("a\r");
    person.sees("done");
    person.says("due");
    person.sees("done");
    person.says("tre");
    person.sees("write_file `b.txt`: a rule asks about write_file");
    person.sees("[n]o: ");
    person.types("n\r");
    person.sees("done");
    let screen = exits(person);
    assert_eq!(screen.matches("[n]o: ").count(), 2, "the same call once, another one anew: {screen}");
    assert_eq!(std::fs::read_to_string(place.project().join("a.txt")).unwrap(), "due");
    assert!(!place.project().join("b.txt").exists());
}

#[test]
fn an_interrupt_is_a_no_and_the_next_line_is_no_answer() {
    let place = Place::new();
    let write = "tool_calls: [{tool: write_file, arguments: {path: ../x.txt, content: x}}]";
    let script =
        format!("- {{when: {{prompt: go}}, times: 1, {write}}}\n- {{text: 'you said {{{{prompt}}}}'}}");
    place.bundle("b", &script, "tools: [{module: tool-filesystem}]");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("go");
    person.sees("[n]o: ");
    person.types("\u{3}");
    person.sees("stopped");
    person.says("yes");
    person.sees("you said yes");
    exits(person);
    assert!(!place.project().join("../x.txt").exists());
}

#[test]
fn a_question_of_the_background_waits_for_nobody_and_spoils_no_line() {
    let place = Place::new();
    let arguments = "{agent: self, instruction: job, context_depth: none, background: true}";
    let write = "tool_calls: [{tool: write_file, arguments: {path: ../x.txt, content: x}}]";
    let script = format!(
        "- {{when: {{prompt: go}}, times: 1, tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{when: {{prompt: job}}, times: 1, delay_ms: 1000, {write}}}\n\
         - {{text: 'you said {{{{prompt}}}}'}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-delegate}, {module: tool-filesystem}]");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("go");
    person.sees("you said go");
    person.sees("> ");
    person.types("half a line");
    person.sees("\nwrite_file wants to write");
    person.sees("[n]o: ");
    person.types("y\r");
    person.sees("  [self] completed (");
    person.sees("> half a line");
    person.types(" and the rest\r");
    person.sees("you said half a line and the rest");
    exits(person);
    assert!(place.project().join("../x.txt").exists());
}

#[test]
fn sub_sessions_and_tools_are_shown_below_who_called_them() {
    let place = Place::new();
    place.write("a.txt", "first line\nsecond\n");
    let arguments = "{agent: self, instruction: job, context_depth: none}";
    let script = format!(
        "- {{when: {{prompt: go}}, times: 1, tool_calls: [{{tool: delegate, arguments: {arguments}}}]}}\n\
         - {{when: {{prompt: job}}, times: 1, tool_calls: [{{tool: read_file, arguments: {{path: a.txt}}}}]}}\n\
         - {{text: answered}}"
    );
    place.bundle("b", &script, "tools: [{module: tool-delegate}, {module: tool-filesystem}]");
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("go");
    person.sees("  [self] began as session");
    person.sees("  [self] · read_file a.txt (");
    person.sees("first line");
    person.sees("  [self] completed (");
    person.sees("· delegate self (");
    person.sees("answered");
    exits(person);
}

#[test]
fn a_goal_is_worked_on_until_somebody_else_says_that_it_is_met() {
    let place = Place::new();
    judged_by_what_was_said(&place);
    let mut person = Person::calls(&place, &["-B", "b"]);
    person.says("/goal all is well");
    person.sees("first try");
    person.sees("goal: all is well (1 turns: one is left)");
    person.sees("second try");
    person.sees("goal achieved after 2 turns: both are done");
    person.says("/goal");
    person.sees("goal achieved after 2 turns");
    exits(person);
    let top: Vec<String> = place.sessions();
    assert_eq!(top.len(), 3, "the session, and who decided twice: {top:?}");
}

/// Whoever decides sees what was tried.
fn judged_by_what_was_said(place: &Place) {
    let met = "{\"achieved\": true, \"reason\": \"both are done\"}";
    let not = "{\"achieved\": false, \"reason\": \"one is left\"}";
    let script = format!(
        "- {{when: {{prompt: '/(?s)second try.*<goal>/'}}, text: '{met}'}}\n\
         - {{when: {{prompt: '<goal>'}}, text: '{not}'}}\n\
         - {{when: {{prompt: 'The goal is not achieved yet: one is left'}}, text: second try}}\n\
         - {{text: first try}}"
    );
    place.bundle("b", &script, "");
}

#[test]
fn a_goal_works_without_a_terminal_and_its_end_is_the_exit_code() {
    let place = Place::new();
    judged_by_what_was_said(&place);
    let done = place.run(&["run", "-B", "b", "/goal all is well"]).ok();
    assert_eq!(done.stdout, "second try\n");
    done.says(&["goal achieved after 2 turns: both are done"]);
    let capped = place.run(&["run", "-B", "b", "/goal --max-turns 1 all is well"]).code(3);
    capped.says(&["goal not achieved: 1 turn are all it may have"]);
    let capped =
        place.run(&["run", "-B", "b", "--output-format", "json", "/goal --max-turns 1 well"]).code(3);
    assert_eq!(capped.json()["status"], "error");
    assert!(capped.json()["error"].as_str().unwrap().contains("goal not achieved"), "{capped:?}");
    let stuck = "{\"achieved\": false, \"progress\": false, \"reason\": \"nothing moves\"}";
    place.bundle("b", &format!("- {{when: {{prompt: '<goal>'}}, text: '{stuck}'}}\n- text: I try."), "");
    place.run(&["run", "-B", "b", "/goal x"]).code(1).says(&["no progress after 2 turns: nothing moves"]);
    place.bundle("b", "- {when: {prompt: '<goal>'}, text: perhaps}\n- text: I try.", "");
    place.run(&["run", "-B", "b", "/goal x"]).code(1).says(&["nobody could decide", "perhaps"]);
    place.run(&["run", "-B", "b", "/goal --max-turns 0 x"]).code(2).says(&["--max-turns needs a number"]);
}

#[test]
fn lines_of_a_pipe_are_answered_one_after_the_other() {
    let place = Place::scripted(ECHO);
    let done = place.call(&["run", "-B", "b", "--mode", "chat"]).input("one\n\ntwo\n/status\n").done().ok();
    assert_eq!(done.stdout, "you said one\nyou said two\n");
    let done = done.says(&["messages      4", "is kept; go on with: amplifier resume"]);
    assert!(!done.stderr.contains('\u{1b}'), "{done:?}");
    let done =
        place.call(&["run", "-B", "b", "--mode", "chat", "--output-format", "json"]).input("one\n").done();
    assert_eq!(done.ok().json()["text"], "you said one");
    // Without a command a pipe is one prompt.
    let done = place.call(&["-B", "b"]).input("one\ntwo\n").done().ok();
    assert_eq!(done.stdout, "you said one\ntwo\n");
    place.call(&["-B", "b"]).done().code(2).says(&["there is no prompt"]);
}

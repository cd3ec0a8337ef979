//! `amplifier` killed in the middle of its work, and what the next process finds.

use amplifier_tests::process::{Running, call, run};
use amplifier_tests::project::{TempProject, shape, transcript};
use amplifier_tests::server::{Reply, Server};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::wire::wired;

fn status(project: &TempProject) -> String {
    let listed = run(project, ["session", "list", "--json"]).exits(0).json();
    listed[0]["status"].as_str().unwrap().to_owned()
}

/// A run that is in the middle of a command, and the pipe that holds the command.
fn in_a_tool(more: &[&str]) -> (TempProject, Server, Running, amplifier_tests::project::Pipe) {
    let command = json!({"command": "echo ran >> ran.txt; echo here > here; cat hold"});
    let (project, server) = wired([Reply::Call("bash", command)]);
    let (here, hold) = (project.pipe("here"), project.pipe("hold"));
    let mut args = vec!["run", "-B", "wired", "--permission-mode", "bypassPermissions"];
    args.extend(more);
    args.push("do it");
    let running = call(&project, args).start();
    here.heard();
    (project, server, running, hold)
}

#[test]
fn killed_in_a_tool_call_nothing_durable_is_lost_and_nothing_runs_twice() {
    let (project, server, running, _hold) = in_a_tool(&[]);
    assert_eq!(status(&project), "running");
    running.crash();
    assert_eq!(status(&project), "lost");
    assert_eq!(shape(&transcript(&project.session())), "u:do it a:>");
    server.then(Reply::Say("I see it was cut off."));
    assert_eq!(run(&project, ["continue", "go on"]).exits(0).stdout, "I see it was cut off.\n");
    assert_eq!(shape(&transcript(&project.session())), "u:do it a:> t:! u:go on a:I see it was cut off.");
    assert_eq!(project.read("ran.txt"), "ran\n", "the command ran once");
    assert_eq!(status(&project), "completed");
}

#[test]
fn killed_beside_a_read_the_read_is_made_again_and_the_command_is_not() {
    let command = json!({"command": "echo ran >> ran.txt; echo here > here; cat hold"});
    let read = json!({"file_path": "note.txt"});
    let (project, server) = wired([Reply::Calls(vec![("bash", command), ("read_file", read)])]);
    project.write("note.txt", "before");
    let (here, _hold) = (project.pipe("here"), project.pipe("hold"));
    let running =
        call(&project, ["run", "-B", "wired", "--permission-mode", "bypassPermissions", "do it"]).start();
    here.heard();
    running.crash();
    project.write("note.txt", "after");
    server.then(Reply::Say("I see."));
    run(&project, ["continue", "go on"]).exits(0);
    let messages = transcript(&project.session());
    let kinds: Vec<String> = messages.iter().map(|one| shape(std::slice::from_ref(one))).collect();
    assert_eq!((kinds.len(), kinds[2].as_str(), kinds[4].as_str()), (6, "t:!", "u:go on"), "{kinds:?}");
    assert!(kinds[3].contains("after"), "{}", kinds[3]);
    assert_eq!(project.read("ran.txt"), "ran\n", "the command ran once");
}

#[test]
fn killed_in_a_model_call_the_question_is_kept() {
    let (project, server) = wired([Reply::Hang("Half an ans")]);
    let running = call(&project, ["run", "-B", "wired", "why?"]).start();
    server.asked(1);
    running.crash();
    assert_eq!(status(&project), "lost");
    assert_eq!(shape(&transcript(&project.session())), "u:why?");
    server.then(Reply::Say("Because."));
    assert_eq!(run(&project, ["continue", "well?"]).exits(0).stdout, "Because.\n");
    assert_eq!(shape(&transcript(&project.session())), "u:why? u:well? a:Because.");
}

#[test]
fn killed_again_and_again_a_session_still_goes_on() {
    let (project, server) = wired([]);
    for round in 0..3 {
        server.then(Reply::Hang("…"));
        let verb = if round == 0 { vec!["run", "-B", "wired", "q"] } else { vec!["continue", "q"] };
        let running = call(&project, verb).start();
        server.asked(round + 1);
        running.crash();
    }
    server.then(Reply::Say("at last"));
    assert_eq!(run(&project, ["continue", "q"]).exits(0).stdout, "at last\n");
    assert_eq!(shape(&transcript(&project.session())), "u:q u:q u:q u:q a:at last");
}

/// A conversation of two tool calls, killed at each of its model calls in turn.
#[test]
fn killed_at_any_step_a_session_keeps_what_was_durable_and_goes_on() {
    let write = |name: &str| Reply::Call("write_file", json!({"file_path": name, "content": "x"}));
    let whole = ["u:q", "a:>", "t:", "a:>", "t:"];
    for (step, durable) in [(0, 1), (1, 3), (2, 5)] {
        let (project, server) = wired([write("one"), write("two")].into_iter().take(step));
        server.then(Reply::Hang("…"));
        let running = call(&project, ["run", "-B", "wired", "q"]).start();
        server.asked(step + 1);
        running.crash();
        let before = transcript(&project.session());
        let kinds: Vec<String> =
            shape(&before).split(' ').filter(|one| one.contains(':')).map(str::to_owned).collect();
        assert!(
            kinds.len() == durable && kinds.iter().zip(whole).all(|(one, kind)| one.starts_with(kind)),
            "{kinds:?}"
        );
        server.then(Reply::Say("done"));
        run(&project, ["continue", "go on"]).exits(0);
        let after = transcript(&project.session());
        assert_eq!(after[..before.len()], before, "step {step}: what was durable is unchanged");
        assert!(shape(&after).ends_with("u:go on a:done"), "step {step}: {}", shape(&after));
    }
}

#[test]
fn a_second_process_is_told_who_has_the_session() {
    let (project, server) = wired([Reply::Hang("…")]);
    let running = call(&project, ["run", "-B", "wired", "--session-id", "mine", "q"]).start();
    server.asked(1);
    let done = run(&project, ["run", "--resume", "mine", "me too"]).exits(75);
    assert!(done.stderr.contains(&format!("process {}", running.pid())), "{}", done.stderr);
    assert_eq!(server.requests().len(), 1);
    running.crash();
    server.then(Reply::Say("free"));
    assert_eq!(run(&project, ["run", "--resume", "mine", "me too"]).exits(0).stdout, "free\n");
}

#[test]
fn of_two_that_resume_at_once_one_wins() {
    let (project, server) = wired([Reply::Say("first")]);
    run(&project, ["run", "-B", "wired", "q"]).exits(0);
    for round in 0..5 {
        server.then(Reply::Hang("…"));
        server.then(Reply::Hang("…"));
        let both = [call(&project, ["continue", "a"]).start(), call(&project, ["continue", "b"]).start()];
        server.asked(2 + round);
        let pids = [both[0].pid(), both[1].pid()];
        // The one that asks the service has won; the other ends by itself, the winner by a signal.
        let holder: u32 = holder(&project);
        assert!(pids.contains(&holder), "{holder} of {pids:?}");
        let mut losers = 0;
        let mut winner = None;
        for one in both {
            if one.pid() == holder {
                winner = Some(one);
                continue;
            }
            losers += 1;
            let done = one.wait().exits(75);
            assert!(done.stderr.contains(&format!("process {holder}")), "{}", done.stderr);
        }
        winner.unwrap().crash();
        assert_eq!((losers, server.requests().len()), (1, 2 + round), "round {round}");
        // The answer that the loser would have had.
        server.forget();
    }
}

fn holder(project: &TempProject) -> u32 {
    let listed = run(project, ["session", "list", "--json"]).exits(0).json();
    u32::try_from(listed[0]["process"].as_u64().unwrap()).unwrap()
}

#[test]
fn the_first_ctrl_c_lets_the_tool_finish_and_the_second_does_not() {
    let (project, _server, running, hold) = in_a_tool(&[]);
    running.signal(Signal::SIGINT);
    hold.release();
    running.wait().exits(130);
    assert!(shape(&transcript(&project.session())).starts_with("u:do it a:> t:"));
    assert!(!shape(&transcript(&project.session())).contains("t:!"));

    let (project, _server, running, _hold) = in_a_tool(&[]);
    running.signal(Signal::SIGINT);
    running.told("Ctrl+C again");
    running.signal(Signal::SIGINT);
    running.wait().exits(130);
    assert_eq!(shape(&transcript(&project.session())), "u:do it a:> t:!");
    assert_eq!(status(&project), "cancelled");
}

#[test]
fn terminated_a_run_ends_by_itself_and_keeps_its_transcript() {
    let (project, server) = wired([Reply::Hang("Half")]);
    let running = call(&project, ["run", "-B", "wired", "q"]).start();
    server.asked(1);
    running.signal(Signal::SIGTERM);
    running.wait().exits(143).says(&["go on with"]);
    assert_eq!(status(&project), "cancelled");
    assert_eq!(shape(&transcript(&project.session())), "u:q");
}

#[test]
fn many_processes_that_begin_at_once_in_a_new_home_each_have_their_session() {
    let (project, _server) = wired((0..12).map(|_| Reply::Say("hi")));
    let running: Vec<Running> =
        (0..12).map(|_| call(&project, ["run", "-B", "wired", "q"]).start()).collect();
    for one in running {
        assert_eq!(one.wait().exits(0).stdout, "hi\n");
    }
    let sessions = project.sessions();
    assert_eq!(sessions.len(), 12);
    for session in sessions {
        assert_eq!(shape(&transcript(&session)), "u:q a:hi");
    }
}

#[test]
fn of_two_that_want_one_new_id_at_once_one_has_it() {
    let (project, _server) = wired((0..12).map(|_| Reply::Say("hi")));
    for round in 0..5 {
        let id = format!("mine-{round}");
        let one = || call(&project, ["run", "-B", "wired", "--session-id", &id, "q"]).start();
        let mut codes = [one(), one()].map(|one| one.wait().code.unwrap());
        codes.sort_unstable();
        assert_eq!(codes, [0, 2], "round {round}");
    }
    assert_eq!(project.sessions().len(), 5);
}

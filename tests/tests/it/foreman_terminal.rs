//! The foreman at a terminal: the line editor of its chat, what it draws, and the bar of `wait`.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Command;

use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{call_foreman, foreman};
use amplifier_tests::project::TempProject;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use serde_json::json;
use std::os::fd::AsFd;

/// How long a piece of the screen may take to come, in milliseconds.
const PATIENCE_MS: u16 = 20_000;

/// What is done when something stands on the screen.
#[derive(Clone, Copy)]
enum Then<'a> {
    Type(&'a str),
    /// Another call of the foreman, elsewhere, which must succeed.
    Call(&'a [&'a str]),
}

/// Does each thing when the screen shows what stands before it; the screen at the end.
fn talk(project: &TempProject, words: &[&str], lines: &[(&str, Then<'_>)]) -> (Option<i32>, String) {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = openpty(Some(&size), None).unwrap();
    let stream = || pty.slave.try_clone().unwrap();
    let mut command = Command::new(foreman());
    command.args(words).current_dir(project.path()).env_clear();
    command.env("HOME", project.around().join("user")).env("AMPLIFIER_HOME", project.home());
    command.env("TERM", "xterm").env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let mut child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
    drop((command, pty.slave));
    let mut master = File::from(pty.master);
    let (mut screen, mut read_to, mut answered, mut lines) = (String::new(), 0, 0, lines.iter().peekable());
    let mut bytes = [0; 4096];
    loop {
        let mut wanted = [PollFd::new(master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wanted, PollTimeout::from(PATIENCE_MS)) == Ok(0) {
            child.kill().unwrap();
            panic!("nothing more came: {screen}");
        }
        // The end of the other side is an error here.
        let Ok(read @ 1..) = master.read(&mut bytes) else { break };
        screen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        // Where the cursor is: real terminals answer.
        let asked = screen.matches("\u{1b}[6n").count();
        (answered..asked).for_each(|_| master.write_all(b"\x1b[1;1R").unwrap());
        answered = asked;
        while let Some((shown, then)) = lines.peek()
            && let Some(at) = screen[read_to..].find(shown)
        {
            read_to += at + shown.len();
            match then {
                Then::Type(typed) => master.write_all(typed.as_bytes()).unwrap(),
                Then::Call(words) => {
                    call_foreman(project, *words).done().exits(0);
                }
            }
            lines.next();
        }
    }
    assert!(lines.next().is_none(), "something was never shown: {screen}");
    (child.wait().unwrap().code(), screen)
}

#[test]
fn at_a_terminal_commands_are_completed_and_answers_are_drawn() {
    let project = TempProject::new();
    let lead = BundleText::bare("lead").orchestrator("orchestrator-foreman").context("context-simple");
    project.bundle("lead", lead.provider("provider-scripted", json!({"default": "It is **done**."})));
    let lines = [
        ("answers from a script", ""),
        ("> ", "/st\t\r"),
        ("nobody works on them", "how is it\r"),
        ("It is \u{1b}[1mdone\u{1b}[0m.", ""),
        ("scripted/scripted", "/quit\r"),
        ("go on with: foreman chat --resume", ""),
    ];
    let (code, screen) =
        talk(&project, &["chat", "-B", "lead"], &lines.map(|(shown, typed)| (shown, Then::Type(typed))));
    assert_eq!(code, Some(0), "{screen}");
    assert!(project.home().join("history").exists(), "what was said is kept");
}

#[test]
fn a_wait_for_several_issues_draws_how_many_are_over() {
    let project = TempProject::new();
    for id in ["parser", "docs"] {
        call_foreman(&project, ["add", id, "--id", id]).done().exits(0);
    }
    let (code, screen) = talk(
        &project,
        &["wait", "parser", "docs"],
        &[
            (
                "[........................] 0 of 2",
                Then::Call(&["issue", "close", "docs", "--reason", "written"]),
            ),
            ("[############............] 1 of 2", Then::Call(&["issue", "close", "parser"])),
            ("[########################] 2 of 2", Then::Type("")),
            ("ISSUE", Then::Type("")),
        ],
    );
    assert_eq!(code, Some(0), "{screen}");
    let rows: Vec<&str> = screen.lines().rev().take(3).collect();
    assert!(rows[1].starts_with("parser") && rows[0].starts_with("docs"), "in the order asked for: {screen}");
    assert!(rows[0].contains("written"), "{screen}");
}

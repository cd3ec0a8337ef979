//! What tools start dies with its session, and what a killed owner has left dies at the next start.

use std::path::PathBuf;

use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::process::{Running, call, run};
use amplifier_tests::project::{Pipe, TempProject};
use amplifier_tests::server::{Reply, Server};
use amplifier_tests::soon;
use amplifier_tests::tree::{Standing, TREE, TREE_SIZE};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::wire::wired;

fn ledgers(project: &TempProject) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for slug in std::fs::read_dir(project.home().join("projects")).into_iter().flatten() {
        let run = std::fs::read_dir(slug.unwrap().path().join("run")).into_iter().flatten();
        let names = run.map(|entry| entry.unwrap().path());
        found.extend(
            names.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("processes-")),
        );
    }
    found
}

fn bash(command: impl Into<String>) -> Reply {
    Reply::Call("bash", json!({"command": command.into()}))
}

const RUN: [&str; 6] = ["run", "-B", "wired", "--permission-mode", "bypassPermissions", "do it"];

/// The tree, and the shell, which has become `cat`.
const IN_A_COMMAND: usize = TREE_SIZE + 1;

/// A run whose command has started a tree and waits, with the pipe that holds it.
fn in_a_command() -> (TempProject, Server, Running, Pipe) {
    let (project, server) = wired([bash(format!("{TREE} echo here > here; cat hold"))]);
    let (here, hold) = (project.pipe("here"), project.pipe("hold"));
    let running = call(&project, RUN).start();
    here.heard();
    (project, server, running, hold)
}

#[test]
fn a_run_leaves_no_process_and_no_ledger() {
    let (project, server) = wired([bash(TREE), Reply::Hang("…")]);
    let standing = Standing::within(&project.path());
    let running = call(&project, RUN).start();
    server.asked(2);
    standing.reach(TREE_SIZE);
    assert_eq!(ledgers(&project).len(), 1);
    // An immediate stop: the session ends, and the run with it.
    running.signal(Signal::SIGINT);
    running.told("Ctrl+C again");
    running.signal(Signal::SIGINT);
    running.wait().exits(130);
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

/// The command was over, and its shell gone: only what it left is there.
#[test]
fn killed_after_a_command_the_next_start_ends_what_it_left() {
    let (project, server) = wired([bash(TREE), Reply::Hang("…")]);
    let standing = Standing::within(&project.path());
    let running = call(&project, RUN).start();
    server.asked(2);
    standing.reach(TREE_SIZE);
    running.crash();
    assert_eq!(standing.count(), TREE_SIZE, "a crash by itself ends nothing");
    server.then(Reply::Say("done"));
    run(&project, ["continue", "go on"]).exits(0);
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

#[test]
fn killed_in_a_command_the_next_start_ends_the_command_too() {
    let (project, _server, running, _hold) = in_a_command();
    let standing = Standing::within(&project.path());
    standing.reach(IN_A_COMMAND);
    running.crash();
    standing.reach(IN_A_COMMAND);
    run(&project, ["session", "list"]).exits(0);
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

#[test]
fn of_several_that_start_at_once_after_a_crash_none_fails_and_nothing_is_left() {
    let (project, _server, running, _hold) = in_a_command();
    let standing = Standing::within(&project.path());
    standing.reach(IN_A_COMMAND);
    running.crash();
    let starts: Vec<Running> = (0..4).map(|_| call(&project, ["session", "list"]).start()).collect();
    for start in starts {
        start.wait().exits(0);
    }
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

#[test]
fn the_processes_of_a_run_that_lives_are_left_alone() {
    let (project, server, running, hold) = in_a_command();
    let standing = Standing::within(&project.path());
    standing.reach(IN_A_COMMAND);
    let (before, ledger) = (standing.pids(), ledgers(&project));
    run(&project, ["session", "list"]).exits(0);
    assert_eq!((standing.pids(), ledgers(&project)), (before, ledger));
    server.then(Reply::Say("done"));
    hold.release();
    running.wait().exits(0);
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

/// A run that a command starts dies with the outer one, and so do its own background processes.
#[test]
fn a_run_inside_a_command_of_a_killed_run_dies_with_it() {
    let (project, server) = wired([]);
    let (here, hold) = (project.pipe("here"), project.pipe("hold"));
    let program = amplifier_tests::process::amplifier().display();
    let inner = format!("{program} run -B wired --permission-mode bypassPermissions inner");
    server.then(bash(format!("AMPLIFIER_HOME=$AMPLIFIER_HOME.inner {inner} & wait")));
    server.then(bash(format!("{TREE} echo here > here; cat hold")));
    let standing = Standing::within(&project.path());
    let running = call(&project, RUN).start();
    here.heard();
    // The shell that waits for the inner run, which is no shell itself.
    standing.reach(IN_A_COMMAND + 1);
    running.crash();
    run(&project, ["session", "list"]).exits(0);
    assert_eq!(standing.count(), 0);
    drop(hold);
}

/// In a library: everything is gone before anybody hears of the outcome.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_outcome_a_session_has_no_process_left() {
    let project = TempProject::new();
    let script = json!({"script": [
        {"when": {"prompt": "go"}, "tool_calls": [{"name": "bash", "arguments": {"command": TREE}}]},
        {"text": "done"},
    ]});
    let bundle = BundleText::bare("plain")
        .orchestrator("loop-streaming")
        .context("context-simple")
        .provider("provider-scripted", script)
        .tool("tool-bash");
    project.bundle("plain", bundle);
    let standing = Standing::within(&project.path());
    let builder = Host::builder().modules(amplifier_modules::builtin()).home(project.home());
    let host = builder.open(project.path()).await.unwrap();
    let request = SpawnRequest::new("plain", "go").keep_open();
    let session = soon("the spawn", spawn_bundle(&host, request)).await.unwrap();
    tokio::task::block_in_place(|| standing.reach(TREE_SIZE));
    let outcome = soon("the end", session.session().end()).await;
    assert!(outcome.is_completed(), "{outcome:?}");
    assert_eq!((standing.count(), ledgers(&project).len()), (0, 0));
}

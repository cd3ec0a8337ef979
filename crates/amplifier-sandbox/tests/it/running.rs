//! Programs that live longer than one call.

use amplifier_sandbox::{Confinement, RunError};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::bench::{Bench, eventually, text};

#[tokio::test]
async fn a_program_is_talked_to_through_three_pipes() {
    for ledger in [false, true] {
        let bench = Bench::new(ledger);
        let command = "echo error >&2; while read line; do echo \"got $line\"; done; exit 3";
        let mut running = bench.start(command, Confinement::none()).await.unwrap();
        assert!(running.id().is_some());
        let (mut input, output) = (running.take_input().unwrap(), running.take_output().unwrap());
        let mut lines = BufReader::new(output).lines();
        for n in 0..3 {
            input.write_all(format!("line {n}\n").as_bytes()).await.unwrap();
            assert_eq!(lines.next_line().await.unwrap().unwrap(), format!("got line {n}"));
        }
        drop(input);
        assert_eq!(running.wait().await.unwrap().code(), Some(3));
        assert_eq!(text(running.take_errors().unwrap()).await, "error\n");
        assert_eq!(running.end(bench.env.clock.as_ref()).await.unwrap().code(), Some(3));
    }
}

#[tokio::test]
async fn a_program_is_in_the_ledger_before_it_begins() {
    let bench = Bench::new(true);
    let command = format!("grep -c '\"pid\":'$$'\\b' {}/processes-*.jsonl", bench.run_folder().display());
    let mut running = bench.start(&command, Confinement::none()).await.unwrap();
    assert_eq!(text(running.take_output().unwrap()).await, "1\n");
    running.end(bench.env.clock.as_ref()).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_recorded_does_not_begin() {
    let bench = Bench::new(true);
    let run = bench.run_folder();
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    std::fs::write(&run, "in the way").unwrap();
    let error = bench.start("touch begun", Confinement::none()).await.unwrap_err();
    assert!(matches!(error, RunError::Record(_)), "{error}");
    eventually("the gate is gone", || bench.alive() == 0).await;
    assert!(!bench.env.cwd.join("begun").exists());
}

#[tokio::test]
async fn a_program_that_is_dropped_is_killed_with_its_tree() {
    let bench = Bench::new(true);
    let command = "trap '' TERM INT HUP; setsid sleep 1000 & (sleep 1000 & sleep 1000) & echo up; cat";
    let mut running = bench.start(command, Confinement::none()).await.unwrap();
    let mut lines = BufReader::new(running.take_output().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().unwrap(), "up");
    eventually("all run", || bench.alive() >= 5).await;
    drop(running);
    eventually("nothing is left", || bench.alive() == 0).await;
}

#[tokio::test]
async fn the_end_asks_before_it_kills() {
    let bench = Bench::new(true);
    for (command, printed, code) in [
        ("trap 'echo asked; exit 7' TERM; echo up; while :; do sleep 0.01; done", "asked\n", Some(7)),
        ("trap '' TERM; setsid sleep 1000 & echo up; while :; do sleep 0.01; done", "", None),
    ] {
        let mut running = bench.start(command, Confinement::none()).await.unwrap();
        let mut output = BufReader::new(running.take_output().unwrap());
        let mut up = String::new();
        output.read_line(&mut up).await.unwrap();
        assert_eq!(up, "up\n");
        let status = running.end(bench.env.clock.as_ref()).await.unwrap();
        assert_eq!((status.code(), text(output).await.as_str()), (code, printed), "{command}");
        assert_eq!(bench.alive(), 0, "{command}");
    }
}

#[tokio::test]
async fn a_program_is_interrupted_as_at_a_terminal() {
    let bench = Bench::new(false);
    let command = "trap 'echo interrupted; exit 5' INT; echo up; while :; do sleep 0.01; done";
    let mut running = bench.start(command, Confinement::none()).await.unwrap();
    let mut output = BufReader::new(running.take_output().unwrap());
    let mut up = String::new();
    output.read_line(&mut up).await.unwrap();
    running.interrupt();
    assert_eq!(running.wait().await.unwrap().code(), Some(5));
    assert!(text(output).await.contains("interrupted"));
    running.interrupt();
}

#[tokio::test]
async fn the_end_of_the_session_ends_what_runs_and_starts_nothing_more() {
    let bench = Bench::new(true);
    let mut running = bench.start("echo up; exec sleep 1000", Confinement::none()).await.unwrap();
    let mut output = BufReader::new(running.take_output().unwrap());
    output.read_line(&mut String::new()).await.unwrap();
    bench.env.coordinator.clean_up().await;
    assert_eq!(bench.alive(), 0);
    assert_eq!(running.wait().await.unwrap().code(), None);
    let error = bench.start("true", Confinement::none()).await.unwrap_err();
    assert!(matches!(error, RunError::Closed(_)), "{error}");
}

#[tokio::test]
async fn a_named_variable_is_given_although_it_looks_like_a_secret() {
    let bench = Bench::new(false);
    let command = "echo $GIVEN_TOKEN $AMPLIFIER_SESSION_ID";
    let mut running = bench.start(command, Confinement::none()).await.unwrap();
    assert_eq!(text(running.take_output().unwrap()).await, format!("given {}\n", bench.env.session));
}

#[tokio::test]
async fn a_confined_program_writes_nowhere_but_where_it_may() {
    let bench = Bench::new(true);
    let inside = Confinement::writing_below(vec![bench.env.cwd.clone()]);
    let command = "echo x > in && echo x > ../out; ls . ..";
    let mut running = match bench.start(command, inside).await {
        Ok(running) => running,
        Err(error @ RunError::Unavailable(_)) => return eprintln!("skipped: {error}"),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(text(running.take_output().unwrap()).await, ".:\nin\n\n..:\ncwd\nhome\n");
    assert!(text(running.take_errors().unwrap()).await.contains("ermission denied"));
}

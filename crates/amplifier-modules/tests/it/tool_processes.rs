//! Nothing that a command started outlives its session.

use std::pin::pin;
use std::task::Poll;

use amplifier_foundation::process::{MARK, Processes};
use serde_json::{Value, json};

use crate::support_tools::{Bench, Setup, alone, eventually};

/// A tree of eight: children in the background, some immune to hang-ups, some in process
/// sessions of their own, one of them without the marks in its environment.
const TREE: &str = "sleep 1000 & nohup sleep 1000 >/dev/null 2>&1 & setsid sleep 1000 & \
    setsid bash -c 'sleep 1000 & trap \"\" TERM HUP; sleep 1000 & wait' & \
    (setsid setsid nohup sleep 1000 >/dev/null 2>&1 &) ; env -i sleep 1000 & \
    echo ready";

fn fast() -> Setup {
    Setup { speed: 10, ..Setup::default() }
}

/// Processes in this command's process session or marked; `env -i` leaves only the former.
fn sleepers(cwd: &std::path::Path) -> usize {
    let processes = amplifier_foundation::fs::process_table::processes();
    let in_cwd = |pid: i32| std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|link| link == cwd);
    processes.iter().filter(|process| !process.ended && in_cwd(process.pid)).count()
}

/// Starts one, and gives what `marked` shows of it.
async fn a_background_process(bench: &Bench) -> Vec<i32> {
    bench.ok("bash", json!({"command": "sleep 1000 >/dev/null 2>&1 &"})).await;
    eventually("it runs", || bench.marked().len() == 1).await;
    bench.marked()
}

#[tokio::test]
async fn the_end_of_a_session_ends_every_tree() {
    for ledger in [false, true] {
        let bench = Bench::with(Setup { ledger, ..fast() }).await;
        bench.ok("bash", json!({ "command": TREE })).await;
        bench.ok("bash", json!({ "command": TREE })).await;
        eventually("both trees are complete", || sleepers(bench.cwd()) >= 16).await;
        bench.env.coordinator.clean_up().await;
        assert_eq!((sleepers(bench.cwd()), bench.marked().len()), (0, 0));
        let error = bench.fails("bash", json!({"command": "true"})).await;
        assert_eq!(error, "the session has ended; no command can be started any more");
    }
}

/// The lines of the only ledger.
fn ledger(bench: &Bench) -> Vec<Value> {
    let mut files = std::fs::read_dir(bench.run_folder()).unwrap();
    let path = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_command_finds_itself_in_the_ledger_when_it_begins() {
    let bench = Bench::with(Setup { ledger: true, ..fast() }).await;
    assert!(!bench.run_folder().exists(), "nothing is written before");
    let command = format!(
        "cat {}/processes-*.jsonl; echo \"{{\\\"mark\\\":\\\"$AMPLIFIER_PROCESS_MARK\\\",\\\"pid\\\":$$,\
         \\\"started\\\":$(cut -d' ' -f22 /proc/$$/stat)}}\"",
        bench.run_folder().display()
    );
    for number in 0..3 {
        let text = bench.ok("bash", json!({ "command": command })).await;
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [owner, .., recorded, own] = lines.as_slice() else { panic!("{text}") };
        assert_eq!((&owner["type"], &owner["pid"]), (&json!("owner"), &json!(std::process::id())));
        assert_eq!(lines.len(), number + 3, "one line a command: {text}");
        assert_eq!((&recorded["type"], &recorded["session"]), (&json!("started"), &json!(bench.env.session)));
        for key in ["mark", "pid", "started"] {
            assert_eq!(recorded[key], own[key], "{text}");
        }
        assert_eq!((&recorded["group"], &recorded["process_session"]), (&own["pid"], &own["pid"]));
    }
    bench.env.coordinator.clean_up().await;
    assert_eq!(std::fs::read_dir(bench.run_folder()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_command_leaves_is_in_the_ledger_even_without_a_mark() {
    let bench = Bench::with(Setup { ledger: true, ..fast() }).await;
    let text = bench.ok("bash", json!({"command": "env -i sleep 1000 >/dev/null 2>&1 & echo $!"})).await;
    let pid: i32 = text.lines().next().unwrap().parse().unwrap();
    let started = amplifier_foundation::fs::process_table::process(pid).unwrap().started_ticks;
    let left = ledger(&bench).pop().unwrap();
    assert_eq!(
        (&left["type"], &left["processes"]),
        (&json!("left"), &json!([{"pid": pid, "started": started}]))
    );
    bench.env.coordinator.clean_up().await;
    assert_eq!(sleepers(bench.cwd()), 0);
}

#[tokio::test]
async fn a_command_that_cannot_be_recorded_is_not_run() {
    let bench = Bench::with(Setup { ledger: true, ..fast() }).await;
    let run = bench.run_folder();
    std::fs::create_dir_all(run.parent().unwrap()).unwrap();
    std::fs::write(&run, "in the way").unwrap();
    let error = bench.fails("bash", json!({"command": "touch begun"})).await;
    assert!(error.contains("recording the program failed") && error.contains("run"), "{error}");
    eventually("the gate is gone", || bench.marked().is_empty()).await;
    assert!(!bench.cwd().join("begun").exists());
    std::fs::remove_file(&run).unwrap();
    bench.ok("bash", json!({"command": "touch begun"})).await;
    bench.env.coordinator.clean_up().await;
}

/// Behind the gate a command is what it is without one.
#[tokio::test]
async fn the_gate_changes_nothing_for_a_command() {
    let variables = [
        ("BASH_FUNC_greet%%", "() { echo hello; }"),
        ("BASH_ENV", "/dev/null"),
        ("SHELLOPTS", "xtrace"),
        ("OF_ANY_KIND", "two\nlines"),
    ];
    if !alone("tool_processes::the_gate_changes_nothing_for_a_command", &variables) {
        return;
    }
    let command =
        "greet; env | sort; echo $0 $# $- $SHLVL; ls -l /proc/self/fd | grep -c -- '->'; cat; exit 3";
    let command = json!({ "command": command });
    let (with, without) = (Bench::with(Setup { ledger: true, ..fast() }).await, Bench::with(fast()).await);
    let gated = with.call("bash", command.clone()).await.unwrap().text;
    let plain = without.call("bash", command).await.unwrap().text;
    assert!(plain.contains("\nhello\n") && plain.contains("[exit code 3]"));
    // Other sessions in other folders, and a trace of pipelines whose order is chance.
    let lines = |text: &str| -> Vec<String> {
        let differs = |line: &&str| !["PWD=", "AMPLIFIER_", "+ "].iter().any(|part| line.contains(part));
        text.lines().filter(differs).map(str::to_owned).collect()
    };
    let (gated, plain) = (lines(&gated), lines(&plain));
    let one_sided = gated.iter().filter(|line| !plain.contains(line));
    let one_sided: Vec<_> = one_sided.chain(plain.iter().filter(|line| !gated.contains(line))).collect();
    assert!(one_sided.is_empty() && gated == plain, "{one_sided:?}");
}

/// A program that runs inside another one's command: what it starts carries both marks.
#[tokio::test]
async fn the_marks_of_an_outer_command_are_passed_on() {
    let outer = "0190b8a4-7c1e-4a5b-9d2f-3e4a5b6c7d8e.7";
    if !alone("tool_processes::the_marks_of_an_outer_command_are_passed_on", &[(MARK, outer)]) {
        return;
    }
    let bench = Bench::new().await;
    let text = bench.ok("bash", json!({"command": "echo $AMPLIFIER_PROCESS_MARK"})).await;
    assert_eq!(text, format!("{}.0 {outer}\n", Processes::of(&bench.env).mark()));
}

#[tokio::test]
async fn a_dropped_call_kills_its_tree_and_no_other() {
    let bench = Bench::with(fast()).await;
    let other = a_background_process(&bench).await;
    {
        let mut call = pin!(bench.call("bash", json!({"command": format!("{TREE}; touch up; sleep 1000")})));
        let up = bench.cwd().join("up");
        std::future::poll_fn(|cx| {
            assert!(call.as_mut().poll(cx).is_pending());
            cx.waker().wake_by_ref();
            if up.exists() && sleepers(bench.cwd()) >= 10 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    eventually("the tree is gone", || bench.marked() == other && sleepers(bench.cwd()) == 1).await;
    bench.env.coordinator.clean_up().await;
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn a_time_out_ends_its_tree_and_no_other() {
    let bench = Bench::with(fast()).await;
    let other = a_background_process(&bench).await;
    let command = format!("{TREE}; sleep 1000");
    assert!(bench.call("bash", json!({"command": command, "timeout": 5})).await.is_err());
    assert_eq!(bench.marked(), other);
    bench.env.coordinator.clean_up().await;
}

#[tokio::test]
async fn fifty_commands_leave_no_descriptor_and_no_zombie() {
    if !alone("tool_processes::fifty_commands_leave_no_descriptor_and_no_zombie", &[]) {
        return;
    }
    let bench = Bench::with(fast()).await;
    let own = i32::try_from(std::process::id()).unwrap();
    let run = |n: usize| {
        let command = match n % 3 {
            0 => json!({"command": "sleep 0.1 & echo x"}),
            1 => json!({"command": "exit 1"}),
            _ => json!({"command": "sleep 1000", "timeout": 1}),
        };
        bench.call_as("bash", command, n.is_multiple_of(2))
    };
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let children = || {
        let processes = amplifier_foundation::fs::process_table::processes();
        processes.iter().filter(|process| process.parent == own).count()
    };
    for n in 0..6 {
        let _ = run(n).await;
    }
    eventually("the first background processes end", || bench.marked().is_empty()).await;
    let before = descriptors();
    for n in 0..50 {
        let _ = run(n).await;
        // Dropped after its start.
        let mut call = pin!(run(2));
        let _ = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
    }
    eventually("every child is collected", || children() == 0).await;
    eventually("no descriptor is left", || descriptors() <= before).await;
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn a_session_that_ran_nothing_ends_at_once() {
    let bench = Bench::new().await;
    let processes = Processes::of(&bench.env);
    assert_eq!(processes.end_all().await, 0);
    assert!(processes.begin().is_err());
}

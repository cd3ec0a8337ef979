//! Nothing that a command started outlives its session.

use std::pin::pin;
use std::task::Poll;

use amplifier_modules::tool::bash::Processes;
use serde_json::json;

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
    let bench = Bench::with(fast()).await;
    bench.ok("bash", json!({ "command": TREE })).await;
    bench.ok("bash", json!({ "command": TREE })).await;
    eventually("both trees are complete", || sleepers(bench.cwd()) >= 16).await;
    bench.env.coordinator.clean_up().await;
    assert_eq!((sleepers(bench.cwd()), bench.marked().len()), (0, 0));
    let error = bench.fails("bash", json!({"command": "true"})).await;
    assert_eq!(error, "the session has ended; no command can be started any more");
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

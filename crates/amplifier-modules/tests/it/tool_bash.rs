//! bash: results, bounds and variables of real commands.

use std::time::{Duration, Instant};

use amplifier_core::module::tool::ToolError;
use serde_json::json;

use crate::support_tools::{Bench, Setup, alone};

#[tokio::test]
async fn a_result_is_output_and_exit_code() {
    let bench = Bench::new().await;
    bench.file("sub/x", "");
    for (arguments, expect, is_error) in [
        (json!({"command": "echo hi"}), "hi\n", false),
        (json!({"cmd": "printf out; printf err >&2"}), "outerr", false),
        (json!({"command": "true"}), "(no output)", false),
        (json!({"command": "exit 3"}), "[exit code 3]", true),
        (json!({"command": "echo no; exit 1"}), "no\n[exit code 1]", true),
        (json!({"command": "printf no; exit 1"}), "no\n[exit code 1]", true),
        (json!({"command": "ls", "cwd": "sub"}), "x\n", false),
        (json!({"command": "cat"}), "(no output)", false),
        (json!({"command": "exec >&- 2>&-; true"}), "(no output)", false),
    ] {
        let output = bench.call("bash", arguments.clone()).await.unwrap();
        assert_eq!((output.text.as_str(), output.is_error), (expect, is_error), "{arguments}");
    }
    let killed = bench.call("bash", json!({"command": "kill -9 $$"})).await.unwrap();
    assert!(killed.is_error && killed.text.contains("signal: 9"), "{}", killed.text);
    assert!(bench.fails("bash", json!({"command": "ls", "cwd": "nowhere"})).await.contains("not a folder"));
    assert!(
        bench.fails("bash", json!({"command": "a\u{0}b"})).await.starts_with("starting the program failed")
    );
}

#[tokio::test]
async fn a_flood_of_output_is_cut_in_the_middle() {
    let bench = Bench::new().await;
    let command = "echo first; yes | head -c 50M; echo last";
    let text = bench.ok("bash", json!({ "command": command })).await;
    assert!(text.len() < 129 * 1024, "{} bytes", text.len());
    assert!(text.starts_with("first\n") && text.ends_with("last\n"));
    let left_out = 50 * 1024 * 1024 + 11 - 128 * 1024;
    assert!(text.contains(&format!("[… {left_out} bytes left out …]")));
}

#[tokio::test]
async fn a_time_out_gives_what_was_printed() {
    let bench = Bench::with(Setup { speed: 10, ..Setup::default() }).await;
    let begin = Instant::now();
    let result = bench.call("bash", json!({"command": "echo begun; sleep 1000", "timeout": 3})).await;
    let Err(ToolError::TimedOut { after_ms, partial }) = result else { panic!("{result:?}") };
    assert_eq!((after_ms, partial.as_str()), (3_000, "begun\n"));
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn the_bundle_may_say_how_long_a_command_may_take() {
    let bench = Bench::with(Setup { speed: 10, bash: json!({"timeout": 2}), ..Setup::default() }).await;
    let result = bench.call("bash", json!({"command": "sleep 1000"})).await;
    let Err(ToolError::TimedOut { after_ms, .. }) = result else { panic!("{result:?}") };
    assert_eq!(after_ms, 2_000);
}

#[tokio::test]
async fn a_tree_that_ignores_the_request_to_end_is_killed_after_the_grace() {
    let bench = Bench::with(Setup { speed: 10, ..Setup::default() }).await;
    let command = "trap 'echo asked' TERM; (trap '' TERM; setsid sleep 1000 & sleep 1000) & \
        while :; do sleep 1; done";
    let result = bench.call("bash", json!({"command": command, "timeout": 2})).await;
    let Err(ToolError::TimedOut { partial, .. }) = result else { panic!("{result:?}") };
    assert!(partial.contains("asked"), "{partial}");
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn a_background_process_that_holds_the_pipe_does_not_hold_the_call() {
    let bench = Bench::new().await;
    let begin = Instant::now();
    let text = bench.ok("bash", json!({"command": "sleep 1000 & echo started"})).await;
    assert!(begin.elapsed() < Duration::from_secs(60));
    assert!(text.starts_with("started\n[processes are still running in the background"), "{text}");
    crate::support_tools::eventually("it runs", || bench.marked().len() == 1).await;
    bench.env.coordinator.clean_up().await;
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn a_background_process_may_go_on_printing() {
    let bench = Bench::new().await;
    let command = "(while [ ! -e go ]; do sleep 0.01; done; yes | head -c 1M; touch done) &";
    bench.ok("bash", json!({ "command": command })).await;
    bench.file("go", "");
    crate::support_tools::eventually("the background process ends", || bench.cwd().join("done").exists())
        .await;
}

#[tokio::test]
async fn commands_get_the_process_s_variables_and_the_session_s_ids() {
    let bench = Bench::new().await;
    let command = "echo $AMPLIFIER_SESSION_ID $AMPLIFIER_PARENT_SESSION_ID $AMPLIFIER_ROOT_SESSION_ID \
        $AMPLIFIER_SPAWN_DEPTH ${PATH:+path}; env | grep -c ^AMPLIFIER_PROCESS_MARK=";
    let text = bench.ok("bash", json!({ "command": command })).await;
    assert_eq!(text, format!("{} the-parent the-root 2 path\n1\n", bench.env.session));
}

#[tokio::test]
async fn secrets_are_held_back_unless_the_configuration_lets_them_through() {
    let variables = [("SOME_API_KEY", "hidden-1"), ("OTHER_TOKEN", "hidden-2"), ("DB_PASSWORD", "hidden-3")];
    let name = "tool_bash::secrets_are_held_back_unless_the_configuration_lets_them_through";
    if !alone(name, &variables) {
        return;
    }
    let command = json!({"command": "env | grep -o 'hidden-.' | sort | xargs echo"});
    assert_eq!(Bench::new().await.ok("bash", command.clone()).await, "\n");
    let config = json!({"env_passthrough": ["OTHER_TOKEN"]});
    let bench = Bench::with(Setup { bash: config, ..Setup::default() }).await;
    assert_eq!(bench.ok("bash", command).await, "hidden-2\n");
}

//! Commands.

use std::time::Duration;

use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use serde_json::{Value, json};

use super::{emit, start, told, until};

/// An entry that runs this script with these words.
fn sh(script: &str, words: &[&str]) -> Value {
    let mut command = vec!["sh", "-c", script, "sh"];
    command.extend(words);
    json!({"events": ["work:*"], "command": command})
}

fn read(stage: &Stage, file: &str) -> Option<String> {
    std::fs::read_to_string(stage.project.path().join(file)).ok()
}

async fn written(stage: &Stage, file: &str) -> String {
    let waiting = async {
        loop {
            if let Some(text) = read(stage, file).filter(|text| text.ends_with("end\n")) {
                return text;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("a file", waiting).await
}

#[tokio::test]
async fn a_command_gets_words_and_the_event_and_no_shell_reads_them() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let script = "pwd > out; printf '<%s>\\n' \"$@\" >> out; cat >> out; echo end >> out";
    let entry = sh(script, &["{event}", "{data.text}", "{id}", "{{}}"]);
    let notifier = start(&host, json!([entry])).await;
    let id = emit(&host, "work:done", json!({"text": "$(touch harm); `touch harm`\n-x"})).await;
    let out = written(&stage, "out").await;
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], stage.project.path().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(lines[1..5], ["<work:done>", "<$(touch harm); `touch harm` -x>", &format!("<{id}>"), "<{}>"]);
    let event: Value = serde_json::from_str(lines[5]).unwrap();
    assert_eq!((&event["id"], &event["type"]), (&json!(id), &json!("work:done")));
    assert!(read(&stage, "harm").is_none());
    let stopping = tokio::spawn(notifier.stop(Duration::from_secs(5)));
    until(&stage, Duration::from_millis(100), async || stopping.is_finished()).await;
}

#[tokio::test]
async fn a_command_that_fails_is_tried_again_and_then_given_up() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let mut entry = sh("echo $1 >> out; exit 3", &["{attempt}"]);
    // The clock of this test runs faster than a command.
    entry["timeout"] = json!("10m");
    let _notifier = start(&host, json!([entry])).await;
    emit(&host, "work:done", json!({})).await;
    until(&stage, Duration::from_secs(1), async || !told(&host, "notify:failed").await.is_empty()).await;
    let failed = told(&host, "notify:failed").await.remove(0);
    assert_eq!(failed["attempts"], 4);
    assert!(failed["error"].as_str().unwrap().contains("exit status: 3"), "{failed}");
    assert_eq!(read(&stage, "out").unwrap(), "1\n2\n3\n4\n");
}

#[tokio::test]
async fn a_command_that_reads_nothing_of_a_large_event_has_been_delivered() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let _notifier = start(&host, json!([sh("echo end > out", &[])])).await;
    emit(&host, "work:done", json!({"text": "x".repeat(300_000)})).await;
    written(&stage, "out").await;
    emit(&host, "work:done", json!({})).await;
    assert!(told(&host, "notify:failed").await.is_empty());
}

/// What it has started in the background, in a session of its own and without a parent, ends with it.
#[tokio::test]
async fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let stage = Stage::new();
    let host = stage.host_on_disk().await;
    let script = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' & sleep 1000 & echo $! >> pids; echo $$ >> pids; echo end >> pids; wait";
    let mut entry = sh(script, &[]);
    entry["timeout"] = json!("20s");
    let _notifier = start(&host, json!([entry])).await;
    emit(&host, "work:done", json!({})).await;
    let waiting = async {
        while read(&stage, "pids").is_none_or(|text| text.lines().count() < 4) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    soon("the processes", waiting).await;
    let pids = read(&stage, "pids").unwrap();
    let pids: Vec<&str> = pids.lines().filter(|line| *line != "end").collect();
    assert_eq!(pids.len(), 3, "{pids:?}");
    let alive = || {
        pids.iter().any(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        })
    };
    assert!(alive());
    until(&stage, Duration::from_secs(1), async || !alive()).await;
}

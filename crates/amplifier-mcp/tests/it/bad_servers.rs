//! Servers that die, hang, flood, lie: the session goes on, told in one line each.

use std::time::{Duration, Instant};

use amplifier_core::CancelLevel;
use amplifier_foundation::spawn_bundle;
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use serde_json::json;

use crate::kit::{Bench, background, fake, marked, servers_in};

#[tokio::test]
async fn one_that_does_not_start_is_told_in_a_line_and_the_session_goes_on() {
    let mut hangs = fake(&["--hang"]);
    hangs["startup_timeout"] = json!(0.3);
    let bench = Bench::new(json!({"servers": {
        "dies": fake(&["--die"]), "good": fake(&[]), "hangs": hangs, "missing": {"command": "/no/such/program"},
    }}));
    assert_eq!(bench.run(&[("mcp__good__echo", json!({"text": "hi"}))]).await, ["hi"]);
    let notices = bench.notices();
    let of = |name: &str| {
        let start = format!("MCP server `{name}`");
        let own: Vec<_> = notices.iter().filter(|line| line.starts_with(&start)).collect();
        assert_eq!(own.len(), 1, "{notices:?}");
        own[0].clone()
    };
    assert!(
        of("dies").contains("has ended before it has answered") && of("dies").contains("left-pad"),
        "{notices:?}"
    );
    assert!(of("hangs").contains("has not answered within 0.3 s"), "{notices:?}");
    assert!(of("missing").contains("/no/such/program"), "{notices:?}");
}

#[tokio::test]
async fn under_strict_one_that_does_not_start_is_fatal() {
    let bench = Bench::fake(&["--die"]);
    let host = bench.builder().strict(true).open(bench.cwd()).await.unwrap();
    let error = soon("the spawn", spawn_bundle(&host, ("b", "go"))).await.unwrap_err();
    let said = amplifier_core::causes::chain(&error);
    assert!(said.contains("MCP server `fake` has ended before it has answered"), "{said}");
}

#[tokio::test]
async fn one_that_dies_fails_its_call_and_is_there_again_for_the_next() {
    let bench = Bench::fake(&[]);
    let echo = || ("mcp__fake__echo", json!({"text": "again"}));
    let die = || ("mcp__fake__die", json!({}));
    let told = bench.run(&[die(), echo(), die(), die(), die(), die(), echo()]).await;
    assert!(
        told[0].contains("MCP server `fake` has failed during the call: it has closed its output"),
        "{}",
        told[0]
    );
    assert_eq!(told[1], "again");
    for died in &told[2..5] {
        assert!(died.contains("failed during the call"), "{died}");
    }
    // Three restarts without a success are enough.
    assert!(told[6].contains("was restarted 3 times"), "{told:?}");
}

#[tokio::test]
async fn broken_json_and_endless_lines_fail_the_call_with_their_reason() {
    let bench = Bench::fake(&["--chatter"]);
    let echo = || ("mcp__fake__echo", json!({"text": "fine"}));
    let calls = [
        ("mcp__fake__broken", json!({})),
        echo(),
        ("mcp__fake__long", json!({})),
        echo(),
        ("mcp__fake__odd", json!({})),
        echo(),
    ];
    let told = bench.run(&calls).await;
    assert!(told[0].contains("it has sent broken JSON"), "{}", told[0]);
    assert!(told[2].contains("a message of over 64 MiB"), "{}", told[2]);
    assert!(told[4].contains("no result of a tool"), "{}", told[4]);
    assert_eq!([&told[1], &told[3], &told[5]], ["fine"; 3]);
}

#[tokio::test]
async fn a_result_of_50_megabytes_is_cut_and_a_flood_of_notices_is_bounded() {
    let bench = Bench::fake(&[]);
    let told = bench.run(&[("mcp__fake__big", json!({"mb": 50})), ("mcp__fake__flood", json!({}))]).await;
    assert!(told[0].len() < 300_000 && told[0].starts_with("beginx") && told[0].ends_with("xend"));
    assert!(told[0].contains("bytes left out"));
    assert_eq!(told[1], "flooded");
    assert!(bench.notices().len() < 100, "{}", bench.notices().len());
}

#[tokio::test]
async fn a_call_without_a_sign_is_given_up_and_cancelled_at_the_server() {
    let bench = Bench::new(json!({}));
    let log = bench.cwd().join("log");
    let mut server = fake(&["--log", log.to_str().unwrap()]);
    server["timeout"] = json!(0.3);
    let bench = Bench { stage: bench.stage, ..Bench::new(json!({"servers": {"fake": server}})) };
    let told =
        bench.run(&[("mcp__fake__hang", json!({})), ("mcp__fake__echo", json!({"text": "alive"}))]).await;
    assert!(told[0].contains("gave no sign for 0.3 s"), "{}", told[0]);
    assert_eq!(told[1], "alive");
    let came = std::fs::read_to_string(log).unwrap();
    assert!(came.contains("notifications/cancelled"), "{came}");
}

#[tokio::test]
async fn a_session_that_is_stopped_takes_its_servers_with_it_also_one_that_will_not_go() {
    let bench = Bench::new(json!({}));
    let server = marked(&["--stubborn"], &bench.cwd());
    let bench = Bench { stage: bench.stage, ..Bench::new(json!({"servers": {"fake": server}})) };
    let host = bench.host().await;
    bench.stage.brain.then(Step::Call(vec![("mcp__fake__hang", json!({}))]));
    let session = soon("the spawn", spawn_bundle(&host, background())).await.unwrap();
    let hanging = || bench.stage.display.lines().iter().any(|line| line == "tool started: mcp__fake__hang");
    soon("the call", async {
        while !hanging() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(servers_in(&bench.cwd()).len(), 1);
    let began = Instant::now();
    session.session().cancel(CancelLevel::Immediate);
    soon("the outcome", session.outcome()).await;
    assert_eq!(servers_in(&bench.cwd()).len(), 0);
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn a_server_that_changes_its_tools_is_told_to_a_person() {
    let bench = Bench::fake(&[]);
    assert_eq!(
        bench.run(&[("mcp__fake__change", json!({})), ("mcp__fake__echo", json!({"text": "x"}))]).await,
        ["changed", "x"]
    );
    let told = bench.notices().iter().filter(|line| line.contains("has changed its tools")).count();
    assert_eq!(told, 1, "{:?}", bench.notices());
}

//! When servers start, and which.

use std::time::{Duration, Instant};

use amplifier_core::permission::Mode;
use serde_json::{Value, json};

use crate::kit::{Bench, fake, permissions};

/// How long a session takes from its spawn to its end.
async fn ready(servers: Value) -> Duration {
    let bench = Bench::new(json!({ "servers": servers }));
    let host = bench.host().await;
    let began = Instant::now();
    bench.run_on(&host, &[]).await;
    began.elapsed()
}

#[tokio::test]
async fn a_session_with_three_servers_is_ready_when_the_slowest_is() {
    let slow = |millis: &str| fake(&["--slow-start", millis]);
    let one = ready(json!({"a": slow("600")})).await;
    let three = ready(json!({"a": slow("600"), "b": slow("600"), "c": slow("500")})).await;
    eprintln!("ready with the slowest alone: {one:?}, with three: {three:?}");
    assert!(three < one * 2, "{one:?} alone, {three:?} of three");
}

fn write_file(bench: &Bench, servers: Value) {
    bench.stage.project.write(".mcp.json", json!({ "mcpServers": servers }).to_string());
}

#[tokio::test]
async fn a_projects_file_is_read_where_somebody_trusts_it() {
    let bench = Bench::new(json!({}));
    write_file(&bench, json!({"theirs": fake(&[])}));
    assert_eq!(bench.run(&[("mcp__theirs__echo", json!({"text": "hi"}))]).await, ["hi"]);

    let bench = Bench::new(json!({}));
    write_file(&bench, json!({"theirs": fake(&[])}));
    let host = bench.builder().untrusted_project(Some(Default::default())).open(bench.cwd()).await.unwrap();
    bench.run_on(&host, &[]).await;
    assert!(bench.offered().is_empty());
    let notices = bench.notices();
    assert!(notices.len() == 1 && notices[0].contains("not trusted; run `amplifier trust`"), "{notices:?}");
}

#[tokio::test]
async fn a_bundle_with_servers_of_its_own_reads_the_projects_file_only_if_it_says_so() {
    for (said, expect) in [(json!(null), 17), (json!(true), 34)] {
        let bench = Bench::new(json!({"servers": {"own": fake(&[])}, "mcp_json": said}));
        write_file(&bench, json!({"theirs": fake(&[]), "own": {"command": "/no/such/program"}}));
        bench.run(&[]).await;
        assert_eq!(bench.offered().len(), expect);
        assert!(!bench.notices().iter().any(|line| line.contains("such")), "{:?}", bench.notices());
    }
}

#[tokio::test]
async fn with_nobody_to_ask_a_server_runs_in_the_sandbox() {
    let bench = Bench::fake(&[]);
    let host = bench.builder().permissions(permissions(Mode::DontAsk, &bench.cwd(), &[]));
    let host = host.open(bench.cwd()).await.unwrap();
    // Below the folder for temporary files everything can be written.
    let target = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let within = if target.starts_with(std::env::temp_dir()) { "/var/tmp".into() } else { target };
    let outside = tempfile::Builder::new().tempdir_in(within).unwrap();
    let write = |path: std::path::PathBuf| ("mcp__fake__write", json!({ "path": path }));
    let told = bench.run_on(&host, &[write(bench.cwd().join("in")), write(outside.path().join("out"))]).await;
    if bench.offered().is_empty() && bench.notices().iter().any(|line| line.contains("sandbox not available"))
    {
        eprintln!("skipped: this kernel has no sandbox");
        return;
    }
    assert_eq!(told[0], "written");
    assert!(told[1].contains("not written"), "{}", told[1]);
    assert!(!outside.path().join("out").exists());
}

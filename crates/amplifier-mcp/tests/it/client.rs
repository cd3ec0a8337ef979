//! A server that behaves: its tools, their results, what permissions make of them.

use amplifier_core::approval::ApprovalAnswer;
use amplifier_core::permission::{Mode, RuleEffect};
use amplifier_core::{Content, ContentBlock, ImageSource, KnownBlock, Message, Role};
use amplifier_foundation::spawn_bundle;
use amplifier_tests::fake::Step;
use amplifier_tests::soon;
use amplifier_tests::watch::RecordingApprover;
use serde_json::json;
use std::sync::Arc;

use crate::kit::{Bench, background, fake, marked, permissions, servers_in};

#[tokio::test]
async fn tools_of_a_server_are_tools_of_the_session() {
    let bench = Bench::fake(&[]);
    let told = bench
        .run(&[
            ("mcp__fake__echo", json!({"text": "hällo\n\"there\""})),
            ("mcp__fake__data", json!({})),
            ("mcp__fake__fail", json!({})),
            ("mcp__fake__image", json!({})),
            ("mcp__fake__cwd", json!({})),
            ("mcp__fake__roots", json!({})),
        ])
        .await;
    assert_eq!(told[0], "hällo\n\"there\"");
    assert_eq!(told[1], r#"{"answer":42}"#);
    assert_eq!(told[2], "it went wrong");
    assert!(
        told[3].starts_with("[image image/png, 70 bytes, in ") && told[3].contains("/mcp/"),
        "{}",
        told[3]
    );
    assert_eq!(told[4], bench.cwd().display().to_string());
    assert!(told[5].contains("\"roots\":[{\"uri\":\"file:///"), "{}", told[5]);
    // Both pages, without those whose schema is none.
    let offered = bench.offered();
    assert_eq!(offered.len(), 17, "{offered:?}");
    assert!(offered.iter().all(|name| name.starts_with("mcp__fake__")));
    let notices = bench.notices();
    assert_eq!(
        notices,
        [
            "tool `bad` of MCP server `fake` is left out: its input schema is no object",
            "tool `worse` of MCP server `fake` is left out: `properties` in its input schema is malformed",
        ]
    );
}

#[tokio::test]
async fn a_model_is_shown_the_image_of_a_result_and_a_later_session_still_is() {
    let bench = Bench::fake(&[]);
    bench.run(&[("mcp__fake__image", json!({}))]).await;
    let images = |messages: Vec<Arc<Message>>| {
        let results = messages.into_iter().filter(|message| message.role == Role::Tool);
        let blocks = results.flat_map(|message| match &message.content {
            Content::Blocks(blocks) => blocks.clone(),
            _ => Vec::new(),
        });
        let of = |block| match block {
            ContentBlock::Known(KnownBlock::Image { source, .. }) => Some(source),
            _ => None,
        };
        blocks.filter_map(of).collect::<Vec<_>>()
    };
    let request = bench.stage.brain.requests().pop().unwrap();
    let shown = images(request.messages.to_vec());
    assert!(
        matches!(shown.as_slice(), [ImageSource::Base64 { media_type, .. }] if media_type == "image/png"),
        "{shown:?}"
    );
    // As it was read from the file.
    let host = bench.host().await;
    let id = host.storage().list(&Default::default()).await.unwrap().remove(0).id;
    assert_eq!(images(host.storage().load(&id).await.unwrap().transcript), shown);
}

#[tokio::test]
async fn old_servers_and_servers_without_a_handshake_are_understood() {
    for (flags, methods) in [
        (
            &["--old"][..],
            vec!["initialize", "notifications/initialized", "tools/list", "tools/list", "tools/call"],
        ),
        (&["--modern"][..], vec!["initialize", "server/discover", "tools/list", "tools/list", "tools/call"]),
    ] {
        let bench = Bench::new(json!({}));
        let log = bench.cwd().join("log");
        let flags = [flags, &["--log", log.to_str().unwrap()]].concat();
        let bench = Bench { stage: bench.stage, ..Bench::fake(&flags) };
        assert_eq!(bench.run(&[("mcp__fake__echo", json!({"text": "hi"}))]).await, ["hi"], "{flags:?}");
        let text = std::fs::read_to_string(log).unwrap();
        let came: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
        assert_eq!(came, methods, "{text}");
    }
}

#[tokio::test]
async fn a_server_gets_its_variables_and_no_secret_that_it_was_not_given() {
    let mut server = fake(&[]);
    server["env"] = json!({"GITHUB_TOKEN": "given", "GREETING": "${NOT_SET_ANYWHERE:-hello}"});
    let bench = Bench::new(json!({"servers": {"fake": server}}));
    let env = |name: &str| ("mcp__fake__env", json!({ "name": name }));
    let calls =
        [env("GITHUB_TOKEN"), env("GREETING"), env("CARGO_REGISTRY_TOKEN"), env("AMPLIFIER_SPAWN_DEPTH")];
    assert_eq!(bench.run(&calls).await, ["given", "hello", "(not set)", "0"]);
}

#[tokio::test]
async fn a_bundle_chooses_among_the_tools() {
    let mut server = fake(&[]);
    server["tools"] = json!(["e*", "data"]);
    let bench = Bench::new(json!({"servers": {"fake": server}}));
    bench.run(&[]).await;
    assert_eq!(bench.offered(), ["mcp__fake__echo", "mcp__fake__env", "mcp__fake__data"]);
}

#[tokio::test]
async fn permissions_speak_of_servers_and_of_tools() {
    use RuleEffect::{Allow, Deny};
    let calls = [("mcp__fake__echo", json!({"text": "hi"})), ("mcp__fake__data", json!({}))];
    // Nobody can be asked: what a bundle has declared may be used, unless a rule denies it.
    for (rules, expect) in [
        (&[][..], ["hi", "answer"]),
        (&[(Deny, "mcp(fake/echo)")][..], ["may not use echo of MCP server fake", "answer"]),
        (&[(Deny, "mcp(fake/d*)"), (Allow, "mcp(*)")][..], ["hi", "may not use data of MCP server fake"]),
        (&[(Deny, "mcp(fake)")][..], ["there is no tool", "there is no tool"]),
    ] {
        let bench = Bench::fake(&[]);
        let host = bench.builder().permissions(permissions(Mode::DontAsk, &bench.cwd(), rules));
        let host = host.open(bench.cwd()).await.unwrap();
        let told = bench.run_on(&host, &calls).await;
        for (told, expect) in told.iter().zip(expect) {
            assert!(told.contains(expect), "{rules:?}: {told}");
        }
    }
}

#[tokio::test]
async fn in_plan_mode_no_server_starts_whatever_it_says_of_its_tools() {
    let bench = Bench::new(json!({}));
    let server = marked(&["--count", bench.cwd().join("count").to_str().unwrap()], &bench.cwd());
    let bench = Bench { stage: bench.stage, ..Bench::new(json!({"servers": {"fake": server}})) };
    let host = bench.builder().permissions(permissions(Mode::Plan, &bench.cwd(), &[]));
    let host = host.open(bench.cwd()).await.unwrap();
    bench.run_on(&host, &[]).await;
    assert!(!bench.cwd().join("count").exists());
    let notices = bench.notices();
    assert!(
        notices[0].contains("MCP server `fake` is left out: the permissions do not allow it"),
        "{notices:?}"
    );
}

#[tokio::test]
async fn a_person_is_asked_once_a_server() {
    let bench = Bench::fake(&[]);
    let approver = RecordingApprover::new(ApprovalAnswer::AllowForSession);
    let builder = bench.builder().approver(Arc::new(approver.clone()));
    let host = builder.permissions(permissions(Mode::Default, &bench.cwd(), &[]));
    let host = host.open(bench.cwd()).await.unwrap();
    let calls = [("mcp__fake__echo", json!({"text": "1"})), ("mcp__fake__data", json!({}))];
    assert_eq!(bench.run_on(&host, &calls).await, ["1", r#"{"answer":42}"#]);
    assert_eq!(approver.asked(), ["mcp__fake__echo wants to use echo of MCP server fake"]);
}

#[tokio::test]
async fn progress_is_shown_and_keeps_a_long_call_alive() {
    let mut server = fake(&[]);
    server["timeout"] = json!(0.4);
    let bench = Bench::new(json!({"servers": {"fake": server}}));
    let told = bench.run(&[("mcp__fake__progress", json!({"steps": 8, "ms": 100}))]).await;
    assert_eq!(told, ["done"]);
    let shown = bench.notices();
    assert!(shown.iter().any(|line| line == "mcp__fake__progress: 1 of 9: at work"), "{shown:?}");
}

#[tokio::test]
async fn sessions_share_a_server_that_is_shared_and_it_ends_with_the_last() {
    let bench = Bench::new(json!({}));
    let count = bench.cwd().join("count");
    let mut server = marked(&["--count", count.to_str().unwrap()], &bench.cwd());
    server["shared"] = json!(true);
    let bench = Bench { stage: bench.stage, ..Bench::new(json!({"servers": {"fake": server}})) };
    let host = bench.host().await;
    let gates: Vec<_> = (0..3).map(|_| amplifier_tests::gate::Gate::new()).collect();
    let mut sessions = Vec::new();
    for gate in &gates {
        bench.stage.brain.then(Step::Wait("over".to_owned(), gate.clone()));
        sessions.push(soon("the spawn", spawn_bundle(&host, background())).await.unwrap());
    }
    assert_eq!(servers_in(&bench.cwd()).len(), 1);
    for (gate, session) in gates.iter().zip(&sessions) {
        assert_eq!(servers_in(&bench.cwd()).len(), 1);
        gate.open();
        soon("the outcome", session.outcome()).await;
    }
    assert_eq!(servers_in(&bench.cwd()).len(), 0);
    assert_eq!(std::fs::read_to_string(&count).unwrap().lines().count(), 1);
}

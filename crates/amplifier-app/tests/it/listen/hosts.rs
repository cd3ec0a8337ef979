//! Under which names it answers.

use amplifier_app::listen::Rate;
use axum::Router;

use super::{allowed, stage, stage_with};

#[tokio::test]
async fn a_request_names_one_host_that_may_be_named() {
    let stage = stage_with(allowed(&["hooks.example.com:8443"]), Rate::default(), Router::new()).await;
    let port = stage.address.port();
    for (line, hosts, expect) in [
        ("/healthz", "Host: localhost\r\n", 200),
        ("/healthz", "host: LocalHost:99\r\n", 200),
        ("/healthz", &format!("Host: 127.0.0.1:{port}\r\n"), 200),
        ("/healthz", "Host: [::1]:80\r\n", 200),
        ("/healthz", "Host: Hooks.Example.com:8443\r\n", 200),
        ("/healthz", "Host: hooks.example.com\r\n", 421),
        ("/healthz", "Host: evil.example\r\n", 421),
        ("/hooks/jobs", "Host: evil.example\r\n", 421),
        ("/nothing", "Host: localhost.evil.example\r\n", 421),
        ("/healthz", "", 400),
        ("/healthz", "Host:\r\n", 400),
        ("/healthz", "Host: localhost\r\nHost: localhost\r\n", 400),
        ("/healthz", "Host: localhost\r\nHost: evil.example\r\n", 400),
        ("/healthz", "Host: user@localhost\r\n", 400),
        ("/healthz", "Host: local\u{e4}host\r\n", 400),
        ("http://localhost/healthz", "Host: localhost\r\n", 200),
        ("http://evil.example/healthz", "Host: localhost\r\n", 400),
        ("http://localhost/healthz", "Host: evil.example\r\n", 400),
    ] {
        let answer = stage.ask(&format!("GET {line} HTTP/1.1\r\n{hosts}\r\n")).await;
        assert_eq!(answer.status, expect, "{line} {hosts:?}: {answer:?}");
        if expect != 200 {
            assert_eq!(answer.body.lines().count(), 1, "{answer:?}");
        }
        assert!(!answer.body.contains("evil"), "nothing of the request is repeated");
    }
    let misdirected = stage.ask("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n").await;
    assert!(misdirected.body.contains("`allowed_hosts`"), "{misdirected:?}");
    let old = stage.ask("GET /healthz HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.status, 400);
}

#[tokio::test]
async fn only_the_two_routes_are_there() {
    let stage = stage().await;
    let ask = async |method: &str, path: &str| {
        stage.ask(&format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
    };
    let healthy = ask("GET", "/healthz").await;
    assert_eq!((healthy.status, healthy.body.as_str()), (200, "ok\n"));
    assert_eq!(healthy.header("x-content-type-options"), Some("nosniff"));
    assert!(healthy.header("server").is_none());
    for (method, path, status, allow) in [
        ("POST", "/healthz", 405, Some("GET,HEAD")),
        ("DELETE", "/healthz", 405, Some("GET,HEAD")),
        ("GET", "/hooks/jobs", 405, Some("POST")),
        ("PUT", "/hooks/jobs", 405, Some("POST")),
        ("OPTIONS", "/hooks/jobs", 405, Some("POST")),
        ("BREW", "/hooks/jobs", 405, Some("POST")),
        ("GET", "/", 404, None),
        ("GET", "/hooks", 404, None),
        ("GET", "/hooks/", 404, None),
        ("GET", "/healthz/", 404, None),
        ("GET", "/HEALTHZ", 404, None),
        ("GET", "/api/issues", 404, None),
        ("GET", "*", 404, None),
    ] {
        let answer = ask(method, path).await;
        assert_eq!((answer.status, answer.header("allow")), (status, allow), "{method} {path}");
        assert!(!answer.body.is_empty(), "{method} {path}");
    }
    for tricky in [
        "jobs/",
        "jobs//",
        "/jobs",
        "./jobs",
        "x/../jobs",
        "../hooks/jobs",
        "%6aobs",
        "jobs%00",
        "jobs%2f",
        "%2e%2e/hooks/jobs",
        "..%2fhooks/jobs",
        "jobs;x=1",
        "jobs\\",
        "JOBS",
        "jobs%0d%0aX:1",
        &"x".repeat(8_000),
    ] {
        let request = super::post(tricky, "1", "{}");
        assert_eq!(stage.ask(&request).await.status, 404, "{tricky:.40}");
    }
    // What no server should be asked.
    for (raw, expect) in [
        ("GET /hooks/jobs\0 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /hooks/jo bs HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA\0: 1\r\n\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\n folded: 1\r\n\r\n", 400),
    ] {
        assert_eq!(stage.ask(raw).await.status, expect, "{raw:?}");
    }
    assert_eq!(stage.taken(), 0);
}

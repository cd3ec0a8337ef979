//! Who is let in, and who is not.

use amplifier_app::listen::BODY_TIME;
use amplifier_web::{LOGIN_TIME, Logins, Role, SESSION_TIME, Tokens, Web};
use serde_json::json;
use std::time::Duration;

use super::stage::{Served, bearer};

/// A request of each route.
fn each() -> impl Iterator<Item = (String, String)> {
    let filled = |path: &str| path.replace("{name}", "night").replace("{id}", "x");
    Web::described().into_iter().map(move |route| (route.method.to_uppercase(), filled(route.path)))
}

#[tokio::test]
async fn nothing_is_answered_without_a_token() {
    let served = Served::new().await;
    for (method, path) in each() {
        let answer = served.ask(&method, &path, "", "").await;
        match path.starts_with("/api/") {
            true => assert_eq!(answer.fault(401), "unauthorized", "{method} {path}"),
            false => assert_eq!(answer.status, 401, "{method} {path}"),
        }
        assert!(answer.header("www-authenticate").is_some());
    }
    // What is open says nothing.
    let health = served.ask("GET", "/healthz", "", "").await;
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    assert_eq!(served.ask("POST", "/hooks/none", "", "{}").await.status, 404);
    served.end().await;
}

#[tokio::test]
async fn what_is_no_token_is_none() {
    let served = Served::new().await;
    let (write, read) = (&served.write, &served.read);
    let swapped = write.replace("robot", "viewer");
    let longer = format!("{write}0");
    let upper = write.to_uppercase();
    let digits = &read[read.len() - 64..];
    for token in ["", "x", "fm_robot_", &swapped, &longer, &upper, digits, "fm_../robot_0", "fm__0"] {
        let answer = served.ask("GET", "/api/v1/status", &bearer(token), "").await;
        assert_eq!(answer.fault(401), "unauthorized", "{token}");
    }
    for header in [format!("Authorization: Basic {write}\r\n"), format!("Authorization: {write}\r\n")] {
        assert_eq!(served.ask("GET", "/api/v1/status", &header, "").await.status, 401);
    }
    // A token in the address is none: addresses are logged.
    for path in [format!("/api/v1/status?token={write}"), format!("/api/v1/status?access_token={write}")] {
        assert_eq!(served.ask("GET", &path, "", "").await.status, 401);
    }
    assert_eq!(served.get("/api/v1/status").await.status, 200);
    served.end().await;
}

#[tokio::test]
async fn who_may_read_changes_nothing() {
    let served = Served::new().await;
    for (method, path) in each().filter(|(method, _)| method != "GET") {
        let answer = served.ask(&method, &path, &bearer(&served.read), "").await;
        assert_eq!(answer.fault(403), "read_only", "{method} {path}");
    }
    let cookie = served.log_in(Role::Read).await;
    let answer = served.ask("POST", "/api/v1/pause", &cookie, "").await;
    assert_eq!(answer.fault(403), "read_only");
    assert_eq!(served.manager.statuses()[0].state.as_str(), "running");
    served.end().await;
}

#[tokio::test]
async fn a_token_is_stored_as_a_hash_named_once_and_revoked_for_ever() {
    let served = Served::new().await;
    let tokens = Tokens::of(&served.host);
    let secret = &served.write[served.write.len() - 64..];
    for (_, value) in served.host.store().keys("web-", None, 100).await.unwrap() {
        assert!(!String::from_utf8_lossy(value.as_bytes()).contains(secret));
    }
    let name = "robot".parse().unwrap();
    let taken = tokens.add(&name, Role::Write, "tester").await.unwrap_err();
    assert!(taken.to_string().contains("choose another"), "{taken}");
    assert!(tokens.revoke(&name, "tester").await.unwrap());
    assert!(!tokens.revoke(&name, "tester").await.unwrap(), "once");
    assert_eq!(served.post("/api/v1/pause", &json!({})).await.status, 401);
    assert!(tokens.add(&name, Role::Write, "tester").await.is_err(), "its name stays its own");
    let listed = tokens.list().await.unwrap();
    let told: Vec<_> = listed.iter().map(|token| (token.name.as_str(), token.revoked.is_some())).collect();
    assert_eq!(told, [("robot", true), ("viewer", false)]);
    for bad in ["", "A", "-a", "a/b", "a_b", "../a", "a\n", &"a".repeat(65)] {
        assert!(bad.parse::<amplifier_web::TokenName>().is_err(), "{bad:?}");
    }
    served.end().await;
}

#[tokio::test]
async fn another_host_is_not_served() {
    let served = Served::new().await;
    let auth = bearer(&served.read);
    let foreign = format!("GET /api/v1/status HTTP/1.1\r\nHost: rebound.example\r\n{auth}\r\n");
    assert_eq!(served.raw(&foreign).await.status, 421);
    let login = "GET /login?code=1 HTTP/1.1\r\nHost: rebound.example\r\n\r\n";
    assert_eq!(served.raw(login).await.status, 421);
    // No answer allows other origins anything.
    let origin = format!("{auth}Origin: https://other.example\r\n");
    for (method, path) in [("GET", "/api/v1/status"), ("OPTIONS", "/api/v1/status"), ("GET", "/metrics")] {
        let answer = served.ask(method, path, &origin, "").await;
        assert!(answer.headers.iter().all(|(name, _)| !name.starts_with("access-control-")), "{answer:?}");
    }
    served.end().await;
}

#[tokio::test]
async fn a_login_link_works_once() {
    let served = Served::new().await;
    let link = Logins::of(&served.host).link("alice", Role::Write).await.unwrap();
    // Whoever looks ahead does not use it up.
    assert_eq!(served.ask("HEAD", &link.path(), "", "").await.status, 405);
    assert_eq!(served.ask("GET", &link.path(), "Sec-Purpose: prefetch\r\n", "").await.status, 405);
    let answer = served.ask("GET", &link.path(), "", "").await;
    assert_eq!(answer.status, 200);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    let again = served.ask("GET", &link.path(), "", "").await;
    assert_eq!((again.status, again.header("set-cookie")), (401, None));
    let cookie = format!("Cookie: other=1; {}\r\n", cookie.split(';').next().unwrap());
    assert_eq!(served.ask("GET", "/api/v1/status", &cookie, "").await.status, 200);
    // Of two at the same time one is let in.
    let link = Logins::of(&served.host).link("alice", Role::Write).await.unwrap();
    let path = link.path();
    let (one, two) = tokio::join!(served.ask("GET", &path, "", ""), served.ask("GET", &path, "", ""));
    let mut both = [one.status, two.status];
    both.sort_unstable();
    assert_eq!(both, [200, 401]);
    served.end().await;
}

#[tokio::test]
async fn a_link_and_a_session_grow_old() {
    let served = Served::new().await;
    let link = Logins::of(&served.host).link("alice", Role::Write).await.unwrap();
    let cookie = served.log_in(Role::Write).await;
    served.stage.clock.advance(LOGIN_TIME);
    assert_eq!(served.ask("GET", &link.path(), "", "").await.status, 401);
    assert_eq!(served.ask("GET", "/api/v1/status", &cookie, "").await.status, 200);
    served.stage.clock.advance(SESSION_TIME);
    assert_eq!(served.ask("GET", "/api/v1/status", &cookie, "").await.status, 401);
    served.end().await;
}

#[tokio::test]
async fn a_form_of_another_origin_changes_nothing() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let csrf = csrf(&cookie);
    let good = format!("csrf={csrf}");
    let headers = |more: &str| format!("{cookie}{form}{more}");
    for (more, body, kind) in [
        ("", "", "csrf"),
        ("", "csrf=", "csrf"),
        ("", "csrf=0000", "csrf"),
        ("Sec-Fetch-Site: cross-site\r\n", good.as_str(), "cross_site"),
        ("Sec-Fetch-Site: same-site\r\n", &good, "cross_site"),
        ("Origin: https://other.example\r\n", &good, "cross_site"),
        // Another port of this machine is the same site to a browser.
        ("Origin: http://localhost:3000\r\n", &good, "cross_site"),
        ("Origin: null\r\n", &good, "cross_site"),
    ] {
        let answer = served.ask("POST", "/api/v1/pause", &headers(more), body).await;
        assert_eq!(answer.fault(403), kind, "{more}{body}");
    }
    // In another type of body a form field is none.
    let plain = format!("{cookie}Content-Type: text/plain\r\n");
    assert_eq!(served.ask("POST", "/api/v1/pause", &plain, &good).await.fault(403), "csrf");
    assert_eq!(served.manager.statuses()[0].state.as_str(), "running");
    let own = headers("Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(served.ask("POST", "/api/v1/pause", &own, &good).await.status, 200);
    let by_header = format!("{cookie}X-CSRF-Token: {csrf}\r\n");
    assert_eq!(served.ask("POST", "/api/v1/resume", &by_header, "").await.status, 200);
    // A token in the place of a cookie is sent by nobody unasked.
    let bearer = format!("{}Origin: https://other.example\r\n", bearer(&served.write));
    assert_eq!(served.ask("POST", "/api/v1/pause", &bearer, "").await.status, 200);
    served.end().await;
}

/// What the pages of a session carry: made of its secret.
fn csrf(cookie: &str) -> String {
    let secret = cookie.trim().split_once('=').unwrap().1;
    blake3::hash(format!("amplifier/csrf/{secret}").as_bytes()).to_hex().to_string()
}

#[tokio::test]
async fn a_session_that_was_ended_is_none() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    let form = format!("{cookie}X-CSRF-Token: {}\r\n", csrf(&cookie));
    assert_eq!(served.ask("POST", "/logout", &cookie, "").await.status, 403);
    let out = served.ask("POST", "/logout", &form, "").await;
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(served.ask("GET", "/api/v1/status", &cookie, "").await.status, 401);
    served.end().await;
}

#[tokio::test]
async fn who_guesses_is_slowed_down() {
    let served = Served::new().await;
    let wrong = bearer(&format!("fm_robot_{}", "0".repeat(64)));
    let mut last = 0;
    for _ in 0..30 {
        last = served.ask("GET", "/api/v1/status", &wrong, "").await.status;
    }
    assert_eq!(last, 429);
    let refused = served.ask("GET", "/api/v1/status", &wrong, "").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    // Whoever has one is not held up.
    assert_eq!(served.get("/api/v1/status").await.status, 200);
    served.end().await;
}

#[tokio::test]
async fn bodies_are_bounded_in_size_and_time() {
    let served = Served::new().await;
    let auth = bearer(&served.write);
    let head = |length: usize| {
        format!("POST /api/v1/pause HTTP/1.1\r\nHost: localhost\r\n{auth}Content-Length: {length}\r\n\r\n")
    };
    let answer = served.raw(&head(256 * 1024 + 1)).await;
    assert_eq!((answer.fault(413).as_str(), answer.header("connection")), ("body", Some("close")));
    let mut slow = served.connect().await;
    slow.send(head(10).as_bytes()).await;
    slow.send(b"{").await;
    let passing = async {
        loop {
            served.stage.clock.advance(BODY_TIME / 20);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let answer = tokio::select! { answer = slow.answer() => answer, () = passing => unreachable!() };
    assert_eq!(answer.fault(408), "body");
    assert_eq!(served.manager.statuses()[0].state.as_str(), "running");
    served.end().await;
}

#[tokio::test]
async fn every_answer_forbids_what_a_browser_could_do_with_it() {
    let served = Served::new().await;
    for path in ["/api/v1/status", "/api/v1/none", "/metrics"] {
        let answer = served.get(path).await;
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("x-frame-options"), Some("DENY"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    served.end().await;
}

//! The dashboard as a browser without a script sees it.

use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_web::Role;
use serde_json::json;

use super::stage::{Answer, Served};

pub(crate) const PAGES: [&str; 6] = ["/", "/issues", "/pools", "/sessions", "/runs", "/events"];

impl Served {
    async fn page(&self, path: &str, cookie: &str) -> Answer {
        let answer = self.ask("GET", path, cookie, "").await;
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        answer
    }

    /// Sends a form of a page.
    async fn send(&self, path: &str, cookie: &str, fields: &str) -> Answer {
        let page = self.page("/", cookie).await;
        let csrf = page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
        let form = "Content-Type: application/x-www-form-urlencoded\r\nOrigin: http://localhost\r\n";
        self.ask("POST", path, &format!("{cookie}{form}"), &format!("csrf={csrf}&{fields}")).await
    }
}

#[tokio::test]
async fn every_page_is_there_and_small() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    for n in 0..200 {
        served.open(json!({"title": format!("issue {n} {}", "words ".repeat(40))})).await;
        served.host.router().emit("work:step", json!({"n": n, "text": "x".repeat(5_000)})).await.unwrap();
    }
    for path in PAGES {
        let page = served.page(path, &cookie).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(page.body.contains("</html>"), "{path}");
        assert!(!page.body.contains("style=") && !page.body.contains("<script>"), "nothing inline: {path}");
    }
    let mut all = served.page("/", &cookie).await.body.len();
    for path in ["/assets/style.css", "/assets/live.js"] {
        all += served.ask("GET", path, &cookie, "").await.body.len();
    }
    assert!(all <= 100 << 10, "the first page with its assets has {all} bytes");
    let none = served.page("/issues/none", &cookie).await;
    assert_eq!(none.status, 404);
    for path in ["/sessions/..%2fx", "/runs/none", "/issues/%2e%2e", "/sessions/none"] {
        assert!(matches!(served.page(path, &cookie).await.status, 400 | 404), "{path}");
    }
    served.end().await;
}

#[tokio::test]
async fn nobody_sees_a_page_without_a_session() {
    let served = Served::new().await;
    for path in PAGES.iter().chain(&["/issues/x", "/assets/style.css", "/assets/live.js"]) {
        let page = served.page(path, "").await;
        assert_eq!(page.status, 401, "{path}");
        assert!(page.body.contains("foreman open"), "it says how to get in");
    }
    for path in ["/issues", "/issues/x/close", "/pools/night/pause", "/all/pause", "/sessions/x/cancel"] {
        assert_eq!(served.ask("POST", path, "", "").await.status, 401, "{path}");
        let cookie = served.log_in(Role::Write).await;
        assert_eq!(served.ask("POST", path, &cookie, "").await.status, 403, "no token of a form: {path}");
    }
    // Who may read sees no button, and one that is pressed all the same does nothing.
    let cookie = served.log_in(Role::Read).await;
    assert!(!served.page("/pools", &cookie).await.body.contains("/pools/night/pause"));
    served.end().await;
}

#[tokio::test]
async fn what_others_wrote_is_text() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    let evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} &amp;";
    let kind = json!({"title": evil, "description": evil, "metadata": {"a": evil}});
    let id = served.open(kind).await;
    served.act(&id, "comment", json!({"text": evil})).await.json(200);
    let odd = served.open(json!({"title": "odd", "id": "a<b>\"c' d?e#f%g&h"})).await;
    assert_eq!(odd, "a<b>\"c' d?e#f%g&h");
    served.patch(&id, &json!({"status": "pending_user_input", "blocking_notes": evil})).await.json(200);
    served.host.router().emit("work:step", json!({"issue_id": evil, "text": evil})).await.unwrap();
    for path in ["/", "/issues", &format!("/issues/{id}"), "/events"] {
        let page = served.page(path, &cookie).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        assert!(!page.body.contains("<script>alert") && !page.body.contains("<img"), "{path}: {}", page.body);
        assert!(!page.body.contains("\" onerror") && !page.body.contains(" 49 "), "{path}");
        assert!(page.body.contains("&lt;script&gt;"), "{path}");
    }
    // A link to an odd id leads to its page.
    let list = served.page("/issues?status=open", &cookie).await.body;
    let link = list.split("href=\"/issues/a").nth(1).unwrap().split('"').next().unwrap();
    let page = served.page(&format!("/issues/a{link}"), &cookie).await;
    assert_eq!(page.status, 200, "{link}: {}", page.body);
    let wrong = served.page("/issues/%3Cscript%3E", &cookie).await;
    assert!(wrong.status == 404 && !wrong.body.contains("<script>"), "{}", wrong.body);
    served.end().await;
}

#[tokio::test]
async fn forms_do_what_they_say() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    let added = served.send("/issues", &cookie, "title=By+hand&issue_type=bug&priority=1&description=").await;
    assert_eq!(added.status, 303, "{}", added.body);
    let to = added.header("location").unwrap().to_owned();
    let id = to.strip_prefix("/issues/").unwrap();
    let page = served.page(&to, &cookie).await;
    assert!(page.body.contains("By hand") && page.body.contains("opened by alice"), "{}", page.body);
    served.patch(id, &json!({"status": "pending_user_input", "blocking_notes": "how?"})).await.json(200);
    assert!(served.page("/", &cookie).await.body.contains("how?"));
    let answer = format!("/issues/{id}/answer");
    assert_eq!(served.send(&answer, &cookie, "text=like+this").await.status, 303);
    let late = served.send(&answer, &cookie, "text=or+so").await;
    assert_eq!(late.status, 409);
    assert!(late.body.contains("alice"), "who was first: {}", late.body);
    for act in ["comment", "cancel", "reopen", "close"] {
        let done = served.send(&format!("/issues/{id}/{act}"), &cookie, "text=because").await;
        assert_eq!(done.status, 303, "{act}: {}", done.body);
    }
    assert_eq!(served.send(&format!("/issues/{id}/explode"), &cookie, "").await.status, 404);
    assert_eq!(served.send("/issues", &cookie, "title=").await.status, 400);
    served.send("/pools/night/pause", &cookie, "").await;
    assert_eq!(served.manager.statuses()[0].state.as_str(), "paused");
    served.send("/all/resume", &cookie, "").await;
    assert_eq!(served.manager.statuses()[0].state.as_str(), "running");
    served.end().await;
}

#[tokio::test]
async fn a_live_session_is_shown_stopped_and_its_run_made_anew() {
    let served = Served::new().await;
    let cookie = served.log_in(Role::Write).await;
    let gate = Gate::new();
    served.stage.brain.then(Step::Wait("done".into(), gate.clone()));
    assert_eq!(served.send("/pools/night/fire", &cookie, "").await.status, 303);
    gate.reached(1).await;
    let page = served.page("/sessions", &cookie).await.body;
    assert!(page.contains("waiting for the model"), "{page}");
    let session = page.split("href=\"/sessions/").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert!(served.page("/", &cookie).await.body.contains(&session));
    let stop = served.send(&format!("/sessions/{session}/cancel"), &cookie, "").await;
    assert_eq!(stop.header("location"), Some(format!("/sessions/{session}").as_str()));
    gate.open();
    let run = served.get(&format!("/api/v1/runs/{session}")).await.json(200);
    let path = format!("/api/v1/runs/{}", run["run"]["run_id"].as_str().unwrap());
    served.until(&path, |said| said["run"]["state"] != "running").await;
    assert_eq!(served.page(&format!("/sessions/{session}"), &cookie).await.status, 200);
    assert_eq!(served.page(&format!("/runs/{session}"), &cookie).await.status, 200);
    served.end().await;
}

#[tokio::test]
async fn a_login_link_may_lead_to_a_page_of_this_origin_alone() {
    let served = Served::new().await;
    for (page, to) in [
        ("/issues/17", "/issues/17"),
        ("//evil.example", "/"),
        ("https://evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\"><script>", "/"),
        ("javascript:alert(1)", "/"),
    ] {
        let link = amplifier_web::Logins::of(&served.host).link("alice", Role::Read).await.unwrap();
        let answer = served.ask("GET", &link.path_to(page), "", "").await;
        assert!(answer.body.contains(&format!("url={to}\"")), "{page}: {}", answer.body);
    }
    served.end().await;
}

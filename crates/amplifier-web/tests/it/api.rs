//! What the routes do.

use amplifier_background::control::paused;
use amplifier_background::trigger::BackgroundName;
use amplifier_core::{OutcomeKind, RunId};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use serde_json::json;
use std::time::Duration;

use super::stage::{Served, bearer};

impl Served {
    /// Asks until the answer holds.
    pub(crate) async fn until(
        &self,
        path: &str,
        holds: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let waiting = async {
            loop {
                let said = self.get(path).await.json(200);
                if holds(&said) {
                    return said;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon(path, waiting).await
    }
}

#[tokio::test]
async fn a_firing_becomes_a_run_and_a_session() {
    let served = Served::new().await;
    let fired = served.post("/api/v1/background/night/fire", &json!({"why": "now"})).await.json(202);
    let id = fired["run_id"].as_str().unwrap();
    let path = format!("/api/v1/runs/{id}");
    let run = served.until(&path, |said| said["run"]["state"] == "completed").await;
    assert_eq!(run["run"]["background_session"], "night");
    assert_eq!(run["attempts"][0]["outcome"], "completed");
    let made = RunId::new(id).unwrap();
    let row = served.host.store().run(&made).await.unwrap().unwrap();
    let by = amplifier_background::firing_of(&row).unwrap().source;
    assert_eq!(by, "robot", "who fired it");
    let session = run["run"]["session_id"].as_str().unwrap();
    let shown = served.get(&format!("/api/v1/sessions/{session}")).await.json(200);
    assert_eq!(
        (&shown["session"]["status"], &shown["session"]["outcome"]),
        (&json!("ended"), &json!("completed"))
    );
    assert_eq!(shown["tree"].as_array().unwrap().len(), 1);
    let listed = served.get("/api/v1/runs?background=night&state=completed&since=1h").await.json(200);
    assert_eq!((&listed["num_runs"], &listed["runs"][0]["run_id"]), (&json!(1), &json!(id)));
    let one = served.get("/api/v1/background/night").await.json(200);
    assert_eq!((&one["triggered"], &one["queued"]), (&json!(1), &json!(0)));
    // By its number and by its session, too.
    assert_eq!(served.get("/api/v1/runs/1").await.json(200)["run"]["run_id"], json!(id));
    assert_eq!(served.get(&format!("/api/v1/runs/{session}")).await.json(200)["run"]["run_id"], json!(id));
    served.end().await;
}

#[tokio::test]
async fn a_session_is_stopped_and_its_run_made_anew_by_whoever_asked() {
    let served = Served::new().await;
    let gate = Gate::new();
    served.stage.brain.then(Step::Wait("done".into(), gate.clone()));
    let fired = served.post("/api/v1/background/night/fire", &json!(null)).await.json(202);
    gate.reached(1).await;
    let running = served.until("/api/v1/sessions?running=true", |said| {
        said["sessions"].as_array().is_some_and(|all| all.len() == 1)
    });
    let session = running.await["sessions"][0]["session_id"].as_str().unwrap().to_owned();
    let cancel = format!("/api/v1/sessions/{session}/cancel");
    assert_eq!(served.post(&cancel, &json!({"level": "immediate"})).await.json(202), json!({"asked": true}));
    let run = format!("/api/v1/runs/{}", fired["run_id"].as_str().unwrap());
    served.until(&run, |said| said["run"]["state"] == "cancelled").await;
    assert_eq!(served.post(&cancel, &json!({})).await.fault(409), "conflict");
    gate.open();
    let again = served.post(&format!("{run}/retry"), &json!({"reason": "once more"})).await.json(202);
    assert_ne!(again["run_id"], fired["run_id"]);
    assert_eq!(served.post(&format!("{run}/retry"), &json!({})).await.fault(409), "conflict");
    let retried = served.until(&run, |said| said["run"]["standing"] == "retried").await;
    assert_eq!(retried["run"]["retried_as"], again["run_id"]);
    let anew = format!("/api/v1/runs/{}", again["run_id"].as_str().unwrap());
    served.until(&anew, |said| said["run"]["state"] == "completed").await;
    // The event names the token.
    let id = RunId::new(again["run_id"].as_str().unwrap()).unwrap();
    let row = served.host.store().run(&id).await.unwrap().unwrap();
    let outcome = served.host.store().session(&row.session.unwrap()).await.unwrap().unwrap();
    assert_eq!(outcome.settled.unwrap().outcome.kind, OutcomeKind::Completed);
    let causes = served.get(&anew).await.json(200);
    let told = causes["causes"].as_array().unwrap().iter().find(|event| event["type"] == "run_retried");
    assert_eq!(told.unwrap()["data"]["actor"], "robot", "{causes}");
    served.end().await;
}

#[tokio::test]
async fn a_pause_is_durable_and_what_waits_is_dropped() {
    let served = Served::new().await;
    assert_eq!(served.post("/api/v1/background/night/pause", &json!({})).await.json(200)["changed"], true);
    assert_eq!(served.post("/api/v1/pause", &json!({})).await.json(200)["changed"], json!([]));
    let name = BackgroundName::new("night").unwrap();
    let kept = paused(served.host.store().as_ref(), &name).await.unwrap().unwrap();
    assert_eq!(kept.by.as_deref(), Some("robot"));
    let fired = served.post("/api/v1/background/night/fire", &json!({"a": 1})).await.json(202);
    let one = served.get("/api/v1/background/night").await.json(200);
    assert_eq!((&one["state"], &one["queued"]), (&json!("paused"), &json!(1)));
    assert_eq!(one["triggers"][0]["next"], json!(null), "a trigger that is paused fires at no time");
    let run = format!("/api/v1/runs/{}/drop", fired["run_id"].as_str().unwrap());
    assert_eq!(served.post(&run, &json!({})).await.json(200)["dropped"], "cancelled");
    assert_eq!(served.post(&run, &json!({})).await.fault(409), "conflict");
    assert_eq!(served.post("/api/v1/resume", &json!({})).await.json(200)["changed"], json!(["night"]));
    let triggers = served.get("/api/v1/triggers").await.json(200);
    let next = &triggers["triggers"][0]["trigger"];
    assert_eq!(
        (next["type"].as_str(), next["next"].as_str()),
        (Some("timer"), Some("2026-01-01T01:00:00.000000Z"))
    );
    served.end().await;
}

#[tokio::test]
async fn a_drain_is_passed_on_and_refused_where_nobody_takes_it() {
    let served = Served::new().await;
    assert_eq!(served.post("/api/v1/drain", &json!({})).await.fault(501), "no_drain");
    served.end().await;
    let (sender, mut asked) = tokio::sync::mpsc::channel(1);
    let mut options = amplifier_web::WebOptions::default();
    options.drain = Some(std::sync::Arc::new(move || assert!(sender.try_send(()).is_ok())));
    let served = Served::with(options).await;
    assert_eq!(served.post("/api/v1/drain", &json!({})).await.json(202)["draining"], true);
    assert_eq!(asked.recv().await, Some(()));
    served.end().await;
}

#[tokio::test]
async fn no_id_leads_elsewhere() {
    let served = Served::new().await;
    let tricks = [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2Fetc%2Fpasswd",
        "a%00b",
        "a%0ab",
        "a%5cb",
        ".hidden",
        "%20",
        "%C0%AE%C0%AE",
        "%ff",
        "x%3Cscript%3E",
        "'%20or%201=1--",
        "night%2fpause",
    ];
    let long = "x".repeat(300);
    for id in tricks.iter().copied().chain([long.as_str()]) {
        for path in ["/api/v1/runs/{id}", "/api/v1/sessions/{id}", "/api/v1/background/{id}"] {
            let answer = served.get(&path.replace("{id}", id)).await;
            assert!(matches!(answer.status, 400 | 404), "{path} {id}: {answer:?}");
            assert!(!answer.body.contains("root:"), "{id}");
        }
        for path in [
            "/api/v1/runs/{id}/retry",
            "/api/v1/runs/{id}/drop",
            "/api/v1/sessions/{id}/cancel",
            "/api/v1/background/{id}/pause",
            "/api/v1/background/{id}/fire",
        ] {
            let answer = served.post(&path.replace("{id}", id), &json!({})).await;
            assert!(matches!(answer.status, 400 | 404), "{path} {id}: {answer:?}");
        }
    }
    assert_eq!(served.manager.statuses()[0].state.as_str(), "running");
    for query in
        ["limit=0", "limit=1001", "limit=x", "since=tomorrow", "state=odd", "background=A/B", "more=1"]
    {
        assert_eq!(served.get(&format!("/api/v1/runs?{query}")).await.fault(400), "bad_request", "{query}");
    }
    for body in ["[", "[]", "{\"reason\": 1}", "{\"more\": 1}"] {
        let answer = served.ask("POST", "/api/v1/runs/x/retry", &bearer(&served.write), body).await;
        assert_eq!(answer.fault(400), "bad_request", "{body}");
    }
    assert_eq!(served.get("/api/v1/nothing").await.fault(404), "not_found");
    served.end().await;
}

#[tokio::test]
async fn metrics_are_what_prometheus_reads() {
    let served = Served::new().await;
    served.post("/api/v1/background/night/fire", &json!(null)).await.json(202);
    served.until("/api/v1/background/night", |said| said["triggered"] == 1).await;
    let answer = served.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(
        answer.body.contains("\namplifier_triggered_total{background_session=\"night\"} 1\n"),
        "{}",
        answer.body
    );
    let mut known = std::collections::BTreeSet::new();
    for line in answer.body.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert!(known.insert(rest.split(' ').next().unwrap()), "told twice: {line}");
        } else if !line.starts_with("# HELP ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(known.contains(name.split('{').next().unwrap()), "{line}");
        }
    }
    served.end().await;
}

//! Issues over the API.

use serde_json::{Value, json};

use super::stage::{Served, bearer};

impl Served {
    pub(crate) async fn open(&self, issue: Value) -> String {
        let opened = self.post("/api/v1/issues", &issue).await.json(201);
        opened["id"].as_str().unwrap().to_owned()
    }

    /// Does something to an issue.
    pub(crate) async fn act(&self, id: &str, act: &str, body: Value) -> super::stage::Answer {
        self.post(&format!("/api/v1/issues/{id}/{act}"), &body).await
    }

    pub(crate) async fn patch(&self, id: &str, body: &Value) -> super::stage::Answer {
        self.ask("PATCH", &format!("/api/v1/issues/{id}"), &bearer(&self.write), &body.to_string()).await
    }
}

#[tokio::test]
async fn an_issue_is_added_listed_changed_and_closed_by_whoever_asked() {
    let served = Served::new().await;
    let first = served.open(json!({"title": "one", "priority": 3})).await;
    let more = json!({"title": "two", "issue_type": "bug", "priority": 0, "depends_on": [first],
        "description": "long", "metadata": {"area": "x"}});
    let second = served.open(more).await;
    let shown = served.get(&format!("/api/v1/issues/{second}")).await.json(200);
    assert_eq!((&shown["blockers"], &shown["issue"]["unmet"]), (&json!([first]), &json!(1)));
    let urgent = served.get("/api/v1/issues?order=urgency&limit=1").await.json(200);
    assert_eq!(urgent["issues"][0]["id"], json!(second));
    let next = urgent["next"].as_str().unwrap();
    let rest = served.get(&format!("/api/v1/issues?order=urgency&limit=1&after={next}")).await.json(200);
    assert_eq!(rest["issues"][0]["id"], json!(first));
    let ready = served.get("/api/v1/issues?ready=true").await.json(200);
    assert_eq!((ready["issues"].as_array().unwrap().len(), &ready["issues"][0]["id"]), (1, &json!(first)));
    assert_eq!(served.patch(&first, &json!({"title": "uno", "priority": 1})).await.json(200)["title"], "uno");
    assert_eq!(served.act(&first, "comment", json!({"text": "look"})).await.status, 200);
    assert_eq!(
        served.act(&first, "close", json!({"reason": "done by hand"})).await.json(200)["status"],
        "closed"
    );
    let shown = served.get(&format!("/api/v1/issues/{second}")).await.json(200);
    assert_eq!((&shown["issue"]["ready"], &shown["blockers"]), (&json!(true), &json!([])));
    let history = served.get(&format!("/api/v1/issues/{first}")).await.json(200);
    let notes = history["notes"].as_array().unwrap();
    assert!(notes.iter().all(|note| note["actor"] == "robot"), "{notes:?}");
    assert!(notes.iter().any(|note| note["text"] == "look" && note["kind"] == "comment"));
    assert_eq!(served.act(&first, "reopen", json!({})).await.json(200)["status"], "open");
    let counts = served.get("/api/v1/issues/counts").await.json(200);
    assert_eq!((&counts["by_status"]["open"], &counts["ready"]), (&json!(2), &json!(1)));
    served.end().await;
}

#[tokio::test]
async fn of_two_answers_one_counts() {
    let served = Served::new().await;
    let id = served.open(json!({"title": "which colour"})).await;
    assert_eq!(served.act(&id, "answer", json!({"text": "early"})).await.fault(409), "conflict");
    let asks = json!({"status": "pending_user_input", "blocking_notes": "red or blue?"});
    assert_eq!(served.patch(&id, &asks).await.json(200)["question"], "red or blue?");
    let (one, two) = tokio::join!(
        served.act(&id, "answer", json!({"text": "red"})),
        served.act(&id, "answer", json!({"text": "blue"}))
    );
    let (won, lost) = if one.status == 200 { (one, two) } else { (two, one) };
    let won = won.json(200);
    assert_eq!(won["answered_by"], "robot");
    assert_eq!(lost.fault(409), "already_answered");
    let kept = served.get(&format!("/api/v1/issues/{id}")).await.json(200);
    assert_eq!(kept["issue"]["answer"], won["answer"]);
    served.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_with_its_reason() {
    let served = Served::new().await;
    let (one, two) = (served.open(json!({"title": "a"})).await, served.open(json!({"title": "b"})).await);
    for (body, part) in [
        (json!({"title": " "}), "empty"),
        (json!({"title": "x".repeat(501)}), "500"),
        (json!({"title": "x", "priority": 9}), "priority"),
        (json!({"title": "x", "issue_type": "Not A Type"}), "type"),
        (json!({"title": "x", "more": 1}), "more"),
        (json!({}), "title"),
        (json!({"title": "x", "id": "../up"}), "issue id"),
    ] {
        let answer = served.post("/api/v1/issues", &body).await;
        assert_eq!(answer.fault(400), "bad_request");
        assert!(answer.body.contains(part), "{}", answer.body);
    }
    assert_eq!(
        served.post("/api/v1/issues", &json!({"title": "x", "depends_on": ["none"]})).await.status,
        409
    );
    assert_eq!(served.post("/api/v1/issues", &json!({"title": "x", "id": one})).await.fault(409), "conflict");
    let depends = |to: &str| json!({"to": to, "kind": "depends-on"});
    assert_eq!(served.act(&one, "link", depends(&two)).await.status, 200);
    let circle = served.act(&two, "link", depends(&one)).await;
    assert_eq!(circle.fault(409), "conflict");
    assert!(circle.body.contains('→'), "the way is told: {}", circle.body);
    assert_eq!(served.act(&one, "unlink", json!({"to": two})).await.status, 200);
    assert_eq!(served.act(&one, "link", json!({"to": two, "kind": "related"})).await.status, 200);
    assert_eq!(served.act(&one, "link", json!({"to": two, "kind": "odd"})).await.status, 400);
    for id in ["none", "..%2fx", "%2e%2e", "a%00"] {
        for act in ["comment", "answer"] {
            let status = served.act(id, act, json!({"text": "x"})).await.status;
            assert!(matches!(status, 400 | 404), "{id} {act}: {status}");
        }
        assert!(matches!(served.get(&format!("/api/v1/issues/{id}")).await.status, 400 | 404));
    }
    for query in ["status=odd", "type=A%20B", "ready=maybe", "order=odd", "after=x", "limit=0", "more=1"] {
        assert_eq!(served.get(&format!("/api/v1/issues?{query}")).await.fault(400), "bad_request", "{query}");
    }
    served.end().await;
}

#[tokio::test]
async fn cancelling_and_retrying_follow_the_status() {
    let served = Served::new().await;
    let id = served.open(json!({"title": "a"})).await;
    assert_eq!(served.act(&id, "retry", json!({})).await.fault(409), "conflict");
    assert_eq!(served.patch(&id, &json!({"status": "failed", "reason": "broke"})).await.status, 200);
    assert_eq!(served.act(&id, "retry", json!({"reason": "mended"})).await.json(200)["status"], "open");
    let cancelled = served.act(&id, "cancel", json!({"reason": "not wanted"})).await.json(200);
    assert_eq!(cancelled["status"], "closed");
    assert!(cancelled["reason"].as_str().unwrap().contains("not wanted"));
    served.end().await;
}

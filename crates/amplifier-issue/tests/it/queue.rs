//! What people do to issues, on both stores.

use amplifier_core::SessionId;
use amplifier_issue::queue::{Bound, LinkKind};
use amplifier_issue::{
    Actor, Edit, IssueFilter, IssueStatus, IssueType, NewIssue, NoteKind, Priority, QueueError,
};
use serde_json::json;

use crate::stage::{Stage, id, new};

#[tokio::test]
async fn an_issue_is_opened_with_an_id_of_its_own() {
    for stage in Stage::both() {
        let mut first = NewIssue::new("Write it", "all of it");
        first.metadata.insert("n".into(), json!(1));
        let first = stage.queue.open(first).await.unwrap();
        let second = stage.queue.open(NewIssue::new("Read it", "")).await.unwrap();
        assert_eq!((first.issue.id.as_str().len(), first.place, second.place), (8, 1, 2));
        assert_ne!(first.issue.id, second.issue.id);
        let read = stage.queue.get(&first.issue.id).await.unwrap();
        assert_eq!(read, first);
        assert!(read.is_ready() && read.issue.metadata["n"] == 1);
    }
}

#[tokio::test]
async fn what_an_issue_depends_on_holds_it_up_until_all_of_it_is_done() {
    for stage in Stage::both() {
        for short in ["a", "b", "c>a,b", "d>c"] {
            stage.open(short).await;
        }
        let ready = async || {
            let ready = stage.queue.ready(10).await.unwrap();
            ready.iter().map(|one| one.issue.id.to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(ready().await, "a b");
        stage.queue.complete(&id("a"), Some("out")).await.unwrap();
        assert_eq!(ready().await, "b");
        let (blocked, blockers) = stage.queue.blocked(10).await.unwrap().remove(0);
        assert_eq!((blocked.issue.id, blockers), (id("c"), vec![id("b")]));
        stage.queue.close(&id("b"), Some("not needed")).await.unwrap();
        assert_eq!(ready().await, "c");
        stage.queue.reopen(&id("a"), None).await.unwrap();
        assert_eq!(ready().await, "a");
        let counts = stage.queue.counts().await.unwrap();
        assert_eq!((counts.ready, counts.of(IssueStatus::Closed), counts.total()), (1, 1, 4));
        let events = stage.events().await[4..].join(", ");
        assert_eq!(events, "completed a, closed b, unblocked c, reopened a");
    }
}

#[tokio::test]
async fn a_dependency_on_what_is_not_there_or_in_a_circle_is_refused_with_its_path() {
    for stage in Stage::both() {
        for short in ["a", "b>a", "c>b", "d"] {
            stage.open(short).await;
        }
        let refused = async |from: &str, to: &str| {
            stage.queue.add_dependency(&id(from), &id(to)).await.unwrap_err().to_string()
        };
        let told = refused("a", "c").await;
        assert!(told.starts_with("`a` would depend on itself: a → c → b → a;"), "{told}");
        assert!(refused("a", "a").await.contains("a → a"));
        assert!(refused("a", "x").await.contains("`x`, which is not there"));
        stage.queue.add_dependency(&id("d"), &id("c")).await.unwrap();
        assert!(refused("b", "d").await.contains("b → d → c → b"));
        let batch = [new("p>q"), new("q>r"), new("r>p"), new("s>p")];
        let told = stage.queue.open_many(&batch).await.unwrap_err().to_string();
        assert!(told.contains("p → q → r → p"), "{told}");
        let told = stage.queue.open(new("z>nobody")).await.unwrap_err();
        assert!(matches!(told, QueueError::UnknownNeed { .. }), "{told}");
        assert_eq!(stage.queue.counts().await.unwrap().total(), 4);
    }
}

#[tokio::test]
async fn a_dependency_that_is_taken_away_unblocks() {
    let stage = Stage::memory();
    for short in ["a", "b", "c>a,b"] {
        stage.open(short).await;
    }
    stage.queue.complete(&id("a"), None).await.unwrap();
    stage.queue.remove_dependency(&id("c"), &id("a")).await.unwrap();
    assert_eq!(stage.queue.get(&id("c")).await.unwrap().unmet, 1);
    stage.queue.remove_dependency(&id("c"), &id("b")).await.unwrap();
    assert!(stage.queue.get(&id("c")).await.unwrap().is_ready());
    assert_eq!(stage.events().await.last().unwrap(), "unblocked c");
    let none = stage.queue.remove_dependency(&id("c"), &id("b")).await;
    assert!(matches!(none, Err(QueueError::NoDependency { .. })));
}

#[tokio::test]
async fn a_question_is_answered_once_and_only_while_it_is_asked() {
    for stage in Stage::both() {
        stage.open("a").await;
        let refused = |error: QueueError| error.to_string();
        let early = refused(stage.queue.answer(&id("a"), "42").await.unwrap_err());
        assert!(early.contains("`a` is open, so it cannot be answered"), "{early}");
        let session = SessionId::new("s-1").unwrap();
        let worker = stage.queue.by(Actor::new("worker").in_session(session.clone()));
        let asked = worker.ask(&id("a"), "Which one?").await.unwrap();
        assert_eq!((asked.issue.status, asked.session), (IssueStatus::PendingUserInput, Some(session)));
        let grace = stage.queue.by(Actor::new("grace"));
        let id_a = id("a");
        let (one, two) = tokio::join!(stage.queue.answer(&id_a, "this"), grace.answer(&id_a, "that"));
        let told = match (one, two) {
            (Ok(_), Err(error)) | (Err(error), Ok(_)) => error,
            other => panic!("one answer counts: {other:?}"),
        };
        assert!(matches!(told, QueueError::AlreadyAnswered { .. }), "{told}");
        let answered = stage.queue.get(&id("a")).await.unwrap();
        assert!(answered.is_ready() && answered.details.resume && answered.details.round == 1);
        stage.queue.close(&id("a"), None).await.unwrap();
        let late = refused(stage.queue.answer(&id("a"), "late").await.unwrap_err());
        assert!(late.contains("is closed, so it cannot be answered"), "{late}");
    }
}

#[tokio::test]
async fn every_change_names_its_actor_and_its_session() {
    for stage in Stage::both() {
        stage.open("a").await;
        let worker = stage.queue.by(Actor::new("worker").in_session(SessionId::new("s-1").unwrap()));
        worker.comment(&id("a"), "looked at it").await.unwrap();
        let edit = |edit: &dyn Fn(&mut Edit)| {
            let mut all = Edit::default();
            edit(&mut all);
            all
        };
        let urgent = edit(&|edit| edit.priority = Some(Priority::new(0).unwrap()));
        worker.update(&id("a"), urgent.clone()).await.unwrap();
        let same = worker.update(&id("a"), urgent).await.unwrap();
        assert_eq!(same.revision, 2, "what changes nothing is not written");
        let history = stage.queue.whole_history(&id("a")).await.unwrap();
        let short: Vec<_> =
            history.iter().map(|entry| (entry.kind, &*entry.actor, entry.noted.event.as_str())).collect();
        assert_eq!(
            short,
            [
                (NoteKind::Change, "ada", "issue_opened"),
                (NoteKind::Comment, "worker", "issue_commented"),
                (NoteKind::Change, "worker", "issue_updated")
            ]
        );
        assert_eq!(history[1].noted.text.as_deref(), Some("looked at it"));
        assert_eq!(history[2].noted.changes["priority"], json!({"old": 2, "new": 0}));
        let sessions = stage.queue.sessions(&id("a")).await.unwrap();
        assert_eq!((sessions.len(), sessions[0].entries.len()), (1, 2));
    }
}

#[tokio::test]
async fn one_commit_changes_fields_and_status() {
    let stage = Stage::memory();
    stage.open("a").await;
    let mut edit = Edit::default();
    edit.title = Some("A better one".into());
    edit.issue_type = Some(IssueType::new("spike").unwrap());
    edit.status = Some(IssueStatus::Blocked);
    edit.blocking_notes = Some("no key".into());
    let blocked = stage.queue.update(&id("a"), edit).await.unwrap();
    assert_eq!((blocked.revision, blocked.issue.issue_type.as_str()), (2, "spike"));
    assert_eq!(blocked.details.blocking_notes.as_deref(), Some("no key"));
    let mut edit = Edit::default();
    edit.status = Some(IssueStatus::Open);
    let open = stage.queue.update(&id("a"), edit).await.unwrap();
    assert_eq!((open.details.blocking_notes, open.details.round), (None, 1));
    assert_eq!(stage.events().await, ["opened a", "updated a", "blocked a", "unblocked a"]);
    let of_type = {
        let mut filter = IssueFilter::default();
        filter.issue_type = Some("spike".into());
        stage.queue.list(&filter).await.unwrap()
    };
    assert_eq!(of_type.len(), 1);
}

#[tokio::test]
async fn what_a_worker_blocks_for_a_dependency_is_open_again_once_that_is_done() {
    let stage = Stage::memory();
    stage.open("a").await;
    stage.open("b").await;
    let worker = stage.queue.by(Actor::new("worker").in_session(SessionId::new("s-1").unwrap()));
    worker.add_dependency(&id("b"), &id("a")).await.unwrap();
    worker.block(&id("b"), Some("needs a")).await.unwrap();
    stage.open("c>a").await;
    stage.queue.block(&id("c"), Some("not before I say so")).await.unwrap();
    stage.queue.complete(&id("a"), None).await.unwrap();
    assert!(stage.queue.get(&id("b")).await.unwrap().is_ready());
    assert_eq!(stage.queue.get(&id("c")).await.unwrap().issue.status, IssueStatus::Blocked);
}

#[tokio::test]
async fn what_cannot_be_done_says_where_the_issue_stands() {
    let stage = Stage::memory();
    stage.open("a").await;
    stage.open("b>a").await;
    let check = |error: QueueError, part: &str| assert!(error.to_string().contains(part), "{error}");
    check(stage.queue.begin(&id("b")).await.unwrap_err(), "depends on 1 that are not done");
    check(stage.queue.retry(&id("a"), None).await.unwrap_err(), "is open, so it cannot be retried");
    check(stage.queue.get(&id("x")).await.unwrap_err(), "there is no issue `x`");
    stage.queue.complete(&id("a"), None).await.unwrap();
    check(stage.queue.complete(&id("a"), None).await.unwrap_err(), "is completed, so it cannot be completed");
    check(stage.queue.block(&id("a"), None).await.unwrap_err(), "reopen it first");
    check(stage.queue.ask(&id("b"), " ").await.unwrap_err(), "the question is empty");
    stage.queue.fail(&id("b"), Some("no way")).await.unwrap();
    stage.queue.retry(&id("b"), None).await.unwrap();
    assert!(stage.queue.get(&id("b")).await.unwrap().is_ready());
}

#[tokio::test]
async fn what_is_too_much_is_refused_and_nothing_is_written() {
    let stage = Stage::memory();
    stage.open("a").await;
    let of = |bound: Bound, title: usize, text: usize| {
        let mut issue = NewIssue::new("t".repeat(title), "d".repeat(text));
        issue
            .metadata
            .insert("x".into(), json!("m".repeat(if bound == Bound::Metadata { 65_536 } else { 1 })));
        (issue, bound)
    };
    for (issue, bound) in
        [of(Bound::Title, 501, 1), of(Bound::Description, 1, (256 << 10) + 1), of(Bound::Metadata, 1, 1)]
    {
        let error = stage.queue.open(issue).await.unwrap_err();
        assert!(matches!(&error, QueueError::TooMuch { bound: which, .. } if *which == bound), "{error}");
    }
    let long = "c".repeat((256 << 10) + 1);
    assert!(matches!(stage.queue.comment(&id("a"), &long).await, Err(QueueError::TooMuch { .. })));
    assert!(
        stage.queue.open(NewIssue::new(" ", "")).await.unwrap_err().to_string().contains("title is empty")
    );
    let mut hub = new("hub");
    hub.depends_on = (0..1_001).map(|n| id(&format!("n{n}"))).collect();
    assert!(matches!(
        stage.queue.open(hub).await,
        Err(QueueError::TooMuch { bound: Bound::Dependencies, found: 1_001 })
    ));
    assert_eq!((stage.queue.counts().await.unwrap().total(), stage.events().await.len()), (1, 1));
}

#[tokio::test]
async fn ten_thousand_issues_are_opened_at_once_and_not_a_second_time() {
    for stage in Stage::both() {
        let name = |n: usize| if n == 0 { "n0".to_owned() } else { format!("n{n}>n{}", n - 1) };
        let all: Vec<NewIssue> = (0..10_000).map(|n| new(&name(n))).collect();
        assert_eq!(stage.queue.open_many(&all).await.unwrap().len(), 10_000);
        assert_eq!(stage.queue.counts().await.unwrap().ready, 1);
        let told = stage.queue.open_many(&all[9_970..]).await.unwrap_err().to_string();
        assert!(
            told.starts_with("these issues are there already: n9970, ") && told.contains("10 more"),
            "{told}"
        );
        assert!(matches!(
            stage.queue.open_many(&vec![NewIssue::new("t", ""); 10_001]).await,
            Err(QueueError::TooMuch { bound: Bound::Issues, .. })
        ));
        // The longest way there is to look for a circle.
        let told = stage.queue.add_dependency(&id("n0"), &id("n9999")).await.unwrap_err();
        assert!(matches!(told, QueueError::Cycle { path } if path.len() == 10_001));
        assert_eq!(stage.queue.counts().await.unwrap().total(), 10_000);
    }
}

#[tokio::test]
async fn links_hold_nothing_up() {
    let stage = Stage::memory();
    stage.open("a").await;
    for _ in 0..2 {
        stage.queue.link(&id("a"), LinkKind::Related, &id("elsewhere")).await.unwrap();
    }
    let linked = stage.queue.get(&id("a")).await.unwrap();
    assert!(linked.is_ready());
    assert_eq!((linked.details.links.len(), linked.revision), (1, 2));
}

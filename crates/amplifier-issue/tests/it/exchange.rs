//! Files of issues: read, opened, written and read again.

use std::path::{Path, PathBuf};

use amplifier_issue::exchange::{Import, Shape};
use amplifier_issue::{IssueStatus, IssuesError};
use serde_json::{Value, json};

use crate::stage::{Stage, id};

const ISSUES: &str = r#"{"id": "aa-1", "title": "First", "description": "Do it", "status": "completed", "priority": 1, "issue_type": "feature", "assignee": "ada", "created_at": "2026-01-05T10:00:00.123456Z", "updated_at": "2026-01-06T10:00:00", "closed_at": "2026-01-06T11:00:00Z", "parent_id": null, "discovered_from": null, "blocking_notes": null, "metadata": {"pr": 7}}
{"id": "bb-2", "title": "Second", "description": "", "status": "in_progress", "priority": 2, "issue_type": "task", "assignee": null, "created_at": "2026-01-05T10:00:00", "updated_at": "2026-01-05T10:00:00", "closed_at": null, "parent_id": "aa-1", "discovered_from": "aa-1", "blocking_notes": null, "metadata": {}, "labels": ["x"]}
{"id": "cc-3", "title": "Third", "description": "", "status": "pending_user_input", "priority": 0, "issue_type": "bug", "assignee": null, "created_at": "2026-01-05T10:00:00", "updated_at": "2026-01-05T10:00:00", "closed_at": null, "parent_id": null, "discovered_from": null, "blocking_notes": "Which one?", "metadata": {}}
"#;
const DEPENDENCIES: &str = r#"{"from_id": "bb-2", "to_id": "aa-1", "dep_type": "blocks", "created_at": "2026-01-05T10:00:00"}
{"from_id": "cc-3", "to_id": "bb-2", "dep_type": "blocks", "created_at": "2026-01-05T10:00:00"}
{"from_id": "cc-3", "to_id": "aa-1", "dep_type": "related", "created_at": "2026-01-05T10:00:00"}
"#;
const EVENTS: &str = r#"{"id": "e1", "issue_id": "aa-1", "event_type": "created", "actor": "assistant", "changes": {"title": "First"}, "timestamp": "2026-01-05T10:00:00"}
{"id": "e2", "issue_id": "aa-1", "event_type": "closed", "actor": "assistant", "changes": {"status": ["open", "completed"]}, "timestamp": "2026-01-06T11:00:00", "session_id": "s-9"}
"#;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn exported(stage: &Stage, shape: Shape) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let (mut after, mut all) = (0, (Vec::new(), Vec::new(), Vec::new()));
    while let Some(page) = stage.queue.export(shape, after, 2).await.unwrap() {
        all.0.extend(objects(&page.issues));
        all.1.extend(objects(&page.dependencies));
        all.2.extend(objects(&page.events));
        after = page.after;
    }
    all
}

#[tokio::test]
async fn a_folder_of_the_reference_opens_and_is_written_as_it_was() {
    let files =
        folder(&[("issues.jsonl", ISSUES), ("dependencies.jsonl", DEPENDENCIES), ("events.jsonl", EVENTS)]);
    for path in [files.path().to_owned(), files.path().join("issues.jsonl")] {
        let import = Import::read(&path).unwrap();
        assert!(import.warnings.is_empty(), "{:?}", import.warnings);
        let stage = Stage::memory();
        stage.queue.open_many(&import.issues).await.unwrap();
        let second = stage.queue.get(&id("bb-2")).await.unwrap();
        assert_eq!(second.issue.status, IssueStatus::Open, "nobody works on it here");
        assert!(second.is_ready() && second.details.parent_id == Some(id("aa-1")));
        stage.queue.answer(&id("cc-3"), "this").await.unwrap();

        let (issues, dependencies, events) = exported(&stage, Shape::Reference).await;
        let first: Value = serde_json::from_str(ISSUES.lines().next().unwrap()).unwrap();
        for (key, value) in first.as_object().unwrap().iter().filter(|(key, _)| *key != "updated_at") {
            let times = ["created_at", "closed_at"].contains(&key.as_str());
            let found = &issues[0][key];
            let same =
                found == value || (times && found.as_str().unwrap()[..19] == value.as_str().unwrap()[..19]);
            assert!(same, "{key}: {found} {value}");
        }
        assert_eq!(issues[0].as_object().unwrap().len(), 14);
        assert_eq!((&issues[1]["labels"], &issues[1]["assignee"]), (&json!(["x"]), &Value::Null));
        let short: Vec<_> =
            dependencies.iter().map(|one| [&one["from_id"], &one["to_id"], &one["dep_type"]]).collect();
        assert_eq!(
            json!(short),
            json!([["bb-2", "aa-1", "blocks"], ["cc-3", "bb-2", "blocks"], ["cc-3", "aa-1", "related"]])
        );
        let of_first: Vec<_> = events.iter().filter(|one| one["issue_id"] == "aa-1").collect();
        assert_eq!(of_first.len(), 3);
        let closed = of_first[2];
        assert_eq!(
            (&closed["event_type"], &closed["actor"], &closed["session_id"]),
            (&json!("closed"), &json!("assistant"), &json!("s-9"))
        );
        assert_eq!(
            (&closed["timestamp"], &closed["changes"]["status"]),
            (&json!("2026-01-06T11:00:00"), &json!(["open", "completed"]))
        );

        // What was written opens again, and says the same.
        let text = |lines: &[Value]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let named = |lines: &[Value], name: &str| (text(lines), PathBuf::from(name));
        let again =
            Import::parse(named(&issues, "i"), Some(named(&dependencies, "d")), Some(named(&events, "e")));
        let other = Stage::memory();
        other.queue.open_many(&again.unwrap().issues).await.unwrap();
        let (second, ..) = exported(&other, Shape::Reference).await;
        let strip = |mut lines: Vec<Value>| {
            lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("updated_at")));
            lines
        };
        assert_eq!(strip(second), strip(issues));
    }
}

#[tokio::test]
async fn our_own_shape_keeps_all_of_it_in_one_file() {
    let stage = Stage::memory();
    stage.open("a").await;
    stage.open("b>a").await;
    stage.queue.complete(&id("a"), Some("the result")).await.unwrap();
    stage.queue.ask(&id("b"), "which?").await.unwrap();
    let (issues, dependencies, _) = exported(&stage, Shape::Own).await;
    assert!(dependencies.is_empty());
    let text: String = issues.iter().map(|line| format!("{line}\n")).collect();
    let import = Import::parse((text, "o.jsonl".into()), None, None).unwrap();
    let other = Stage::memory();
    other.queue.open_many(&import.issues).await.unwrap();
    let (a, b) = (other.queue.get(&id("a")).await.unwrap(), other.queue.get(&id("b")).await.unwrap());
    assert_eq!(a.details.result.as_deref(), Some("the result"));
    assert_eq!(
        (b.issue.status, b.details.question.as_deref()),
        (IssueStatus::PendingUserInput, Some("which?"))
    );
    assert_eq!(b.issue.depends_on, [id("a")]);
}

#[tokio::test]
async fn a_line_without_an_id_gets_a_new_one_each_time() {
    let text = "{\"title\": \"one\"}\n{\"title\": \"two\", \"depends_on\": [\"issue-1\"]}\n";
    let import = Import::parse((text.to_owned(), "i.jsonl".into()), None, None).unwrap();
    let ids: Vec<_> = import.issues.iter().map(|one| one.id.clone()).collect();
    assert_eq!(ids, [Some(id("issue-1")), None]);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_file_and_line() {
    let issues = "{\"id\": \"a\", \"title\": \"T\", \"created_at\": \"yesterday\", \"assignee\": 7}\n{\"id\": \"a\", \"title\": \"T\"}\n{\"id\": \"../x\", \"title\": \"T\"}";
    let dependencies = "{\"from_id\": \"a\", \"to_id\": \"../../etc\"}\nnonsense\n{\"from_id\": \"nobody\", \"to_id\": \"a\"}\n{\"from_id\": \"a\", \"to_id\": \"b\", \"dep_type\": \"eats\"}";
    let files =
        folder(&[("issues.jsonl", issues), ("dependencies.jsonl", dependencies), ("events.jsonl", "")]);
    let Err(IssuesError::Faults { diagnostics }) = Import::read(files.path()) else {
        panic!("faults are wanted")
    };
    let told: Vec<String> = diagnostics
        .iter()
        .map(|one| {
            let file = one.file.strip_prefix(files.path()).unwrap_or(Path::new("?")).display().to_string();
            format!("{file}:{} {}", one.line().unwrap(), one.message)
        })
        .collect();
    let told = told.join("\n");
    for part in [
        "issues.jsonl:1 `created_at` cannot be read",
        "issues.jsonl:1 `assignee` cannot be read",
        "issues.jsonl:2 the id `a` is taken by line 1",
        "issues.jsonl:3 issue id `../x` holds",
        "dependencies.jsonl:1 this cannot be read: issue id `../../etc` holds",
        "dependencies.jsonl:2 this cannot be read",
        "dependencies.jsonl:3 `nobody` is no issue of these files",
        "dependencies.jsonl:4 `dep_type` is `eats`",
    ] {
        assert!(told.contains(part), "{part} is not in\n{told}");
    }
}

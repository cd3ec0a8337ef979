//! The list of what is left to do.

use amplifier_modules::tool::todo::{TodoList, TodoStatus};
use serde_json::json;

use crate::support_tools::Bench;

#[tokio::test]
async fn a_list_is_set_updated_and_shown() {
    let bench = Bench::new().await;
    assert_eq!(bench.ok("todo", json!({"action": "list"})).await, "(nothing to do)");
    let set = json!({"action": "set", "todos": [{"content": "read"}, {"content": "write", "status": "in_progress"}]});
    assert_eq!(bench.ok("todo", set).await, "1. [ ] read\n2. [>] write");
    let update = json!({"action": "update", "todos": [
        {"content": "write", "status": "completed"}, {"content": "1", "status": "in_progress"}, {"content": "test"},
    ]});
    assert_eq!(bench.ok("todo", update).await, "1. [>] read\n2. [x] write\n3. [ ] test");
    assert_eq!(bench.ok("todo", json!({})).await, "1. [>] read\n2. [x] write\n3. [ ] test");
    assert_eq!(TodoList::of(&bench.env).items()[1].status, TodoStatus::Completed);
    assert_eq!(bench.ok("todo", json!({"action": "set", "todos": []})).await, "(nothing to do)");
}

#[tokio::test]
async fn a_list_is_bounded_and_a_refused_change_changes_nothing() {
    let bench = Bench::new().await;
    bench.ok("todo", json!({"action": "set", "todos": [{"content": "one"}]})).await;
    let many: Vec<_> = (0..200).map(|n| json!({"content": format!("item {n}")})).collect();
    assert!(bench.fails("todo", json!({"action": "set", "todos": many})).await.contains("at most 100"));
    let long = json!({"action": "update", "todos": [{"content": "x".repeat(5_000)}]});
    assert!(bench.fails("todo", long).await.contains("bytes"));
    assert_eq!(bench.ok("todo", json!({"action": "list"})).await, "1. [ ] one");
}

#[tokio::test]
async fn two_sessions_have_two_lists() {
    let (a, b) = (Bench::new().await, Bench::new().await);
    a.ok("todo", json!({"action": "set", "todos": [{"content": "one"}]})).await;
    assert_eq!(b.ok("todo", json!({"action": "list"})).await, "(nothing to do)");
}

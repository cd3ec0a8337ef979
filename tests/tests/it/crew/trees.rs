//! Workers with worktrees of their own.

use std::path::Path;
use std::process::Command;

use amplifier_foundation::Shutdown;
use amplifier_issue::IssueStatus::{Closed, Completed, Failed};
use amplifier_tests::fake::Step;
use amplifier_tests::gate::Gate;
use amplifier_tests::soon;
use serde_json::json;

use super::{Life, World, id, new, one_pool};

fn git(at: &Path, arguments: &[&str]) -> String {
    let who = ["-c", "user.name=t", "-c", "user.email=t@localhost"];
    let output = Command::new("git").args(who).arg("-C").arg(at).args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn repository(world: &World) {
    let project = &world.stage.project.path();
    git(project, &["init", "--quiet", "-b", "main"]);
    git(project, &["commit", "--quiet", "--allow-empty", "-m", "first"]);
}

async fn gone(life: &Life, issue: &str) {
    let trees = life.crew.worktrees().unwrap();
    let waiting = async {
        while trees.exists(&id(issue)) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    soon("the worktree to go", waiting).await;
}

#[tokio::test]
async fn a_worker_works_in_its_own_tree_and_what_it_leaves_is_saved_before_that_goes() {
    let world = World::on_disk();
    repository(&world);
    let gate = Gate::new();
    world.stage.brain.then(Step::Late("I wrote it.".into(), gate.clone())).say("Nothing to do.");
    let life = world.begin(one_pool(json!({"worktree": true}))).await;
    life.add(new("login")).await;
    let session = life.worker("login").await;
    let tree = life.crew.worktrees().unwrap().of(&id("login"));
    let stored = life.host.storage().load(&session).await.unwrap();
    let cwd = serde_json::to_value(&stored.metadata).unwrap();
    assert!(cwd.to_string().contains(tree.path.to_str().unwrap()), "{cwd}");
    std::fs::write(tree.path.join("made.txt"), "by the worker").unwrap();
    gate.open();
    life.ends("login", Completed).await;
    life.add(new("empty")).await;
    life.ends("empty", Completed).await;
    gone(&life, "empty").await;
    assert!(tree.path.exists(), "it holds what nobody has merged");
    life.queue().close(&id("login"), None).await.unwrap();
    gone(&life, "login").await;
    let saved = format!("refs/amplifier/rescue/{session}:made.txt");
    assert_eq!(git(&world.stage.project.path(), &["show", &saved]), "by the worker");
    assert_eq!(life.issue("login").await.issue.status, Closed);
    life.end().await;
}

#[tokio::test]
async fn the_tree_of_an_issue_that_its_worker_completes_itself_goes_too() {
    let world = World::on_disk();
    repository(&world);
    let gate = Gate::new();
    world.stage.brain.then(Step::Late("I have said so.".into(), gate.clone()));
    let life = world.begin(one_pool(json!({"worktree": true}))).await;
    life.add(new("login")).await;
    let session = life.worker("login").await;
    gate.reached(1).await;
    life.queue_in(&session).complete(&id("login"), Some("done")).await.unwrap();
    life.until("login", |issue| issue.issue.status == Completed && issue.run.is_some()).await;
    gate.open();
    life.ends("login", Completed).await;
    let tree = life.crew.worktrees().unwrap().of(&id("login"));
    assert!(tree.path.exists(), "nobody has looked since its run ended");
    world.stage.clock.advance(std::time::Duration::from_secs(60));
    gone(&life, "login").await;
    life.end().await;
}

#[tokio::test]
async fn without_a_repository_the_issue_fails_with_what_to_do() {
    let world = World::on_disk();
    let mut config = one_pool(json!({"worktree": true}));
    config["retry"] = json!({"attempts": 1});
    let life = world.begin(config).await;
    life.add(new("login")).await;
    let issue = life.ends("login", Failed).await;
    assert!(issue.details.reason.unwrap().contains("git init"));
    life.crew.stop(Shutdown::Now).await;
    life.end().await;
}

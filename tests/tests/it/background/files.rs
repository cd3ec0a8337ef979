//! Changes of real files, from the disk to the run. Time is the test's own: it passes once the files are written.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::conserved;
use super::world::{Life, On, World, lapse, with};

const STEP: Duration = Duration::from_millis(100);

fn declared(more: Value) -> Value {
    let config = with(json!({"paths": ["src/**/*.rs"], "debounce": "500ms"}), more);
    json!({"triggers": [{"type": "file_change", "name": "files", "config": config}]})
}

/// The changes that the runs were told of, the last of each file, once this file is among them.
async fn changes(world: &World, life: &Life, mark: &str) -> BTreeMap<String, String> {
    world.stage.project.write(mark, "mark");
    let mut all = BTreeMap::new();
    let told = async {
        loop {
            all.clear();
            for firing in life.firings().await {
                for change in firing["payload"]["changes"].as_array().unwrap() {
                    let text = |key: &str| change[key].as_str().unwrap().to_owned();
                    all.insert(text("path"), text("change"));
                }
            }
            if all.remove(mark).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    amplifier_tests::soon("the changes", lapse(&world.stage, STEP, told)).await;
    life.quiet().await;
    all
}

fn is(found: &BTreeMap<String, String>, expect: &[(&str, &str)]) {
    let expect: BTreeMap<String, String> =
        expect.iter().map(|(path, change)| ((*path).to_owned(), (*change).to_owned())).collect();
    assert_eq!(*found, expect);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_right_after_the_start_is_one_run_that_lists_it() {
    let world = World::new(On::Disk);
    let life = world.life().await;
    world.stage.project.write("src/before.rs", "1");
    life.start(declared(json!({}))).await;
    // Nothing is waited for: what is written from now on is a change.
    for at in 0..200 {
        world.stage.project.write(&format!("src/{at}.rs"), "1");
    }
    let found = changes(&world, &life, "src/mark.rs").await;
    assert_eq!(found.len(), 200, "{found:?}");
    assert!(found.values().all(|change| change == "created"));
    let runs = life.dues().await;
    assert!(runs.len() <= 3, "a slow machine may part a burst, not scatter it: {}", runs.len());
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn globs_ignore_lists_new_directories_and_renames_are_told_truly() {
    for poll in [json!({}), json!({"poll": "200ms"})] {
        let world = World::new(On::Disk);
        let project = &world.stage.project;
        project.write("src/old.rs", "1");
        project.write("src/changed.rs", "1");
        project.write("src/gone.rs", "1");
        project.write(".gitignore", "secret.rs\n");
        let life = world.life().await;
        life.start(declared(with(json!({"ignore": ["target", "src/gen/**"]}), poll.clone()))).await;
        for path in [
            "src/new.rs",
            "src/deep/er/new.rs",
            "src/gen/a.rs",
            "src/target/b.rs",
            "src/secret.rs",
            "src/c.txt",
            "d.rs",
        ] {
            project.write(path, "1");
        }
        project.write("src/changed.rs", "22");
        fs::rename(project.path().join("src/old.rs"), project.path().join("src/renamed.rs")).unwrap();
        fs::remove_file(project.path().join("src/gone.rs")).unwrap();
        let found = changes(&world, &life, "src/mark1.rs").await;
        is(
            &found,
            &[
                ("src/changed.rs", "modified"),
                ("src/deep/er/new.rs", "created"),
                ("src/gone.rs", "deleted"),
                ("src/new.rs", "created"),
                ("src/old.rs", "deleted"),
                ("src/renamed.rs", "created"),
            ],
        );
        // What lies in the new directory is watched, too.
        project.write("src/deep/er/more.rs", "1");
        let found = changes(&world, &life, "src/mark2.rs").await;
        assert_eq!(found.get("src/deep/er/more.rs").map(String::as_str), Some("created"), "{poll} {found:?}");
        conserved(&life.host, "night").await;
        life.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_directories_than_are_noted_are_looked_at_again() {
    let world = World::new(On::Disk);
    let life = world.life().await;
    for at in 0..1_100 {
        world.stage.project.write(&format!("src/{at}/a.rs"), "1");
    }
    life.start(declared(json!({}))).await;
    // More places than are noted one by one: the notices overflow, and everything is looked at.
    for at in 0..1_100 {
        world.stage.project.write(&format!("src/{at}/a.rs"), "22");
    }
    let mut total = 0;
    let told = async {
        while total < 1_100 {
            let firings = life.firings().await;
            total = firings.iter().map(|firing| firing["payload"]["total"].as_u64().unwrap()).sum();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    amplifier_tests::soon("all changes", lapse(&world.stage, STEP, told)).await;
    life.quiet().await;
    life.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_while_nobody_watches_is_no_event_and_what_changes_after_it_is() {
    let world = World::new(On::Disk);
    let life = world.life().await;
    life.start(declared(json!({}))).await;
    world.stage.project.write("src/a.rs", "1");
    is(&changes(&world, &life, "src/mark1.rs").await, &[("src/a.rs", "created")]);
    life.end().await;
    world.stage.project.write("src/a.rs", "22");
    world.stage.project.write("src/b.rs", "1");
    let life = world.life().await;
    life.start(declared(json!({}))).await;
    world.stage.project.write("src/b.rs", "22");
    let found = changes(&world, &life, "src/mark2.rs").await;
    is(&found, &[("src/a.rs", "created"), ("src/b.rs", "modified"), ("src/mark1.rs", "created")]);
    life.end().await;
}

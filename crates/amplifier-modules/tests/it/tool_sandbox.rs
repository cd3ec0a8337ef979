//! Sandboxed commands, enforced by the kernel. Skipped, visibly, where it has no Landlock.

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_modules::tool::bash::SandboxOff;
use serde_json::json;

use crate::support_tools::{Bench, Setup, eventually};

/// Outside the folder for temporary files, where everything is writable.
fn elsewhere() -> Setup {
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // A checkout may itself lie in that folder.
    let within = if target.starts_with(std::env::temp_dir()) { PathBuf::from("/var/tmp") } else { target };
    Setup { within: Some(within), ..Setup::default() }
}

async fn bench(setup: Setup) -> Option<Bench> {
    let bench = Bench::with(setup).await;
    match bench.sandboxed(json!({"command": "true"})).await {
        Ok(_) => Some(bench),
        Err(error) => {
            assert!(error.to_string().starts_with("sandbox not available on this kernel; "), "{error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

#[tokio::test]
async fn writes_work_inside_and_are_refused_outside() {
    let Some(bench) = bench(elsewhere()).await else { return };
    std::fs::write(bench.root.join("victim"), "whole").unwrap();
    for (command, expect) in [
        ("echo x > in && mkdir d && mv in d/x && cat d/x", true),
        ("f=$(mktemp) && echo x > $f && rm $f", true),
        ("echo x > /dev/null && cat /etc/passwd > /dev/null && ls / > /dev/null", true),
        ("cat ../victim", true),
        ("echo x > ../new", false),
        ("echo x >> ../victim", false),
        (": > ../victim", false),
        ("truncate -s 0 ../victim", false),
        ("rm ../victim", false),
        ("mv ../victim here", false),
        ("ln ../victim here", false),
        ("mkdir ../folder", false),
        ("ln -s .. up && echo x > up/new", false),
        ("setsid -w bash -c 'echo x > ../new'", false),
        ("bash -c 'setsid -w nohup bash -c \"echo x > ../new\" & wait $!'", false),
    ] {
        let output = bench.sandboxed(json!({ "command": command })).await.unwrap();
        assert_eq!(!output.is_error, expect, "{command}: {}", output.text);
        assert_eq!(std::fs::read_to_string(bench.root.join("victim")).unwrap(), "whole", "{command}");
        assert_eq!(std::fs::read_dir(&bench.root).unwrap().count(), 2, "{command}");
    }
}

#[tokio::test]
async fn only_the_sandboxed_command_is_restricted() {
    let Some(bench) = bench(elsewhere()).await else { return };
    bench.ok("bash", json!({"command": "echo x > ../free"})).await;
    std::fs::write(bench.root.join("mine"), "x").unwrap();
    assert!(bench.root.join("free").exists());
}

#[tokio::test]
async fn a_sandboxed_tree_is_ended_like_any_other() {
    let Some(bench) = bench(Setup { speed: 10, ..elsewhere() }).await else { return };
    let command = json!({"command": "setsid sleep 1000 & sleep 1000 & touch up"});
    assert!(!bench.sandboxed(command).await.unwrap().is_error);
    eventually("both run", || bench.marked().len() == 2).await;
    bench.env.coordinator.clean_up().await;
    assert!(bench.marked().is_empty());
}

#[tokio::test]
async fn a_sandboxed_command_cannot_signal_what_is_outside() {
    let Some(bench) = bench(elsewhere()).await else { return };
    if !kernel_at_least(6, 12) {
        eprintln!("skipped: the kernel does not scope signals");
        return;
    }
    let own = std::process::id();
    let output = bench.sandboxed(json!({"command": format!("kill -0 {own}")})).await.unwrap();
    assert!(output.is_error && output.text.contains("permitted"), "{}", output.text);
}

#[tokio::test]
async fn a_sandboxed_command_cannot_look_into_the_memory_of_what_is_outside() {
    let Some(bench) = bench(elsewhere()).await else { return };
    let command = json!({"command": format!(": < /proc/{}/mem", std::process::id())});
    let output = bench.sandboxed(command).await.unwrap();
    assert!(output.is_error && output.text.contains("denied"), "{}", output.text);
}

#[tokio::test]
async fn no_bundle_can_turn_the_sandbox_off_but_a_person_can() {
    for config in [json!({"sandbox": "off"}), json!({"sandbox": false})] {
        let Some(bench) = bench(Setup { bash: config, ..elsewhere() }).await else { return };
        let write = json!({"command": "echo x > ../new"});
        assert!(bench.sandboxed(write.clone()).await.unwrap().is_error);
        bench.env.coordinator.provide(Arc::new(SandboxOff));
        assert!(!bench.sandboxed(write).await.unwrap().is_error);
    }
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

//! Sandboxed commands, enforced by the kernel. Skipped, visibly, where it has no Landlock.

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::Permissions;
use amplifier_core::permission::{Layer, Mode, Rule, RuleEffect};
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

/// Permissions of the mode `dontAsk` with one rule.
fn ruled(bench: &Bench, effect: RuleEffect, rule: &str) -> Permissions {
    let mut layer = Layer::of_mode("test", Mode::DontAsk, vec![bench.env.cwd.clone()]);
    layer.rules.push(Rule::parse(effect, rule, bench.cwd(), bench.cwd()).unwrap());
    Permissions::unrestricted().with(layer)
}

/// A server on loopback, and a command that reads its greeting.
fn greeter() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = std::io::Write::write_all(&mut stream.unwrap(), b"hello\n");
        }
    });
    format!("exec 3<>/dev/tcp/127.0.0.1/{port} && cat <&3")
}

#[tokio::test]
async fn the_network_is_closed_in_the_sandbox_unless_a_rule_opens_it() {
    let Some(mut bench) = bench(elsewhere()).await else { return };
    let greeting = json!({ "command": greeter() });
    let output = bench.sandboxed(greeting.clone()).await.unwrap();
    assert!(output.is_error && output.text.contains("not permitted"), "{}", output.text);
    bench.permissions = ruled(&bench, RuleEffect::Allow, "network(127.0.0.1)");
    assert!(bench.sandboxed(greeting.clone()).await.unwrap().is_error);
    bench.permissions = ruled(&bench, RuleEffect::Allow, "network(*)");
    let output = bench.sandboxed(greeting).await.unwrap();
    assert_eq!((output.text.as_str(), output.is_error), ("hello\n", false));
    let write = bench.sandboxed(json!({"command": "echo x > ../new"})).await.unwrap();
    assert!(write.is_error, "the network alone is opened");
}

#[tokio::test]
async fn a_rule_against_every_host_holds_outside_the_sandbox_too() {
    let Some(mut bench) = bench(elsewhere()).await else { return };
    let greeting = json!({ "command": greeter() });
    assert_eq!(bench.ok("bash", greeting.clone()).await, "hello\n");
    bench.permissions = ruled(&bench, RuleEffect::Deny, "network(evil.example)");
    assert_eq!(bench.ok("bash", greeting.clone()).await, "hello\n");
    bench.permissions = ruled(&bench, RuleEffect::Deny, "network");
    let output = bench.call("bash", greeting).await.unwrap();
    assert!(output.is_error && output.text.contains("not permitted"), "{}", output.text);
    bench.ok("bash", json!({"command": "echo x > ../new"})).await;
}

#[tokio::test]
async fn a_closed_network_has_no_side_door() {
    let Some(bench) = bench(elsewhere()).await else { return };
    if !std::path::Path::new("/usr/bin/perl").exists() {
        return eprintln!("skipped: there is no perl");
    }
    for (what, program, expect) in [
        ("TCP over IPv6", "socket(my $s, 10, 1, 0) or die $!", false),
        ("UDP", "socket(my $s, 2, 2, 0) or die $!", false),
        ("another machine's sockets", "socket(my $s, 40, 1, 0) or die $!", false),
        (
            "a child of a child",
            "exit(system(q(setsid -w perl -e 'socket(my $s, 2, 1, 0) or exit 3')) >> 8)",
            false,
        ),
        ("a Unix socket", "socketpair(my $a, my $b, 1, 1, 0) or die $!", true),
        ("the list of interfaces", "socket(my $s, 16, 3, 0) or die $!", true),
        ("io_uring", "my $p = 'x' x 120; exit(syscall(425, 1, $p) < 0 ? ($! == 1 ? 3 : 0) : 0)", false),
    ] {
        let command = json!({ "command": format!("perl -e \"{}\"", program.replace('$', "\\$")) });
        let output = bench.sandboxed(command).await.unwrap();
        assert_eq!(!output.is_error, expect, "{what}: {}", output.text);
    }
    if cfg!(target_arch = "x86_64") {
        let short = "perl -e 'exit(syscall(0x40000000 + 41, 2, 1, 0) < 0 && $! == 1 ? 3 : 0)'";
        assert!(bench.sandboxed(json!({ "command": short })).await.unwrap().text.contains("exit code 3"));
    }
}

fn kernel_at_least(major: u32, minor: u32) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|part| part.trim().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (major, minor)
}

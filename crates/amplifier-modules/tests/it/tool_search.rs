//! grep and glob over a real tree.

use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use amplifier_core::permission::{Layer, Rule, RuleEffect};
use serde_json::json;

use crate::support_tools::Bench;

async fn bench() -> Bench {
    let bench = Bench::new().await;
    for (at, (path, content)) in [
        ("src/main.rs", "fn main() {\n    run();\n}\n"),
        ("src/lib.rs", "fn run() {}\nfn Run() {}\n"),
        ("notes.txt", "run\n"),
        ("target/out.rs", "run\n"),
        (".gitignore", "target\n"),
        (".github/ci.yml", "run: x\n"),
        (".git/config", "run\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = bench.file(path, content);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + at as u64);
        std::fs::File::open(path).unwrap().set_modified(time).unwrap();
    }
    bench.file("image.bin", b"run\0\xff\xfe");
    std::fs::create_dir(bench.root.join("outside")).unwrap();
    std::fs::write(bench.root.join("outside/secret.rs"), "run\n").unwrap();
    symlink("../outside", bench.cwd().join("out")).unwrap();
    symlink("../outside/secret.rs", bench.cwd().join("link.rs")).unwrap();
    bench
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn grep_sees_what_is_neither_ignored_nor_binary_nor_linked() {
    let bench = bench().await;
    let files = |arguments| bench.ok("grep", arguments);
    for (arguments, expect) in [
        (
            json!({"pattern": "run", "output_mode": "files"}),
            vec![".github/ci.yml", "notes.txt", "src/lib.rs", "src/main.rs"],
        ),
        (
            json!({"pattern": "run", "output_mode": "files", "glob": "*.rs"}),
            vec!["src/lib.rs", "src/main.rs"],
        ),
        (json!({"pattern": "run", "output_mode": "files", "glob": "src/m*"}), vec!["src/main.rs"]),
        (
            json!({"pattern": "RUN", "output_mode": "count", "-i": true, "path": "src"}),
            vec!["src/lib.rs:2", "src/main.rs:1"],
        ),
        (json!({"pattern": "run", "path": "src/main.rs"}), vec!["2:    run();", "src/main.rs"]),
        (json!({"pattern": "run", "path": "target/out.rs", "output_mode": "count"}), vec!["target/out.rs:1"]),
        (json!({"pattern": "nowhere"}), vec!["(no matches)"]),
    ] {
        assert_eq!(sorted(&files(arguments.clone()).await), expect, "{arguments}");
    }
    let text = bench.ok("grep", json!({"pattern": "run\\(\\);", "context": 1, "path": "src/main.rs"})).await;
    assert_eq!(text, "src/main.rs\n1-fn main() {\n2:    run();\n3-}");
}

#[tokio::test]
async fn grep_is_bounded_and_says_so() {
    let bench = Bench::new().await;
    bench.file("many", "hit\n".repeat(10_000));
    bench.file("wide", format!("hit {}\n", "x".repeat(1_000_000)));
    let text = bench.ok("grep", json!({"pattern": "hit", "glob": "many", "limit": 5})).await;
    assert!(
        text.ends_with("5:hit\n[there is more than these 5; narrow the search or raise limit]"),
        "{text}"
    );
    let text = bench.ok("grep", json!({"pattern": "hit", "limit": 5_000, "context": 20})).await;
    assert!(text.len() < 70 * 1024 && text.contains("there is more"), "{}", text.len());
    let text = bench.ok("grep", json!({"pattern": "hit", "glob": "wide"})).await;
    assert!(text.len() < 1_000 && text.ends_with("[… line cut]"));
    let error = bench.fails("grep", json!({"pattern": "a(b"})).await;
    assert!(error.starts_with("invalid arguments: pattern:"), "{error}");
    assert!(bench.fails("grep", json!({"pattern": "a", "path": "missing"})).await.contains("neither"));
    assert!(bench.fails("grep", json!({"pattern": "a", "glob": "a[b"})).await.contains("glob"));
}

#[tokio::test]
async fn what_a_rule_denies_is_not_seen_in_a_folder_that_may_be_searched() {
    let mut bench = bench().await;
    let rule = Rule::parse(RuleEffect::Deny, "read(src/main.rs)", bench.cwd(), bench.cwd()).unwrap();
    bench.permissions = bench.permissions.with(Layer::of_rules("test", vec![rule]));
    let text = bench.ok("grep", json!({"pattern": "run", "path": "src", "output_mode": "files"})).await;
    assert_eq!(text, "src/lib.rs");
    assert_eq!(bench.ok("glob", json!({"pattern": "src/*"})).await, "src/lib.rs");
}

#[tokio::test]
async fn glob_lists_the_last_changed_first() {
    let bench = bench().await;
    for (arguments, expect) in [
        (json!({"pattern": "**/*.rs"}), "src/lib.rs\nsrc/main.rs"),
        (json!({"pattern": "*.rs"}), "src/lib.rs\nsrc/main.rs"),
        (json!({"pattern": "*.txt"}), "notes.txt"),
        (json!({"pattern": "m*", "path": "src"}), "src/main.rs"),
        (json!({"pattern": "src/{lib,main}.rs"}), "src/lib.rs\nsrc/main.rs"),
        (json!({"pattern": "*.none"}), "(no files)"),
        (json!({"pattern": bench.cwd().join("src/m*")}), "src/main.rs"),
        (json!({"pattern": bench.cwd().join("*.rs")}), "(no files)"),
        (json!({"pattern": bench.cwd().join("**/*.rs")}), "src/lib.rs\nsrc/main.rs"),
        (json!({"pattern": bench.cwd().join("src/m*"), "path": bench.cwd()}), "src/main.rs"),
    ] {
        assert_eq!(bench.ok("glob", arguments.clone()).await, expect, "{arguments}");
    }
    (0..250).for_each(|n| drop(bench.file(&format!("many/{n}.x"), "")));
    let text = bench.ok("glob", json!({"pattern": "*.x"})).await;
    assert_eq!(text.lines().count(), 201);
    assert!(text.ends_with("[50 more left out; narrow the pattern]"));
}

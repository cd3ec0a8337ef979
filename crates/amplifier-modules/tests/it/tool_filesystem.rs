//! read_file, write_file, edit_file over real files.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::support_tools::Bench;

#[tokio::test]
async fn a_file_is_read_as_numbered_lines() {
    let bench = Bench::new().await;
    bench.file("a", "one\r\ntwo\nthree");
    bench.file("empty", "");
    for (arguments, expect) in [
        (json!({"path": "a"}), "1\tone\n2\ttwo\n3\tthree\n"),
        (json!({"path": "a", "offset": 2, "limit": 1}), "2\ttwo\n[the file goes on; continue with offset 3]"),
        (json!({"path": "a", "offset": 3, "limit": 9}), "3\tthree\n"),
        (json!({"path": "a", "offset": "3", "limit": 1.0}), "3\tthree\n"),
        (json!({"path": "empty"}), "(empty file)"),
    ] {
        assert_eq!(bench.ok("read_file", arguments.clone()).await, expect, "{arguments}");
    }
}

#[tokio::test]
async fn a_long_file_is_read_in_parts_that_join_without_a_gap() {
    let bench = Bench::new().await;
    bench.file("lines", (1..=5_000).map(|n| format!("line {n}\n")).collect::<String>());
    bench.file("wide", format!("{}\n", "x".repeat(3_000)).repeat(500));
    for (path, lines) in [("lines", 5_000), ("wide", 500)] {
        let (mut offset, mut seen) = (1, 0);
        loop {
            let text = bench.ok("read_file", json!({"path": path, "offset": offset})).await;
            assert!(text.len() <= 256 * 1024, "{} bytes", text.len());
            let numbers = text.lines().filter_map(|line| line.split_once('\t')?.0.parse::<u64>().ok());
            for number in numbers {
                seen += 1;
                assert_eq!(number, seen);
            }
            let Some((_, next)) = text.rsplit_once("continue with offset ") else { break };
            offset = next.trim_end_matches(']').parse().unwrap();
            assert_eq!(offset, seen + 1);
        }
        assert_eq!(seen, lines, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_text_file_is_named_and_not_shown() {
    let bench = Bench::new().await;
    bench.file("latin", b"caf\xe9");
    bench.file("binary", b"a\0b");
    bench.file("huge-line", "ä".repeat(100_000));
    bench.file("dir/sub/x", "");
    bench.file("dir/b", "");
    for (path, expect) in [
        ("latin", "latin is not UTF-8 text"),
        ("binary", "binary is not UTF-8 text"),
        ("missing", "reading missing failed: "),
        ("/dev/zero", "device"),
    ] {
        let error = bench.fails("read_file", json!({"path": path})).await;
        assert!(error.contains(expect), "{path}: {error}");
    }
    let error = bench.fails("read_file", json!({"path": "dir/b/x"})).await;
    assert!(error.contains("cannot be resolved"), "{error}");
    bench.file("short", "x\n");
    assert!(bench.fails("read_file", json!({"path": "short", "offset": 9})).await.contains("has 1 lines"));
    let text = bench.ok("read_file", json!({"path": "huge-line"})).await;
    assert!(text.len() < 5_000 && text.contains("line cut"));
    assert_eq!(bench.ok("read_file", json!({"path": "dir"})).await, "b\nsub/");
}

#[tokio::test]
async fn a_file_is_written_whole_through_links_with_its_mode() {
    let bench = Bench::new().await;
    let write = |path: &str, content: &str| json!({"file_path": path, "content": content});
    assert_eq!(bench.ok("write_file", write("a/b/c", "ä\n")).await, "created a/b/c, 3 bytes");
    std::fs::set_permissions(bench.cwd().join("a/b/c"), PermissionsExt::from_mode(0o755)).unwrap();
    symlink("a/b/c", bench.cwd().join("link")).unwrap();
    assert_eq!(bench.ok("write_file", write("link", "new")).await, "replaced a/b/c, 3 bytes");
    assert_eq!(bench.content("a/b/c"), "new");
    assert!(bench.cwd().join("link").is_symlink());
    let mode = std::fs::metadata(bench.cwd().join("a/b/c")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    assert!(bench.fails("write_file", write("a", "x")).await.starts_with("writing a failed"));
    assert_eq!(std::fs::read_dir(bench.cwd().join("a/b")).unwrap().count(), 1);
}

#[tokio::test]
async fn an_edit_is_exact_or_changes_nothing() {
    type Case = (&'static str, &'static str, &'static str, bool, Result<&'static str, &'static str>);
    let cases: &[Case] = &[
        ("a b a", "b", "c", false, Ok("a c a")),
        ("a b a", "a", "c", true, Ok("c b c")),
        ("a b a", "a", "c", false, Err("2 times")),
        ("one\r\ntwo\r\n", "one\ntwo", "1\n2\n3", false, Ok("1\r\n2\r\n3\r\n")),
        ("one\r\ntwo\r\n", "two", "2\n3", false, Ok("one\r\n2\r\n3\r\n")),
        ("one\r\ntwo\n", "one\r\n", "1\n", false, Ok("1\ntwo\n")),
        ("fn main() {\n    run();\n}\n", "  run( );", "x", false, Err("the nearest is line 2: `    run();`")),
        ("a", "zzz", "x", false, Err("read the file again")),
        ("a", "", "x", false, Err("write_file")),
        ("a", "a", "a", false, Err("the same")),
    ];
    let bench = Bench::new().await;
    for (content, old, new, all, expect) in cases {
        bench.file("f", content);
        let arguments = json!({"path": "f", "old_string": old, "new_string": new, "replace_all": all});
        let result = bench.call("edit_file", arguments).await;
        match expect {
            Ok(expect) => assert_eq!((result.is_ok(), bench.content("f").as_str()), (true, *expect)),
            Err(expect) => {
                let error = result.unwrap_err().to_string();
                assert!(error.contains(expect), "{error}");
                assert_eq!(bench.content("f"), *content);
            }
        }
    }
    bench.file("latin", b"caf\xe9");
    let arguments: Value = json!({"path": "latin", "old_string": "c", "new_string": "d"});
    assert!(bench.fails("edit_file", arguments).await.contains("not UTF-8"));
}

#[tokio::test]
async fn an_edit_says_where_it_was() {
    let bench = Bench::new().await;
    bench.file("f", "a\nb\na\n");
    let edit =
        |old: &str, all: bool| json!({"path": "f", "old_string": old, "new_string": "c", "replace_all": all});
    assert_eq!(bench.ok("edit_file", edit("b", false)).await, "edited f at line 2");
    assert_eq!(bench.ok("edit_file", edit("a", true)).await, "edited f, 2 places, the first at line 1");
}

//! apply_patch: several files at once, or none.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support_tools::Bench;

fn patch(sections: &str) -> serde_json::Value {
    json!({"patch": format!("*** Begin Patch\n{sections}\n*** End Patch\n")})
}

#[tokio::test]
async fn one_patch_adds_updates_moves_and_deletes() {
    let bench = Bench::new().await;
    bench.file("src/a.rs", "fn a() {\n    1\n}\n\nfn b() {\n    1\n}\n");
    bench.file("old.txt", "keep\nchange\n");
    bench.file("gone", "x");
    let text = bench
        .ok(
            "apply_patch",
            patch(
                "*** Update File: src/a.rs\n@@ fn b() {\n-    1\n+    2\n }\n*** Add File: new/x.txt\n+hello\n\
                 *** Update File: old.txt\n*** Move to: moved/new.txt\n@@\n keep\n-change\n+changed\n\
                 *** Delete File: gone",
            ),
        )
        .await;
    assert_eq!(
        text,
        "updated src/a.rs +1 -1\nadded new/x.txt\nupdated old.txt +1 -1, moved to moved/new.txt\ndeleted gone"
    );
    assert_eq!(bench.content("src/a.rs"), "fn a() {\n    1\n}\n\nfn b() {\n    2\n}\n");
    assert_eq!(bench.content("new/x.txt"), "hello\n");
    assert_eq!(bench.content("moved/new.txt"), "keep\nchanged\n");
    assert!(!bench.cwd().join("old.txt").exists() && !bench.cwd().join("gone").exists());
}

#[tokio::test]
async fn hunks_find_their_place() {
    let cases: &[(&str, &str, &str, &str)] = &[
        ("no anchor", "a\nb\nc\n", "@@\n-b\n+B", "a\nB\nc\n"),
        ("two hunks in order", "x\n1\nx\n1\n", "@@\n x\n-1\n+2\n@@\n x\n-1\n+3", "x\n2\nx\n3\n"),
        (
            "anchors nest",
            "class A\n f\n  1\nclass B\n f\n  1\n",
            "@@ class B\n@@  f\n-  1\n+  2",
            "class A\n f\n  1\nclass B\n f\n  2\n",
        ),
        ("anchor is the first line", "fn x\n1\n", "@@ fn x\n fn x\n-1\n+2", "fn x\n2\n"),
        ("end of file", "1\n2\n1\n", "@@\n-1\n+9\n*** End of File", "1\n2\n9\n"),
        ("insertion at the end", "a\n", "@@\n+b", "a\nb\n"),
        ("insertion behind an anchor", "a\nb\n", "@@ a\n+x", "a\nx\nb\n"),
        ("line ends of the file", "a\r\nb\r\n", "@@\n a\n-b\n+B\n+C", "a\r\nB\r\nC\r\n"),
        ("no end of the last line", "a\nb", "@@\n-b\n+c", "a\nc"),
        ("an end behind the last line", "a\nb", "@@\n b\n+c", "a\nb\nc"),
        ("trailing blanks differ", "a  \nb\n", "@@\n a\n-b\n+c", "a  \nc\n"),
        ("indentation differs", "\tif x\n\t\ty\n", "@@\n if x\n-  y\n+\t\tz", "\tif x\n\t\tz\n"),
        ("a blank line of context", "a\n\nb\n", "@@\n a\n\n-b\n+c", "a\n\nc\n"),
        ("numbers of a diff", "a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n+c", "a\nc\n"),
    ];
    let bench = Bench::new().await;
    for (name, before, hunks, after) in cases {
        bench.file("f", before);
        let result = bench.call("apply_patch", patch(&format!("*** Update File: f\n{hunks}"))).await;
        assert!(result.is_ok(), "{name}: {result:?}");
        assert_eq!(bench.content("f"), *after, "{name}");
    }
}

#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let cases = [
        ("*** Update File: b\n@@\n-two\n+2\n@@\n-nine\n+9", "b: hunk 2: its 1 old lines are not in the file"),
        ("*** Update File: b\n@@\n-tow\n+2", "b: hunk 1:"),
        ("*** Update File: b\n@@ fn main\n-two\n+2", "b: hunk 1: there is no line `fn main`"),
        ("*** Update File: missing\n@@\n-x\n+y", "missing: there is no such file"),
        ("*** Delete File: missing", "missing: there is no such file"),
        ("*** Add File: b\n+x", "b: the file exists already"),
        ("*** Update File: b\n*** Move to: a\n@@\n-two\n+2", "it cannot move to a, which exists"),
        ("*** Delete File: latin", "latin is not UTF-8"),
    ];
    let bench = Bench::new().await;
    bench.file("a", "one\n");
    bench.file("b", "two\nthree\n");
    bench.file("latin", b"caf\xe9");
    for (sections, expect) in cases {
        let first = "*** Update File: a\n@@\n-one\n+1\n*** Add File: fresh/x\n+x\n";
        let error = bench.fails("apply_patch", patch(&format!("{first}{sections}"))).await;
        assert!(error.contains(expect), "{error}");
        assert_eq!((bench.content("a").as_str(), bench.content("b").as_str()), ("one\n", "two\nthree\n"));
        assert!(!bench.cwd().join("fresh").exists());
    }
    assert!(
        bench
            .fails("apply_patch", patch("*** Update File: b\n@@\n-thre\n+3"))
            .await
            .contains("line 2: `three`")
    );
}

#[tokio::test]
async fn a_write_that_fails_leaves_every_file_as_it_was() {
    let bench = Bench::new().await;
    bench.file("a", "one\n");
    let fixed = bench.file("fixed", "two\n");
    std::fs::set_permissions(&fixed, PermissionsExt::from_mode(0o444)).unwrap();
    let sections =
        "*** Add File: new/x\n+x\n*** Update File: a\n@@\n-one\n+1\n*** Update File: fixed\n@@\n-two\n+2";
    let error = bench.fails("apply_patch", patch(sections)).await;
    assert!(error.contains("writing fixed (no file was changed) failed"), "{error}");
    assert_eq!(bench.content("a"), "one\n");
    let names: Vec<_> = std::fs::read_dir(bench.cwd()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test]
async fn what_was_changed_before_a_failure_is_put_back() {
    let bench = Bench::new().await;
    bench.file("a", "one\n");
    // Nobody can delete it, which shows only when the other files are in their places.
    let sections = "*** Add File: x\n+x\n*** Update File: a\n@@\n-one\n+1\n*** Delete File: /proc/version";
    let error = bench.fails("apply_patch", patch(sections)).await;
    assert!(error.contains("writing /proc/version (no file was changed) failed"), "{error}");
    assert_eq!(bench.content("a"), "one\n");
    assert!(!bench.cwd().join("x").exists());
}

#[tokio::test]
async fn sections_over_one_file_build_on_each_other() {
    let bench = Bench::new().await;
    bench.file("a", "1\n2\n");
    let sections = "*** Update File: a\n@@\n-1\n+one\n*** Update File: a\n@@\n one\n-2\n+two\n\
        *** Add File: b\n+x\n*** Delete File: b";
    bench.ok("apply_patch", patch(sections)).await;
    assert_eq!(bench.content("a"), "one\ntwo\n");
    assert!(!bench.cwd().join("b").exists());
}

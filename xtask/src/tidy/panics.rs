//! Calls that end the thread: `unwrap`, `expect`, `panic!` and their kin outside tests.
//!
//! Guarantees: an `expect` passes only under `#[expect(clippy::expect_used, reason = "…")]`
//! (or `allow` with a reason) on its function or statement. Never looks at types:
//! an own method named `expect` is a finding too, and wants another name.

use super::finding::Finding;
use super::source::Source;

const RULE: &str = "panics";

const MACROS: [&str; 4] = ["panic", "todo", "unimplemented", "dbg"];

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    for method in ["unwrap", "unwrap_err", "expect", "expect_err"] {
        let patterns =
            [format!(". {method} ("), format!("Option :: {method}"), format!("Result :: {method}")];
        for line in patterns.iter().flat_map(|pattern| source.code_lines_with(pattern)) {
            if method == "expect" && source.is_proof(line) {
                continue;
            }
            let advice =
                "return an error, or state the proof in `#[expect(clippy::expect_used, reason = \"…\")]`";
            found.push(Finding::new(RULE, (&source.path, line), method, "outside tests", advice));
        }
    }
    for name in MACROS {
        for line in source.code_lines_with(&format!("{name} !")) {
            let advice = "return an error that says what to do";
            found.push(Finding::new(RULE, (&source.path, line), format!("{name}!"), "outside tests", advice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    #[test]
    fn a_call_that_may_panic_fails_outside_tests() {
        let check = |text: &str, items: &[&str]| {
            assert_eq!(testing::items(super::check, "crates/a/src/a.rs", text), items)
        };
        check("fn a() { b.unwrap(); }", &["unwrap"]);
        check("fn a() { b.map(Option::unwrap); }", &["unwrap"]);
        check("fn a() { format!(\"{}\", b.expect(\"c\")); }", &["expect"]);
        check("fn a() { panic!(\"b\") }", &["panic!"]);
        check("fn a() { std::todo!() }", &["todo!"]);
        check("fn a() { unimplemented!() }", &["unimplemented!"]);
        check("fn a() { dbg!(b); }", &["dbg!"]);
        check("#[expect(clippy::expect_used)]\nfn a() { b.expect(\"c\"); }", &["expect"]);
    }

    #[test]
    fn tests_proofs_and_gentle_kin_pass() {
        let check = |text: &str| {
            assert!(testing::items(super::check, "crates/a/src/a.rs", text).is_empty(), "{text}")
        };
        check("#[cfg(test)]\nmod tests { fn a() { b.unwrap(); panic!() } }");
        check("#[expect(clippy::expect_used, reason = \"b is checked\")]\nfn a() { c.expect(\"d\"); }");
        check("fn a() { b.unwrap_or_default(); std::panic::catch_unwind(c); }");
        assert!(
            testing::items(super::check, "crates/a/tests/it/main.rs", "fn a() { b.unwrap() }").is_empty()
        );
    }
}

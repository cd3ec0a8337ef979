//! The two binaries stay thin: no database, no modules, no retrying of their own.
//!
//! Guarantees: a retry loop is a function that holds a loop, an identifier with
//! `attempt`, `retry`, `retries` or `backoff` in it, and a sleep. That is a guess:
//! a loop that retries at once is not seen, and a function that matches by
//! accident wants a clearer shape or an entry in the allow list.

use syn::visit::Visit;

use super::finding::Finding;
use super::functions::functions;
use super::source::Source;

const BINARIES: [&str; 2] = ["amplifier-cli", "foreman"];
const MODULE_TRAITS: [&str; 5] = ["Provider", "Tool", "Orchestrator", "ContextManager", "Hook"];
const RULE: &str = "thin-binary";

/// Checks one file.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    if !BINARIES.contains(&source.krate()) {
        return;
    }
    for line in source.code_lines_with("rusqlite") {
        let advice = "ask the foundation's `Store`";
        found.push(Finding::new(RULE, (&source.path, line), "rusqlite", "is named in a binary", advice));
    }
    for (line, name) in module_impls(&source.syntax) {
        if !source.is_test(line) {
            let advice = "move it to `amplifier-modules`";
            found.push(Finding::new(RULE, (&source.path, line), name, "is implemented in a binary", advice));
        }
    }
    for function in functions(&source.syntax) {
        let start = *function.lines.start();
        if !source.is_test(start) && retries(source, &function.lines) {
            let advice = "let the foundation retry";
            let message = "looks like a retry loop in a binary";
            found.push(Finding::new("retry", (&source.path, start), function.name, message, advice));
        }
    }
}

fn retries(source: &Source, lines: &std::ops::RangeInclusive<usize>) -> bool {
    let has = |wanted: &dyn Fn(&str) -> bool| {
        source.words.iter().any(|word| lines.contains(&word.line) && wanted(&word.text))
    };
    has(&|word| matches!(word, "loop" | "while" | "for"))
        && has(&|word| {
            ["attempt", "retry", "retries", "backoff"].iter().any(|part| word.to_lowercase().contains(part))
        })
        && has(&|word| word.starts_with("sleep"))
}

fn module_impls(file: &syn::File) -> Vec<(usize, String)> {
    #[derive(Default)]
    struct Collect(Vec<(usize, String)>);
    impl<'ast> Visit<'ast> for Collect {
        fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
            let last = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
            if let Some(name) = last.map(|segment| segment.ident.to_string())
                && MODULE_TRAITS.contains(&name.as_str())
            {
                self.0.push((item.impl_token.span.start().line, name));
            }
            syn::visit::visit_item_impl(self, item);
        }
    }
    let mut collect = Collect::default();
    collect.visit_file(file);
    collect.0
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    fn items(path: &str, text: &str) -> Vec<String> {
        testing::items(super::check, path, text)
    }

    #[test]
    fn a_binary_with_work_of_its_own_fails() {
        let check =
            |text: &str, item: &str| assert_eq!(items("crates/foreman/src/a.rs", text), [item], "{text}");
        check("fn a() { rusqlite::Connection::open(b); }", "rusqlite");
        check("impl Tool for A {}", "Tool");
        check("impl amplifier_core::Provider for A {}", "Provider");
        check("fn a() { loop { attempt += 1; clock.sleep_until(b).await; } }", "a");
        check("fn again() { for n in 0..max_retries { thread::sleep(b); } }", "again");
    }

    #[test]
    fn a_thin_binary_passes() {
        let check = |text: &str| assert!(items("crates/amplifier-cli/src/a.rs", text).is_empty(), "{text}");
        check("fn a() { for event in events { render(event.attempt); } }");
        check("impl Display for Tool {}");
        check("#[cfg(test)]\nmod tests { fn a() { rusqlite::open(); } }");
        assert!(items("crates/amplifier-modules/src/a.rs", "impl Tool for A {}").is_empty());
    }
}

//! The allow list: places that may break a rule, each with its reason.
//!
//! Guarantees: an entry without a reason, for a rule that has no exceptions, or
//! that allows nothing any more is itself a finding.

use super::finding::Finding;
use super::signatures;

/// Where the list is.
pub(crate) const PATH: &str = "xtask/tidy-allow.txt";

/// Rules that have exceptions.
const RULES: [&str; 4] = [signatures::RULE, "retry", "time", "files"];

/// One line of the list.
#[derive(Debug)]
struct Entry<'a> {
    line: usize,
    rule: &'a str,
    path: &'a str,
    item: &'a str,
}

impl Entry<'_> {
    fn allows(&self, finding: &Finding) -> bool {
        finding.rule == self.rule && finding.path == self.path && finding.item == self.item
    }
}

/// Takes out of `found` what the list allows, and adds what is wrong with the list.
pub(crate) fn apply(list: &str, found: &mut Vec<Finding>) {
    let mut faults = Vec::new();
    let mut fault = |line: usize, item: &str, message: &str, advice: &'static str| {
        faults.push(Finding::new("allow-list", (PATH, line), item, message, advice));
    };
    let mut entries = Vec::new();
    for (line, text) in (1..).zip(list.lines().map(str::trim)) {
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        let parts: Vec<&str> = text.splitn(4, '|').map(str::trim).collect();
        match parts.as_slice() {
            [rule, path, item, reason] if RULES.contains(rule) && reason.contains(' ') => {
                entries.push(Entry { line, rule, path, item });
            }
            [rule, ..] if !RULES.contains(rule) => {
                fault(line, rule, "is a rule without exceptions", "mend the code")
            }
            _ => fault(line, text, "is no entry", "write `rule | path | item | reason`"),
        }
    }
    for entry in &entries {
        if !found.iter().any(|finding| entry.allows(finding)) {
            fault(entry.line, entry.item, "needs no exception any more", "remove the line");
        }
    }
    found.retain(|finding| !entries.iter().any(|entry| entry.allows(finding)));
    found.extend(faults);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(list: &str) -> Vec<String> {
        let mut found = vec![
            Finding::new(signatures::RULE, ("a.rs", 3), "A.b", "shows untyped JSON", "give it a type"),
            Finding::new("unsafe", ("a.rs", 4), "unsafe", "is not used here", "no"),
        ];
        apply(list, &mut found);
        found.iter().map(|finding| format!("{}:{}", finding.rule, finding.item)).collect()
    }

    #[test]
    fn an_entry_with_a_reason_allows_its_place() {
        assert_eq!(left("# why\n\njson-value | a.rs | A.b | a tool's arguments\n"), ["unsafe:unsafe"]);
    }

    #[test]
    fn an_entry_allows_nothing_else() {
        let all = ["json-value:A.b", "unsafe:unsafe"];
        assert_eq!(left(""), all);
        let check = |line: &str, fault: &str| assert_eq!(left(line), [&all[..], &[fault]].concat(), "{line}");
        check("json-value | b.rs | A.b | a tool's arguments", "allow-list:A.b");
        check("unsafe | a.rs | unsafe | it is fast", "allow-list:unsafe");
        check("json-value | a.rs | A.b |", "allow-list:json-value | a.rs | A.b |");
    }
}

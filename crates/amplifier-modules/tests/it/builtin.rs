//! The list of modules, and a whole session made of them.

use std::collections::HashSet;

use amplifier_foundation::{Host, spawn_bundle};
use amplifier_modules::builtin;

#[test]
fn ids_and_aliases_are_unique() {
    let mut names = HashSet::new();
    for module in builtin() {
        let info = module.info();
        assert!(!info.summary.is_empty() && !info.summary.ends_with('.'), "{}", info.id);
        for name in std::iter::once(&info.id).chain(info.aliases) {
            assert!(names.insert(*name), "{name} is there twice");
        }
    }
    for name in ["loop-basic", "loop-streaming", "context-simple", "provider-scripted", "hooks-todo-display"]
    {
        assert!(names.contains(name), "{name}");
    }
}

const BUNDLE: &str = "---
bundle: {name: test}
session:
  orchestrator: {module: loop-streaming, config: {extended_thinking: true}}
  context: {module: context-simple, config: {max_tokens: 300000, compact_threshold: 0.8, auto_compact: true}}
providers:
  - module: provider-scripted
    config: {script: [{text: 'You said: {{prompt}}'}]}
hooks:
  - module: hooks-logging
  - module: hooks-redaction
  - module: hooks-todo-display
---
Be brief.
";

#[tokio::test]
async fn a_bundle_of_built_in_modules_runs() {
    let host = Host::builder().modules(builtin()).bundle("test", BUNDLE).in_memory();
    let session = spawn_bundle(&host, ("test", "hi")).await.unwrap();
    assert_eq!(session.output().await.unwrap(), "You said: hi");
}

//! Bundles and agents that people use: every one of them parses.
//!
//! The files are not part of this repository. Where they are absent the test says so and passes.

use std::path::{Path, PathBuf};

use amplifier_bundle::bundle::validate::check;
use amplifier_bundle::bundle::{Diagnostic, FileKind, Strictness, kind_of, parse_agent, parse_bundle};

fn corpus() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let stated = std::env::var_os("AMPLIFIER_CORPUS").map(PathBuf::from);
    [stated, Some(beside)].into_iter().flatten().find(|path| path.is_dir())
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let text = path.extension().is_some_and(|e| e == "md" || e == "yaml" || e == "yml");
        if path.is_dir() {
            files(&path, found);
        } else if text && !path.ends_with("README.md") {
            found.push(path);
        }
    }
}

/// Everything that is said about a file; nothing when all is well.
fn said(file: &Path) -> Vec<Diagnostic> {
    let text = std::fs::read_to_string(file).unwrap();
    let stem = file.file_stem().unwrap().to_string_lossy();
    match kind_of(&text, file) {
        FileKind::Bundle => {
            let parsed = parse_bundle(&text, file);
            let bundle = parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
            assert!(!bundle.name.is_empty(), "{}", file.display());
            [parsed.diagnostics, check(&bundle, Strictness::Strict)].concat()
        }
        FileKind::Agent => {
            let parsed = parse_agent(&text, file, &stem);
            let agent = parsed.value.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
            assert!(agent.description.is_some() && agent.instruction.is_some(), "{}", file.display());
            parsed.diagnostics
        }
        kind => panic!("{} is {kind:?}", file.display()),
    }
}

#[test]
fn every_file_of_the_corpus_parses_without_a_complaint() {
    let Some(corpus) = corpus() else {
        eprintln!("SKIPPED: the corpus is not there; set AMPLIFIER_CORPUS to its folder");
        return;
    };
    let mut found = Vec::new();
    files(&corpus, &mut found);
    assert!(found.len() > 20, "{} files under {}", found.len(), corpus.display());
    let said: Vec<String> = found.iter().flat_map(|file| said(file)).map(|d| d.to_string()).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
}

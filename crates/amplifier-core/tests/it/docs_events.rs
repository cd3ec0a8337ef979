//! `docs/events.md` holds exactly the kernel's own tables.
//!
//! With `UPDATE_DOCS=1` the blocks between the markers are written anew.

use std::path::PathBuf;

use amplifier_core::event::{KERNEL_EVENTS, RESERVED_NAMESPACES};

/// A generated part of the page, from its first marker to its last.
struct Block {
    begin: &'static str,
    end: &'static str,
    text: String,
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md")
}

fn events() -> Block {
    let mut text = "\n| name | in `events.jsonl` | what it says |\n|---|---|---|\n".to_owned();
    for row in KERNEL_EVENTS {
        text.push_str(&format!("| `{}` | `{}` | {} |\n", row.name, row.reference, row.doc));
    }
    text.push('\n');
    Block {
        begin: "<!-- begin: table of kernel events, made from `amplifier_core::event::KERNEL_EVENTS` -->\n",
        end: "<!-- end: table of kernel events -->",
        text,
    }
}

fn namespaces() -> Block {
    let names: Vec<String> = RESERVED_NAMESPACES.iter().map(|name| format!("`{name}`")).collect();
    Block {
        begin: "<!-- begin: reserved namespaces, made from `amplifier_core::event::RESERVED_NAMESPACES` -->\n",
        end: "<!-- end: reserved namespaces -->",
        text: format!("\n{}\n\n", wrapped(&names.join(", "))),
    }
}

/// Lines of at most 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().unwrap();
        match line.len() + 1 + word.len() {
            _ if line.is_empty() => line.push_str(word),
            0..=120 => line.push_str(&format!(" {word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// The page with a block as it should be.
fn with(page: &str, block: &Block) -> String {
    let (before, rest) = page.split_once(block.begin).expect("the page has the first marker");
    let (_, after) = rest.split_once(block.end).expect("the page has the last marker");
    format!("{before}{}{}{}{after}", block.begin, block.text, block.end)
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the page is a file of this repository")]
fn the_page_of_events_has_the_kernels_own_tables() {
    let page = std::fs::read_to_string(path()).unwrap();
    let wanted = [events(), namespaces()].iter().fold(page.clone(), |page, block| with(&page, block));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), &wanted).unwrap();
        return;
    }
    let differing = page.lines().zip(wanted.lines()).find(|(is, should)| is != should);
    assert!(
        page == wanted,
        "docs/events.md differs from the kernel, first at {differing:?}; run with UPDATE_DOCS=1"
    );
}

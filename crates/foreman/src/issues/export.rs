//! `foreman export`.
//!
//! Guarantees: all issues in the order in which they were opened; each file appears whole or not at all, and
//! none that is there is written over.

use std::path::Path;

use amplifier_app::exit::print_json;
use amplifier_app::terminal::{Code, Stdout, say};
use amplifier_foundation::fs::read::is_file;
use amplifier_foundation::fs::write::{Access, create_dirs, publish};
use amplifier_issue::exchange::Shape;
use serde_json::json;

use super::{Queue, refused};
use crate::args::issue::ExportArgs;
use crate::exit::Failure;

/// Issues that are read at once.
const PAGE: usize = 1_000;

/// Prints all issues, or writes them into a folder.
pub(super) async fn export(args: &ExportArgs, queue: &Queue) -> Result<Code, Failure> {
    if let Some(dir) = &args.dir {
        return into(dir, args.json, queue).await;
    }
    let (stdout, mut after) = (Stdout::new(), 0);
    while let Some(page) =
        queue.issues.export(Shape::Own, after, PAGE).await.map_err(|error| refused(&error))?
    {
        stdout.write(&page.issues);
        after = page.after;
    }
    Ok(stdout.code(Code::Success))
}

/// Writes the three files of the reference's issue manager.
async fn into(dir: &Path, as_json: bool, queue: &Queue) -> Result<Code, Failure> {
    let names = ["issues.jsonl", "dependencies.jsonl", "events.jsonl"];
    if let Some(there) = names.iter().map(|name| dir.join(name)).find(|path| is_file(path)) {
        return Err(exists(&there));
    }
    let (mut texts, mut after) = ([const { String::new() }; 3], 0);
    while let Some(page) =
        queue.issues.export(Shape::Reference, after, PAGE).await.map_err(|error| refused(&error))?
    {
        for (text, more) in texts.iter_mut().zip([page.issues, page.dependencies, page.events]) {
            text.push_str(&more);
        }
        after = page.after;
    }
    create_dirs(dir, Access::Private).map_err(|error| Failure::work(&error))?;
    let count = texts[0].lines().count();
    for (name, text) in names.iter().zip(&texts) {
        let path = dir.join(name);
        if !publish(&path, text.as_bytes(), Access::Private).map_err(|error| Failure::work(&error))? {
            return Err(exists(&path));
        }
    }
    if as_json {
        return print_json(&json!({ "exported": count, "dir": dir.display().to_string() }));
    }
    say(&format!("exported {count} issues into {}", dir.display()));
    Ok(Code::Success)
}

fn exists(path: &Path) -> Failure {
    Failure::usage(format!("{} is there already", path.display())).kind("exists").help("name a new folder")
}

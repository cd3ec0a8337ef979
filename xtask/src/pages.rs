//! `cargo xtask pages`: the dashboard as a browser shows it.
//!
//! Guarantees: without a browser it says that it was skipped, and is no failure.

use std::path::PathBuf;

use crate::error::Error;
use crate::run;

/// Takes pictures of the pages, and fails if one is empty or looks like another.
pub(crate) fn run(args: &[String]) -> Result<(), Error> {
    let folder = match args {
        [] => run::target_dir().join("pages"),
        [folder] if !folder.starts_with('-') => PathBuf::from(folder),
        _ => return Err(Error::Usage("`pages` takes one folder".into())),
    };
    let folder = std::path::absolute(&folder).unwrap_or(folder);
    let test = ["test", "-p", "amplifier-web", "--test", "it", "pictures", "--", "--ignored", "--nocapture"];
    run::show(run::cargo(test).env("AMPLIFIER_PICTURES", folder))
}

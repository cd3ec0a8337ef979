//! `amplifier store …`: the project's database as a file.
//!
//! Guarantees: a backup is of one moment, flushed, and was looked at before its success is told; nothing is written over.

use std::path::Path;

use amplifier_app::terminal::bar::during;
use amplifier_foundation::fs::read;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::storage::ProjectPaths;
use amplifier_foundation::store::back_up;

use crate::args::StoreCommand;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output;

/// Does what was asked.
pub(crate) fn run(command: StoreCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    match command {
        StoreCommand::Backup { file } => context::small_runtime()?.block_on(backup(&file, &context)),
    }
}

async fn backup(file: &Path, context: &Context) -> Result<Code, Failure> {
    let paths = ProjectPaths::resolve(context.home().path(), context.cwd())?;
    let database = paths.database();
    if !read::is_file(&database) {
        let help = "it is made with the first session of a project; call this in the project's directory";
        return Err(Failure::usage(format!("{} is not there", database.display())).help(help));
    }
    if read::kind(file) != read::Kind::Missing {
        let message = format!("{} is there already", file.display());
        return Err(Failure::usage(message).help("name a file that is not there yet"));
    }
    let (from, to) = (database.clone(), file.to_path_buf());
    let copying = tokio::task::spawn_blocking(move || back_up(&from, &to));
    let clock = SystemClock::new();
    let copied =
        during("copying the database", &clock, copying).await.map_err(|error| Failure::work(&error))?;
    let found = copied.map_err(|error| Failure::store(&error))?;
    if !found.faults.is_empty() {
        let message = format!("{} was written and is damaged: {}", file.display(), found.faults.join("; "));
        return Err(Failure::usage(message)
            .code(Code::Failed, "store")
            .help("`amplifier doctor` looks at the database itself"));
    }
    output::say(&format!(
        "{} is a copy of {}, {} KiB",
        file.display(),
        database.display(),
        found.bytes.div_ceil(1024)
    ));
    Ok(Code::Success)
}

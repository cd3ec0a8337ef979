//! `amplifier trust`: which directories' own settings may widen permissions.
//!
//! Guarantees: only this command adds a directory; it prints the path that it listed.

use std::path::{Path, PathBuf};

use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::environment::ProcessEnv;
use amplifier_foundation::settings::home::AmplifierHome;
use amplifier_foundation::settings::trust::{TrustError, TrustList};

use amplifier_core::Clock;

use crate::args::{TrustArgs, TrustCommand};
use crate::exit::{Code, Failure};
use crate::output;

/// Does what was asked.
pub(crate) fn run(args: TrustArgs) -> Result<Code, Failure> {
    let home = AmplifierHome::discover(&ProcessEnv::capture()).map_err(|error| Failure::config(&error))?;
    let list = TrustList::new(&home);
    match args.command {
        None => add(&list, args.dir),
        Some(TrustCommand::List) => show(&list),
        Some(TrustCommand::Revoke { dir }) => revoke(&list, dir),
    }
}

fn add(list: &TrustList, dir: Option<PathBuf>) -> Result<Code, Failure> {
    let path = list.add(&or_here(dir), SystemClock::new().now()).map_err(failure)?;
    output::say(&format!("trusted: settings in {} may widen permissions", path.display()));
    Ok(Code::Success)
}

fn show(list: &TrustList) -> Result<Code, Failure> {
    let listed = list.list().map_err(failure)?;
    if listed.is_empty() {
        output::say("no directory is trusted");
    }
    let lines: String = listed.iter().map(|trusted| format!("{}\n", trusted.path.display())).collect();
    Ok(output::print(&lines))
}

fn revoke(list: &TrustList, dir: Option<PathBuf>) -> Result<Code, Failure> {
    let dir = or_here(dir);
    if !list.revoke(&dir).map_err(failure)? {
        let message = format!("{} is not on the list", dir.display());
        return Err(Failure::usage(message).help("`amplifier trust list` shows what is"));
    }
    if list.is_trusted(&dir).unwrap_or(false) {
        output::say(&format!("warning: {} is below a directory that is still trusted", dir.display()));
    }
    output::say(&format!("{} is trusted no longer", dir.display()));
    Ok(Code::Success)
}

fn or_here(dir: Option<PathBuf>) -> PathBuf {
    dir.unwrap_or_else(|| Path::new(".").to_path_buf())
}

/// A list that cannot be written is a failure at work; the rest a mistake in what was typed or is there.
fn failure(error: TrustError) -> Failure {
    match &error {
        TrustError::Write { .. } | TrustError::Lock(_) => Failure::work(&error),
        _ => Failure::config(&error),
    }
}

//! `amplifier trust`: which directories' own settings may widen permissions.
//!
//! And the question whether to trust one, which a person at a terminal is asked once.
//!
//! Guarantees: only this command and a person's yes add a directory; the path that was listed is printed. Without a
//! terminal nobody is asked, and nothing is remembered.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::environment::ProcessEnv;
use amplifier_foundation::settings::home::AmplifierHome;
use amplifier_foundation::settings::trust::{TrustError, TrustList};

use amplifier_app::ask;
use amplifier_app::setup::Setup;
use amplifier_core::Clock;
use amplifier_foundation::fs::read;

use crate::args::run::RunArgs;
use crate::args::{TrustArgs, TrustCommand};
use crate::context;
use crate::exit::{Code, Failure};
use crate::output;

/// What a project brings in a folder of its own, and its servers.
const FOLDER: &str = ".amplifier";
const SERVERS: &str = ".mcp.json";
/// Most things of one question.
const SHOWN: usize = 12;

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

/// Asks whether to trust the directory of a session, if something there does not count without and nobody was asked yet.
/// What stands in the way of the question is told by the session itself.
pub(crate) fn vouch(args: &RunArgs) {
    if !ask::somebody_is_there() {
        return;
    }
    let flags = context::flags(&args.options);
    let Ok(setup) = Setup::open(args.options.cwd.as_deref(), &flags, Arc::new(SystemClock::new())) else {
        return;
    };
    let list = TrustList::new(setup.home());
    let brings =
        [FOLDER, SERVERS].iter().any(|name| read::kind(&setup.cwd().join(name)) != read::Kind::Missing);
    let open = brings && setup.is_untrusted() && setup.trust_fault().is_none();
    if !open || list.is_declined(setup.cwd()).unwrap_or(true) {
        return;
    }
    let withheld = withheld(&setup, args);
    if withheld.is_empty() {
        return;
    }
    output::say(&format!(
        "{} brings what counts only where its directory is trusted:",
        setup.cwd().display()
    ));
    withheld.iter().take(SHOWN).for_each(|what| output::say(&format!("  {}", output::plain(what))));
    if withheld.len() > SHOWN {
        output::say(&format!("  and {} more", withheld.len() - SHOWN));
    }
    let kept = match ask::yes("it may then run programs, reach hosts and widen permissions; trust it?") {
        None => return,
        Some(true) => list.add(setup.cwd(), SystemClock::new().now()).map(|path| {
            output::say(&format!("trusted: {}; `amplifier trust revoke` takes it back", path.display()));
        }),
        Some(false) => list.decline(setup.cwd(), SystemClock::new().now()).map(|()| {
            output::say("not trusted, and not asked again; `amplifier trust` trusts it");
        }),
    };
    if let Err(error) = kept {
        failure(error).report();
    }
}

/// What does not count there, of the settings and of the bundle that a session would have.
fn withheld(setup: &Setup, args: &RunArgs) -> Vec<String> {
    let mut all: Vec<String> =
        setup.settings().ignored.iter().map(|ignored| format!("{} ({})", ignored.what, ignored.by)).collect();
    let Ok(runtime) = context::small_runtime() else { return all };
    let of_bundle = runtime.block_on(async {
        // Fetches nothing: what is not there yet is nothing that the project brings.
        let host = setup.builder().offline(true).open(setup.cwd()).await.ok()?;
        let active = setup.chosen(&host);
        let bundle = host.prepare(&active.name).await.ok()?;
        let mut all = host.withheld(&bundle, &active.name, active.by_project());
        let reads = bundle.plan.tools.iter().any(|spec| spec.module == "tool-mcp");
        if reads && read::is_file(&setup.cwd().join(SERVERS)) {
            all.push(format!("the servers of {SERVERS}"));
        }
        Some(all)
    });
    if args.resume.is_none() && !args.continue_last {
        all.extend(of_bundle.unwrap_or_default());
    }
    all
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

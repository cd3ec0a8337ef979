//! `amplifier mcp serve`: the server of `amplifier-mcp` over this project, with sessions as `amplifier run
//! --background` starts them.
//!
//! Guarantees: each session has a process of its own, which outlives this one; stdout carries the protocol alone.
//! Never here: a session in this process.

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_app::command::declared::sources;
use amplifier_app::detach::{Detached, Handover, Told};
use amplifier_core::SessionId;
use amplifier_core::permission::Mode;
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::Flags;
use amplifier_mcp::server::{self, NotStarted, Serving, Starter, Wanted};
use async_trait::async_trait;

use crate::args::mcp::{McpCommand, ServeArgs};
use crate::args::run::OnExit;
use crate::context;
use crate::exit::{Code, Failure};

/// Most that is read of what an owner says before it begins, in bytes.
const MAX_SAID: u64 = 64 * 1024;

/// Does what was asked.
pub(crate) fn run(command: McpCommand) -> Result<Code, Failure> {
    let McpCommand::Serve(args) = command;
    if args.permission_mode == Some(Mode::BypassPermissions) {
        return Err(Failure::usage("an MCP client's sessions cannot bypass permissions")
            .help("allow what they need with rules in the settings: docs/settings.md"));
    }
    let mut flags = Flags::default();
    flags.bundle.clone_from(&args.bundle);
    let context = context::open(args.cwd.as_deref(), &flags, Arc::new(SystemClock::new()))?;
    context.tell_warnings();
    let runtime = context::runtime()?;
    let served = runtime.block_on(async {
        let host = context.host().await?;
        let serving = Serving {
            sources: sources(args.bundle.as_deref(), &context, &host),
            on_exit: match args.on_exit {
                OnExit::Drain => server::OnExit::Drain,
                OnExit::Cancel => server::OnExit::Cancel,
                OnExit::Detach => server::OnExit::Detach,
            },
            drain: args.drain_timeout.0,
            starter: Arc::new(Owners { cwd: context.cwd().to_path_buf(), args }),
            host,
        };
        serving.run().await.map_err(|error| Failure::work(&error))
    });
    // A read of standard input that nobody ends must not keep the process.
    runtime.shutdown_background();
    served.map(|()| Code::Success)
}

/// Starts a process for each session.
#[derive(Debug)]
struct Owners {
    cwd: PathBuf,
    args: ServeArgs,
}

impl Owners {
    /// The words of `amplifier run` that mean the same.
    fn line(&self, wanted: &Wanted) -> Vec<OsString> {
        let mut line: Vec<OsString> = ["amplifier", "run", "--background"].map(OsString::from).to_vec();
        let mut flag = |name: &str, value: Option<OsString>| {
            if let Some(value) = value {
                line.extend([OsString::from(name), value]);
            }
        };
        let text = |given: &Option<String>, own: &Option<String>| {
            given.as_ref().or(own.as_ref()).map(OsString::from)
        };
        flag("--resume", wanted.resume.as_ref().map(|id| id.as_str().into()));
        match wanted.resume {
            // A session keeps the bundle that it has.
            Some(_) => flag("--bundle", wanted.bundle.as_ref().map(Into::into)),
            None => flag("--bundle", text(&wanted.bundle, &self.args.bundle)),
        }
        flag("--provider", text(&wanted.provider, &self.args.provider));
        flag("--model", text(&wanted.model, &self.args.model));
        flag("--name", wanted.name.as_ref().map(Into::into));
        let cwd = wanted.cwd.as_ref().map(|dir| self.cwd.join(dir));
        flag(
            "--cwd",
            Some(cwd.unwrap_or_else(|| self.cwd.clone()).into()).filter(|_| wanted.resume.is_none()),
        );
        let mode = wanted.permission_mode.or(self.args.permission_mode);
        flag("--permission-mode", mode.map(|mode| mode.as_str().into()));
        flag("--max-turns", wanted.max_turns.map(|turns| turns.to_string().into()));
        flag("--max-budget-usd", wanted.max_budget_usd.map(|usd| format!("{usd:.6}").into()));
        flag("--timeout", wanted.timeout.map(|span| format!("{}ms", span.as_millis().max(1)).into()));
        line.extend([OsString::from("--"), OsString::from(&wanted.prompt)]);
        line
    }
}

#[async_trait]
impl Starter for Owners {
    async fn start(&self, wanted: Wanted) -> Result<SessionId, NotStarted> {
        let handover = Handover { args: self.line(&wanted), piped: None };
        let started = Detached::start_aside(&handover);
        let (mut owner, said) = started
            .map_err(|error| NotStarted(format!("the session's process cannot be started: {error}")))?;
        let said = tokio::task::spawn_blocking(move || {
            let mut text = Vec::new();
            // What there is until the owner leaves, or its pipe breaks.
            let _ = said.take(MAX_SAID).read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let told = owner.told().await;
        // It outlives this process, or is collected.
        std::thread::spawn(move || owner.collect());
        match told {
            Some(Told::Recorded(id)) => Ok(id),
            _ => {
                let said = said.await.unwrap_or_default();
                let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                Err(NotStarted(match lines.as_slice() {
                    [] => "the session's process is gone before the session began".to_owned(),
                    lines => lines.join("; "),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};

    #[test]
    fn what_a_client_wants_becomes_the_words_of_run() {
        let Ok(Cli { command: Some(Command::Mcp(McpCommand::Serve(args))), .. }) =
            Cli::read(["amplifier", "mcp", "serve", "-B", "own", "-m", "m1"].map(OsString::from).to_vec())
        else {
            panic!("no such command");
        };
        let owners = Owners { cwd: PathBuf::from("/p"), args };
        let mut wanted = Wanted::default();
        wanted.prompt = "-v do it".to_owned();
        wanted.max_budget_usd = Some(0.5);
        wanted.timeout = Some(std::time::Duration::from_millis(1_500));
        let words = |wanted: &Wanted| -> String {
            let line = owners.line(wanted);
            // What it says is understood by `run`.
            assert!(Cli::read(line.clone()).is_ok(), "{line:?}");
            line.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            words(&wanted),
            "amplifier run --background --bundle own --model m1 --cwd /p --max-budget-usd 0.500000 --timeout 1500ms -- -v do it"
        );
        wanted.resume = Some(SessionId::new("abc").unwrap());
        wanted.max_budget_usd = None;
        wanted.timeout = None;
        assert_eq!(words(&wanted), "amplifier run --background --resume abc --model m1 -- -v do it");
    }
}

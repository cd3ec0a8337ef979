//! `amplifier`: runs AI-agent sessions from bundles.
//!
//! Arguments come in, the foundation is called, what it says is rendered. Guarantees: stdout
//! carries results alone; the exit code is one of [`exit::Code`]; a panic becomes one line.
//! Never here: a session started other than by `spawn_bundle`, a module, a retry.

mod agents;
mod approve;
mod args;
mod background;
mod bundle;
mod chat;
mod context;
mod doctor;
mod event;
mod exit;
mod init;
mod later;
mod mcp;
mod module;
mod output;
mod provider;
mod run;
mod session;
mod settings;
mod store;
mod tool;
mod trust;

use std::ffi::OsString;
use std::process::ExitCode;

use amplifier_app::completions::completions;
use amplifier_app::{command, detach};
use args::{Cli, Command};
use clap::CommandFactory;
use exit::{Code, Failure};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let code = std::panic::catch_unwind(|| start(arguments)).unwrap_or_else(|_| {
        output::say("error: amplifier met a fault of its own; AMPLIFIER_LOG=error shows where");
        Code::Failed
    });
    code.into()
}

fn start(arguments: Vec<OsString>) -> Code {
    if let [_, only] = arguments.as_slice()
        && (only == "--version" || only == "-V")
    {
        return output::print(concat!("amplifier ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    amplifier_app::terminal::logging::init();
    if detach::is_owner(&arguments) {
        return run::owned().unwrap_or_else(|failure| failure.report());
    }
    let parsed = later::check(&arguments).and_then(|()| Cli::read(arguments));
    match parsed.and_then(dispatch) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

fn dispatch(cli: Cli) -> Result<Code, Failure> {
    match cli.command {
        None => chat::alone(cli.chat.into_run()),
        Some(Command::Run(args)) if chat::is_meant(&args) => chat::chat(*args),
        Some(Command::Run(args)) => run::run(*args),
        Some(Command::Continue(args)) => chat::go_on(args.into_run()),
        Some(Command::Resume(args)) => chat::resume(*args),
        Some(Command::Spawn(args)) => run::explain(*args),
        Some(Command::Session(command)) => session::run(command),
        Some(Command::Event(command)) => event::run(command),
        Some(Command::Background(command)) => background::run(command),
        Some(Command::Bundle(command)) => bundle::run(command),
        Some(Command::Agents(command)) => agents::run(command),
        Some(Command::Trigger(command)) => background::trigger(command),
        Some(Command::Runs(args)) => command::runs(&context::here()?, &args),
        Some(Command::Mcp(command)) => mcp::run(command),
        Some(Command::Trust(args)) => trust::run(args),
        Some(Command::Provider(command)) => provider::run(command),
        Some(Command::Tool(command)) => tool::run(command),
        Some(Command::Module(command)) => module::run(command),
        Some(Command::Store(command)) => store::run(command),
        Some(Command::Schema { kind }) => Ok(output::print(kind.schema())),
        Some(Command::Completions { shell }) => completions(shell, Cli::command()),
        Some(Command::Init(args)) => init::run(&args),
        Some(Command::Doctor { json }) => doctor::run(json),
    }
}

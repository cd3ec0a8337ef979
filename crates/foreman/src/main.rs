//! `foreman`: hands issues to a crew of workers.
//!
//! Arguments come in, the foundation is called, what it says is rendered. Guarantees: stdout
//! carries results alone; the exit code is one of the foundation's [`Code`]; a panic becomes one line.
//! Never here: a session started other than by `spawn_bundle`, a module, a retry.

mod access;
mod args;
mod chat;
mod daemon;
mod exit;
mod issues;
mod run;
mod triggers;

use std::ffi::OsString;
use std::process::ExitCode;

use amplifier_app::command;
use amplifier_app::completions::completions;
use amplifier_app::context::{Context, Program};
use amplifier_app::detach;
use amplifier_app::terminal::{Code, logging, say};
use args::{Cli, Command};
use clap::CommandFactory;
use exit::Failure;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    let code = std::panic::catch_unwind(|| start(arguments)).unwrap_or_else(|_| {
        say("error: foreman met a fault of its own; AMPLIFIER_LOG=error shows where");
        Code::Failed
    });
    code.into()
}

fn start(arguments: Vec<OsString>) -> Code {
    logging::init();
    if detach::is_owner(&arguments) {
        return daemon::owned().unwrap_or_else(|failure| failure.report());
    }
    match Cli::read(arguments) {
        Ok(Cli { command: Command::Run(args) }) => run::run(*args),
        Ok(Cli { command }) => dispatch(command).unwrap_or_else(|failure| failure.report()),
        Err(failure) => failure.report(),
    }
}

fn dispatch(command: Command) -> Result<Code, Failure> {
    let here = || Context::here(Program::FOREMAN);
    match command {
        Command::Run(args) => Ok(run::run(*args)),
        Command::Completions { shell } => completions(shell, Cli::command()),
        Command::Init(args) => daemon::init(&args),
        Command::Start(args) => daemon::start(&args),
        Command::Stop(args) => daemon::stop(&args),
        Command::Drain(args) => daemon::drain(&args),
        Command::Pause(args) => daemon::pause(&args),
        Command::Resume(args) => daemon::resume(&args),
        Command::Status(args) => daemon::status(&args),
        Command::Doctor(args) => daemon::doctor(&args),
        Command::Open(args) => access::open(&args),
        Command::Token(command) => access::token(&command),
        Command::Chat(args) => chat::chat(&args),
        Command::Runs(args) => command::runs(&here()?, &args),
        Command::Trigger(command) => triggers::triggers(command),
        queue => issues::run(queue),
    }
}

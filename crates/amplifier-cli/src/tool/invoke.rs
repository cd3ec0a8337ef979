//! `amplifier tool invoke`: one call.
//!
//! Guarantees: a signal and the end of the time stop the call; what it has started is ended.

use std::sync::Arc;

use amplifier_app::command::data::data;
use amplifier_app::terminal::Signals;
use amplifier_app::toolbox::{self, Arguments, Called, Place};
use amplifier_core::{CancelToken, Clock};
use amplifier_foundation::host::SystemClock;
use amplifier_foundation::settings::Flags;
use serde_json::{Value, json};

use crate::approve;
use crate::args::tool::{InvokeArgs, Output};
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::{output, run};

/// Makes the call; its result goes to standard output.
pub(super) fn invoke(args: InvokeArgs) -> Result<Code, Failure> {
    let mut flags = Flags::default();
    flags.permission_mode = args.permission_mode;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let context = context::open(args.cwd.as_deref(), &flags, Arc::clone(&clock))?;
    context.tell_warnings();
    let runtime = context::runtime()?;
    let code = runtime.block_on(stoppable(&args, &context, clock.as_ref()));
    // A module that blocks its thread must not keep the process.
    runtime.shutdown_background();
    code
}

async fn stoppable(args: &InvokeArgs, context: &Context, clock: &dyn Clock) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let time = async {
        match args.timeout {
            Some(timeout) => clock.sleep(timeout.0).await,
            None => std::future::pending().await,
        }
    };
    let stopped = |code, why: &str| {
        Err(Failure::usage(format!("{} was stopped: {why}", args.name)).code(code, "stopped"))
    };
    tokio::select! {
        biased;
        called = called(args, context) => tell(&called?, args),
        signal = signals.next() => stopped(signal.code(), "a signal came"),
        () = time => stopped(Code::TimedOut, "the time was up"),
    }
}

async fn called(args: &InvokeArgs, context: &Context) -> Result<Called, Failure> {
    let arguments = match &args.json {
        None => Arguments::Pairs(args.pairs.clone()),
        Some(text) => Arguments::Json(object(text)?),
    };
    let approver = approve::approver(&CancelToken::new());
    let dirs = run::directories(&args.add_dir, context)?;
    let permissions = context.permissions(&dirs, approver.can_answer())?;
    let bundle = context.bundle(args.of.bundle.as_deref());
    let place = Place { dir: context.cwd(), bundle: &bundle, permissions: &permissions };
    let builder = || context.builder(false).permissions(permissions.clone()).approver(Arc::clone(&approver));
    toolbox::call(builder, place, &args.name, arguments).await.map_err(super::failure)
}

fn object(text: &str) -> Result<Value, Failure> {
    match data(Some(text))?.decode().map_err(|error| Failure::usage(error.to_string()))? {
        value @ Value::Object(_) => Ok(value),
        _ => Err(Failure::usage("--json wants one object").help("write --json '{\"path\": \"README.md\"}'")),
    }
}

fn tell(called: &Called, args: &InvokeArgs) -> Result<Code, Failure> {
    let code = match (called.denied_unasked, called.is_error) {
        (true, _) => Code::Permission,
        (false, true) => Code::Failed,
        (false, false) => Code::Success,
    };
    let printed = match args.output {
        Output::Json => output::print_json(&json!({
            "tool": args.name, "result": called.text, "is_error": called.is_error, "session_id": called.session,
        }))?,
        Output::Text if called.is_error => {
            output::say(&format!("error: {}", output::plain(called.text.trim_end())));
            Code::Success
        }
        Output::Text => {
            output::print(&format!("{}\n", called.text.strip_suffix('\n').unwrap_or(&called.text)))
        }
    };
    if called.denied_unasked {
        output::say("help: allow it in the settings, or choose another --permission-mode");
    }
    Ok(if printed == Code::Success { code } else { printed })
}

//! `amplifier background logs`: what the sessions of a background session write.
//!
//! Guarantees: whoever watches changes nothing and stops nothing.

use amplifier_app::terminal::Signals;
use amplifier_background::control::{LogError, LogLine, SessionLog};
use amplifier_core::{Message, SessionId};
use amplifier_foundation::Host;
use serde_json::{Value, json};

use super::parsed;
use crate::args::background::LogsArgs;
use crate::exit::{Code, Failure};
use crate::output::{self, Stdout};
use amplifier_app::command::transcript::shown;

pub(super) async fn logs(args: LogsArgs, host: &Host) -> Result<Code, Failure> {
    let name = parsed(&args.name)?;
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let mut log = SessionLog::open(host, &name, args.sessions).await.map_err(failure)?;
    let mut printer = Printer { stdout: Stdout::new(), json: args.json, last: None };
    if !args.follow {
        let lines = log.read().map_err(failure)?;
        if lines.is_empty() {
            output::say(&format!("no session of {name} has written anything"));
        }
        printer.print(lines);
        return Ok(printer.stdout.code(Code::Success));
    }
    loop {
        tokio::select! {
            biased;
            () = printer.stdout.closed() => return Ok(printer.stdout.code(Code::Success)),
            signal = signals.next() => return Ok(signal.code()),
            lines = log.next() => printer.print(lines.map_err(failure)?),
        }
    }
}

struct Printer {
    stdout: Stdout,
    json: bool,
    last: Option<SessionId>,
}

impl Printer {
    fn print(&mut self, lines: Vec<LogLine>) {
        for line in lines {
            if self.json {
                let written: Value = serde_json::from_str(&line.text).unwrap_or_else(|_| json!(line.text));
                let kind = if line.is_event { "event" } else { "message" };
                self.stdout.write(&format!("{}\n", json!({ "session_id": line.session, kind: written })));
                continue;
            }
            if self.last.as_ref() != Some(&line.session) {
                output::say(&format!("session {}", line.session));
                self.last = Some(line.session.clone());
            }
            let text = match serde_json::from_str::<Message>(&line.text) {
                Ok(message) if !line.is_event => shown(&message),
                _ => output::plain(&line.text).into_owned(),
            };
            self.stdout.write(&format!("{text}\n"));
        }
    }
}

fn failure(error: LogError) -> Failure {
    match error {
        LogError::Session(error) => error.into(),
        LogError::Storage(error) => error.into(),
        LogError::Store(error) => Failure::store(&error),
        other => Failure::work(&other),
    }
}

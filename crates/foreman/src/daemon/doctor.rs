//! `foreman doctor`: what is wrong here, and how to mend it.
//!
//! Guarantees: nothing is changed and nothing is started; each check has its own line, whatever the others found.
//! Exit 0 says that nothing stands in the way of `foreman start`.

use std::io::IsTerminal;

use amplifier_app::setup::worth_telling;
use amplifier_app::terminal::{Code, Style, chain, plain, print};
use amplifier_background::control::Remote;
use amplifier_foundation::Host;
use serde_json::json;

use super::plan::Plan;
use super::{here, small};
use crate::args::daemon::DoctorArgs;
use crate::exit::Failure;
use amplifier_app::exit::print_json;

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grade {
    Well,
    Note,
    Fault,
}

impl Grade {
    fn as_str(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Note => "note",
            Self::Fault => "fault",
        }
    }
}

struct Check {
    what: &'static str,
    grade: Grade,
    told: String,
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn add(&mut self, what: &'static str, grade: Grade, told: impl Into<String>) {
        self.0.push(Check { what, grade, told: told.into() });
    }

    fn fault(&mut self, what: &'static str, error: &dyn std::error::Error) {
        self.add(what, Grade::Fault, chain(error));
    }
}

/// Looks at all that a daemon needs.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<Code, Failure> {
    small(async {
        let context = here()?;
        let host = context.host().await?;
        let mut checks = Checks::default();
        for warning in context.warnings() {
            checks.add("settings", Grade::Note, warning);
        }
        if context.is_untrusted() {
            let told = "nobody vouches for this directory, so that its own files widen nothing; `amplifier trust` does";
            checks.add("trust", Grade::Note, told);
        }
        store(&host, &mut checks).await;
        match Plan::load(&args.of, &context, &host).await {
            Ok(plan) => pools(&plan, &host, &mut checks).await,
            Err(failure) => checks.add("configuration", Grade::Fault, failure.message.clone()),
        }
        tell(args.json, &checks.0)
    })
}

async fn store(host: &Host, checks: &mut Checks) {
    match host.store().tail().await {
        Ok(_) => checks.add("database", Grade::Well, "it can be read"),
        Err(error) => return checks.fault("database", &error),
    }
    match Remote::new(host).owner().await {
        Ok(Some(owner)) => checks.add("daemon", Grade::Well, owner.to_string()),
        Ok(None) => checks.add("daemon", Grade::Note, "none runs; `foreman start` starts one"),
        Err(error) => checks.fault("daemon", &error),
    }
}

async fn pools(plan: &Plan, host: &Host, checks: &mut Checks) {
    checks.add("configuration", Grade::Well, format!("{}: {}", plan.place(), plan.in_short()));
    for warning in plan.warnings() {
        checks.add("configuration", Grade::Note, warning);
    }
    for one in plan.standing() {
        let (name, bundle) = (&one.config.name, &one.config.bundle);
        match host.prepare(bundle).await {
            Ok(prepared) => {
                checks.add("bundle", Grade::Well, format!("{name}: {bundle}"));
                for diagnostic in worth_telling(&prepared.diagnostics) {
                    checks.add("bundle", Grade::Note, format!("{name}: {diagnostic}"));
                }
            }
            Err(error) => checks.add("bundle", Grade::Fault, format!("{name}: {}", chain(&error))),
        }
    }
}

fn tell(as_json: bool, checks: &[Check]) -> Result<Code, Failure> {
    let well = !checks.iter().any(|check| check.grade == Grade::Fault);
    let code = if well { Code::Success } else { Code::Usage };
    if as_json {
        let all: Vec<_> = checks
            .iter()
            .map(|check| json!({ "check": check.what, "grade": check.grade.as_str(), "told": check.told }))
            .collect();
        print_json(&json!({ "ok": well, "checks": all }))?;
        return Ok(code);
    }
    let style = Style::of(std::io::stdout().is_terminal());
    let line = |check: &Check| {
        let line = format!("{:<6} {:<14} {}", check.grade.as_str(), check.what, plain(&check.told));
        match check.grade {
            Grade::Well => line,
            Grade::Note => style.warning(&line),
            Grade::Fault => style.failure(&line),
        }
    };
    let text: String = checks.iter().map(|check| format!("{}\n", line(check))).collect();
    match print(&text) {
        Code::Success => Ok(code),
        gone => Ok(gone),
    }
}

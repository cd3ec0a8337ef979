//! `foreman doctor`: what is wrong here, and how to mend it.
//!
//! Guarantees: those of [`amplifier_app::doctor`], which looks at what both programs need; here it is what a daemon
//! needs beside that. Exit 0 says that nothing stands in the way of `foreman start`.

use amplifier_app::context::Program;
use amplifier_app::doctor::{Checks, look};
use amplifier_app::setup::worth_telling;
use amplifier_app::terminal::{Code, chain};
use amplifier_background::control::Remote;
use amplifier_foundation::Host;

use super::plan::Plan;
use super::small;
use crate::args::daemon::DoctorArgs;
use crate::exit::Failure;

/// Looks at all that a daemon needs.
pub(crate) fn doctor(args: &DoctorArgs) -> Result<Code, Failure> {
    small(async {
        let mut seen = look(Program::FOREMAN).await;
        if let Some((context, host)) = &seen.place {
            let checks = &mut seen.checks;
            daemon(host, checks).await;
            match Plan::load(&args.of, context, host).await {
                Ok(plan) => pools(&plan, host, checks).await,
                Err(failure) => {
                    let help = failure.help.clone().unwrap_or_default();
                    checks.fail("configuration", failure.message.clone(), help);
                }
            }
        }
        seen.checks.tell(Program::FOREMAN, args.json)
    })
}

async fn daemon(host: &Host, checks: &mut Checks) {
    match Remote::new(host).owner().await {
        Ok(Some(owner)) => checks.ok("daemon", owner.to_string()),
        Ok(None) => checks.warn("daemon", "none runs", "`foreman start` starts one"),
        Err(error) => checks.error("daemon", &error),
    }
}

async fn pools(plan: &Plan, host: &Host, checks: &mut Checks) {
    checks.ok("configuration", format!("{}: {}", plan.place(), plan.in_short()));
    for warning in plan.warnings() {
        checks.warn("configuration", warning, "");
    }
    for one in plan.standing() {
        let (name, bundle) = (&one.config.name, &one.config.bundle);
        match host.prepare(bundle).await {
            Ok(prepared) => {
                checks.ok("bundle", format!("{name}: {bundle}"));
                for diagnostic in worth_telling(&prepared.diagnostics) {
                    checks.diagnostic("bundle", diagnostic);
                }
            }
            Err(error) => checks.fail("bundle", format!("{name}: {}", chain(&error)), ""),
        }
    }
}

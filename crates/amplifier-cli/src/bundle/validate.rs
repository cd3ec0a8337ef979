//! `amplifier bundle validate`: every fault of a bundle, with its place and what to do.
//!
//! Guarantees: exit code 0 for a bundle that can be used, 1 for one that is invalid, 2 for one that
//! cannot be found or read. Faults are the result and go to stdout.

use std::path::Path;

use amplifier_app::inspect;
use amplifier_foundation::bundle::{
    BundleError, Diagnostic, FileKind, Severity, Strictness, kind_of, parse_agent, yaml,
};
use amplifier_foundation::fs::read;

use crate::context::Context;
use crate::exit::{Code, Failure};
use crate::output;

/// Checks a bundle, or an agent's file.
pub(super) async fn validate(source: &str, strict: bool, context: &Context) -> Result<Code, Failure> {
    let strictness = if strict { Strictness::Strict } else { Strictness::Lenient };
    let mut found = match agent_file(source) {
        Some(diagnostics) => diagnostics,
        None => {
            let host = context.host().await?;
            match host.prepare(source).await {
                Ok(prepared) => inspect::faults(&prepared, &host),
                Err(BundleError::Invalid { diagnostics }) => diagnostics,
                Err(error) => return Err(Failure::bundle(&error)),
            }
        }
    };
    strictness.apply(&mut found);
    let mut lines = String::new();
    for diagnostic in &found {
        lines.push_str(&format!("{diagnostic}\n"));
    }
    let code = output::print(&lines);
    let count = |severity| found.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors > 0 {
        output::say(&format!(
            "{source} is invalid: {}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ));
        return Ok(Code::Failed);
    }
    output::say(&format!("{source} is valid, {}", counted(warnings, "warning")));
    Ok(code)
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// What is noticed in a file that describes an agent; `None` if it is no such file.
fn agent_file(source: &str) -> Option<Vec<Diagnostic>> {
    let path = Path::new(source);
    let (text, _) = read::text(path, yaml::MAX_BYTES as u64).ok()?;
    (kind_of(&text, path) == FileKind::Agent).then(|| {
        parse_agent(&text, path, path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default())
            .diagnostics
    })
}

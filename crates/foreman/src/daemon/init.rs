//! `foreman init`: a configuration to begin with.
//!
//! Guarantees: nothing is overwritten unless somebody says so; what is written can be used as it is.

use amplifier_app::terminal::{Code, say};
use amplifier_crew::config::TEMPLATE;
use amplifier_foundation::fs::read;
use amplifier_foundation::fs::write::{Access, replace};
use serde_json::json;

use crate::args::daemon::InitArgs;
use crate::exit::Failure;
use amplifier_app::exit::print_json;

/// Writes it.
pub(crate) fn init(args: &InitArgs) -> Result<Code, Failure> {
    let path = args.config.display().to_string();
    if read::is_file(&args.config) && !args.force {
        return Err(Failure::usage(format!("{path} is there already")).help("`--force` writes it anew"));
    }
    replace(&args.config, TEMPLATE.as_bytes(), Access::Shared).map_err(|error| Failure::work(&error))?;
    if args.json {
        return print_json(&json!({ "config": path }));
    }
    say(&format!("wrote {path}; look at its pools, then `foreman start`"));
    Ok(Code::Success)
}

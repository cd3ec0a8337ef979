//! `amplifier background stop`.
//!
//! Guarantees: exit 0 says that it has ended.

use amplifier_background::control::{Remote, StopHow};
use amplifier_foundation::Host;
use serde_json::json;

use super::{parsed, unasked};
use crate::args::background::StopArgs;
use crate::exit::{Code, Failure};
use crate::output;

pub(super) async fn stop(args: StopArgs, host: &Host) -> Result<Code, Failure> {
    let name = args.name.as_deref().map(parsed).transpose()?;
    let how = if args.now { StopHow::Now } else { StopHow::Drain };
    let remote = Remote::new(host);
    let owner = remote.owner().await.map_err(|error| Failure::store(&error))?;
    remote.stop(name.as_ref(), how).await.map_err(|error| unasked(&error))?;
    if args.json {
        return output::print_json(&json!({ "stopped": name, "owner": owner }));
    }
    output::say(&match (name, owner) {
        (Some(name), _) => format!("background session {name} has stopped"),
        (None, Some(owner)) => format!("the background sessions have stopped ({owner})"),
        (None, None) => "the background sessions have stopped".to_owned(),
    });
    Ok(Code::Success)
}

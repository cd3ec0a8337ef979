//! `amplifier event emit`.
//!
//! Guarantees: what is printed is recorded, durably.

use amplifier_app::command::data::data;
use amplifier_core::CustomName;
use amplifier_foundation::router::CloudEvent;

use super::{not_emitted, stored};
use crate::args::event::EmitArgs;
use crate::context::Context;
use crate::exit::{Code, Failure, chain};
use crate::output;

/// Records an event.
pub(super) async fn emit(args: EmitArgs, context: &Context) -> Result<Code, Failure> {
    let name = CustomName::new(&args.name).map_err(|error| Failure::usage(chain(&error)))?;
    let data = data(args.data.as_deref())?;
    let host = context.host().await?;
    let id = host.router().emit(name, data).await.map_err(|error| not_emitted(&error))?;
    if !args.json {
        return Ok(output::print(&format!("{id}\n")));
    }
    let recorded = host.store().event(id).await.map_err(|error| stored(&error))?;
    // The log may hold it no longer; its id is known.
    let Some(event) = recorded else { return Ok(output::print(&format!("{{\"id\":\"{id}\"}}\n"))) };
    let line = CloudEvent::of(&event).to_line().map_err(|error| Failure::work(&error))?;
    Ok(output::print(&format!("{line}\n")))
}

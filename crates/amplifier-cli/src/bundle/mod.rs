//! `amplifier bundle …`: bundles by name, what they are made of, and which one is active.

mod names;
mod show;
mod update;
mod validate;

use crate::args::bundle::BundleCommand;
use crate::context::{self, Context};
use crate::exit::{Code, Failure};
use crate::output;

/// Does what was asked.
pub(crate) fn run(command: BundleCommand) -> Result<Code, Failure> {
    let context = context::here()?;
    let runtime = context::small_runtime()?;
    match command {
        BundleCommand::List { all, json } => runtime.block_on(names::list(&context, all, json)),
        BundleCommand::Show(args) => runtime.block_on(show::show(args, &context)),
        BundleCommand::Validate { source, strict } => {
            runtime.block_on(validate::validate(&source, strict, &context))
        }
        BundleCommand::Use { name, scope } => runtime.block_on(names::choose(&name, &scope, &context)),
        BundleCommand::Add { uri, name, scope } => runtime.block_on(names::add(&uri, name, &scope, &context)),
        BundleCommand::Update(args) => runtime.block_on(update::update(&args, &context)),
        BundleCommand::Remove { name, scope } => names::remove(&name, &scope, &context),
        BundleCommand::Clear { scope } => names::clear(&scope, &context),
        BundleCommand::Current => current(&context),
    }
}

fn current(context: &Context) -> Result<Code, Failure> {
    let active = context.active();
    match &active.by {
        Some(setter) => output::say(&format!("set by {setter}")),
        None => output::say("nothing chooses a bundle, so the built-in one is used"),
    }
    Ok(output::print(&format!("{}\n", active.name)))
}

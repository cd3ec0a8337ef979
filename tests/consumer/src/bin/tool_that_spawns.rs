//! A tool of mine, with typed arguments, that spawns a session.

use amplifier_core::module::tool::{ToolContext, ToolError, ToolOutput};
use amplifier_foundation::{Host, JsonSchema, SpawnExt, Typed, TypedTool, schemars, spawn_bundle};

#[derive(serde::Deserialize, JsonSchema)]
struct LookupArgs {
    /// The customer's number.
    id: u32,
}
struct Lookup;

#[async_trait::async_trait]
impl TypedTool for Lookup {
    type Args = LookupArgs;
    const NAME: &'static str = "lookup";
    const DESCRIPTION: &'static str = "Sum up what is known of a customer";
    async fn call(&self, args: LookupArgs, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        Ok(cx.spawn(("summarise", format!("customer {}", args.id))).await?.output().await?.into())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin()).tool(Typed(Lookup)).open(".").await?;
    let answer = spawn_bundle(&host, ("support", "Who is customer 7?")).await?;
    answer.session().messages().for_each(|message| println!("{}", message.text()));
    Ok(())
}

//! A chat: a session that stays open, turn after turn.

use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin()).open(".").await?;
    let chat = spawn_bundle(&host, SpawnRequest::new("assistant", "hello").keep_open()).await?;
    let turn = chat.session().execute("and now?").await?;
    println!("{}", turn.text);
    let outcome = chat.session().end().await;
    println!("{} after {} turns", outcome.kind.as_str(), outcome.turns);
    Ok(())
}

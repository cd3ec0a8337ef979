//! A session says what it found, and a program reacts; a wait for something that does not happen ends.

use std::time::Duration;

use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};
use serde::Deserialize;

#[derive(Deserialize)]
struct Findings {
    found: Vec<String>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin()).open(".").await?;
    let mut events = host.router().subscribe("analysis_complete")?.events();
    let chat = spawn_bundle(&host, SpawnRequest::new("assistant", "hello").keep_open()).await?;
    let found = serde_json::json!({ "found": ["a leak", "a race"] });
    chat.session().emit_event("analysis_complete", found).await?;
    chat.session().end().await;
    if let Some(event) = events.next().await {
        let findings: Findings = event?.payload.decode()?;
        println!("found {}", findings.found.join(" and "));
    }
    let built = host.router().wait_for_event("build_finished", Duration::from_millis(10)).await?;
    println!("built: {}", built.is_some());
    Ok(())
}

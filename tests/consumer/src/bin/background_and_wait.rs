//! Two sessions at once, and a wait for both that ends in any case.

use std::time::Duration;

use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin()).open(".").await?;
    let survey = SpawnRequest::new("research", "Survey caches").background(true);
    let hunt = SpawnRequest::new("testing", "Find flaky tests").background(true);
    let a = spawn_bundle(&host, survey).await?;
    let b = spawn_bundle(&host, hunt.timeout(Duration::from_mins(15))).await?;
    for (id, outcome) in host.sessions().wait_all(&[a.id(), b.id()], Duration::from_mins(10)).await? {
        match outcome {
            Some(outcome) => println!("{}: {}", outcome.kind.as_str(), outcome.output),
            None => println!("{id} still runs"),
        }
    }
    Ok(())
}

//! One session, its answer, done.

use amplifier_foundation::{Host, spawn_bundle};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin()).open(".").await?;
    let review = spawn_bundle(&host, ("code-review", "Review src/")).await?;
    println!("{}", review.output().await?);
    Ok(())
}

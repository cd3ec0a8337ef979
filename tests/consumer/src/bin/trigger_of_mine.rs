//! A trigger of mine, named in a declaration as `type: sqs`; and one that code fires.

use amplifier_background::trigger::{ManualTrigger, TriggerContext, TriggerKey, TriggerSource, TriggerStream};
use amplifier_background::{BackgroundConfig, BackgroundSessionManager};
use amplifier_foundation::Host;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

#[derive(Debug, serde::Deserialize)]
struct Sqs(Vec<String>);

impl TriggerSource for Sqs {
    fn watch(self: Box<Self>, cx: TriggerContext) -> TriggerStream {
        stream::iter(self.0).map(move |text| cx.event("sqs", &text, json!({ "text": text }))).boxed()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let host = Host::builder().modules(amplifier_modules::builtin());
    let host = host.trigger_source("sqs", |config| Ok(Box::new(config.decode::<Sqs>()?))).open(".").await?;
    let mut done = host.router().subscribe("background:spawn:completed")?.events();
    let manager = BackgroundSessionManager::new(&host);
    let map = json!({"name": "night", "bundle": "testing", "triggers": [{"type": "sqs", "config": ["a", "b"]}]});
    let config = BackgroundConfig::parse(&map, host.triggers())?;
    let (name, (trigger, handle)) = (config.name.clone(), ManualTrigger::new());
    manager.start(config).await?;
    manager.add_trigger(&name, TriggerKey::named("button")?, trigger).await?;
    handle.fire(json!({ "text": "threshold passed" })).await?;
    for _ in 0..3 {
        let said: Value = done.next().await.ok_or("the host has ended")??.payload.decode()?;
        println!("{}: {}", said["trigger_type"], said["trigger_data"]["text"]);
    }
    Ok(())
}

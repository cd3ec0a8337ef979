//! Programs that a library's user writes, as short as they are promised to be.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use amplifier_core::module::tool::{ToolContext, ToolError, ToolOutput};
use amplifier_core::permission::Access;
use amplifier_core::{Message, SessionEnv, SessionId};
use amplifier_foundation::spawn::SpawnExt;
use amplifier_foundation::storage::{
    SessionMetadata, SnapshotStorage, Snapshots, StorageError, StoredSession,
};
use amplifier_foundation::{Host, JsonSchema, SpawnRequest, Typed, TypedTool, schemars, spawn_bundle};
use amplifier_tests::bundle::BundleText;
use amplifier_tests::fake::Step;
use amplifier_tests::project::TempProject;
use amplifier_tests::soon;
use amplifier_tests::stage::Stage;
use async_trait::async_trait;
use serde_json::json;

/// A bundle of built-in modules alone.
fn assistant() -> String {
    let script = json!({"script": [
        {"when": {"prompt": "hello"}, "text": "good day"},
        {"text": "you said {{prompt}}"},
    ]});
    BundleText::bare("assistant")
        .orchestrator("loop-streaming")
        .context("context-simple")
        .provider("provider-scripted", script)
        .to_string()
}

#[tokio::test]
async fn one_off() {
    let project = TempProject::new();
    project.bundle("assistant", assistant());
    let host = Host::builder()
        .modules(amplifier_modules::builtin())
        .home(project.home())
        .open(project.path())
        .await
        .unwrap();
    let review = soon("the spawn", spawn_bundle(&host, ("assistant", "Review src/"))).await.unwrap();
    assert_eq!(review.output().await.unwrap(), "you said Review src/");
}

#[tokio::test]
async fn many_turns() {
    let host =
        Host::builder().modules(amplifier_modules::builtin()).bundle("assistant", assistant()).in_memory();
    let chat = spawn_bundle(&host, SpawnRequest::new("assistant", "hello").keep_open());
    let chat = soon("the spawn", chat).await.unwrap();
    let turn = soon("a turn", chat.session().execute("and now?")).await.unwrap();
    assert_eq!(turn.text, "you said and now?");
    assert!(soon("the end", chat.session().end()).await.is_completed());
}

/// Somebody's database: three methods.
#[derive(Debug, Clone, Default)]
struct Database(Arc<Mutex<HashMap<SessionId, StoredSession>>>);

#[async_trait]
impl SnapshotStorage for Database {
    async fn save(
        &self,
        id: &SessionId,
        transcript: &[Arc<Message>],
        metadata: &SessionMetadata,
    ) -> Result<(), StorageError> {
        let stored = StoredSession::new(metadata.clone(), transcript.to_vec());
        self.0.lock().unwrap().insert(id.clone(), stored);
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<Option<StoredSession>, StorageError> {
        Ok(self.0.lock().unwrap().get(id).cloned())
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        Ok(self.0.lock().unwrap().contains_key(id))
    }
}

#[tokio::test]
async fn storage_of_mine() {
    let (stage, database) = (Stage::new(), Database::default());
    let host = stage.builder().storage(Arc::new(Snapshots::new(database.clone()))).in_memory();
    let first = soon("the spawn", spawn_bundle(&host, ("plain", "one"))).await.unwrap();
    drop(host);
    assert_eq!(database.0.lock().unwrap().len(), 1);
    let host = stage.builder().storage(Arc::new(Snapshots::new(database))).in_memory();
    let again = SpawnRequest::resume(first.id().clone(), "two");
    let again = soon("the spawn", spawn_bundle(&host, again)).await.unwrap();
    assert_eq!(again.session().messages().len(), 4);
}

#[derive(serde::Deserialize, JsonSchema)]
struct LookupArgs {
    id: u32,
}

struct Lookup;

#[async_trait]
impl TypedTool for Lookup {
    type Args = LookupArgs;
    const NAME: &'static str = "lookup";
    const DESCRIPTION: &'static str = "Say who a customer is";

    fn access(&self, args: &LookupArgs, _env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        match args.id {
            0 => Err(ToolError::Refused("there is no customer 0".into())),
            _ => Ok(Vec::new()),
        }
    }

    async fn call(&self, args: LookupArgs, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        Ok(cx.spawn(("plain", format!("customer {}", args.id))).await?.output().await?.into())
    }
}

#[tokio::test]
async fn a_tool_of_mine_that_spawns() {
    let stage = Stage::new();
    for arguments in [json!({"id": "x"}), json!({"id": 0}), json!({"id": 7})] {
        stage.brain.then(Step::Call(vec![("lookup", arguments)]));
    }
    stage.brain.say("Ada").say("done");
    let host = stage.builder().tool(Typed(Lookup)).in_memory();
    let result = soon("the spawn", spawn_bundle(&host, ("plain", "who is it?"))).await.unwrap();
    assert_eq!(result.output().await.unwrap(), "done");
    let results: Vec<String> = stage.brain.last_request().into_iter().map(|(_, text)| text).collect();
    assert!(
        results[2].starts_with("invalid arguments: ") && results[2].contains("expected u32"),
        "{results:?}"
    );
    assert_eq!((results[4].as_str(), results[6].as_str()), ("there is no customer 0", "Ada"));
    assert_eq!(result.descendants().len(), 1);
}

#[tokio::test]
async fn subscribe_and_react() {
    let stage = Stage::new();
    let host = stage.host_in_memory();
    let mut events = host.router().subscribe("analysis_complete").unwrap().events();
    let chat = SpawnRequest::new("plain", "analyse").keep_open();
    let chat = soon("the spawn", spawn_bundle(&host, chat)).await.unwrap();
    chat.session().emit_event("analysis_complete", json!({"found": 3})).await.unwrap();
    let event = soon("the event", events.next()).await.unwrap().unwrap();
    assert_eq!(event.payload.decode::<serde_json::Value>().unwrap(), json!({"found": 3}));
}

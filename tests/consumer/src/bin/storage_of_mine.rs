//! Sessions in a storage of mine: three methods.

use std::{collections::HashMap, sync::Arc};

use amplifier_core::{Message, SessionId};
use amplifier_foundation::storage::{
    SessionMetadata, SnapshotStorage, Snapshots, StorageError, StoredSession,
};
use amplifier_foundation::{Host, spawn_bundle};

type Saved<T> = Result<T, StorageError>;
#[derive(Debug, Clone, Default)]
struct Redis(Arc<tokio::sync::Mutex<HashMap<SessionId, StoredSession>>>);

#[async_trait::async_trait]
impl SnapshotStorage for Redis {
    async fn save(&self, id: &SessionId, said: &[Arc<Message>], about: &SessionMetadata) -> Saved<()> {
        self.0.lock().await.insert(id.clone(), StoredSession::new(about.clone(), said.to_vec()));
        Ok(())
    }
    async fn load(&self, id: &SessionId) -> Saved<Option<StoredSession>> {
        Ok(self.0.lock().await.get(id).cloned())
    }
    async fn exists(&self, id: &SessionId) -> Saved<bool> {
        Ok(self.0.lock().await.contains_key(id))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (redis, host) = (Redis::default(), Host::builder().modules(amplifier_modules::builtin()));
    let host = host.storage(Arc::new(Snapshots::new(redis.clone()))).open(".").await?;
    let chat = spawn_bundle(&host, ("assistant", "hello")).await?;
    println!("{} messages, {}", redis.0.lock().await[chat.id()].transcript.len(), chat.output().await?);
    Ok(())
}

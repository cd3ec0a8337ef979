//! A storage that fails when a test wants it to.
//!
//! Guarantees: the call that fails has no effect on the storage behind it; every call is
//! counted and named in order.

use std::sync::{Arc, Mutex};

use amplifier_core::{Activation, Message, SessionId};
use amplifier_foundation::storage::{
    Holder, Revision, SessionMetadata, SessionQuery, SessionStorage, SessionSummary, StorageError,
    StoredSession,
};
use async_trait::async_trait;

use crate::gate::Gate;

/// How a call fails.
#[derive(Debug, Clone)]
pub enum Fault {
    /// With an error, as of a full disk.
    Error,
    /// With a panic.
    Panic,
    /// It waits at the gate first, and then works.
    Wait(Gate),
    /// It works, and then waits at the gate before it says so; for [`When::Method`] and `close` alone.
    Late(Gate),
    /// It lets other tasks run first, and then works.
    Yield,
}

/// Which calls fail, counted from 0 over all methods.
#[derive(Debug, Clone, Default)]
pub enum When {
    /// None.
    #[default]
    Never,
    /// One of them.
    At(usize),
    /// This one and all behind it.
    From(usize),
    /// Every call of this method.
    Method(&'static str),
}

/// A storage in front of another one. Clones share the count.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn SessionStorage>,
    fault: Arc<Mutex<(When, Fault)>>,
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl FaultyStorage {
    /// A storage in front of `inner` that fails when `when` says so.
    pub fn new(inner: Arc<dyn SessionStorage>, when: When, fault: Fault) -> Self {
        Self { inner, fault: Arc::new(Mutex::new((when, fault))), calls: Arc::default() }
    }

    /// Fails at other calls from now on.
    pub fn set(&self, when: When, fault: Fault) {
        *self.fault.lock().unwrap() = (when, fault);
    }

    /// The methods that were called, in order.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    /// Waits behind a call of a method that is late.
    async fn linger(&self, method: &'static str) {
        let fault = self.fault.lock().unwrap().clone();
        if let (When::Method(name), Fault::Late(gate)) = fault
            && name == method
        {
            gate.pass().await;
        }
    }

    async fn pass(&self, method: &'static str, id: &SessionId) -> Result<(), StorageError> {
        let index = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(method);
            calls.len() - 1
        };
        let (when, fault) = self.fault.lock().unwrap().clone();
        let hit = match when {
            When::Never => false,
            When::At(at) => index == at,
            When::From(from) => index >= from,
            When::Method(name) => method == name,
        };
        match fault {
            _ if !hit => Ok(()),
            Fault::Panic => panic!("the storage panicked in {method}"),
            Fault::Wait(gate) => {
                gate.pass().await;
                Ok(())
            }
            Fault::Late(_) => Ok(()),
            Fault::Yield => {
                tokio::task::yield_now().await;
                Ok(())
            }
            Fault::Error => {
                let source = Box::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
                Err(StorageError::Backend { id: id.clone(), action: method, source })
            }
        }
    }
}

#[async_trait]
impl SessionStorage for FaultyStorage {
    async fn create(&self, id: &SessionId, metadata: &Arc<SessionMetadata>) -> Result<(), StorageError> {
        self.pass("create", id).await?;
        self.inner.create(id, metadata).await
    }

    async fn open(&self, id: &SessionId, activation: Activation) -> Result<StoredSession, StorageError> {
        self.pass("open", id).await?;
        self.inner.open(id, activation).await
    }

    async fn append(
        &self,
        id: &SessionId,
        activation: Activation,
        messages: &[Arc<Message>],
    ) -> Result<Revision, StorageError> {
        self.pass("append", id).await?;
        self.inner.append(id, activation, messages).await
    }

    async fn describe(
        &self,
        id: &SessionId,
        activation: Activation,
        metadata: &Arc<SessionMetadata>,
    ) -> Result<(), StorageError> {
        self.pass("describe", id).await?;
        self.inner.describe(id, activation, metadata).await
    }

    async fn close(&self, id: &SessionId) -> Result<(), StorageError> {
        self.pass("close", id).await?;
        self.inner.close(id).await?;
        self.linger("close").await;
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<StoredSession, StorageError> {
        self.pass("load", id).await?;
        self.inner.load(id).await
    }

    async fn list(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>, StorageError> {
        self.inner.list(query).await
    }

    async fn delete(&self, id: &SessionId) -> Result<(), StorageError> {
        self.pass("delete", id).await?;
        self.inner.delete(id).await
    }

    async fn undo_create(&self, id: &SessionId) -> Result<(), StorageError> {
        self.pass("delete", id).await?;
        self.inner.undo_create(id).await
    }

    async fn exists(&self, id: &SessionId) -> Result<bool, StorageError> {
        self.inner.exists(id).await
    }

    async fn holder(&self, id: &SessionId) -> Result<Option<Holder>, StorageError> {
        self.inner.holder(id).await
    }
}

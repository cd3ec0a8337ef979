//! The plainest loop and context manager, and a loop that breaks.

use std::sync::{Arc, RwLock};

use amplifier_core::module::context::{ContextManager, ContextView, ViewBudget};
use amplifier_core::module::orchestrator::Orchestrator;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError};
use amplifier_core::transcript::{MessageLog, MessageView};
use amplifier_core::turn::{Turn, TurnError};
use amplifier_core::{CancelLevel, Message, ModuleSpec};
use async_trait::async_trait;

use crate::gate::Gate;

/// What the loop does.
#[derive(Debug, Clone)]
pub enum LoopAct {
    /// Asks and runs tools until there is an answer.
    Plain,
    /// Panics.
    Panic,
    /// Waits at the gate, whatever happens.
    Stuck(Gate),
}

/// An orchestrator, and the module that mounts it.
#[derive(Debug, Clone)]
pub struct FakeLoop(pub &'static str, pub LoopAct);

#[async_trait]
impl Orchestrator for FakeLoop {
    fn name(&self) -> &str {
        self.0
    }

    async fn run(&self, turn: &mut Turn<'_>) -> Result<String, TurnError> {
        match &self.1 {
            LoopAct::Panic => panic!("the loop broke"),
            LoopAct::Stuck(gate) => gate.pass().await,
            LoopAct::Plain => {}
        }
        loop {
            let message = turn.complete().await?.message;
            let (text, calls) = (message.text(), message.tool_calls.clone());
            turn.append(vec![message]).await?;
            if calls.is_empty() {
                return Ok(text);
            }
            for call in &calls {
                let result = turn.run_tool(call).await;
                turn.append(vec![result]).await?;
            }
            if turn.cancelled() != CancelLevel::None {
                return Err(TurnError::Cancelled);
            }
        }
    }
}

#[async_trait]
impl Module for FakeLoop {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: self.0,
            aliases: &[],
            kind: ModuleKind::Orchestrator,
            summary: "asks and runs tools",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.orchestrator(Arc::new(self.clone()));
        Ok(())
    }
}

/// A context manager that keeps and sends everything, and the module that mounts it.
#[derive(Debug, Default)]
pub struct FakeContext(RwLock<MessageLog>);

#[async_trait]
impl ContextManager for FakeContext {
    fn append(&self, messages: &[Arc<Message>]) {
        self.0.read().unwrap().extend(messages.iter().cloned());
    }

    fn replace(&self, messages: Vec<Arc<Message>>) {
        *self.0.write().unwrap() = MessageLog::new(messages);
    }

    fn messages(&self) -> MessageView {
        self.0.read().unwrap().view()
    }

    async fn view(&self, _budget: ViewBudget) -> ContextView {
        ContextView::whole(self.messages(), 0)
    }
}

#[async_trait]
impl Module for FakeContext {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: super::CONTEXT,
            aliases: &[],
            kind: ModuleKind::Context,
            summary: "keeps everything",
            config_keys: &[],
        }
    }

    async fn mount(&self, _spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        mount.context(Arc::new(Self::default()));
        Ok(())
    }
}

//! Tool calls that an earlier activation left without a result.
//!
//! Guarantees: each gets exactly one, in the order of the calls. A call is made again only
//! if its tool is here and declares that this does no harm, and through the same gates as
//! any call; every other one is marked interrupted. A session that is asked to stop makes
//! none again.

use serde_json::json;

use super::{Turn, TurnError, interrupted_result};
use crate::event::EventType;
use crate::message::{EXTERNAL, INTERRUPTED, Message, ToolCall};
use crate::module::tool::Repeat;
use crate::panic::caught;
use crate::session::Core;

impl Core {
    /// Answers them. `Ok`: the results are durable, or there was nothing to answer.
    pub(crate) async fn answer_open_calls(&self) -> Result<(), TurnError> {
        let open = self.ledger().open_calls();
        if open.is_empty() {
            return Ok(());
        }
        let mut results: Vec<Message> = Vec::with_capacity(open.len());
        for call in &open {
            results.push(match self.may_repeat(call).await {
                true => Turn::new(self).run_tool(call).await,
                false => interrupted_result(call),
            });
        }
        let repaired = results.iter().filter(|result| result.metadata.contains_key(INTERRUPTED)).count();
        let repeated = results.len() - repaired;
        self.append(results).await?;
        let data = || json!({"repaired": repaired, "repeated": repeated});
        self.notify(&EventType::ProviderToolSequenceRepaired, data).await;
        Ok(())
    }

    async fn may_repeat(&self, call: &ToolCall) -> bool {
        if call.extra.contains_key(EXTERNAL) {
            return false;
        }
        let Some(tool) = self.tools.get(&call.name) else { return false };
        let repeat = caught(async { tool.repeat() }).await;
        matches!(repeat, Ok(Repeat::Pure | Repeat::Idempotent)) && !self.env.cancel.is_cancelled()
    }
}

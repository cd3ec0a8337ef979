//! Wakes a pool when people have changed its queue, from whatever process.
//!
//! Guarantees: a run that was made anew begins as soon as its event is known here, and one that was dropped
//! takes no room any more. Never here: a look at the store. It is told with the store's lock held.

use std::sync::{Arc, Weak};

use amplifier_core::SessionEvent;
use amplifier_store::{Cursor, LogListener, QueueName};

use crate::report::is_for;
use crate::status::Board;

/// The bell of one background session.
#[derive(Debug)]
pub(crate) struct Bell {
    pub(crate) queue: QueueName,
    pub(crate) board: Weak<Board>,
}

impl Bell {
    fn ring(&self) {
        if let Some(board) = self.board.upgrade() {
            board.change(|inner| inner.recount = true);
        }
    }
}

impl LogListener for Bell {
    fn recorded(&self, events: &[Arc<SessionEvent>]) {
        if events.iter().any(|event| is_for(event, &self.queue)) {
            self.ring();
        }
    }

    fn missed(&self, _resume: Cursor) {
        self.ring();
    }

    fn commanded(&self) {}
}

//! A name for a session that a module thinks of while the session runs: a capability.
//!
//! Guarantees: a name that a person gave stays, and so does one that came from a model; what is set is written with the
//! metadata, after each turn of a session that is kept open and at the end of every session.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use amplifier_core::Timestamp;
use serde_json::Value;

use crate::storage::SessionMetadata;

/// Where the metadata says when a name was made.
const WHEN: &str = "name_generated_at";
/// Where it keeps a name that was made of words: a session with another one was named since.
const OF_WORDS: &str = "name_of_words";

/// The name of a session, where no person gave one.
#[derive(Debug, Default)]
pub struct SessionTitle {
    wanted: bool,
    turns: u64,
    // Held to put or take.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// It has a name, of words at least.
    named: bool,
    /// What is to be written.
    title: Option<Title>,
}

#[derive(Debug)]
struct Title {
    name: String,
    description: Option<String>,
    of_words: bool,
}

impl SessionTitle {
    pub(super) fn of(metadata: &SessionMetadata) -> Self {
        let named = metadata.name.is_some();
        let words = metadata.extra.get(OF_WORDS).and_then(Value::as_str);
        let of_words = named && words == metadata.name.as_deref();
        Self {
            wanted: metadata.spawned_by().is_none() && (!named || of_words),
            turns: metadata.turn_count.unwrap_or(0),
            state: Mutex::new(State { named, title: None }),
        }
    }

    /// False if the session has a name that stays, or needs none.
    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// User messages of earlier activations.
    pub fn turns_before(&self) -> u64 {
        self.turns
    }

    /// A name made of the conversation's words, unless there is one already.
    pub fn suggest(&self, name: String) {
        let mut state = self.state();
        if self.wanted && !std::mem::replace(&mut state.named, true) {
            state.title = Some(Title { name, description: None, of_words: true });
        }
    }

    /// A name that a model gave, and a sentence.
    pub fn set(&self, name: String, description: Option<String>) {
        let mut state = self.state();
        if self.wanted {
            state.named = true;
            state.title = Some(Title { name, description, of_words: false });
        }
    }

    /// Enters what was set since the last time; false if that is nothing. Metadata that is shared is copied
    /// only then.
    pub(super) fn enter(&self, metadata: &mut Arc<SessionMetadata>, now: Timestamp) -> bool {
        let Some(title) = self.state().title.take() else { return false };
        let metadata = Arc::make_mut(metadata);
        metadata.extra.shift_remove(OF_WORDS);
        if title.of_words {
            metadata.extra.insert(OF_WORDS.to_owned(), title.name.as_str().into());
        }
        metadata.name = Some(title.name);
        metadata.description = metadata.description.take().or(title.description);
        metadata.extra.insert(WHEN.to_owned(), now.to_string().into());
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

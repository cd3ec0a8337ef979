//! A name for a session that a module thinks of while the session runs: a capability.
//!
//! Guarantees: a name that a person gave stays, and so does one that came from a model; what is set is written with the
//! metadata, after each turn of a session that is kept open and at the end of every session.

use std::sync::{Mutex, MutexGuard, PoisonError};

use amplifier_core::Timestamp;

use crate::storage::SessionMetadata;

/// Where the metadata says when a name was made, and of what.
const WHEN: &str = "name_generated_at";
const FROM: &str = "name_from";
const WORDS: &str = "words";

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
        let of_words = metadata.extra.get(FROM).is_some_and(|from| from == WORDS);
        let named = metadata.name.is_some();
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

    /// Enters what was set since the last time; false if that is nothing.
    pub(super) fn enter(&self, metadata: &mut SessionMetadata, now: Timestamp) -> bool {
        let Some(title) = self.state().title.take() else { return false };
        metadata.name = Some(title.name);
        metadata.description = metadata.description.take().or(title.description);
        metadata.extra.insert(WHEN.to_owned(), now.to_string().into());
        match title.of_words {
            true => drop(metadata.extra.insert(FROM.to_owned(), WORDS.into())),
            false => drop(metadata.extra.shift_remove(FROM)),
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

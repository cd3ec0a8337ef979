//! Who else works on a project: instance lock, turnstile, doorbell.

use std::time::Duration;

use amplifier_core::Clock;

use super::OwnerId;

/// One process at work on a project.
#[derive(Debug)]
pub enum Instance {}

/// The right to write.
#[derive(Debug)]
pub enum Passage {}

impl Drop for Passage {
    fn drop(&mut self) {}
}

/// Somebody else writes.
#[derive(Debug)]
pub struct Blocked {
    /// Who.
    pub holder: Option<OwnerId>,
}

#[allow(missing_docs)]
impl Instance {
    pub fn owner(&self) -> &OwnerId {
        match *self {}
    }
    pub fn lives(&self, _owner: &OwnerId) -> bool {
        match *self {}
    }
    pub fn pass(&self, _clock: &dyn Clock, _within: Duration) -> Result<Passage, Blocked> {
        match *self {}
    }
    pub fn ring(&self) {
        match *self {}
    }
    pub fn wait(&self, _at_most: Duration) -> bool {
        match *self {}
    }
}

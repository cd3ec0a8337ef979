//! Asking for sessions, and what a list tells of each.

use std::path::PathBuf;

use amplifier_core::{SessionId, Timestamp};
use serde::Deserialize;

use super::SessionMetadata;

/// Whose sessions are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum ProjectScope {
    /// Those of the storage's own project.
    #[default]
    Current,
    /// Those of each project in the same home.
    All,
}

/// Which sessions to list. The default is all of the current project.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SessionQuery {
    /// At most so many.
    pub limit: Option<usize>,
    /// Only sessions that no other spawned; forks are among them.
    pub top_level_only: bool,
    /// Only those that this session spawned.
    pub parent: Option<SessionId>,
    /// Whose sessions.
    pub project: ProjectScope,
    /// Only those changed at this time or later.
    pub after: Option<Timestamp>,
    /// Only those changed before this time.
    pub before: Option<Timestamp>,
    /// Only those whose id begins with this.
    pub id_prefix: Option<String>,
    /// Only those with this text in name, description or transcript, letter case ignored.
    pub keyword: Option<String>,
}

impl SessionQuery {
    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Only sessions that no other spawned.
    #[must_use]
    pub fn top_level(mut self) -> Self {
        self.top_level_only = true;
        self
    }

    /// Only those that this session spawned.
    #[must_use]
    pub fn parent(mut self, parent: SessionId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Whose sessions.
    #[must_use]
    pub fn project(mut self, scope: ProjectScope) -> Self {
        self.project = scope;
        self
    }

    /// Only those whose id begins with this.
    #[must_use]
    pub fn id_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.id_prefix = Some(prefix.into());
        self
    }

    /// Only those changed at this time or later.
    #[must_use]
    pub fn after(mut self, time: Timestamp) -> Self {
        self.after = Some(time);
        self
    }

    /// Only those changed before this time.
    #[must_use]
    pub fn before(mut self, time: Timestamp) -> Self {
        self.before = Some(time);
        self
    }

    /// Only those with this text in name, description or transcript.
    #[must_use]
    pub fn keyword(mut self, keyword: impl Into<String>) -> Self {
        self.keyword = Some(keyword.into());
        self
    }

    pub(super) fn fits_id(&self, id: &str) -> bool {
        self.id_prefix.as_deref().is_none_or(|prefix| id.starts_with(prefix))
    }

    pub(super) fn fits_time(&self, updated: Option<Timestamp>) -> bool {
        self.after.is_none_or(|after| updated >= Some(after))
            && self.before.is_none_or(|before| updated < Some(before))
    }

    pub(super) fn fits_lineage(&self, summary: &SessionSummary) -> bool {
        (!self.top_level_only || summary.is_top_level())
            && self.parent.as_ref().is_none_or(|parent| summary.spawned_by() == Some(parent))
    }
}

/// What a list tells of a session.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SessionSummary {
    /// The session.
    pub id: SessionId,
    /// Its folder, where it has one.
    pub path: Option<PathBuf>,
    /// The slug of its project, where it has one.
    pub project: Option<String>,
    /// The session that spawned it or that it was forked from.
    pub parent_id: Option<SessionId>,
    /// True for a fork.
    pub forked: bool,
    /// A name for people.
    pub name: Option<String>,
    /// A sentence for people.
    pub description: Option<String>,
    /// The bundle, as it was named.
    pub bundle: Option<String>,
    /// The model, as `provider/model`.
    pub model: Option<String>,
    /// The agent that a sub-session runs.
    pub agent_name: Option<String>,
    /// The directory in which it works.
    pub working_dir: Option<PathBuf>,
    /// When it was made.
    pub created: Option<Timestamp>,
    /// When it was last described.
    pub updated: Option<Timestamp>,
    /// The number of turns.
    pub turn_count: Option<u64>,
    /// A copy of its status; the store decides.
    pub status: Option<String>,
    /// Why its metadata cannot be read; the other fields are empty then.
    pub broken: Option<String>,
}

impl SessionSummary {
    /// Summarises metadata.
    pub fn new(id: SessionId, metadata: &SessionMetadata, updated: Option<Timestamp>) -> Self {
        let metadata = metadata.clone();
        let head = Head {
            parent_id: metadata.parent_id,
            name: metadata.name,
            description: metadata.description,
            bundle: metadata.bundle,
            model: metadata.model,
            agent_name: metadata.agent_name,
            working_dir: metadata.working_dir,
            created: metadata.created,
            turn_count: metadata.turn_count,
            forked_from_turn: metadata.forked_from_turn,
            amplifier: HeadRecord { status: metadata.amplifier.status },
        };
        head.summary(id, updated)
    }

    /// A session whose metadata cannot be read.
    pub fn broken(id: SessionId, reason: String, updated: Option<Timestamp>) -> Self {
        Self { broken: Some(reason), ..Head::default().summary(id, updated) }
    }

    /// The session that spawned it. A fork has an origin, but nobody spawned it.
    pub fn spawned_by(&self) -> Option<&SessionId> {
        self.parent_id.as_ref().filter(|_| !self.forked)
    }

    /// True if no session spawned it. Where that cannot be read the id decides: those of
    /// sub-sessions of the reference system hold `_`.
    pub fn is_top_level(&self) -> bool {
        match self.broken {
            Some(_) => !self.id.as_str().contains('_'),
            None => self.spawned_by().is_none(),
        }
    }

    pub(super) fn says(&self, keyword_lowercase: &str) -> bool {
        [&self.name, &self.description]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(keyword_lowercase))
    }
}

/// The keys of `metadata.json` that a summary needs; the rest is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Head {
    parent_id: Option<SessionId>,
    name: Option<String>,
    description: Option<String>,
    bundle: Option<String>,
    model: Option<String>,
    agent_name: Option<String>,
    working_dir: Option<PathBuf>,
    #[serde(deserialize_with = "super::metadata::time")]
    created: Option<Timestamp>,
    turn_count: Option<u64>,
    forked_from_turn: Option<u64>,
    amplifier: HeadRecord,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct HeadRecord {
    status: Option<String>,
}

impl Head {
    pub(super) fn read(content: &[u8]) -> Result<Self, serde_json::Error> {
        // Derived code would take a list for the fields in order.
        match content.trim_ascii_start().first() {
            Some(b'[') => Err(serde::de::Error::custom("not an object")),
            _ => serde_json::from_slice(content),
        }
    }

    pub(super) fn summary(self, id: SessionId, updated: Option<Timestamp>) -> SessionSummary {
        SessionSummary {
            id,
            path: None,
            project: None,
            parent_id: self.parent_id,
            forked: self.forked_from_turn.is_some(),
            name: self.name,
            description: self.description,
            bundle: self.bundle,
            model: self.model,
            agent_name: self.agent_name,
            working_dir: self.working_dir,
            created: self.created,
            updated,
            turn_count: self.turn_count,
            status: self.amplifier.status,
            broken: None,
        }
    }
}

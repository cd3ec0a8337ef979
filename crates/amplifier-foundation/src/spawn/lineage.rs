//! Step 1, the parent: live in this process, or as it was recorded.
//!
//! Guarantees: a parent that does not run here any more lends what it had, or what its record says if
//! nobody holds it any more, and never more; the line of recorded ancestors is followed as far as plans
//! are inherited.

use std::sync::Arc;

use amplifier_core::clock::BoxFuture;
use amplifier_core::{AmplifierSession, Limits, Payload, Permissions, SessionId};
use serde::{Deserialize, Serialize};

use super::SpawnError;
use super::bounds::Bounds;
use super::guarded::guarded;
use super::inherit::Inherit;
use super::node::{Lent, Node};
use super::plan::{self, Candidate, SELF, SessionPlan};
use super::request::{BundleRef, Wish};
use super::spawner::Spawner;
use super::untrusted;
use crate::bundle::{PreparedBundle, ProviderPreference};
use crate::host::Host;
use crate::storage::{RecordCopy, SessionMetadata, SessionStorage, StorageError};

/// How many recorded ancestors are followed; more can only be a damaged record.
const MAX_ANCESTORS: u32 = 64;

/// The session that spawns.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    pub(super) node: Arc<Node>,
    /// Its handle, where it runs here; of a resume else that of the session that asks.
    pub(super) live: Option<AmplifierSession>,
}

/// What is recorded of a child, so that a resume can make its plan again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Spawned {
    pub(super) depth: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<String>,
    #[serde(skip_serializing_if = "Inherit::is_default")]
    pub(super) inherit: Inherit,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) preferences: Vec<ProviderPreference>,
    #[serde(flatten)]
    pub(super) wish: Wish,
}

impl Spawned {
    /// The limits of an activation; a child whose parent is gone stays a child.
    pub(super) fn bounds(
        &self,
        host: &Host,
        parent: Option<&Node>,
        request: &Limits,
        before: &Limits,
    ) -> Arc<Bounds> {
        let orphaned = (self.depth > 0).then(Bounds::default);
        let above = parent.map(|parent| parent.bounds.as_ref()).or(orphaned.as_ref());
        Arc::new(Bounds::new(&host.0.limits, above, request, before))
    }
}

/// Layers behind those there are; one that is there already is not repeated.
pub(super) fn with_layers(mut all: Permissions, more: &Permissions) -> Permissions {
    let before = all.clone();
    for layer in more.layers().iter().filter(|layer| !before.layers().contains(layer)) {
        all = all.with(layer.as_ref().clone());
    }
    all
}

/// The parent of this id if it runs here.
pub(super) fn live(host: &Host, id: &SessionId) -> Option<Parent> {
    let live = host.sessions().get(id)?;
    let spawner = live.env().coordinator.capability::<Spawner>()?;
    Some(Parent { node: Arc::clone(spawner.node()), live: Some(live) })
}

/// The parent of this id, live or as recorded.
pub(super) async fn find(
    host: &Host,
    storage: &Arc<dyn SessionStorage>,
    id: &SessionId,
) -> Result<Parent, SpawnError> {
    if let Some(parent) = live(host, id) {
        return Ok(parent);
    }
    let node = recorded(host, storage, id, MAX_ANCESTORS).await?;
    Ok(Parent { node, live: None })
}

fn recorded<'a>(
    host: &'a Host,
    storage: &'a Arc<dyn SessionStorage>,
    id: &'a SessionId,
    left: u32,
) -> BoxFuture<'a, Result<Arc<Node>, SpawnError>> {
    Box::pin(async move {
        if let Some(node) = host.0.nodes.get(id) {
            return Ok(node);
        }
        let (storage, metadata) = load(host, storage, id).await?;
        let parent = match metadata.spawned_by() {
            Some(parent) if left > 0 => match recorded(host, storage, parent, left - 1).await {
                Err(SpawnError::Storage(StorageError::NotFound { .. })) => None,
                found => Some(found?),
            },
            _ => None,
        };
        let spawned: Spawned = read(id, "spawn record", metadata.amplifier.spawn.as_ref())?;
        let bundle = bundle_again(host, id, &metadata).await?;
        let plan = again(host, bundle, parent.as_deref(), &spawned, None)?;
        let limits = copied(id, "limits", metadata.amplifier.limits.as_ref())?;
        let permissions = copied(id, "permissions", metadata.amplifier.permissions.as_ref())?;
        let above = parent.as_ref().map(|parent| &parent.permissions);
        let permissions = above.map_or(permissions.clone(), |above| with_layers(permissions, above));
        let bounds = spawned.bounds(host, parent.as_deref(), &Limits::default(), &limits);
        let node = Node::new(
            Lent {
                id: id.clone(),
                root: metadata.trace_id.clone().unwrap_or_else(|| id.clone()),
                depth: spawned.depth,
                self_depth: metadata.self_delegation_depth.unwrap_or(0),
                plan: Arc::new(plan),
                bounds,
                permissions: with_layers(permissions, &host.0.permissions),
                storage: Arc::clone(storage),
                cwd: metadata.working_dir.unwrap_or_else(|| host.project().to_path_buf()),
                wish: spawned.wish,
                chosen_by_project: metadata.amplifier.bundle_by_project,
                patience: None,
                cause: metadata.amplifier.cause,
                children: parent.as_ref().and_then(|parent| parent.children_of(id)).unwrap_or_default(),
                parent,
            },
            None,
        );
        Ok(host.0.nodes.enter_recorded(node))
    })
}

/// How a session is described: in the storage of who asks, else in the host's.
async fn load<'a>(
    host: &'a Host,
    storage: &'a Arc<dyn SessionStorage>,
    id: &SessionId,
) -> Result<(&'a Arc<dyn SessionStorage>, SessionMetadata), SpawnError> {
    match guarded(id, "load", storage.load(id)).await {
        Err(StorageError::NotFound { .. }) if !Arc::ptr_eq(storage, host.storage()) => {
            let stored = guarded(id, "load", host.storage().load(id)).await?;
            Ok((host.storage(), stored.metadata))
        }
        stored => Ok((storage, stored?.metadata)),
    }
}

/// The bundle of a recorded session; where nobody vouches for the project, without what redirects keys.
async fn bundle_again(
    host: &Host,
    id: &SessionId,
    metadata: &SessionMetadata,
) -> Result<Arc<PreparedBundle>, SpawnError> {
    let name = bundle_name(id, metadata)?;
    let bundle = host.prepare(&name).await?;
    let by_project = metadata.amplifier.bundle_by_project;
    Ok(untrusted::without_redirects(host, bundle, &BundleRef::Named(name), by_project).0)
}

/// Refuses a session that is not below the one that asks for it.
pub(super) async fn require_descendant(
    host: &Host,
    storage: &Arc<dyn SessionStorage>,
    id: &SessionId,
    asker: &SessionId,
) -> Result<(), SpawnError> {
    let mut next = id.clone();
    for _ in 0..MAX_ANCESTORS {
        let (_, metadata) = match load(host, storage, &next).await {
            // An ancestor that is deleted belongs to nobody any more.
            Err(SpawnError::Storage(StorageError::NotFound { .. })) if next != *id => break,
            loaded => loaded?,
        };
        match metadata.spawned_by() {
            Some(parent) if parent == asker => return Ok(()),
            Some(parent) => next = parent.clone(),
            None => break,
        }
    }
    Err(SpawnError::NotDescendant { session: id.clone(), asker: asker.clone() })
}

/// The plan of a session as it was once spawned.
pub(super) fn again(
    host: &Host,
    bundle: Arc<PreparedBundle>,
    parent: Option<&Node>,
    spawned: &Spawned,
    provider: Option<&str>,
) -> Result<SessionPlan, SpawnError> {
    let mut plan = match (parent, &spawned.agent) {
        (None, None) => plan::of_root(host, bundle, provider),
        (Some(parent), None) => plan::of_bundle_child(host, bundle, &parent.plan, &spawned.inherit, provider),
        (Some(parent), Some(name)) => {
            let agent = candidate(&parent.plan, name)?;
            plan::of_agent(host, &parent.plan, agent, &spawned.inherit, provider)
        }
        (None, Some(name)) => {
            let root = plan::of_root(host, bundle, provider)?;
            let agent = candidate(&root, name)?;
            plan::of_agent(host, &root, agent, &spawned.inherit, provider)
        }
    }?;
    if !spawned.preferences.is_empty() {
        plan.preferences.clone_from(&spawned.preferences);
    }
    Ok(plan)
}

/// The agent of a name; `None` for `self`. A name without a namespace may be the last part of one with it.
pub(super) fn candidate(plan: &SessionPlan, name: &str) -> Result<Option<Candidate>, SpawnError> {
    if name == SELF {
        return Ok(None);
    }
    if let Some(found) = plan.agents.get(name) {
        return Ok(Some(found.clone()));
    }
    let mut last = plan.agents.iter().filter(|(key, _)| key.rsplit(':').next() == Some(name));
    match (last.next(), last.next()) {
        (Some((_, found)), None) => Ok(Some(found.clone())),
        _ => {
            let known: Vec<&str> = plan.agents.keys().map(String::as_str).chain([SELF]).collect();
            Err(SpawnError::UnknownAgent { wanted: name.to_owned(), known: known.join(", ") })
        }
    }
}

/// The bundle that a session had: as we recorded it, else as the reference system names it.
pub(super) fn bundle_name(id: &SessionId, metadata: &SessionMetadata) -> Result<String, SpawnError> {
    let named = metadata.amplifier.bundle_source.as_deref().or(metadata.bundle.as_deref());
    let name = named.map(|name| name.strip_prefix("bundle:").unwrap_or(name)).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or_else(|| SpawnError::NoBundle { id: id.clone() })
}

/// What a session's record has a copy of.
pub(super) fn copied<T: serde::de::DeserializeOwned + Clone + Default>(
    id: &SessionId,
    what: &'static str,
    copy: Option<&RecordCopy<T>>,
) -> Result<T, SpawnError> {
    let unreadable = |source| SpawnError::Recorded { id: id.clone(), what, source };
    copy.map(RecordCopy::decode).transpose().map_err(unreadable).map(Option::unwrap_or_default)
}

/// A part of a session's record.
pub(super) fn read<T: serde::de::DeserializeOwned + Default>(
    id: &SessionId,
    what: &'static str,
    payload: Option<&Payload>,
) -> Result<T, SpawnError> {
    let unreadable = |source| SpawnError::Recorded { id: id.clone(), what, source };
    payload
        .map(|payload| payload.decode::<T>())
        .transpose()
        .map_err(unreadable)
        .map(Option::unwrap_or_default)
}

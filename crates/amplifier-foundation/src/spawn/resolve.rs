//! Step 1: which bundle, which directory, which earlier life.

use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::permission::Permissions;
use amplifier_core::{Limits, Payload, SessionId};

use super::SpawnError;
use super::guarded::guarded;
use super::request::{BundleRef, SpawnRequest, Target};
use super::untrusted;
use crate::bundle::PreparedBundle;
use crate::host::Host;
use crate::storage::{SessionMetadata, StoredSession};

/// What a session will be.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) bundle: Arc<PreparedBundle>,
    /// How the bundle was named; recorded for a resume.
    pub(super) bundle_name: String,
    /// Settings of the project named the bundle.
    pub(super) chosen_by_project: bool,
    /// The line about what of the bundle does not count for want of trust.
    pub(super) distrusted: Option<String>,
    pub(super) cwd: PathBuf,
    pub(super) permissions: Permissions,
    pub(super) limits: Limits,
    /// Who set the limits, for refusals.
    pub(super) limits_from: &'static str,
    /// Of a resume: the session as it was read.
    pub(super) earlier: Option<(SessionId, StoredSession)>,
}

pub(super) async fn resolve(host: &Host, request: &SpawnRequest) -> Result<Resolved, SpawnError> {
    let (reference, earlier) = match &request.target {
        Target::New(bundle) => (bundle.clone(), None),
        Target::Resume(id) => {
            let stored = guarded(id, "load", host.storage().load(id)).await?;
            let reference = match &request.bundle {
                Some(bundle) => bundle.clone(),
                None => recorded_bundle(id, &stored.metadata)?,
            };
            (reference, Some((id.clone(), stored)))
        }
    };
    let chosen_by_project = match &earlier {
        Some((_, stored)) if request.bundle.is_none() => stored.metadata.amplifier.bundle_by_project,
        _ => request.chosen_by_project,
    };
    let bundle = match &reference {
        BundleRef::Named(name) => host.prepare(name).await?,
        BundleRef::Prepared(bundle) => Arc::clone(bundle),
    };
    let (bundle, distrusted) = untrusted::without_redirects(host, bundle, &reference, chosen_by_project);
    let bundle_name = match reference {
        BundleRef::Named(name) => name,
        BundleRef::Prepared(bundle) => bundle.name.clone(),
    };
    let metadata = earlier.as_ref().map(|(_, stored)| &stored.metadata);
    let cwd = working_dir(host, request, metadata)?;
    let mut permissions = host.0.permissions.clone();
    for layer in request.permissions.layers() {
        permissions = permissions.with(layer.as_ref().clone());
    }
    if let Some((id, stored)) = &earlier {
        permissions = recorded_permissions(id, &stored.metadata, permissions)?;
    }
    let before = match &earlier {
        Some((id, stored)) => recorded(id, "limits", stored.metadata.amplifier.limits.as_ref())?,
        None => Limits::default(),
    };
    let (limits, limits_from) = limits(&host.0.limits, &request.limits, &before);
    Ok(Resolved {
        bundle,
        bundle_name,
        chosen_by_project,
        distrusted,
        cwd,
        permissions,
        limits,
        limits_from,
        earlier,
    })
}

/// The bounds of this activation, and who set the one on model calls. Whoever resumes a session may
/// name its bounds anew; those it does not name stay as recorded. The host's always hold.
fn limits(host: &Limits, request: &Limits, before: &Limits) -> (Limits, &'static str) {
    let own = request.or(before);
    let limits = host.stricter(&own);
    let from = match limits.max_turns {
        turns if turns == host.max_turns => "the settings",
        turns if turns == request.max_turns => "the request",
        _ => "an earlier run of the session",
    };
    (limits, from)
}

/// The bundle that a session had: as we recorded it, else as the reference system names it.
fn recorded_bundle(id: &SessionId, metadata: &SessionMetadata) -> Result<BundleRef, SpawnError> {
    let named = metadata.amplifier.bundle_source.as_deref().or(metadata.bundle.as_deref());
    let name = named.map(|name| name.strip_prefix("bundle:").unwrap_or(name)).filter(|name| !name.is_empty());
    name.map(BundleRef::from).ok_or_else(|| SpawnError::NoBundle { id: id.clone() })
}

/// A working directory that is gone since is no reason to lose the session.
fn working_dir(
    host: &Host,
    request: &SpawnRequest,
    metadata: Option<&SessionMetadata>,
) -> Result<PathBuf, SpawnError> {
    let open = |path: &PathBuf| {
        crate::fs::read::real_path(path)
            .map_err(|source| SpawnError::WorkingDirectory { path: path.clone(), source })
    };
    match (&request.cwd, metadata.and_then(|metadata| metadata.working_dir.as_ref())) {
        (Some(cwd), _) => open(cwd),
        (None, Some(cwd)) => Ok(open(cwd).unwrap_or_else(|_| host.project().to_path_buf())),
        (None, None) => Ok(host.project().to_path_buf()),
    }
}

/// The recorded layers first, then those of now that are not among them: a resume never widens.
fn recorded_permissions(
    id: &SessionId,
    metadata: &SessionMetadata,
    current: Permissions,
) -> Result<Permissions, SpawnError> {
    let before: Permissions = recorded(id, "permissions", metadata.amplifier.permissions.as_ref())?;
    let mut all = before.clone();
    for layer in current.layers().iter().filter(|layer| !before.layers().contains(layer)) {
        all = all.with(layer.as_ref().clone());
    }
    Ok(all)
}

fn recorded<T: serde::de::DeserializeOwned + Default>(
    id: &SessionId,
    what: &'static str,
    payload: Option<&Payload>,
) -> Result<T, SpawnError> {
    let decode = |payload: &Payload| payload.decode::<T>();
    let unreadable = |source| SpawnError::Recorded { id: id.clone(), what, source };
    payload.map(decode).transpose().map_err(unreadable).map(Option::unwrap_or_default)
}

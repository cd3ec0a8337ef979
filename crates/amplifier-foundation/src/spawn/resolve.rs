//! Steps 1 and 2: which bundle, which parent, which earlier life; and what comes of them together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Limits, Message, Permissions, SessionId};

use super::SpawnError;
use super::bounds::Bounds;
use super::context::{self, ContextForm, ContextRequest};
use super::guarded::guarded;
use super::lineage::{self, Parent, Spawned, with_layers};
use super::node::Node;
use super::plan::{self, SessionPlan};
use super::preferences::{self, Candidate};
use super::request::{BundleRef, SpawnRequest, Wish};
use super::spec::{BundlePin, SpawnTarget};
use super::untrusted;
use crate::bundle::{PreparedBundle, ProviderPreference};
use crate::host::Host;
use crate::storage::{SessionMetadata, SessionStorage, StoredSession};

/// How long a session in the background waits out a rate limit.
const BACKGROUND_PATIENCE: Duration = Duration::from_secs(6 * 3_600);

/// What a session will be.
#[derive(Debug)]
pub(super) struct Resolved {
    pub(super) plan: Arc<SessionPlan>,
    /// How the bundle was named; recorded for a resume.
    pub(super) bundle_name: String,
    /// Settings of the project named the bundle.
    pub(super) chosen_by_project: bool,
    /// The line about what of the bundle does not count for want of trust.
    pub(super) distrusted: Option<String>,
    pub(super) parent: Option<Parent>,
    /// What is recorded of the inheritance, of a child.
    pub(super) spawned: Option<Spawned>,
    pub(super) storage: Arc<dyn SessionStorage>,
    /// Nobody waits for it as its caller.
    pub(super) background: bool,
    pub(super) cwd: PathBuf,
    /// What is recorded, and holds.
    pub(super) permissions: Permissions,
    /// What holds besides, in this activation alone.
    pub(super) passing: Permissions,
    pub(super) bounds: Arc<Bounds>,
    pub(super) wish: Wish,
    /// How long rate limits are waited out, where that is not the host's matter.
    pub(super) patience: Option<Duration>,
    /// Messages of the parent with which the conversation begins.
    pub(super) forked: Vec<Arc<Message>>,
    /// What is quoted of the parent's conversation in front of the user message.
    pub(super) quoted: Option<String>,
    /// The user message.
    pub(super) text: String,
    /// Of a resume: the session as it was read.
    pub(super) earlier: Option<(SessionId, StoredSession)>,
}

impl Resolved {
    /// All layers of this activation.
    pub(super) fn layers(&self) -> Permissions {
        with_layers(self.permissions.clone(), &self.passing)
    }

    /// Levels below the root.
    pub(super) fn depth(&self) -> u32 {
        self.spawned.as_ref().map_or(0, |spawned| spawned.depth)
    }

    /// The agent that the session runs, as it was asked for.
    pub(super) fn agent(&self) -> Option<&str> {
        self.spawned.as_ref()?.agent.as_deref()
    }
}

/// Where the session is kept.
pub(super) fn storage<'a>(
    host: &'a Host,
    request: &'a SpawnRequest,
    live: Option<&'a Parent>,
) -> &'a Arc<dyn SessionStorage> {
    let inherited = live.map(|parent| &parent.node.storage);
    request.storage.as_ref().or(inherited).unwrap_or_else(|| host.storage())
}

/// Step 1. `parent`: of a request that names one that runs here.
pub(super) async fn resolve(
    host: &Host,
    request: &SpawnRequest,
    live: Option<&Parent>,
) -> Result<Resolved, SpawnError> {
    let storage = Arc::clone(storage(host, request, live));
    match &request.spec.target {
        SpawnTarget::Resume(id) => {
            if let Some(asker) = &request.spec.parent {
                // The rarer ways are boxed: the future of every start would have room for them.
                Box::pin(lineage::require_descendant(host, &storage, id, asker)).await?;
            }
            Box::pin(again(host, request, storage, id, live)).await
        }
        _ => anew(host, request, storage, live).await,
    }
}

async fn anew(
    host: &Host,
    request: &SpawnRequest,
    storage: Arc<dyn SessionStorage>,
    live: Option<&Parent>,
) -> Result<Resolved, SpawnError> {
    let spec = &request.spec;
    let parent = match (live, &spec.parent) {
        (Some(live), _) => Some(live.clone()),
        (None, Some(id)) => Some(Box::pin(lineage::find(host, &storage, id)).await?),
        (None, None) => None,
    };
    let wish = wish(request, parent.as_ref());
    let (inherited, provider) = (parent.as_ref().map(|parent| &parent.node), wish.provider.as_deref());
    let (plan, named) = match (&spec.target, inherited) {
        (SpawnTarget::Agent(name), Some(parent)) => {
            let agent = lineage::candidate(&parent.plan, name)?;
            let plan = plan::of_agent(host, &parent.plan, agent, &spec.inherit, provider)?;
            (Arc::new(plan), Named::of_parent(parent))
        }
        (SpawnTarget::Agent(name), None) => return Err(SpawnError::NoParent { agent: name.clone() }),
        (SpawnTarget::Bundle(pin), inherited) => {
            let named = bundle(host, pin, request.prepared.as_ref(), spec.chosen_by_project).await?;
            let plan = match inherited {
                None => host.root_plan(&named.bundle, provider)?,
                Some(parent) => {
                    let bundle = Arc::clone(&named.bundle);
                    Arc::new(plan::of_bundle_child(host, bundle, &parent.plan, &spec.inherit, provider)?)
                }
            };
            (plan, named)
        }
        (SpawnTarget::Resume(id), _) => return Err(SpawnError::NoBundle { id: id.clone() }),
    };
    let spawned = parent.as_ref().map(|parent| Spawned {
        depth: parent.node.depth + 1,
        agent: match &spec.target {
            SpawnTarget::Agent(name) => Some(name.clone()),
            _ => None,
        },
        inherit: spec.inherit.clone(),
        preferences: spec.preferences.clone(),
        wish: wish.clone(),
    });
    let above = parent.as_ref().map(|parent| parent.node.bounds.as_ref());
    let from = parent.as_ref().map_or(&host.0.permissions, |parent| &parent.node.permissions);
    let (forked, quoted) = told(&spec.context, parent.as_ref()).await?;
    let cwd = working_dir(host, request, parent.as_ref().map(|parent| parent.node.cwd.as_path()))?;
    let (own, own_limits) = (plan.own_permissions(&cwd), plan.own_limits());
    Ok(Resolved {
        plan: preferring(plan, &spec.preferences),
        bundle_name: named.name,
        chosen_by_project: named.chosen_by_project,
        distrusted: named.distrusted,
        background: spec.background,
        cwd,
        permissions: with_layers(with_layers(from.clone(), &own), &spec.permissions),
        passing: spec.passing.clone(),
        bounds: bounds(host, above, &spec.limits.stricter(&own_limits)),
        patience: patience(host, request, parent.as_ref()),
        parent,
        spawned,
        storage,
        wish,
        forked,
        quoted,
        text: spec.text.clone(),
        earlier: None,
    })
}

async fn again(
    host: &Host,
    request: &SpawnRequest,
    storage: Arc<dyn SessionStorage>,
    id: &SessionId,
    asker: Option<&Parent>,
) -> Result<Resolved, SpawnError> {
    let spec = &request.spec;
    let stored = guarded(id, "load", storage.load(id)).await?;
    let metadata = &stored.metadata;
    let mut parent = match metadata.spawned_by() {
        Some(parent) => match lineage::find(host, &storage, parent).await {
            Err(error) if spec.parent.is_none() => orphaned(error)?,
            found => Some(found?),
        },
        None => None,
    };
    if let Some(parent) = parent.as_mut().filter(|parent| parent.live.is_none()) {
        parent.live = asker.and_then(|asker| asker.live.clone());
    }
    let (pin, prepared, by_project) = match &spec.bundle {
        Some(pin) => (pin.clone(), request.prepared_instead.as_ref(), spec.chosen_by_project),
        None => {
            (BundlePin::new(lineage::bundle_name(id, metadata)?), None, metadata.amplifier.bundle_by_project)
        }
    };
    let named = bundle(host, &pin, prepared, by_project).await?;
    let mut spawned: Spawned = lineage::read(id, "spawn record", metadata.amplifier.spawn.as_ref())?;
    let (own, before) = (request.wish(), std::mem::take(&mut spawned.wish));
    let wish = Wish {
        provider: own.provider.or(before.provider),
        model: own.model.or(before.model),
        max_output_tokens: own.max_output_tokens.or(before.max_output_tokens),
    };
    let above = parent.as_ref().map(|parent| &parent.node);
    let bundle = Arc::clone(&named.bundle);
    let plan = lineage::again(host, bundle, above.map(Arc::as_ref), &spawned, wish.provider.as_deref())?;
    let limits = lineage::copied(id, "limits", metadata.amplifier.limits.as_ref())?;
    let bounds = match &spec.parent {
        Some(_) => spec.limits.stricter(&limits),
        None => spec.limits.clone(),
    };
    let recorded = lineage::copied(id, "permissions", metadata.amplifier.permissions.as_ref())?;
    let now = with_layers(host.0.permissions.clone(), &spec.permissions);
    let now = above.map_or(now.clone(), |parent| with_layers(parent.permissions.clone(), &now));
    let now = asker.map_or(now.clone(), |asker| with_layers(asker.node.permissions.clone(), &now));
    let cwd = working_dir_again(host, request, metadata)?;
    let now = with_layers(now, &plan.own_permissions(&cwd));
    Ok(Resolved {
        plan: preferring(Arc::new(plan), &spec.preferences),
        bundle_name: named.name,
        chosen_by_project: named.chosen_by_project,
        distrusted: named.distrusted,
        background: spec.background,
        cwd,
        permissions: with_layers(recorded, &now),
        passing: spec.passing.clone(),
        bounds: spawned.bounds(host, above.map(Arc::as_ref), &bounds, &limits),
        patience: patience(host, request, parent.as_ref()),
        // Also where the parent is gone: the next resume has no other record of what the session is.
        spawned: metadata.amplifier.spawn.is_some().then(|| Spawned { wish: wish.clone(), ..spawned }),
        parent,
        storage,
        wish,
        forked: Vec::new(),
        quoted: None,
        text: spec.text.clone(),
        earlier: Some((id.clone(), stored)),
    })
}

/// A child whose parent is deleted or cannot be read goes on as a root.
fn orphaned(error: SpawnError) -> Result<Option<Parent>, SpawnError> {
    match error {
        SpawnError::Storage(error) => {
            tracing::warn!(%error, "the parent of a session cannot be read; it is resumed without it");
            Ok(None)
        }
        other => Err(other),
    }
}

/// A bundle that was found, and how it was named.
struct Named {
    bundle: Arc<PreparedBundle>,
    name: String,
    chosen_by_project: bool,
    distrusted: Option<String>,
}

impl Named {
    /// An agent runs within its parent's bundle.
    fn of_parent(parent: &Node) -> Self {
        let bundle = Arc::clone(&parent.plan.bundle);
        let name = bundle.source.clone();
        Self { bundle, name, chosen_by_project: parent.chosen_by_project, distrusted: None }
    }
}

async fn bundle(
    host: &Host,
    pin: &BundlePin,
    prepared: Option<&Arc<PreparedBundle>>,
    chosen_by_project: bool,
) -> Result<Named, SpawnError> {
    let (reference, found) = match prepared {
        Some(bundle) => (BundleRef::Prepared(Arc::clone(bundle)), Arc::clone(bundle)),
        None => (BundleRef::Named(pin.source.clone()), Box::pin(host.prepare(&pin.source)).await?),
    };
    if let Some(wanted) = pin.content_hash.as_ref().filter(|hash| **hash != found.content_hash) {
        let (bundle, wanted, found) = (pin.source.clone(), wanted.clone(), found.content_hash.clone());
        return Err(SpawnError::BundleChanged { bundle, wanted, found });
    }
    let (bundle, distrusted) = untrusted::without_redirects(host, found, &reference, chosen_by_project);
    Ok(Named { bundle, name: pin.source.clone(), chosen_by_project, distrusted })
}

/// The request's patience, else the parent's; where nobody waits at a terminal, hours, unless the host
/// has its own.
fn patience(host: &Host, request: &SpawnRequest, parent: Option<&Parent>) -> Option<Duration> {
    let asked = request.spec.rate_limit_patience_ms.map(Duration::from_millis);
    let usual = host.0.retry.rate_limit_patience == RetryPolicy::default().rate_limit_patience;
    let hours = (request.spec.background && usual).then_some(BACKGROUND_PATIENCE);
    asked.or_else(|| parent.and_then(|parent| parent.node.patience)).or(hours)
}

/// The limits of a new session.
fn bounds(host: &Host, above: Option<&Bounds>, asked: &Limits) -> Arc<Bounds> {
    match above {
        None if *asked == Limits::default() => Arc::clone(&host.0.bounds),
        above => Arc::new(Bounds::new(&host.0.limits, above, asked, &Limits::default())),
    }
}

/// What the caller asked of provider and model, else what its parent was asked; preferences of the caller
/// or of the agent stand before the latter.
fn wish(request: &SpawnRequest, parent: Option<&Parent>) -> Wish {
    let own = request.wish();
    let Some(parent) = parent.filter(|_| own == Wish::default()) else { return own };
    match request.spec.preferences.is_empty() && !has_preferences(&request.spec.target, &parent.node.plan) {
        true => parent.node.wish.clone(),
        false => own,
    }
}

/// True for an agent that would rather have some providers and models than others.
fn has_preferences(target: &SpawnTarget, above: &SessionPlan) -> bool {
    let SpawnTarget::Agent(name) = target else { return false };
    let agent = lineage::candidate(above, name).ok().flatten();
    let of_role = |roles: &Vec<String>| {
        above.roles.resolve(roles, above.providers.iter().map(|planned| planned.spec.as_ref())).is_some()
    };
    agent.is_some_and(|agent| {
        agent.def.provider_preferences.as_ref().is_some_and(|all| !all.is_empty())
            || agent.def.model_role.as_ref().is_some_and(of_role)
    })
}

/// The plan with the preferences that count, the caller's before the agent's own, and their settings laid
/// over those of their providers. A preference changes no credential and no address.
fn preferring(plan: Arc<SessionPlan>, caller: &[ProviderPreference]) -> Arc<SessionPlan> {
    if caller.is_empty() && plan.preferences.iter().all(|preference| preference.config.is_empty()) {
        return plan;
    }
    let mut plan = SessionPlan::clone(&plan);
    let wanted = preferences::order(caller, &plan.preferences).to_vec();
    let mut kept = Vec::new();
    for preference in wanted.iter().filter(|preference| !preference.config.is_empty()) {
        let candidates = plan.providers.iter().map(|planned| Candidate::from(planned.spec.as_ref()));
        let Some(at) = preferences::position(preference, candidates) else { continue };
        let planned = &mut plan.providers[at];
        let left_out = preferences::merge(Arc::make_mut(&mut planned.spec), preference);
        kept.extend(left_out.into_iter().map(|key| format!("{key} of {}", preference.provider)));
    }
    plan.protected = (!kept.is_empty())
        .then(|| format!("ignored in provider preferences, which may not change them: {}", kept.join(", ")));
    plan.preferences = wanted;
    Arc::new(plan)
}

/// What the child is told of its parent's conversation: as history, or as text.
async fn told(
    context: &ContextRequest,
    parent: Option<&Parent>,
) -> Result<(Vec<Arc<Message>>, Option<String>), SpawnError> {
    let Some(parent) = parent.filter(|_| !context.is_none()) else { return Ok((Vec::new(), None)) };
    let (id, storage) = (&parent.node.id, &parent.node.storage);
    let messages = match &parent.live {
        Some(live) => live.messages().to_vec(),
        None => Box::pin(guarded(id, "load", storage.load(id))).await?.transcript,
    };
    Ok(match context.form {
        ContextForm::Fork => (context::forked(&messages, context), None),
        _ => (Vec::new(), context::quoted(&messages, context)),
    })
}

fn working_dir(host: &Host, request: &SpawnRequest, parent: Option<&Path>) -> Result<PathBuf, SpawnError> {
    match (&request.spec.cwd, parent) {
        (Some(cwd), _) => open(cwd),
        (None, Some(parent)) => Ok(parent.to_path_buf()),
        (None, None) => Ok(host.project().to_path_buf()),
    }
}

/// A working directory that is gone since is no reason to lose the session.
fn working_dir_again(
    host: &Host,
    request: &SpawnRequest,
    metadata: &SessionMetadata,
) -> Result<PathBuf, SpawnError> {
    match (&request.spec.cwd, &metadata.working_dir) {
        (Some(cwd), _) => open(cwd),
        (None, Some(cwd)) => Ok(open(cwd).unwrap_or_else(|_| host.project().to_path_buf())),
        (None, None) => Ok(host.project().to_path_buf()),
    }
}

fn open(cwd: &Path) -> Result<PathBuf, SpawnError> {
    amplifier_fs::read::real_path(cwd)
        .map_err(|source| SpawnError::WorkingDirectory { path: cwd.to_path_buf(), source })
}

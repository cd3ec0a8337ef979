//! What an owner of background sessions has beside it: the listener, and notifications.
//!
//! Guarantees: what is wrong with either is told before anything starts; nothing listens unless somebody asks for
//! it; both end in order, so that who waits for an answer has it. Never here: what they do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use amplifier_background::BackgroundSessionManager;
use amplifier_background::declared::FILE_NAME;
use amplifier_background::notify::{Delivery, Notifier, NotifyConfig};
use amplifier_background::trigger::{ConfigError, Hooks};
use amplifier_core::Payload;
use amplifier_core::env::Variables;
use amplifier_foundation::Host;
use amplifier_foundation::router::{Cursor, RouterError};
use amplifier_foundation::store::{DedupKey, OwnerId, StoreError, Write};
use amplifier_modules::notify::deliveries;
use axum::Router;
use serde::{Deserialize, Serialize};

use crate::listen::{
    AllowedHosts, InvalidHosts, ListenError, ListenOptions, Listener, MAX_CONNECTIONS, Rate, Serving, routes,
};

/// How long calls that wait for an answer, and deliveries that have begun, may take at the end.
const END: Duration = Duration::from_secs(10);

/// What stands beside an owner.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BesideOptions {
    /// Where it listens: see [`Listener::bind`]. `None`: nowhere.
    pub listen: Option<String>,
    /// The hosts that requests may name, beside loopback.
    pub allowed_hosts: Vec<String>,
    /// Whom it notifies of what.
    pub notify: Vec<NotifyConfig>,
    /// Connections at once; `None`: as many as any listener takes.
    pub max_connections: Option<usize>,
}

/// Why nothing was prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BesideError {
    /// Hosts that cannot be allowed.
    #[error(transparent)]
    Hosts(#[from] InvalidHosts),
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A notification that cannot be delivered.
    #[error("{FILE_NAME}: {0}")]
    Delivery(#[from] ConfigError),
    /// Notifications could not begin.
    #[error(transparent)]
    Notify(#[from] RouterError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All that is needed, and nothing of it at work.
#[derive(Debug)]
#[must_use = "nothing listens before `begin`"]
pub struct Beside {
    listener: Option<Listener>,
    entries: Vec<(NotifyConfig, Arc<dyn Delivery>)>,
    since: Cursor,
}

/// Both at work.
#[derive(Debug)]
#[must_use = "what is dropped is cut off"]
pub struct BesideRunning {
    serving: Option<Serving>,
    notifier: Notifier,
    hooks: Hooks,
    warning: Option<String>,
}

impl Beside {
    /// Opens the port, if there is to be one, and looks whether everybody can be notified. Keys are looked up in
    /// `variables`.
    pub async fn prepare(
        host: &Host,
        variables: &dyn Variables,
        options: BesideOptions,
    ) -> Result<Self, BesideError> {
        let deliveries = deliveries(&options.notify, host, &|name| variables.get(name))?;
        let listener = match &options.listen {
            None => None,
            Some(address) => {
                let allowed_hosts = AllowedHosts::parse(&options.allowed_hosts)?;
                let most = options.max_connections.unwrap_or(MAX_CONNECTIONS);
                let listen = ListenOptions { allowed_hosts, max_connections: most };
                Some(Listener::bind(address, listen, Arc::clone(host.clock())).await?)
            }
        };
        let since = host.store().tail().await?;
        Ok(Self { listener, entries: options.notify.into_iter().zip(deliveries).collect(), since })
    }

    /// Where it will listen.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::address)
    }

    /// Answers the webhooks of a manager and, with `more`, other routes; tells what happens from when this was
    /// prepared on. Where it listens can be asked for by [`listens_at`].
    pub async fn begin(
        self,
        host: &Host,
        manager: &BackgroundSessionManager,
        more: Option<Router>,
    ) -> Result<BesideRunning, BesideError> {
        let notifier = Notifier::start(host, self.entries, Some(self.since)).await?;
        let hooks = manager.hooks();
        let warning = self.listener.as_ref().and_then(Listener::warning);
        let own = routes(hooks.clone(), Rate::default(), Arc::clone(host.clock()));
        let all = more.map_or_else(|| own.clone(), |more| more.merge(own.clone()));
        if let Some(address) = self.listener.as_ref().map(Listener::address) {
            publish(host, address).await?;
        }
        let serving = self.listener.map(|listener| listener.serve(all));
        Ok(BesideRunning { serving, notifier, hooks, warning })
    }
}

/// Where an owner listens.
#[derive(Debug, Serialize, Deserialize)]
struct Published {
    owner: String,
    address: SocketAddr,
}

fn key() -> Result<DedupKey, StoreError> {
    DedupKey::new("owner-listens").map_err(|_| StoreError::Malformed { what: "the key of an address" })
}

async fn publish(host: &Host, address: SocketAddr) -> Result<(), StoreError> {
    let published = Published { owner: host.owner().to_string(), address };
    let value = Payload::encode(&published).map_err(|_| StoreError::Malformed { what: "an address" })?;
    host.store().commit(Write::SetValue { key: key()?, value }.into()).await.map(drop)
}

/// Where the owner of the project listens; `None`: nobody does.
pub async fn listens_at(host: &Host) -> Result<Option<SocketAddr>, StoreError> {
    let Some(value) = host.store().key(&key()?).await? else { return Ok(None) };
    let published = value.decode::<Published>().ok();
    let lives = |owner: &str| OwnerId::new(owner).is_ok_and(|owner| host.lives(&owner));
    Ok(published.filter(|published| lives(&published.owner)).map(|published| published.address))
}

impl BesideRunning {
    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.serving.as_ref().map(Serving::address)
    }

    /// The webhooks that are declared, by their paths behind `/hooks/`.
    pub fn hooks(&self) -> Vec<String> {
        self.hooks.paths().into_iter().map(|(path, _)| path).collect()
    }

    /// What a person should know about where it listens, or about webhooks that nobody can call.
    pub fn warning(&self) -> Option<String> {
        let hooks = self.hooks();
        if self.serving.is_some() || hooks.is_empty() {
            return self.warning.clone();
        }
        let hooks = hooks.join(", ");
        Some(format!("warning: nobody can call the webhooks ({hooks}); start with --listen 127.0.0.1:8733"))
    }

    /// Ends both; what waits for an answer has ten seconds.
    pub async fn end(self) {
        if let Some(serving) = self.serving {
            let cut = serving.stop(END).await;
            if cut > 0 {
                tracing::warn!(cut, "calls were cut off");
            }
        }
        self.notifier.stop(END).await;
    }
}

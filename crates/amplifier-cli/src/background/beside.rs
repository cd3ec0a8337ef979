//! What an owner of background sessions has beside it: the listener of webhooks, and notifications.
//!
//! Guarantees: what is wrong with either is told before anything starts; nothing listens unless somebody asks for
//! it; both end in order, so that who waits for an answer has it. Never here: what they do.

use std::sync::Arc;
use std::time::Duration;

use amplifier_app::listen::{AllowedHosts, ListenOptions, Listener, Rate, Serving, routes};
use amplifier_background::BackgroundSessionManager;
use amplifier_background::declared::{Declarations, FILE_NAME, Sources};
use amplifier_background::notify::{Delivery, Notifier, NotifyConfig};
use amplifier_background::trigger::{Hooks, TriggerRegistry};
use amplifier_foundation::Host;
use amplifier_foundation::router::Cursor;
use amplifier_modules::notify::deliveries;

use super::render::Log;
use super::undeclared;
use crate::args::background::StartArgs;
use crate::context::Context;
use crate::exit::Failure;
use crate::output::{plain, say};

/// How long calls that wait for an answer, and deliveries that have begun, may take at the end.
const END: Duration = Duration::from_secs(10);

/// All that is needed, and nothing of it at work.
pub(super) struct Beside {
    listener: Option<Listener>,
    entries: Vec<(NotifyConfig, Arc<dyn Delivery>)>,
    since: Cursor,
}

/// Both at work.
pub(super) struct Running {
    serving: Option<Serving>,
    notifier: Notifier,
    hooks: Hooks,
    warning: Option<String>,
}

impl Beside {
    pub(super) async fn prepare(
        args: &StartArgs,
        context: &Context,
        host: &Host,
        sources: &Sources,
    ) -> Result<Self, Failure> {
        let declared = Declarations::load(host, sources, &TriggerRegistry::new()).await;
        let declared = declared.map_err(|error| undeclared(&error))?;
        let keys = context.variables();
        let deliveries = deliveries(&declared.notify, host, &|name| keys.get(name));
        let deliveries = deliveries.map_err(|error| Failure::usage(format!("{FILE_NAME}: {error}")))?;
        let listener = match &args.listen {
            None => None,
            Some(address) => {
                let mut options = ListenOptions::default();
                let hosts = AllowedHosts::parse(declared.allowed_hosts.iter().chain(&args.allow_hosts));
                options.allowed_hosts = hosts.map_err(|error| Failure::config(&error))?;
                let bound = Listener::bind(address, options, Arc::clone(host.clock())).await;
                Some(bound.map_err(|error| Failure::config(&error))?)
            }
        };
        let since = host.store().tail().await.map_err(|error| Failure::store(&error))?;
        Ok(Self { listener, entries: declared.notify.into_iter().zip(deliveries).collect(), since })
    }

    pub(super) async fn begin(
        self,
        host: &Host,
        manager: &BackgroundSessionManager,
    ) -> Result<Running, Failure> {
        let notifier = Notifier::start(host, self.entries, Some(self.since)).await;
        let notifier = notifier.map_err(|error| Failure::work(&error))?;
        let hooks = manager.hooks();
        let warning = self.listener.as_ref().and_then(Listener::warning);
        let routes = |hooks| routes(hooks, Rate::default(), Arc::clone(host.clock()));
        let serving = self.listener.map(|listener| listener.serve(routes(hooks.clone())));
        Ok(Running { serving, notifier, hooks, warning })
    }
}

impl Running {
    /// Where it listens; or that webhooks are declared, and nobody listens.
    pub(super) fn tell(&self, log: &Log) {
        let paths: Vec<String> = self.hooks.paths().into_iter().map(|(path, _)| path).collect();
        if let Some(warning) = &self.warning {
            say(&plain(warning));
        }
        match &self.serving {
            Some(serving) => log.listening(serving.address(), &paths),
            None if paths.is_empty() => {}
            None => {
                let paths = paths.join(", ");
                say(&plain(&format!(
                    "warning: nobody can call the webhooks ({paths}); start with --listen 127.0.0.1:8733"
                )));
            }
        }
    }

    pub(super) async fn end(self) {
        if let Some(serving) = self.serving {
            let cut = serving.stop(END).await;
            if cut > 0 {
                tracing::warn!(cut, "calls of webhooks were cut off");
            }
        }
        self.notifier.stop(END).await;
    }
}

//! How notifications get to where they belong: commands, and signed requests.
//!
//! Guarantees: what an entry needs (a program, the value of a variable) is looked for at start, and all that is
//! missing is told at once. Never here: which events, in which order, how often again; that is
//! [`amplifier_background::notify`].

mod command;
#[cfg(feature = "http-providers")]
mod http;

use std::sync::Arc;

use amplifier_background::notify::{Delivery, NotifyConfig, NotifyTarget};
use amplifier_background::trigger::{ConfigError, ConfigFault};
use amplifier_foundation::Host;

use command::Programs;

/// What delivers for each of these entries. `variable` looks a secret up, in the environment and in the keys.
pub fn deliveries(
    entries: &[NotifyConfig],
    host: &Host,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Arc<dyn Delivery>>, ConfigError> {
    let (mut deliveries, mut faults): (Vec<Arc<dyn Delivery>>, Vec<ConfigFault>) = (Vec::new(), Vec::new());
    let programs = Programs::of(host);
    for (at, entry) in entries.iter().enumerate() {
        let made: Result<Arc<dyn Delivery>, (&str, String)> = match &entry.target {
            NotifyTarget::Command(arguments) => programs
                .command(arguments.clone(), entry.timeout)
                .map(|made| Arc::new(made) as _)
                .map_err(|error| ("command[0]", error)),
            #[cfg(feature = "http-providers")]
            NotifyTarget::Url { url, secret_env } => {
                let value = variable(secret_env);
                http::Request::new(url, (secret_env, value.as_deref()), entry.timeout, host)
                    .map(|made| Arc::new(made) as _)
            }
            #[cfg(not(feature = "http-providers"))]
            NotifyTarget::Url { .. } => {
                let _ = variable;
                Err((
                    "url",
                    "this build sends no requests; build it with the feature `http-providers`".into(),
                ))
            }
            _ => Err(("command", "this build does not know such a target".to_owned())),
        };
        match made {
            Ok(made) => deliveries.push(made),
            Err((field, message)) => faults.push(ConfigFault::new(format!("notify[{at}].{field}"), message)),
        }
    }
    if faults.is_empty() { Ok(deliveries) } else { Err(ConfigError::new(faults)) }
}

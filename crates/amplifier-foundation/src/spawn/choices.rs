//! Step 6, the providers: which of those that are mounted answer, in which order, with which model.
//!
//! Guarantees: a glob of models is never sent to a service, whoever names it; where a preference names a provider that is
//! not here it is skipped; without preferences the session keeps its usual order.

use std::sync::Arc;

use amplifier_core::approval::{NoticeLevel, Shown};
use amplifier_core::env::SessionEnv;
use amplifier_core::module::provider::Provider;
use amplifier_core::turn::Choice;

use super::SpawnError;
use super::plan::SessionPlan;
use super::preferences::{self, Candidate};
use crate::bundle::ProviderPreference;

/// Choices by the plan's preferences, the best first; empty where none of them is about a provider that is here.
/// Asks a provider for its models only where a preference holds a glob.
pub(super) async fn preferred(
    env: &SessionEnv,
    plan: &SessionPlan,
    providers: &[Arc<dyn Provider>],
) -> Result<Vec<Choice>, SpawnError> {
    if plan.preferences.is_empty() {
        return Ok(Vec::new());
    }
    let mut models = Vec::with_capacity(plan.preferences.len());
    for preference in &plan.preferences {
        models.push(match provider(preference, providers) {
            Some(provider) if is_glob(preference) => Some(listed(env, provider).await),
            Some(_) => Some(Vec::new()),
            None => None,
        });
    }
    let of = |wanted: &ProviderPreference| {
        let at = plan.preferences.iter().position(|preference| std::ptr::eq(preference, wanted))?;
        models[at].as_deref()
    };
    let usable = preferences::usable(&plan.preferences, of)?;
    let choice = |usable: preferences::Usable<'_>| {
        let choice = Choice::new(Arc::clone(provider(usable.preference, providers)?));
        Some(match usable.model {
            Some(model) => choice.with_model(model),
            None => choice,
        })
    };
    Ok(usable.into_iter().filter_map(choice).collect())
}

/// The model that somebody has asked for by itself, as the provider that answers first knows it.
pub(super) async fn model(
    env: &SessionEnv,
    wanted: Option<&str>,
    providers: &[Arc<dyn Provider>],
) -> Result<Option<String>, SpawnError> {
    let first = providers.iter().min_by_key(|provider| provider.info().priority);
    let (Some(glob), Some(provider)) = (wanted.filter(|model| preferences::is_glob(model)), first) else {
        return Ok(wanted.map(str::to_owned));
    };
    let models = listed(env, provider).await;
    let preference = [ProviderPreference::new(provider.info().name.clone(), Some(glob.to_owned()))];
    let usable = preferences::usable(&preference, |_| Some(&models))?;
    Ok(usable.first().and_then(|usable| usable.model).map(str::to_owned))
}

fn provider<'a>(
    preference: &ProviderPreference,
    providers: &'a [Arc<dyn Provider>],
) -> Option<&'a Arc<dyn Provider>> {
    let candidates = providers.iter().map(|provider| Candidate::from(provider.info()));
    providers.get(preferences::position(preference, candidates)?)
}

fn is_glob(preference: &ProviderPreference) -> bool {
    preference.model.as_deref().is_some_and(preferences::is_glob)
}

/// The models of a provider; none where it cannot tell, which is said.
async fn listed(env: &SessionEnv, provider: &Arc<dyn Provider>) -> Vec<String> {
    match provider.models().await {
        Ok(models) => models.into_iter().map(|model| model.id).collect(),
        Err(error) => {
            let text = format!("the models of {} cannot be listed: {error}", provider.info().name);
            let shown = Shown::Notice { level: NoticeLevel::Warning, source: "preferences", text: &text };
            env.display.show(&env.origin(), shown);
            Vec::new()
        }
    }
}

/// Puts the provider that was asked for in front and lets no other one answer.
pub(super) fn only(providers: &mut Vec<Arc<dyn Provider>>, wanted: &str) -> Result<(), SpawnError> {
    let known: Vec<String> = providers.iter().map(|provider| provider.info().name.clone()).collect();
    providers.retain(|provider| Candidate::from(provider.info()).is_named(wanted));
    match providers.is_empty() {
        true => Err(SpawnError::UnknownProvider { wanted: wanted.to_owned(), known: known.join(", ") }),
        false => Ok(()),
    }
}

//! What the modules of one session share: capabilities, contributions, clean-ups.
//!
//! Guarantees: a capability is found by its type, so no cast can fail;
//! contributions come in the order in which they were registered, and one that
//! panics is skipped; clean-ups run once, in reverse, each of them even if
//! another panics.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::BoxFuture;
use crate::panic::caught;

type Erased = Arc<dyn Any + Send + Sync>;
type CleanUp = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A channel on which modules contribute values of one type.
pub trait Channel: 'static {
    /// What is contributed.
    type Item: Send + 'static;
    /// Its name, for messages: `session.cost`.
    const NAME: &'static str;
}

struct Contributor<C: Channel>(Box<dyn Fn() -> Option<C::Item> + Send + Sync>);

#[derive(Default)]
struct State {
    // Few of each: a look through a list is shorter than a hash.
    capabilities: Vec<(TypeId, Erased)>,
    contributors: Vec<(TypeId, Erased)>,
    clean_ups: Vec<(String, CleanUp)>,
}

/// The shared part of one session.
#[derive(Default)]
pub struct Coordinator {
    // Held for a look-up or an insertion; callbacks and awaits happen outside.
    state: Mutex<State>,
}

impl std::fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Coordinator")
            .field("capabilities", &state.capabilities.len())
            .field("clean_ups", &state.clean_ups.len())
            .finish()
    }
}

impl Coordinator {
    /// An empty coordinator.
    pub fn new() -> Self {
        Self::default()
    }

    /// Offers a capability; one of the same type is replaced.
    pub fn provide<T: Send + Sync + 'static>(&self, capability: Arc<T>) {
        let (key, mut state) = (TypeId::of::<T>(), self.state());
        let before = match state.capabilities.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => Some(std::mem::replace(known, capability)),
            None => {
                state.capabilities.push((key, capability));
                None
            }
        };
        drop(state);
        drop(before);
    }

    /// The capability of this type.
    pub fn capability<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        let key = TypeId::of::<T>();
        let state = self.state();
        let found =
            state.capabilities.iter().find(|(known, _)| *known == key).map(|(_, any)| Arc::clone(any));
        drop(state);
        found.and_then(|any| any.downcast::<T>().ok())
    }

    /// Contributes to a channel. `None` from the callback contributes nothing.
    pub fn contribute<C: Channel>(&self, contributor: impl Fn() -> Option<C::Item> + Send + Sync + 'static) {
        let erased: Erased = Arc::new(Contributor::<C>(Box::new(contributor)));
        self.state().contributors.push((TypeId::of::<C>(), erased));
    }

    /// All contributions to a channel, in the order of registration.
    pub fn collect<C: Channel>(&self) -> Vec<C::Item> {
        let key = TypeId::of::<C>();
        let of_channel = |(known, erased): &(TypeId, Erased)| (*known == key).then(|| Arc::clone(erased));
        let contributors: Vec<Erased> = self.state().contributors.iter().filter_map(of_channel).collect();
        let call = |erased: Erased| {
            let contributor = erased.downcast::<Contributor<C>>().ok()?;
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (contributor.0)()));
            result.unwrap_or_else(|panic| {
                let message = crate::panic::message(panic.as_ref());
                tracing::warn!(channel = C::NAME, message, "a contributor panicked and was skipped");
                None
            })
        };
        contributors.into_iter().filter_map(call).collect()
    }

    /// Registers what must happen when the session ends.
    pub fn on_clean_up(
        &self,
        name: impl Into<String>,
        clean_up: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) {
        self.state().clean_ups.push((name.into(), Box::new(clean_up)));
    }

    /// Runs the clean-ups, the last registered first. A second call finds none.
    pub async fn clean_up(&self) {
        loop {
            let Some((name, clean_up)) = self.state().clean_ups.pop() else { return };
            if let Err(message) = caught(async move { clean_up().await }).await {
                tracing::warn!(name, message, "a clean-up panicked");
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Costs;
    impl Channel for Costs {
        type Item = u64;
        const NAME: &'static str = "session.cost";
    }

    #[test]
    fn contributions_keep_their_order_and_survive_a_panic() {
        let coordinator = Coordinator::new();
        coordinator.contribute::<Costs>(|| Some(1));
        coordinator.contribute::<Costs>(|| None);
        coordinator.contribute::<Costs>(|| panic!("boom"));
        coordinator.contribute::<Costs>(|| Some(2));
        assert_eq!(coordinator.collect::<Costs>(), [1, 2]);
    }

    #[test]
    fn a_capability_is_found_by_its_type() {
        let coordinator = Coordinator::new();
        coordinator.provide(Arc::new(7u8));
        coordinator.provide(Arc::new("text"));
        assert_eq!(coordinator.capability::<u8>().as_deref(), Some(&7));
        assert_eq!(coordinator.capability::<&str>().as_deref(), Some(&"text"));
        assert!(coordinator.capability::<u16>().is_none());
    }

    #[tokio::test]
    async fn clean_ups_run_once_in_reverse() {
        let coordinator = Coordinator::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        for name in ["a", "b", "c"] {
            let order = Arc::clone(&order);
            coordinator.on_clean_up(name, move || {
                Box::pin(async move {
                    order.lock().unwrap().push(name);
                    assert!(name != "b", "boom");
                })
            });
        }
        coordinator.clean_up().await;
        coordinator.clean_up().await;
        assert_eq!(*order.lock().unwrap(), ["c", "b", "a"]);
    }
}

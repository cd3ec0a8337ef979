//! Context managers: which part of a conversation a request carries.

mod history;
mod simple;

use std::sync::Arc;

use amplifier_core::module::Module;

pub use simple::ContextSimple;

/// The context managers of this build.
pub fn contexts() -> Vec<Arc<dyn Module>> {
    vec![Arc::new(ContextSimple)]
}

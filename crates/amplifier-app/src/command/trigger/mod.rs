//! `trigger …`: what triggers there are, when they would fire, and what became of their firings.

mod history;
mod list;
mod simulate;

pub use history::{OfTrigger, history};
pub use list::list;
pub use simulate::simulation as simulate;

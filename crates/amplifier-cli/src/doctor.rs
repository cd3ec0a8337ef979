//! `amplifier doctor`: what is wrong here, and how to mend it.

use amplifier_app::context::Program;
use amplifier_app::doctor::look;

use crate::context;
use crate::exit::{Code, Failure};

/// Looks, and tells.
pub(crate) fn run(as_json: bool) -> Result<Code, Failure> {
    context::small_runtime()?
        .block_on(async { look(Program::AMPLIFIER).await.checks.tell(Program::AMPLIFIER, as_json) })
}

//! Exit codes and failures: those of both programs.

pub(crate) use amplifier_app::exit::{Failure, Tree, code_of, code_of_other, subtype_of, worst};
pub(crate) use amplifier_app::terminal::{Code, Signalled, chain};

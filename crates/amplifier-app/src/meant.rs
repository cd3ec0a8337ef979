//! What somebody may have meant who typed a name that is none.

use amplifier_foundation::source::registry::near;

/// `did you mean …?`, else what else there is to say.
pub fn did_you_mean<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    match near(typed, known).as_slice() {
        [] => otherwise(),
        names => format!("did you mean `{}`?", names.join("` or `")),
    }
}

//! Errors as people read them: what went wrong, and why.
//!
//! Guarantees: one line for an error whose parts are one line each; nothing is said twice.

/// An error and its causes in one line; a cause that the text before it already tells is left out.
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| {
        let cause = cause.to_string();
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Fault {
        text: &'static str,
        source: Option<Box<Fault>>,
    }

    #[test]
    fn causes_follow_and_nothing_is_said_twice() {
        let fault = |text, source: Option<Fault>| Fault { text, source: source.map(Box::new) };
        let deepest = fault("disk full", None);
        let error = fault("cannot write: disk full", Some(fault("disk full", Some(deepest))));
        assert_eq!(chain(&error), "cannot write: disk full");
        let error = fault("cannot write", Some(fault("", Some(fault("disk full", None)))));
        assert_eq!(chain(&error), "cannot write: disk full");
        assert_eq!(chain(&fault("cannot write", None)), "cannot write");
    }
}

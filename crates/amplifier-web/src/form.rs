//! Names and values as queries and forms carry them.
//!
//! Guarantees: what is not UTF-8 is replaced, what is no pair is a name without a value; at most 200 pairs.

/// The pairs of a query or form.
#[derive(Debug, Default)]
pub(crate) struct Form(Vec<(String, String)>);

const MAX_PAIRS: usize = 200;

impl Form {
    pub(crate) fn read(text: impl AsRef<[u8]>) -> Self {
        let pairs = form_urlencoded::parse(text.as_ref()).into_owned();
        Self(pairs.take(MAX_PAIRS).collect())
    }

    /// The first value of a name, taken out; an empty one is none.
    pub(crate) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1).filter(|value| !value.trim().is_empty())
    }

    /// All values of a name.
    pub(crate) fn all(&mut self, name: &str) -> Vec<String> {
        std::iter::from_fn(|| {
            let at = self.0.iter().position(|(known, _)| known == name)?;
            Some(self.0.remove(at).1)
        })
        .collect()
    }

    /// A name that nobody took.
    pub(crate) fn left(&self) -> Option<&str> {
        self.0.first().map(|(name, _)| name.as_str())
    }
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

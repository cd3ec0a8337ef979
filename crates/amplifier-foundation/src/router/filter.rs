//! Which events somebody wants. Parsed at the call, never at the first event.

use amplifier_core::event::InvalidName;
use amplifier_core::{EventPattern, SessionEvent, SessionId};

/// A filter over events. An event passes if one of the names and one of the sources match.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventFilter {
    names: Vec<EventPattern>,
    sources: Option<Vec<SessionId>>,
}

impl EventFilter {
    /// Every event.
    pub fn all() -> Self {
        Self { names: Vec::new(), sources: None }
    }

    /// Events whose name matches one of these patterns; none at all means every name.
    pub fn names<I>(patterns: I) -> Result<Self, InvalidName>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let names = patterns.into_iter().map(EventPattern::new).collect::<Result<Vec<_>, _>>()?;
        let names = if names.iter().any(EventPattern::is_all) { Vec::new() } else { names };
        Ok(Self { names, sources: None })
    }

    /// Only events of these sessions.
    #[must_use]
    pub fn from_sessions(mut self, sources: impl IntoIterator<Item = SessionId>) -> Self {
        self.sources.get_or_insert_default().extend(sources);
        self
    }

    /// True if the event passes.
    pub fn matches(&self, event: &SessionEvent) -> bool {
        let named = self.names.is_empty() || self.names.iter().any(|name| name.matches(&event.event_type));
        let sourced = |sources: &Vec<SessionId>| event.source.as_ref().is_some_and(|id| sources.contains(id));
        named && self.sources.as_ref().is_none_or(sourced)
    }
}

impl TryFrom<&str> for EventFilter {
    type Error = InvalidName;
    /// One pattern, or several with commas between.
    fn try_from(text: &str) -> Result<Self, InvalidName> {
        Self::names(text.split(',').map(str::trim))
    }
}

impl TryFrom<&String> for EventFilter {
    type Error = InvalidName;
    fn try_from(text: &String) -> Result<Self, InvalidName> {
        Self::try_from(text.as_str())
    }
}

impl<const N: usize> TryFrom<[&str; N]> for EventFilter {
    type Error = InvalidName;
    fn try_from(patterns: [&str; N]) -> Result<Self, InvalidName> {
        Self::names(patterns)
    }
}

impl TryFrom<EventPattern> for EventFilter {
    type Error = InvalidName;
    fn try_from(pattern: EventPattern) -> Result<Self, InvalidName> {
        Self::names([pattern.as_str()])
    }
}

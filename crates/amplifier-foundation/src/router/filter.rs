//! Which events somebody wants. Parsed at the call, never at the first event.
//!
//! Guarantees: equal filters are equal values, whatever the order in which they were written, so that
//! their readers can share; an exact name that no event can have is refused.

use std::cell::OnceCell;
use std::fmt;

use amplifier_core::event::{InvalidName, KERNEL_EVENTS};
use amplifier_core::id::InvalidId;
use amplifier_core::{CustomName, EventPattern, EventType, SessionEvent, SessionId};
use serde_json::{Number, Value};

/// Most parts of one filter: names, sessions and fields together.
const MAX_PARTS: usize = 1_000;

/// A filter over events. An event passes if one of the names, one of the sources, one of the trees and
/// each of the fields match; where none is named, all do.
///
/// As text: names and patterns with commas between, then words `source=SESSION`, `tree=ROOT` and
/// `data.PATH=VALUE`.
///
/// Hook events ([`crate::router`]) pass only where a name or a pattern but `*` matches them, or after
/// [`EventFilter::with_hook_events`].
#[derive(Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct EventFilter {
    names: Vec<EventPattern>,
    sources: Option<Vec<SessionId>>,
    trees: Option<Vec<SessionId>>,
    fields: Vec<(String, FieldValue)>,
    hooks: bool,
}

/// Why a filter makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFilter {
    /// A name or pattern is malformed, or no event can have the name.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// A session's id is malformed.
    #[error(transparent)]
    Session(#[from] InvalidId),
    /// A word behind the names is none of those that are known.
    #[error("`{}` is no part of a filter; use source=SESSION, tree=SESSION or data.FIELD=VALUE", word.escape_debug())]
    Word {
        /// The word.
        word: String,
    },
    /// A path to a field is malformed.
    #[error("`{}` is no path to a field; write it as a.b.c", path.escape_debug())]
    Path {
        /// The path.
        path: String,
    },
    /// Too many parts.
    #[error("a filter has at most {MAX_PARTS} parts, this one has {count}; subscribe twice")]
    TooLarge {
        /// How many there are.
        count: usize,
    },
}

/// A value that a field of a payload may be equal to: a text, a number, true or false.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct FieldValue(Scalar);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
}

impl FieldValue {
    /// A value as it is written on a command line: JSON where it is a number, `true`, `false` or `null`, else
    /// the text itself, with or without quotes.
    pub fn parse(text: &str) -> Self {
        let json: Option<Value> = serde_json::from_str(text).ok();
        json.as_ref().and_then(Self::of).unwrap_or_else(|| text.into())
    }

    /// A scalar of a payload.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(Self(match value {
            Value::Null => Scalar::Null,
            Value::Bool(value) => Scalar::Bool(*value),
            Value::Number(value) => Scalar::Number(value.clone()),
            Value::String(value) => Scalar::Text(value.clone()),
            Value::Array(_) | Value::Object(_) => return None,
        }))
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self(Scalar::Text(text.to_owned()))
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self(Scalar::Text(text))
    }
}

impl From<bool> for FieldValue {
    fn from(value: bool) -> Self {
        Self(Scalar::Bool(value))
    }
}

impl From<i64> for FieldValue {
    fn from(value: i64) -> Self {
        Self(Scalar::Number(value.into()))
    }
}

impl From<i32> for FieldValue {
    fn from(value: i32) -> Self {
        Self(Scalar::Number(value.into()))
    }
}

impl From<u64> for FieldValue {
    fn from(value: u64) -> Self {
        Self(Scalar::Number(value.into()))
    }
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Scalar::Null => f.write_str("null"),
            Scalar::Bool(value) => write!(f, "{value}"),
            Scalar::Number(value) => write!(f, "{value}"),
            Scalar::Text(text) => write!(f, "{}", Value::String(text.clone())),
        }
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EventFilter {
    /// Every event, but for hook events.
    pub fn all() -> Self {
        Self::default()
    }

    /// Events whose name matches one of these patterns; none at all means every name.
    pub fn names<I>(patterns: I) -> Result<Self, InvalidFilter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut names = patterns.into_iter().map(EventPattern::new).collect::<Result<Vec<_>, _>>()?;
        if names.iter().any(EventPattern::is_all) {
            names.clear();
        }
        for name in names.iter().filter(|name| is_exact(name)) {
            if EventType::kernel(name.as_str()).is_none() {
                CustomName::new(name.as_str())?;
            }
        }
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        Self { names, ..Self::default() }.checked()
    }

    /// Only events of these sessions.
    #[must_use]
    pub fn from_sessions(mut self, sources: impl IntoIterator<Item = SessionId>) -> Self {
        extend(self.sources.get_or_insert_default(), sources);
        self
    }

    /// Only events of the sessions of these trees, named by their roots.
    #[must_use]
    pub fn from_trees(mut self, roots: impl IntoIterator<Item = SessionId>) -> Self {
        extend(self.trees.get_or_insert_default(), roots);
        self
    }

    /// Only events whose payload has this value at a dotted path: `status`, `error.kind`, `findings.0`.
    pub fn field(
        mut self,
        path: impl Into<String>,
        value: impl Into<FieldValue>,
    ) -> Result<Self, InvalidFilter> {
        let path = path.into();
        if path.split('.').any(str::is_empty) {
            return Err(InvalidFilter::Path { path });
        }
        let place = self.fields.partition_point(|(known, _)| *known <= path);
        self.fields.insert(place, (path, value.into()));
        self.fields.dedup();
        self.checked()
    }

    /// Hook events too that the filter does not ask for by name.
    #[must_use]
    pub fn with_hook_events(mut self) -> Self {
        self.hooks = true;
        self
    }

    fn checked(self) -> Result<Self, InvalidFilter> {
        let len = |list: &Option<Vec<SessionId>>| list.as_ref().map_or(0, Vec::len);
        let count = self.names.len() + self.fields.len() + len(&self.sources) + len(&self.trees);
        if count > MAX_PARTS { Err(InvalidFilter::TooLarge { count }) } else { Ok(self) }
    }

    /// True if the event passes.
    pub fn matches(&self, event: &SessionEvent) -> bool {
        self.names_match(&event.event_type) && self.matches_but_name(&Decoded::new(event))
    }

    /// True if events of this name pass, whatever else is asked for.
    pub(super) fn names_match(&self, event: &EventType) -> bool {
        self.names.is_empty() || self.names.iter().any(|name| name.matches(event))
    }

    /// True if an event of a name that matches passes.
    pub(super) fn matches_but_name(&self, event: &Decoded<'_>) -> bool {
        (!is_hook_event(event.event) || self.asks_for_hooks())
            && self.origin_matches(event.event.source.as_ref(), event.event.root.as_ref())
            && self.fields.iter().all(|(path, value)| event.at(path).as_ref() == Some(value))
    }

    /// True if events from there pass, whatever they are.
    pub(super) fn origin_matches(&self, source: Option<&SessionId>, root: Option<&SessionId>) -> bool {
        let among = |list: &Vec<SessionId>, id: Option<&SessionId>| id.is_some_and(|id| list.contains(id));
        self.sources.as_ref().is_none_or(|list| among(list, source))
            && self.trees.as_ref().is_none_or(|list| among(list, root.or(source)))
    }

    /// True if nothing but the name decides, of recorded events.
    pub(super) fn is_by_name(&self) -> bool {
        self.sources.is_none() && self.trees.is_none() && self.fields.is_empty()
    }

    pub(super) fn asks_for_hooks(&self) -> bool {
        self.hooks || !self.names.is_empty()
    }

    /// The types that it names, if it names them all.
    pub(super) fn types(&self) -> Option<Vec<EventType>> {
        let exact = !self.names.is_empty() && self.names.iter().all(is_exact);
        exact.then(|| {
            let mut types: Vec<EventType> = Vec::with_capacity(self.names.len());
            for name in &self.names {
                let mut add = |event: EventType| {
                    if !types.contains(&event) {
                        types.push(event);
                    }
                };
                match EventType::kernel(name.as_str()) {
                    Some(EventType::SessionEnd) => {
                        [EventType::SessionCompleted, EventType::SessionError].into_iter().for_each(add);
                    }
                    Some(kernel) => add(kernel),
                    None => CustomName::new(name.as_str()).into_iter().map(EventType::Custom).for_each(add),
                }
            }
            types
        })
    }

    /// One bit for each hook event that it asks for, by its place in the table of kernel events.
    pub(super) fn hook_bits(&self) -> u64 {
        if !self.asks_for_hooks() {
            return 0;
        }
        let bit = |event: EventType| event.index().filter(|_| is_bridged(&event)).map_or(0, |at| 1 << at);
        match self.types() {
            Some(types) => types.into_iter().map(bit).fold(0, |all, bit| all | bit),
            None => {
                let kernel = KERNEL_EVENTS.iter().filter_map(|row| EventType::kernel(row.name));
                kernel.filter(|event| self.names_match(event)).map(bit).fold(0, |all, bit| all | bit)
            }
        }
    }

    pub(super) fn sources(&self) -> Option<&[SessionId]> {
        self.sources.as_deref()
    }

    pub(super) fn trees(&self) -> Option<&[SessionId]> {
        self.trees.as_deref()
    }

    pub(super) fn first_field(&self) -> Option<&(String, FieldValue)> {
        self.fields.first()
    }

    /// The sessions for whose end alone it waits.
    pub(super) fn ends_of(&self) -> Option<&[SessionId]> {
        let types = self.types()?;
        self.sources().filter(|_| types.iter().all(EventType::is_terminal))
    }
}

fn is_exact(name: &EventPattern) -> bool {
    !name.as_str().contains('*')
}

fn extend(list: &mut Vec<SessionId>, more: impl IntoIterator<Item = SessionId>) {
    list.extend(more);
    list.sort();
    list.dedup();
}

/// True for events that sessions tell their hooks, and the router only if somebody asks. A session's end is
/// none of them: its terminal event stands for it; nor is what is told of runs, which is recorded.
pub(super) fn is_bridged(event: &EventType) -> bool {
    use EventType::{BackgroundError, BackgroundSpawnCompleted, BackgroundSpawnError, IssueQuestion};
    use EventType::{Custom, RunDead, RunDropped, RunRetried, SessionCompleted, SessionEnd, SessionError};
    !matches!(
        event,
        Custom(_)
            | SessionEnd
            | SessionCompleted
            | SessionError
            | BackgroundSpawnCompleted
            | BackgroundSpawnError
            | BackgroundError
            | RunDead
            | RunDropped
            | RunRetried
            | IssueQuestion
    )
}

fn is_hook_event(event: &SessionEvent) -> bool {
    event.sequence.is_none() && is_bridged(&event.event_type)
}

/// An event whose payload is decoded once at most, and only if some filter looks into it.
pub(super) struct Decoded<'a> {
    pub(super) event: &'a SessionEvent,
    value: OnceCell<Value>,
}

impl<'a> Decoded<'a> {
    pub(super) fn new(event: &'a SessionEvent) -> Self {
        Self { event, value: OnceCell::new() }
    }

    /// The scalar at a dotted path.
    pub(super) fn at(&self, path: &str) -> Option<FieldValue> {
        let mut value = self.value.get_or_init(|| self.event.payload.decode().unwrap_or(Value::Null));
        for part in path.split('.') {
            value = match value {
                Value::Object(map) => map.get(part)?,
                Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        FieldValue::of(value)
    }
}

impl fmt::Display for EventFilter {
    /// As it can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.names.is_empty() {
            f.write_str("*")?;
        }
        for (number, name) in self.names.iter().enumerate() {
            write!(f, "{}{name}", if number == 0 { "" } else { "," })?;
        }
        self.sources.iter().flatten().try_for_each(|id| write!(f, " source={id}"))?;
        self.trees.iter().flatten().try_for_each(|id| write!(f, " tree={id}"))?;
        self.fields.iter().try_for_each(|(path, value)| write!(f, " data.{path}={value}"))?;
        if self.hooks { f.write_str(" hooks") } else { Ok(()) }
    }
}

impl fmt::Debug for EventFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EventFilter({self})")
    }
}

impl TryFrom<&str> for EventFilter {
    type Error = InvalidFilter;
    /// Names and patterns with commas between, then words.
    fn try_from(text: &str) -> Result<Self, InvalidFilter> {
        let (names, words) = match text.find('=').or_else(|| text.ends_with(" hooks").then_some(text.len())) {
            Some(at) => text.split_at(text[..at].rfind(' ').unwrap_or(0)),
            None => (text, ""),
        };
        let mut filter = match names.trim() {
            "" if !words.is_empty() => Self::all(),
            names => Self::names(names.split(',').map(str::trim))?,
        };
        let mut rest = words.trim();
        while !rest.is_empty() {
            let (word, behind) = next_word(rest);
            rest = behind;
            filter = match word.split_once('=') {
                Some(("source", id)) => filter.from_sessions([SessionId::new(id)?]),
                Some(("tree", id)) => filter.from_trees([SessionId::new(id)?]),
                Some((key, value)) if key.starts_with("data.") => {
                    filter.field(&key["data.".len()..], FieldValue::parse(value))?
                }
                None if word == "hooks" => filter.with_hook_events(),
                _ => return Err(InvalidFilter::Word { word: word.to_owned() }),
            };
        }
        filter.checked()
    }
}

/// The text up to the first blank outside of quotes, and what is behind it.
fn next_word(text: &str) -> (&str, &str) {
    let (mut quoted, mut escaped) = (false, false);
    let end = text.find(|c: char| {
        let ends = c == ' ' && !quoted;
        if c == '"' && !escaped {
            quoted = !quoted;
        }
        escaped = c == '\\' && !escaped;
        ends
    });
    let (word, behind) = text.split_at(end.unwrap_or(text.len()));
    (word, behind.trim_start())
}

impl TryFrom<&String> for EventFilter {
    type Error = InvalidFilter;
    fn try_from(text: &String) -> Result<Self, InvalidFilter> {
        Self::try_from(text.as_str())
    }
}

impl TryFrom<String> for EventFilter {
    type Error = InvalidFilter;
    fn try_from(text: String) -> Result<Self, InvalidFilter> {
        Self::try_from(text.as_str())
    }
}

impl<const N: usize> TryFrom<[&str; N]> for EventFilter {
    type Error = InvalidFilter;
    fn try_from(patterns: [&str; N]) -> Result<Self, InvalidFilter> {
        Self::names(patterns)
    }
}

impl TryFrom<EventPattern> for EventFilter {
    type Error = InvalidFilter;
    fn try_from(pattern: EventPattern) -> Result<Self, InvalidFilter> {
        Self::names([pattern.as_str()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_filters_are_equal_however_they_are_written() {
        let parse = |text: &str| EventFilter::try_from(text).unwrap();
        for (a, b) in [
            ("b,a", "a, b,a"),
            ("*", "a,**"),
            ("a source=x source=y", "a source=y source=x"),
            ("tree=r", "* tree=r"),
            ("a data.k=1 data.j=x", "a data.j=\"x\" data.k=1"),
        ] {
            assert_eq!(parse(a), parse(b), "{a}, {b}");
            assert_eq!(parse(&parse(a).to_string()), parse(a), "{a}");
        }
        let spaced = EventFilter::all().field("text", "a \"b\" c=d").unwrap().with_hook_events();
        assert_eq!(parse(&spaced.to_string()), spaced);
        assert_ne!(parse("a data.k=1"), parse("a data.k=\"1\""));
    }

    #[test]
    fn a_filter_that_makes_no_sense_is_refused() {
        for bad in [
            "",
            "A",
            "a b",
            "a,,b",
            "session:made_up",
            "tool",
            "work:",
            "a source=",
            "a source=x/y",
            "a colour=red",
            "a data.=1",
            "a data.x..y=1",
        ] {
            assert!(EventFilter::try_from(bad).is_err(), "{bad:?}");
        }
        let many = (0..=MAX_PARTS).map(|number| format!("n{number}"));
        assert!(matches!(EventFilter::names(many), Err(InvalidFilter::TooLarge { .. })));
    }

    #[test]
    fn the_end_of_a_session_is_both_terminal_events_and_no_hook_event() {
        let ends = EventFilter::try_from("session:end source=s").unwrap();
        assert_eq!(ends.types().unwrap(), [EventType::SessionCompleted, EventType::SessionError]);
        assert_eq!((ends.hook_bits(), ends.ends_of().map(<[_]>::len)), (0, Some(1)));
        assert_eq!(EventFilter::all().hook_bits(), 0);
        let bit = |event: EventType| 1u64 << event.index().unwrap();
        assert_eq!(EventFilter::try_from("tool_pre").unwrap().hook_bits(), bit(EventType::ToolPre));
        let sessions = EventFilter::try_from("session:*").unwrap().hook_bits();
        assert_eq!(sessions & bit(EventType::SessionEnd), 0);
        assert_ne!(sessions & bit(EventType::SessionStart), 0);
        assert_eq!(
            EventFilter::all().with_hook_events().hook_bits().count_ones(),
            57 - 3,
            "of those, three end sessions"
        );
    }
}

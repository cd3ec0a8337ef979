//! Events as rows, and pages of the log.
//!
//! Guarantees: payloads are neither parsed nor copied more than once on their way out.
//! Never here: which places a reader may ask for.

use std::collections::HashMap;
use std::sync::Arc;

use amplifier_core::{CustomName, EventId, EventType, NewEvent, Payload, SessionEvent, SessionId, Timestamp};
use rusqlite::{CachedStatement, Connection, Row, params};
use uuid::Uuid;

use super::fault::{Done, damaged};
use super::sql::{bytes, named, some_bytes, some_text, statement, text, unsigned};

pub(super) const COLUMNS: &str =
    "sequence, id, at, kind, source, hops, causation, correlation, scope, payload, root";

const INSERT: &str = "INSERT INTO events \
    (sequence, id, at, kind, source, hops, causation, correlation, scope, payload, root) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

/// Stands for a root that is the source itself.
const ITSELF: &str = "";

/// Bytes of payload after which a page ends, whatever was asked for.
const PAGE_BYTES: usize = 32 << 20;

pub(super) fn inserting(conn: &Connection) -> Done<CachedStatement<'_>> {
    statement(conn, INSERT)
}

/// Writes an event at its sequence. `scope` is the one of all that name none.
pub(super) fn insert(
    insert: &mut CachedStatement<'_>,
    sequence: u64,
    event: &SessionEvent,
    scope: Option<&Arc<str>>,
) -> Done {
    let root = event
        .root
        .as_ref()
        .map(|root| if event.source.as_ref() == Some(root) { ITSELF } else { root.as_str() });
    let own_scope = (scope != Some(&event.scope)).then_some(&*event.scope);
    insert.execute(params![
        super::sql::place(sequence),
        &event.id.0.as_bytes()[..],
        event.at.as_micros(),
        event.event_type.name(),
        event.source.as_ref().map(SessionId::as_str),
        event.hops,
        event.causation.as_ref().map(|id| &id.0.as_bytes()[..]),
        event.correlation.as_ref().map(|id| &id.0.as_bytes()[..]),
        own_scope,
        event.payload.as_bytes(),
        root,
    ])?;
    Ok(())
}

/// Names that were read before, so that the same one is made and held once.
#[derive(Debug, Default)]
pub(super) struct Names {
    kinds: HashMap<Box<str>, EventType>,
    sources: HashMap<Box<str>, SessionId>,
    scopes: HashMap<Box<str>, Arc<str>>,
}

/// Names that are kept at most; then all are forgotten.
const NAMES: usize = 1_024;

fn kept<T: Clone>(names: &mut HashMap<Box<str>, T>, text: &str, make: impl FnOnce() -> Done<T>) -> Done<T> {
    if let Some(known) = names.get(text) {
        return Ok(known.clone());
    }
    let made = make()?;
    if names.len() >= NAMES {
        names.clear();
    }
    names.insert(text.into(), made.clone());
    Ok(made)
}

impl Names {
    fn kind(&mut self, text: &str) -> Done<EventType> {
        kept(&mut self.kinds, text, || match EventType::kernel(text) {
            Some(kernel) => Ok(kernel),
            None => named(CustomName::new(text), "the name of an event").map(EventType::Custom),
        })
    }

    fn source(&mut self, text: &str) -> Done<SessionId> {
        kept(&mut self.sources, text, || named(SessionId::new(text), "the source of an event"))
    }

    pub(super) fn scope(&mut self, text: &str) -> Done<Arc<str>> {
        kept(&mut self.scopes, text, || Ok(text.into()))
    }
}

pub(super) fn event_id(bytes: &[u8]) -> Done<EventId> {
    named(Uuid::from_slice(bytes), "the id of an event").map(EventId)
}

/// The event of a row with [`COLUMNS`].
pub(super) fn read(row: &Row<'_>, names: &mut Names, scope: Option<&Arc<str>>) -> Done<Arc<SessionEvent>> {
    let kind = names.kind(text(row, 3)?)?;
    let payload = Payload::stored(bytes::Bytes::copy_from_slice(bytes(row, 9)?));
    let mut event = NewEvent::of(kind, payload);
    event.source = some_text(row, 4)?.map(|source| names.source(source)).transpose()?;
    event.root = match some_text(row, 10)? {
        Some(ITSELF) => event.source.clone(),
        other => other.map(|root| names.source(root)).transpose()?,
    };
    event.hops = row.get(5)?;
    event.causation = some_bytes(row, 6)?.map(event_id).transpose()?;
    event.correlation = some_bytes(row, 7)?.map(event_id).transpose()?;
    let scope = match (some_text(row, 8)?, scope) {
        (Some(own), _) => names.scope(own)?,
        (None, Some(scope)) => Arc::clone(scope),
        (None, None) => return Err(damaged("an event without a scope")),
    };
    let at = Timestamp::from_micros(row.get(2)?);
    let (id, sequence) = (event_id(bytes(row, 1)?)?, unsigned(row, 0)?);
    Ok(Arc::new(SessionEvent::seal(event, id, Some(sequence), scope, at)))
}

/// At most `limit` events from `from` on, which must be there; fewer where they are large. A gap
/// is damage.
pub(super) fn page(
    conn: &Connection,
    names: &mut Names,
    scope: Option<&Arc<str>>,
    from: u64,
    limit: usize,
) -> Done<Vec<Arc<SessionEvent>>> {
    let mut statement = statement(
        conn,
        "SELECT sequence, id, at, kind, source, hops, causation, correlation, scope, payload, root \
         FROM events WHERE sequence >= ?1 ORDER BY sequence LIMIT ?2",
    )?;
    let mut rows = statement.query([super::sql::place(from), super::sql::limit(limit)])?;
    let (mut found, mut size, mut next) = (Vec::with_capacity(limit.min(1_024)), 0, from);
    while let Some(row) = rows.next()? {
        let event = read(row, names, scope)?;
        if event.sequence != Some(next) {
            return Err(damaged(format!("event {next} is missing")));
        }
        next += 1;
        size += event.payload.as_bytes().len();
        found.push(event);
        if size >= PAGE_BYTES {
            break;
        }
    }
    Ok(found)
}

//! From words to a filter.

use amplifier_core::SessionId;
use amplifier_foundation::router::{EventFilter, FieldValue, InvalidFilter};

use crate::args::event::Selection;
use crate::exit::{Failure, chain};

/// The filter that names, sessions and fields make together.
pub(super) fn filter(names: &str, selection: &Selection) -> Result<EventFilter, Failure> {
    let mut filter = EventFilter::try_from(names).map_err(|error| refused(&error))?;
    for field in &selection.fields {
        let parts = field.strip_prefix("data.").and_then(|rest| rest.split_once('='));
        let Some((path, value)) = parts else {
            return Err(Failure::usage(format!("--field {field} names no value of the data"))
                .help("write it as data.PATH=VALUE, such as data.status=failed"));
        };
        filter = filter.field(path, FieldValue::parse(value)).map_err(|error| refused(&error))?;
    }
    if !selection.sessions.is_empty() {
        filter = filter.from_sessions(ids(&selection.sessions)?);
    }
    if !selection.trees.is_empty() {
        filter = filter.from_trees(ids(&selection.trees)?);
    }
    Ok(filter)
}

fn ids(texts: &[String]) -> Result<Vec<SessionId>, Failure> {
    let id = |text: &String| SessionId::new(text).map_err(|error| Failure::usage(chain(&error)));
    texts.iter().map(id).collect()
}

fn refused(error: &InvalidFilter) -> Failure {
    Failure::usage(chain(error))
}

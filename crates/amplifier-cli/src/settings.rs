//! Changes of settings by commands: which file, and what can go wrong.

use amplifier_foundation::settings::Scope;
use amplifier_foundation::settings::edit::{Change, EditError, edit};

use crate::context::Context;
use crate::exit::Failure;

/// Changes the file of a scope; true if it was changed.
pub(crate) fn change(context: &Context, scope: Scope, change: &Change<'_>) -> Result<bool, Failure> {
    edit(context.home(), context.files(), scope, change).map_err(|error| match error {
        EditError::Write { .. } | EditError::Lock(_) => Failure::work(&error),
        _ => Failure::config(&error),
    })
}

/// The file of a scope, for a person.
pub(crate) fn place(context: &Context, scope: Scope) -> String {
    let file = context.files().of(scope).map(|file| file.display().to_string());
    file.unwrap_or_else(|| format!("the {scope} settings"))
}

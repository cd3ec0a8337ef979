//! Settings: what people set once so that they need not type it each time.
//!
//! [`load`] reads the files of all scopes, the environment and the flags into one [`Settings`].
//! Precedence: flags > environment > session > local > project > user (> bundle); of permission
//! rules deny always wins. [`permission_layers`] makes a session's permissions of them,
//! [`edit`] changes a file, [`keys`] reads keys of providers, [`trust`] says which directories may
//! widen permissions.
//!
//! Guarantees: an unknown key is a warning, everything else that is wrong an error with file, line
//! and column, and all errors of all files are told at once. `bypassPermissions` counts from a
//! flag only. Nothing here writes but [`edit`] and [`trust`].

pub mod edit;
pub mod environment;
pub mod home;
pub mod keys;
pub mod keys_edit;
mod load;
mod lock;
mod merge;
pub mod model;
pub mod money;
mod parse;
pub mod permissions;
pub mod redirect;
pub mod scope;
pub mod trust;

pub use amplifier_fs::duration;
pub use load::{Flags, MAX_SETTINGS_BYTES, SettingsError, load};
pub use lock::{LockError, behind_link, exclusive};
pub use model::{Ignored, LimitSettings, RetrySettings, RuleText, Settings};
pub use permissions::{PermissionContext, PermissionsError, permission_layers};
pub use scope::{ProjectTrust, Scope, Set, Setter, SettingsFiles};

//! Integration tests of the foundation, in one binary.
#![allow(clippy::disallowed_methods, reason = "tests look at real files")]

mod bundle_yaml;
mod mention;
mod settings;
mod settings_edit;
mod settings_keys;
mod settings_permissions;
mod settings_trust;
mod source;
mod source_kit;
mod storage;
mod storage_damage;
mod storage_process;
mod storage_reference;

//! The file system: the one place of the program that touches `std::fs`.
//!
//! [`mod@read`] reads and lists, [`mod@write`] replaces whole files so that a crash leaves
//! the old or the new one, [`append`] grows a file line by line, [`log`] does so
//! without waiting for the disk, [`lock`] tells who may write. Each function says how often it calls fsync.
//! [`flushes`] counts them, so that a test can hold them to it. [`paths`] makes what a model
//! names into what permissions can judge, [`tool_io`] is what tools do with files,
//! [`process_table`] reads which processes run, [`boot`] where their ids hold, [`owned`] keeps a file
//! for as long as its process lives, [`follow`] reads what somebody else writes.
//! for as long as its process lives, [`gate`] is a lock that goes from hand to hand.
//! for as long as its process lives. [`duration`] is the one parser of spans, here because all that reads
//! settings stands on this crate.
//! Never here: what the bytes mean, and any wait without an end.
#![warn(missing_docs)]
#![allow(clippy::disallowed_methods, reason = "this module is the seam that the lint protects")]

pub mod append;
pub mod boot;
pub mod duration;
pub mod follow;
pub mod gate;
pub mod lock;
pub mod log;
pub mod memo;
pub mod mode;
pub mod owned;
pub mod paths;
pub mod process_table;
pub mod read;
pub mod tool_io;
pub mod tree;
pub mod write;

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

static FLUSHES: AtomicU64 = AtomicU64::new(0);

/// How many times this process has called fsync or fdatasync through this module.
pub fn flushes() -> u64 {
    FLUSHES.load(Ordering::Relaxed)
}

/// fsync: content, length, times.
fn flush_all(file: &File) -> io::Result<()> {
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    file.sync_all()
}

/// fdatasync: content, and of the rest what reading it back needs.
fn flush_data(file: &File) -> io::Result<()> {
    FLUSHES.fetch_add(1, Ordering::Relaxed);
    file.sync_data()
}

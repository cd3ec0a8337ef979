//! Ending what a process that is gone has left.
//!
//! Guarantees: the ledger of a process that lives is not touched, and of several that recover at
//! once each ledger has one. A ledger is removed once nothing of it is found any more, so a
//! recovery that is cut off is done again. Where there is none, one folder is looked into and no
//! process.

use std::collections::HashSet;
use std::io;

use amplifier_core::Clock;

use super::ledger::{folder, is_ledger};
use super::mark::Marks;
use super::record::Contents;
use super::scope::{Ended, Known, Scope};
use crate::storage::ProjectPaths;
use amplifier_fs::boot::{Place, Relation};
use amplifier_fs::owned::{self, Abandoned};
use amplifier_fs::read;

/// What a recovery met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Recovery {
    /// Ledgers whose owner is gone.
    pub ledgers: usize,
    /// Processes that were found.
    pub found: usize,
    /// Processes that could not be ended; those of other users among them.
    pub left: usize,
}

/// What is to be done with a ledger.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Its processes are looked for.
    Search,
    /// None of its processes can be left, or be found.
    Remove,
    /// Somebody else can do more about it.
    Leave,
}

/// Ends what processes that are gone have left in a project: asks, waits two seconds, kills, verifies.
/// What goes wrong is logged; the ledger in question stays for the next time.
pub async fn recover(paths: &ProjectPaths, clock: &dyn Clock) -> Recovery {
    let mut recovery = Recovery::default();
    let abandoned = match abandoned(paths) {
        Ok(abandoned) => abandoned,
        Err(error) => {
            tracing::warn!(%error, "processes that others have left are not looked for");
            return recovery;
        }
    };
    if abandoned.is_empty() {
        return recovery;
    }
    recovery.ledgers = abandoned.len();
    let here = Place::here();
    let (mut wanted, mut done) = (Wanted::default(), Vec::new());
    for mut ledger in abandoned {
        let Some(contents) = contents(&mut ledger) else { continue };
        match verdict(&contents, &here) {
            Verdict::Leave => continue,
            Verdict::Remove => {}
            Verdict::Search => wanted.add(contents),
        }
        done.push(ledger);
    }
    let ended = match wanted.scope() {
        Some(scope) => scope.end(clock).await,
        None => Ended::default(),
    };
    (recovery.found, recovery.left) = (ended.found, ended.left.alive);
    if recovery.left > 0 {
        tracing::warn!(left = recovery.left, "processes of a program that is gone could not be ended");
    }
    if ended.left.alive == ended.left.beyond {
        done.into_iter().for_each(remove);
    }
    recovery
}

fn abandoned(paths: &ProjectPaths) -> io::Result<Vec<Abandoned>> {
    let folder = folder(paths);
    let mut found = Vec::new();
    for name in read::names(&folder)?.iter().filter(|name| is_ledger(name)) {
        match owned::take(&folder.join(name)) {
            Ok(ledger) => found.extend(ledger),
            Err(error) => tracing::warn!(%name, %error, "a ledger of processes cannot be read"),
        }
    }
    Ok(found)
}

fn contents(ledger: &mut Abandoned) -> Option<Contents> {
    match ledger.content() {
        Ok(bytes) => Some(Contents::parse(&bytes)),
        Err(error) => {
            tracing::warn!(path = %ledger.path().display(), %error, "a ledger of processes cannot be read");
            None
        }
    }
}

fn verdict(contents: &Contents, here: &Place) -> Verdict {
    if contents.damaged > 0 {
        tracing::warn!(lines = contents.damaged, "a ledger of processes is damaged; the rest of it is used");
    }
    let Some(owner) = &contents.owner else { return Verdict::Search };
    if owner.is_newer() {
        return Verdict::Leave;
    }
    match owner.place.relation(here) {
        Relation::Same => Verdict::Search,
        Relation::OtherBoot => Verdict::Remove,
        Relation::OtherNamespace => Verdict::Leave,
        Relation::Unknown => {
            tracing::warn!("this system does not tell which processes a program that is gone has left");
            Verdict::Remove
        }
    }
}

/// What several ledgers ask for.
#[derive(Debug, Default)]
struct Wanted {
    marks: HashSet<String>,
    known: HashSet<Known>,
    /// The start of the first of their owners.
    since: Option<u64>,
}

impl Wanted {
    fn add(&mut self, contents: Contents) {
        self.marks.extend(contents.marks);
        let since = match contents.owner.and_then(|owner| owner.started) {
            Some(started) => {
                self.known.extend(contents.known);
                started
            }
            // Nobody tells to which run of the system the ids belong. Marks are random.
            None => 0,
        };
        self.since = Some(self.since.map_or(since, |earlier| earlier.min(since)));
    }

    /// `None` if nothing is to be looked for.
    fn scope(self) -> Option<Scope> {
        let empty = self.marks.is_empty() && self.known.is_empty();
        let since = self.since.filter(|_| !empty)?;
        Some(Scope::new(Marks::Of(self.marks), since).knowing(self.known))
    }
}

fn remove(ledger: Abandoned) {
    let path = ledger.path().to_owned();
    if let Err(error) = ledger.remove() {
        tracing::warn!(path = %path.display(), %error, "a ledger of processes cannot be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Owner;
    use super::*;
    use amplifier_core::Timestamp;

    #[test]
    fn a_ledger_of_another_boot_is_done_with_and_one_of_another_container_is_left() {
        let of = |boot: &str, namespace: &str| Place {
            boot: Some(boot.to_owned()),
            namespace: Some(namespace.to_owned()),
        };
        let here = of("b", "n");
        let check = |place: Place, version: u32, expect: Verdict| {
            let owner = Owner { version, pid: 7, started: Some(1), place, at: Timestamp::from_micros(0) };
            let contents = Contents { owner: Some(owner), ..Contents::default() };
            assert_eq!(verdict(&contents, &here), expect, "{contents:?}");
        };
        check(of("b", "n"), 1, Verdict::Search);
        check(of("other", "n"), 1, Verdict::Remove);
        check(of("b", "other"), 1, Verdict::Leave);
        check(Place::default(), 1, Verdict::Remove);
        check(of("b", "n"), 2, Verdict::Leave);
        assert_eq!(verdict(&Contents::default(), &here), Verdict::Search);
    }
}

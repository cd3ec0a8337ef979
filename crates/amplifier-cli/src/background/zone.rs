//! The time zone of this machine.
//!
//! Guarantees: an IANA name, or UTC where none can be found.

use std::path::Path;

use amplifier_foundation::fs::read;
use amplifier_foundation::trigger::timer::Zone;

/// The variable TZ, else what /etc/localtime links to.
pub(super) fn local() -> Zone {
    let variable = std::env::var("TZ").unwrap_or_default();
    let named = Zone::named(variable.trim_start_matches(':')).ok().filter(|_| !variable.is_empty());
    named.or_else(of_link).unwrap_or_else(Zone::utc)
}

fn of_link() -> Option<Zone> {
    let target = read::real_path(Path::new("/etc/localtime")).ok()?;
    let (_, name) = target.to_str()?.split_once("/zoneinfo/")?;
    // Copies of the database that count leap seconds or do not have the same names below.
    let name = name.strip_prefix("posix/").or_else(|| name.strip_prefix("right/")).unwrap_or(name);
    Zone::named(name).ok()
}

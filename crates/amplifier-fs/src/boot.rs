//! Where process ids mean something: one run of the system, and one namespace in it.
//!
//! Guarantees: two equal places share their process ids and start times. Where the system does
//! not tell, a place equals no other.
//! Never here: names of machines.

use std::io::Read;

use serde::{Deserialize, Serialize};

/// A space of process ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The kernel's random id of this run of the system.
    pub boot: Option<String>,
    /// The namespace of process ids, as the kernel names it.
    pub namespace: Option<String>,
}

/// How two places are related.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// The same process ids.
    Same,
    /// The system was started anew in between: no process of one is in the other.
    OtherBoot,
    /// The same system, other process ids: containers.
    OtherNamespace,
    /// One of them is not known.
    Unknown,
}

impl Place {
    /// Where this process is.
    pub fn here() -> Self {
        let link = std::fs::read_link("/proc/self/ns/pid");
        Self { boot: boot(), namespace: link.ok().map(|target| target.to_string_lossy().into_owned()) }
    }

    /// How this place is related to another.
    pub fn relation(&self, other: &Self) -> Relation {
        match (&self.boot, &other.boot) {
            (Some(one), Some(two)) if one != two => Relation::OtherBoot,
            (Some(_), Some(_)) if self.namespace != other.namespace => Relation::OtherNamespace,
            (Some(_), Some(_)) => Relation::Same,
            _ => Relation::Unknown,
        }
    }
}

fn boot() -> Option<String> {
    let mut text = String::new();
    let file = std::fs::File::open("/proc/sys/kernel/random/boot_id").ok()?;
    file.take(100).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let place = |boot: &str, namespace: &str| Place {
            boot: Some(boot.to_owned()),
            namespace: Some(namespace.to_owned()),
        };
        let here = place("b", "n");
        assert_eq!(here.relation(&place("b", "n")), Relation::Same);
        assert_eq!(here.relation(&place("c", "n")), Relation::OtherBoot);
        assert_eq!(here.relation(&place("b", "m")), Relation::OtherNamespace);
        assert_eq!(here.relation(&Place::default()), Relation::Unknown);
        assert_eq!(Place::default().relation(&Place::default()), Relation::Unknown);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_somewhere() {
        let here = Place::here();
        assert!(here.boot.is_some() && here.namespace.is_some(), "{here:?}");
        assert_eq!(here.relation(&Place::here()), Relation::Same);
    }
}

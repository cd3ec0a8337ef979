//! Identifiers that are the same in every run of a test.
//!
//! Guarantees: unique and rising within one value; version and variant bits as RFC 9562 asks.

use std::sync::atomic::{AtomicU64, Ordering};

use amplifier_core::{Ids, Timestamp};
use uuid::{Builder, Uuid};

/// Ids that a seed decides.
#[derive(Debug, Default)]
pub struct SeededIds {
    seed: u64,
    count: AtomicU64,
}

impl SeededIds {
    /// Ids of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, count: AtomicU64::new(0) }
    }

    fn next(&self) -> [u8; 16] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.seed.to_be_bytes());
        bytes[8..].copy_from_slice(&count.to_be_bytes());
        bytes
    }
}

impl Ids for SeededIds {
    fn v7(&self, now: Timestamp) -> Uuid {
        let count = self.next();
        let millis = u64::try_from(now.as_millis()).unwrap_or(0);
        let mut random = [0; 10];
        random.copy_from_slice(&count[6..]);
        Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn v4(&self) -> Uuid {
        let mut bytes = self.next();
        // A child's id is made of the first half alone.
        bytes.copy_within(12.., 2);
        Builder::from_random_bytes(bytes).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all_ids_and_they_rise() {
        let (a, b) = (SeededIds::new(7), SeededIds::new(7));
        let now = Timestamp::from_micros(1_767_225_600_000_000);
        let ids: Vec<Uuid> = (0..1_000).map(|_| a.v7(now)).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert_eq!(b.v7(now), ids[0]);
        assert_eq!((ids[0].get_version_num(), a.v4().get_version_num()), (7, 4));
        assert_ne!(a.v4().as_u64_pair().0, a.v4().as_u64_pair().0);
    }
}

//! Identifiers from the system's random numbers.
//!
//! Guarantees: ids of version 7 that one [`RandomIds`] makes are unique and sort strictly in the
//! order of the calls, whatever the wall clock does and however many threads call. Two processes
//! differ in 62 random bits.
//! Never here: secrets. Who has seen one id of version 7 can guess others; take
//! [`v4`](amplifier_core::Ids::v4) where that matters.

use std::sync::atomic::{AtomicU64, Ordering};

use amplifier_core::{Ids, Timestamp};
use uuid::Uuid;

/// Bits of the counter, the field `rand_a` of RFC 9562.
const COUNTER_BITS: u32 = 12;
/// The latest time that is taken from the clock, the year 6429: half of what 48 bits of milliseconds
/// hold, so that ids still rise after a clock that was out of its mind.
const MAX_MILLIS: u64 = (1 << 47) - 1;
const VERSION: u64 = 7 << COUNTER_BITS;
const VARIANT: u64 = 0b10 << 62;

/// Ids from the system's random numbers. One value a process.
///
/// An id of version 7 holds the time in milliseconds, a counter of 12 bits and 62 bits that are
/// drawn once, when the value is made: an id costs one atomic step and no random number. When the
/// counter is used up within a millisecond (above 4 million ids a second), or while the clock is
/// behind an earlier id, the time of the ids runs ahead of the clock until that catches up.
#[derive(Debug)]
pub struct RandomIds {
    /// Time and counter of the last id, together 60 bits.
    last: AtomicU64,
    /// The low half of each id: the variant and 62 random bits.
    tail: u64,
}

impl RandomIds {
    /// A generator with random bits of its own. Panics, as all of `uuid` does, only where the
    /// system has no random numbers.
    #[expect(clippy::disallowed_methods, reason = "this is the seam through which entropy enters")]
    pub fn new() -> Self {
        let (_, random) = Uuid::new_v4().as_u64_pair();
        Self { last: AtomicU64::new(0), tail: VARIANT | (random & !(0b11 << 62)) }
    }
}

impl Default for RandomIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Ids for RandomIds {
    fn v7(&self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_millis()).unwrap_or(0).min(MAX_MILLIS);
        let earliest = millis << COUNTER_BITS;
        let next = |last: u64| earliest.max(last + 1);
        // Relaxed: the order of the ids is that of this one variable, and nothing else hangs on it.
        let step = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(next(last)));
        let (Ok(last) | Err(last)) = step;
        let stamp = next(last);
        let counter = stamp & ((1 << COUNTER_BITS) - 1);
        let high = (stamp >> COUNTER_BITS) << 16 | VERSION | counter;
        Uuid::from_u64_pair(high, self.tail)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the seam through which entropy enters")]
    fn v4(&self) -> Uuid {
        Uuid::new_v4()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOON: Timestamp = Timestamp::from_micros(1_795_342_331_123_456);

    #[test]
    fn an_id_has_version_variant_and_time() {
        let id = RandomIds::new().v7(NOON);
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.as_u64_pair().0 >> 16, NOON.as_millis() as u64);
        assert_eq!(RandomIds::new().v4().get_version_num(), 4);
    }

    #[test]
    fn a_million_ids_of_four_threads_are_unique_and_rise_in_each_thread() {
        let ids = RandomIds::new();
        let clock = crate::host::SystemClock::new();
        let make = || {
            let own: Vec<Uuid> = (0..250_000).map(|_| ids.v7(amplifier_core::Clock::now(&clock))).collect();
            assert!(own.is_sorted_by(|a, b| a < b));
            own
        };
        let all: Vec<Vec<Uuid>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.iter().flatten().collect::<HashSet<_>>().len(), 1_000_000);
    }

    #[test]
    fn a_clock_that_goes_back_or_stands_still_keeps_the_order() {
        let ids = RandomIds::new();
        let hour = 3_600_000_000;
        let times = [0, 5, -hour, -hour, 0, -NOON.as_micros() - 7, 1, i64::MAX / 2, hour, -hour];
        let made: Vec<Uuid> = times
            .iter()
            .map(|offset| ids.v7(Timestamp::from_micros(NOON.as_micros().saturating_add(*offset))))
            .collect();
        assert!(made.is_sorted_by(|a, b| a < b), "{made:#?}");
    }

    #[test]
    fn more_ids_than_the_counter_holds_go_on_in_the_next_millisecond() {
        let ids = RandomIds::new();
        let made: Vec<Uuid> = (0..10_000).map(|_| ids.v7(NOON)).collect();
        let last = ids.v7(Timestamp::from_micros(i64::MAX));
        assert!((0..10_000).map(|_| ids.v7(NOON)).all(|id| id > last));
        assert!(made.is_sorted_by(|a, b| a < b));
        let millis = |id: &Uuid| id.as_u64_pair().0 >> 16;
        assert_eq!(millis(&made[9_999]) - millis(&made[0]), 2);
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn two_generators_differ_in_their_random_bits() {
        let tails: HashSet<u64> = (0..1_000).map(|_| RandomIds::new().v7(NOON).as_u64_pair().1).collect();
        assert_eq!(tails.len(), 1_000);
    }
}

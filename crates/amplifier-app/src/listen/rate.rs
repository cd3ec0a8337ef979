//! How many calls a sender may make.
//!
//! Guarantees: memory is bounded, whoever calls; senders that are not known any more share one place, so
//! that nobody gets around the limit by having many addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::{Clock, MonoTime};

/// Senders that are told apart.
const PLACES: usize = 1_024;

/// Calls that a sender may make to one path: so many at once, and so many a second after that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// At once.
    pub burst: u32,
    /// A second.
    pub per_second: u32,
}

impl Default for Rate {
    fn default() -> Self {
        Self { burst: 500, per_second: 50 }
    }
}

/// Who calls, and which path; `None` for all those that are not told apart.
type Sender = Option<(IpAddr, String)>;

/// Counts calls. Clones count together.
#[derive(Debug, Clone)]
pub struct Limiter {
    rate: Rate,
    clock: Arc<dyn Clock>,
    // Held to count; never across an await.
    buckets: Arc<Mutex<HashMap<Sender, Bucket>>>,
}

/// What is left of a burst, in calls, and when that was so.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: MonoTime,
}

impl Limiter {
    /// Counts nothing yet.
    pub fn new(rate: Rate, clock: Arc<dyn Clock>) -> Self {
        Self { rate, clock, buckets: Arc::default() }
    }

    /// Counts a call. `Err`: it is one too many; the next one may come after this time.
    pub fn count(&self, peer: IpAddr, path: &str) -> Result<(), Duration> {
        let (now, rate) = (self.clock.monotonic(), self.rate);
        let filled = |bucket: &Bucket| {
            let gained = now.saturating_since(bucket.at).as_secs_f64() * f64::from(rate.per_second);
            (bucket.left + gained).min(f64::from(rate.burst))
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Some((network(peer), path.to_owned()));
        if !buckets.contains_key(&key) && buckets.len() >= PLACES {
            // Whoever has its whole burst again is as good as unknown.
            buckets.retain(|_, bucket| filled(bucket) < f64::from(rate.burst));
            if buckets.len() >= PLACES {
                key = None;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: f64::from(rate.burst), at: now });
        let left = filled(bucket);
        let taken = left >= 1.0;
        *bucket = Bucket { left: if taken { left - 1.0 } else { left }, at: now };
        if taken {
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 - left) / f64::from(rate.per_second.max(1))))
    }
}

/// Whom an address belongs to: of IPv6 one has as many addresses as one likes.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if !address.is_loopback() => {
            let prefix = u128::from(address) & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amplifier_core::Timestamp;
    use amplifier_core::clock::BoxFuture;
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Debug, Default)]
    struct Hand(AtomicU64);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(0)
        }
        fn monotonic(&self) -> MonoTime {
            MonoTime::from_origin(Duration::from_millis(self.0.load(Ordering::SeqCst)))
        }
        fn sleep_until(&self, _: MonoTime) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    fn limiter(burst: u32, per_second: u32) -> (Limiter, Arc<Hand>) {
        let hand = Arc::new(Hand::default());
        (Limiter::new(Rate { burst, per_second }, hand.clone()), hand)
    }

    #[test]
    fn a_burst_is_free_and_comes_back_with_time() {
        let (limiter, hand) = limiter(3, 2);
        let (one, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let count = |peer| (0..5).filter(|_| limiter.count(peer, "a").is_ok()).count();
        assert_eq!(count(one), 3);
        assert_eq!(limiter.count(one, "a").unwrap_err(), Duration::from_millis(500));
        assert_eq!((limiter.count(one, "b").is_ok(), count(other)), (true, 3), "others are not held up");
        hand.0.store(1_000, Ordering::SeqCst);
        assert_eq!(count(one), 2);
        hand.0.store(1_000_000, Ordering::SeqCst);
        assert_eq!(count(one), 3);
    }

    #[test]
    fn many_addresses_are_one_sender_or_share_one_place() {
        let (limiter, _) = limiter(2, 1);
        let of_v6 =
            |n: u64| limiter.count(IpAddr::V6(Ipv6Addr::from(0x2001_0db8_u128 << 96 | u128::from(n))), "a");
        assert_eq!((0..10).filter(|n| of_v6(*n).is_ok()).count(), 2);
        let of_v4 = |n: u32| limiter.count(IpAddr::V4((0x0a00_0000 + n).into()), "a").is_ok();
        let allowed = (0..20_000).filter(|n| of_v4(*n)).count();
        assert_eq!(allowed, (PLACES - 1) + 2);
        assert!(limiter.buckets.lock().unwrap().len() <= PLACES + 1);
    }
}

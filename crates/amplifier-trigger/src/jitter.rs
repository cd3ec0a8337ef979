//! Jitter that follows from an id: the same firing is moved by the same span in every process.

use std::time::Duration;

/// A part of `span`, at least zero and less than `span`, as even as a hash is.
pub(crate) fn jitter(id: &str, span: Duration) -> Duration {
    let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    if micros == 0 {
        return Duration::ZERO;
    }
    let hash = blake3::hash(id.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.as_bytes()[..8]);
    Duration::from_micros(u64::from_le_bytes(bytes) % micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_bounded_and_the_same_again() {
        let span = Duration::from_secs(60);
        let all: Vec<Duration> = (0..1_000).map(|n| jitter(&n.to_string(), span)).collect();
        assert!(all.iter().all(|moved| *moved < span));
        let late = all.iter().filter(|moved| **moved >= span / 2).count();
        assert!((400..600).contains(&late), "{late}");
        assert_eq!(jitter("7", span), all[7]);
        assert_eq!(jitter("7", Duration::ZERO), Duration::ZERO);
    }
}

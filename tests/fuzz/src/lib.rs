//! What the fuzz targets of all crates share: how often they run, what they are given, how long one run may take.
//!
//! A target is a test in a module `fuzz` beside the format that it attacks. As a test it runs
//! [`EXECUTIONS`] times; `cargo xtask fuzz` runs it a million times. What it is given is a [`Script`]: bytes that
//! bolero makes and shortens, read as a damaged variant of one of several good texts. Bytes alone would get no
//! further than the first line of a parser.
//!
//! Guarantees: a run that takes more than [`CPU_LIMIT`] of the processor's time fails; a failure is told with the
//! seed that repeats it (`BOLERO_RANDOM_SEED`). Never here: a format.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "it is there to fail tests, and tells the runner what it did"
)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

pub use bolero;

/// Runs of a target in an ordinary test run, however loaded the machine is.
pub const EXECUTIONS: usize = 600;
/// The longest script, in bytes.
pub const MAX_SCRIPT: usize = 160;
/// What one run may take, of its own thread's time: thousands of times what any takes.
pub const CPU_LIMIT: Duration = Duration::from_secs(20);

/// Runs a target: `fuzz!(|script| { … })`, where `script` is a `&mut` [`Script`].
#[macro_export]
macro_rules! fuzz {
    (|$script:ident| $body:expr) => {{
        let runs = $crate::Runs::of(concat!(module_path!(), ":", line!()));
        $crate::bolero::check!()
            .with_iterations($crate::EXECUTIONS)
            .with_test_time(::std::time::Duration::MAX)
            .with_max_len($crate::MAX_SCRIPT)
            .for_each(|bytes: &[u8]| {
                runs.one(|| {
                    let $script = &mut $crate::Script::of(bytes);
                    $body
                })
            });
        runs.finish();
    }};
}

/// How often a target ran, and how long at most. Dropped, it says so in a line for `cargo xtask fuzz`.
#[derive(Debug)]
pub struct Runs {
    target: &'static str,
    limit: Duration,
    count: AtomicU64,
    slowest_us: AtomicU64,
}

impl Runs {
    /// Of a target.
    pub fn of(target: &'static str) -> Self {
        Self { target, limit: CPU_LIMIT, count: AtomicU64::new(0), slowest_us: AtomicU64::new(0) }
    }

    /// One run.
    pub fn one(&self, run: impl FnOnce()) {
        let before = cpu_time();
        run();
        let took = cpu_time().saturating_sub(before);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.slowest_us.fetch_max(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        assert!(took <= self.limit, "{} took {took:?} for one input", self.target);
    }

    /// Behind the last run: all were done, unless the environment said how many.
    pub fn finish(self) {
        let told = ["BOLERO_RANDOM_ITERATIONS", "BOLERO_RANDOM_SEED"].map(std::env::var_os);
        let count = self.count.load(Ordering::Relaxed);
        let wanted = if told.iter().any(Option::is_some) { 0 } else { EXECUTIONS as u64 };
        assert!(count >= wanted, "{} ran {count} times only", self.target);
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        let (count, slowest) = (self.count.load(Ordering::Relaxed), self.slowest_us.load(Ordering::Relaxed));
        println!("fuzzed {count} slowest_us {slowest}");
    }
}

/// The time of this thread alone: what others do on the machine does not count.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Bytes that are read as choices. At their end every choice is the first one.
#[derive(Debug)]
pub struct Script<'b> {
    rest: &'b [u8],
}

impl<'b> Script<'b> {
    /// Choices out of bytes.
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.rest.split_first() else { return 0 };
        self.rest = rest;
        *first
    }

    /// A number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        let number = match end {
            0..=256 => usize::from(self.byte()),
            _ => usize::from(self.byte()) << 16 | usize::from(self.byte()) << 8 | usize::from(self.byte()),
        };
        number % end.max(1)
    }

    /// True once in two.
    pub fn coin(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    /// A number of any size; small and extreme ones are frequent.
    pub fn number(&mut self) -> i64 {
        let [a, b] = [self.byte(), self.byte()];
        match a % 8 {
            0..=2 => i64::from(b),
            3 => -i64::from(b),
            4 => i64::MAX - i64::from(b),
            5 => i64::MIN + i64::from(b),
            _ => i64::from_le_bytes([
                a,
                b,
                self.byte(),
                self.byte(),
                self.byte(),
                self.byte(),
                self.byte(),
                self.byte(),
            ]),
        }
    }

    /// One of several; panics if there is none.
    pub fn one_of<'t, T: ?Sized>(&mut self, all: &[&'t T]) -> &'t T {
        all[self.below(all.len())]
    }

    /// One of several good texts, damaged in a few places; `words` are what its format is made of.
    pub fn bytes(&mut self, good: &[&str], words: &[&str]) -> Vec<u8> {
        let mut text = self.one_of(good).as_bytes().to_vec();
        // Mostly few: after many nothing of the text is left that a parser would enter.
        let changes = match self.byte() {
            few @ 0..=199 => few % 6,
            many => many % 32,
        };
        for _ in 0..changes {
            self.damage(&mut text, good, words);
        }
        text
    }

    /// As [`Script::bytes`], as text; what is no UTF-8 is replaced.
    pub fn text(&mut self, good: &[&str], words: &[&str]) -> String {
        String::from_utf8_lossy(&self.bytes(good, words)).into_owned()
    }

    /// One change of a text.
    pub fn damage(&mut self, text: &mut Vec<u8>, good: &[&str], words: &[&str]) {
        let at = self.below(text.len() + 1);
        let most = text.len() - at;
        match self.byte() % 12 {
            0 => drop(text.drain(at..at + self.short(most))),
            1 => {
                let part = text[at..at + self.short(most)].to_vec();
                let to = self.below(text.len() + 1);
                text.splice(to..to, part);
            }
            2..=4 if !words.is_empty() => {
                let word = self.one_of(words);
                text.splice(at..at, word.bytes());
            }
            5 if !words.is_empty() => {
                let (word, count) = (self.one_of(words), 1 << (self.byte() % 10));
                text.splice(at..at, word.repeat(count).into_bytes());
            }
            6 if most > 0 => text[at] = self.byte(),
            7 if most > 0 => text[at] ^= 1 << (self.byte() % 8),
            8 => text.insert(at, self.byte()),
            9 => {
                let other = self.one_of(good).as_bytes();
                let from = self.below(other.len() + 1);
                let part = &other[from..from + self.short(other.len() - from)];
                text.splice(at..at, part.iter().copied());
            }
            10 => text.truncate(at),
            _ => {
                // A whole line, the unit of many formats.
                let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                let end =
                    text[at..].iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| at + end + 1);
                let line = text[start..end].to_vec();
                match self.coin() {
                    true => drop(text.drain(start..end)),
                    false => drop(text.splice(end..end, line)),
                }
            }
        }
    }

    /// A length of at most `most`, mostly short.
    fn short(&mut self, most: usize) -> usize {
        let reach = if self.coin() { 8 } else { 256 };
        self.below(most.min(reach) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_gives_the_same_text_again_and_ends_anywhere() {
        let good = ["one: 1\ntwo: 2\n", "three"];
        for length in 0..200_usize {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 37 + length) as u8).collect();
            let text = Script::of(&bytes).text(&good, &["[", ": "]);
            assert_eq!(text, Script::of(&bytes).text(&good, &["[", ": "]));
        }
        assert_eq!(Script::of(&[]).text(&good, &["["]), good[0]);
    }

    #[test]
    #[should_panic(expected = "ran 0 times only")]
    fn a_target_that_was_not_run_fails() {
        Runs::of("idle").finish();
    }

    #[test]
    #[should_panic(expected = "for one input")]
    fn a_run_that_takes_too_long_fails() {
        let mut runs = Runs::of("endless");
        runs.limit = Duration::ZERO;
        runs.one(|| drop(std::hint::black_box(vec![1_u8; 1 << 20])));
    }
}

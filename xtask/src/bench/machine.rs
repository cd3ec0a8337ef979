//! The machine, in general terms: what figures depend on.

use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::figure::{Spread, number};

/// Flushes that are timed.
const FLUSHES: usize = 50;

/// What figures depend on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `linux x86_64`
    pub(crate) system: String,
    pub(crate) cores: usize,
    /// GiB; 0 where the system does not say.
    pub(crate) memory_gib: u64,
    /// A write of 4 KiB and its flush to the disk below `target`: median, least and most, in milliseconds.
    pub(crate) flush_ms: [f64; 3],
}

impl Machine {
    /// Looks at this one; `folder` is where flushes are timed.
    pub(crate) fn look(folder: &Path) -> Self {
        let system = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        Self { system, cores, memory_gib: memory_gib().unwrap_or(0), flush_ms: flushes(folder) }
    }

    /// True if figures of both can stand beside each other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.system, self.cores, self.memory_gib) == (&other.system, other.cores, other.memory_gib)
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [median, min, max] = self.flush_ms.map(number);
        let Self { system, cores, memory_gib, .. } = self;
        write!(f, "{system}, {cores} cores, {memory_gib} GiB of memory, a flush {median} ms [{min}..{max}]")
    }
}

fn memory_gib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib.div_ceil(1024 * 1024))
}

/// All zero where nothing can be written.
fn flushes(folder: &Path) -> [f64; 3] {
    let path = folder.join("flush");
    let timed = || -> std::io::Result<Vec<f64>> {
        let mut file = std::fs::File::create(&path)?;
        let mut each = Vec::with_capacity(FLUSHES);
        for _ in 0..FLUSHES {
            let began = Instant::now();
            file.write_all(&[0; 4096])?;
            file.sync_data()?;
            each.push(began.elapsed().as_secs_f64() * 1e3);
        }
        Ok(each)
    };
    let Ok(each) = timed() else { return [0.0; 3] };
    let _ = std::fs::remove_file(&path);
    let Spread { median, min, max } = Spread::of(&each);
    [median, min, max]
}

//! What a server's tools are called in a session.
//!
//! Guarantees: `mcp__<server>__<tool>` in letters that every model service takes, at most [`MAX_NAME`] of them,
//! and each name once; a name that had to be changed ends in a hash of what it was.

use std::collections::BTreeSet;

/// Longest name that model services take.
const MAX_NAME: usize = 64;
/// Of a name that was changed: letters of the hash at its end.
const HASH: usize = 8;

/// The name of a tool in a session; `taken` are those that there are already.
pub(crate) fn name(server: &str, tool: &str, taken: &mut BTreeSet<String>) -> String {
    let plain = format!("mcp__{}__{}", clean(server), clean(tool));
    let fits = plain.len() <= MAX_NAME && !taken.contains(&plain);
    let mut name = plain.clone();
    let mut round = 0_u32;
    while !(fits || round > 0) || taken.contains(&name) {
        let hash = hash(&format!("{server}\n{tool}\n{round}"));
        let kept = plain.len().min(MAX_NAME - HASH - 1);
        name = format!("{}_{hash}", &plain[..kept]);
        round += 1;
    }
    taken.insert(name.clone());
    name
}

/// The text in letters, digits, `_` and `-` alone.
fn clean(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let clean: String = text.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if clean.is_empty() { "_".to_owned() } else { clean }
}

/// FNV-1a: the same in every build, which names in transcripts must be.
fn hash(text: &str) -> String {
    let mixed = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut hex = format!("{mixed:016x}");
    hex.truncate(HASH);
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_every_service_and_are_unique() {
        let mut taken = BTreeSet::new();
        assert_eq!(name("git", "git_status", &mut taken), "mcp__git__git_status");
        assert_eq!(name("my server", "read.file/now", &mut taken), "mcp__my_server__read_file_now");
        let second = name("my.server", "read.file/now", &mut taken);
        assert!(second.starts_with("mcp__my_server__read_file_now_"), "{second}");
        let long = name("s", &"x".repeat(200), &mut taken);
        let other = name("s", &"x".repeat(201), &mut taken);
        assert_eq!((long.len(), other.len()), (MAX_NAME, MAX_NAME));
        assert_ne!(long, other);
        assert_eq!(name("", "", &mut taken), "mcp______");
        let again = name("s", &"x".repeat(200), &mut BTreeSet::new());
        assert_eq!(again, long);
    }
}

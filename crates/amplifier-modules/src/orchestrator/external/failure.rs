//! What an agent's words for a failure mean.
//!
//! Guarantees: a limit of a service or a subscription is told apart from a missing login, and both from the rest. The
//! words are those of the programs; a failure in other words is `Other`, never a success.

use amplifier_core::module::provider::ProviderErrorKind;

/// Words in lower case, and what they mean. The first that fits counts.
const WORDS: &[(&str, ProviderErrorKind)] = &[
    ("prompt is too long", ProviderErrorKind::ContextTooLong),
    ("context window", ProviderErrorKind::ContextTooLong),
    ("credit balance is too low", ProviderErrorKind::Quota),
    ("insufficient_quota", ProviderErrorKind::Quota),
    ("billing", ProviderErrorKind::Quota),
    ("usage limit", ProviderErrorKind::RateLimited),
    ("hit your limit", ProviderErrorKind::RateLimited),
    ("limit reached", ProviderErrorKind::RateLimited),
    ("rate limit", ProviderErrorKind::RateLimited),
    ("rate_limit", ProviderErrorKind::RateLimited),
    ("too many requests", ProviderErrorKind::RateLimited),
    ("overloaded", ProviderErrorKind::RateLimited),
    ("status 429", ProviderErrorKind::RateLimited),
    ("status: 429", ProviderErrorKind::RateLimited),
    ("error: 429", ProviderErrorKind::RateLimited),
    ("invalid api key", ProviderErrorKind::Auth),
    ("please run /login", ProviderErrorKind::Auth),
    ("not logged in", ProviderErrorKind::Auth),
    ("codex login", ProviderErrorKind::Auth),
    ("authentication", ProviderErrorKind::Auth),
    ("unauthorized", ProviderErrorKind::Auth),
    ("oauth token", ProviderErrorKind::Auth),
    ("401", ProviderErrorKind::Auth),
    ("internal server error", ProviderErrorKind::Unavailable),
    ("stream disconnected", ProviderErrorKind::Transport),
    ("connection error", ProviderErrorKind::Transport),
    ("unknown option", ProviderErrorKind::Config),
    ("unexpected argument", ProviderErrorKind::Config),
];

/// Words that say that the agent does not know the session that it was to go on with.
const UNKNOWN_SESSION: [&str; 4] =
    ["no conversation found", "no rollout found", "thread not found", "no saved session found"];

/// The kind of a failure that is told in these words.
pub(super) fn kind(words: &str) -> ProviderErrorKind {
    let words = words.to_lowercase();
    let found = WORDS.iter().find(|(known, _)| words.contains(known));
    found.map_or(ProviderErrorKind::Other, |(_, kind)| *kind)
}

/// True if the agent says that it does not know its session.
pub(super) fn is_unknown_session(words: &str) -> bool {
    let words = words.to_lowercase();
    UNKNOWN_SESSION.iter().any(|known| words.contains(known))
}

/// The last line of a text that says something, cut for a message.
pub(super) fn last_line(text: &str) -> &str {
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
    &line[..line.floor_char_boundary(300)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_programs_have_a_meaning() {
        for (words, expect) in [
            ("Claude AI usage limit reached|1763870400", ProviderErrorKind::RateLimited),
            ("You've hit your limit · resets 3am (UTC)", ProviderErrorKind::RateLimited),
            ("API Error: 429 {\"type\":\"error\"}", ProviderErrorKind::RateLimited),
            ("exceeded retry limit, last status: 429 Too Many Requests", ProviderErrorKind::RateLimited),
            ("Invalid API key · Please run /login", ProviderErrorKind::Auth),
            ("unexpected status 401 Unauthorized: Missing bearer", ProviderErrorKind::Auth),
            ("Credit balance is too low", ProviderErrorKind::Quota),
            ("Prompt is too long", ProviderErrorKind::ContextTooLong),
            ("error: unknown option '--max-budget-usd'", ProviderErrorKind::Config),
            ("it broke", ProviderErrorKind::Other),
        ] {
            assert_eq!(kind(words), expect, "{words}");
        }
        assert!(is_unknown_session("No conversation found with session ID: x"));
        assert!(is_unknown_session("Error: thread/resume failed: no rollout found for thread id x"));
        assert_eq!(last_line("a\nb \n\n"), "b");
    }
}

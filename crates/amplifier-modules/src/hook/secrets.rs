//! Which values are known to be secret: the keys that providers and tools use.
//!
//! Never here: what is done with them; that is the foundation's `redact`.

use amplifier_core::SessionEnv;
use amplifier_foundation::redact::{Redactor, SecretValue};

/// Variables whose values are secrets wherever they stand.
const NAMES: &[&str] = &[
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
    "OLLAMA_API_KEY",
    "OPENROUTER_API_KEY",
    "GROQ_API_KEY",
    "MISTRAL_API_KEY",
    "DEEPSEEK_API_KEY",
    "XAI_API_KEY",
    "HF_TOKEN",
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITLAB_TOKEN",
    "NPM_TOKEN",
    "CARGO_REGISTRY_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "NOTIFY_SECRET",
];

/// A redactor that knows the session's keys, and the values of `more` variables.
pub(super) fn redactor(env: &SessionEnv, more: &[String]) -> Redactor {
    let names = NAMES.iter().copied().chain(more.iter().map(String::as_str));
    Redactor::new(names.filter_map(|name| env.variables.get(name)).map(SecretValue::from).collect())
}

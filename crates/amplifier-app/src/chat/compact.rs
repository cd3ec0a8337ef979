//! `/compact`: what a conversation has come to, in few words.
//!
//! Guarantees: the conversation is read and not changed; the summary is an answer of a session of its own below it,
//! without tools, with its provider, and counts in its cost.
//! Never here: what begins with the summary.

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionId;
use amplifier_foundation::bundle::PreparedBundle;
use amplifier_foundation::spawn::{ContextDepth, ContextRequest, ContextScope};
use amplifier_foundation::{Host, SpawnRequest, spawn_bundle};

use crate::terminal::chain;

/// The bundle of the one who summarizes.
const WRITER: &str = "bundle: {name: summarizer, version: 1.0.0, description: Summarizes a conversation}\n\
                      session: {orchestrator: loop-basic, context: context-simple}\n\
                      instruction: You summarize conversations so that another session can go on with the work.\n";

/// How long a summary may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A summary of a session for the first message of another one; `about` says what matters. `Err`: why there is none.
pub async fn summary(host: &Host, session: &SessionId, about: &str) -> Result<String, String> {
    let bundle = PreparedBundle::from_str("summarizer", WRITER).map_err(|error| chain(&error))?;
    let request = SpawnRequest::new(Arc::new(bundle), task(about))
        .parent(session.clone())
        .context(ContextRequest::quoted(ContextDepth::All, ContextScope::Full))
        .timeout(PATIENCE);
    let asked = spawn_bundle(host, request).await.map_err(|error| chain(&error))?;
    let outcome = asked.outcome().await;
    if !outcome.is_completed() {
        return Err(outcome
            .error
            .as_ref()
            .map_or("it was stopped".to_owned(), |error| error.message.clone()));
    }
    match outcome.output.trim() {
        "" => Err("the answer is empty".to_owned()),
        text => Ok(format!("<summary of=\"session {session}\">\n{text}\n</summary>")),
    }
}

fn task(about: &str) -> String {
    let about = match about.trim() {
        "" => String::new(),
        about => format!(" What matters most: {about}."),
    };
    format!(
        "Summarize the conversation above for a session that goes on with it and sees nothing else: what was asked \
         for and decided, what was done and found, files and commands by their names, what is open.{about} Answer \
         with the summary alone."
    )
}

//! Answers that fit a JSON Schema: `--output-schema`.
//!
//! Guarantees: nothing is fetched and no other file is read for a `$ref`; what an answer says beside its JSON is refused,
//! but for a fence of code around it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use amplifier_foundation::fs::read;
use amplifier_foundation::spawn::AnswerCheck;
use jsonschema::Validator;
use serde_json::Value;

use crate::exit::Failure;

/// Largest schema, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// How many faults of one answer are told.
const MAX_FAULTS: usize = 10;
/// Longest fault, in characters: it may quote the answer.
const MAX_FAULT: usize = 300;

/// A schema that answers must fit.
pub struct OutputSchema {
    text: String,
    validator: Validator,
    attempts: u32,
}

impl fmt::Debug for OutputSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputSchema").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl OutputSchema {
    /// Reads it from a file; `attempts` is how often the model is asked again.
    pub fn read(file: &Path, attempts: u32) -> Result<Arc<Self>, Failure> {
        let named = |why: String| Failure::usage(format!("--output-schema {}: {why}", file.display()));
        let (text, _) = read::text(file, MAX_BYTES).map_err(|error| Failure::config(&error))?;
        let schema: Value =
            serde_json::from_str(&text).map_err(|error| named(format!("it is no JSON: {error}")))?;
        if let Err(error) = jsonschema::meta::validate(&schema) {
            let place = error.instance_path().to_string();
            return Err(named(format!("it is no JSON Schema: {error} (at `{place}`)")));
        }
        let validator = jsonschema::validator_for(&schema).map_err(|error| {
            named(format!("it cannot be used: {error}"))
                .help("only `#/…` can be referred to; nothing is fetched")
        })?;
        Ok(Arc::new(Self { text, validator, attempts }))
    }

    /// What the model is told of it, behind the prompt.
    pub fn instruction(&self) -> String {
        format!(
            "Give your final answer as one JSON value and nothing else, no words around it. It must fit this JSON Schema:\n{}",
            self.text.trim()
        )
    }
}

/// The JSON of an answer: all of it, or what a fence of code holds if there is nothing else.
fn json_of(answer: &str) -> &str {
    let answer = answer.trim();
    let fenced = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    match fenced.and_then(|rest| rest.split_once('\n')) {
        Some((word, body)) if word.trim().chars().all(char::is_alphanumeric) => body.trim(),
        _ => answer,
    }
}

impl AnswerCheck for OutputSchema {
    fn name(&self) -> &str {
        "output schema"
    }

    fn check(&self, answer: &str) -> Result<String, String> {
        let text = json_of(answer);
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("the answer is no JSON: {error}"))?;
        let fault = |error: jsonschema::ValidationError<'_>| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "the value".to_owned() } else { place };
            let text = format!("{place}: {error}");
            text.chars().take(MAX_FAULT).collect::<String>()
        };
        let faults: Vec<String> = self.validator.iter_errors(&value).take(MAX_FAULTS).map(fault).collect();
        if faults.is_empty() { Ok(text.to_owned()) } else { Err(faults.join("; ")) }
    }

    fn again(&self, wrong: &str) -> String {
        format!(
            "Your answer does not fit the JSON Schema: {wrong}\nAnswer again with one JSON value that fits it, and nothing else."
        )
    }

    fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::json_of;

    #[test]
    fn a_fence_around_the_whole_answer_is_taken_away() {
        let check = |answer: &str, expect: &str| assert_eq!(json_of(answer), expect, "{answer}");
        check(" {\"a\": 1}\n", "{\"a\": 1}");
        check("```json\n{\"a\": 1}\n```", "{\"a\": 1}");
        check("```\n[1]\n```\n", "[1]");
        check("here: ```json\n1\n```", "here: ```json\n1\n```");
    }
}

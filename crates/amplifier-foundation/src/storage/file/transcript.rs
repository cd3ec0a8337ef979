//! The lines of a transcript: one message as JSON on each.
//!
//! Guarantees: what is written can be read back. Of a file that was cut at any byte each
//! whole line is read, and the rest is told apart as torn. A damaged line is never skipped.

use std::sync::Arc;

use amplifier_core::{Message, SessionId};

use super::super::error::json_reason;
use super::super::{StorageError, is_kept};
use super::not_storable;

/// Messages as they go to the file.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    /// How many messages that is.
    pub(super) count: u64,
}

impl Lines {
    /// Writes those messages that a transcript keeps. Each line is read back at once: a
    /// message that JSON cannot carry (nested too deep, a key twice) must fail here and
    /// not when the session is resumed.
    pub(super) fn write(id: &SessionId, messages: &[Arc<Message>]) -> Result<Self, StorageError> {
        let mut lines = Self::default();
        for message in messages.iter().filter(|message| is_kept(message)) {
            let start = lines.bytes.len();
            serde_json::to_writer(&mut lines.bytes, message).map_err(|error| not_storable(id, &error))?;
            serde_json::from_slice::<Message>(&lines.bytes[start..])
                .map_err(|error| not_storable(id, &error))?;
            lines.bytes.push(b'\n');
            lines.count += 1;
        }
        Ok(lines)
    }
}

/// What a transcript holds.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) messages: Vec<Arc<Message>>,
    /// The bytes up to the end of the last whole line.
    pub(super) good_len: usize,
    /// The bytes behind them.
    pub(super) torn_len: usize,
    /// The last line is whole but lacks its line feed.
    pub(super) owes_line_feed: bool,
    /// Messages that a transcript does not keep, and that were passed over.
    pub(super) left_out: usize,
}

/// A line that is no message.
#[derive(Debug)]
pub(super) struct Damage {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) reason: String,
}

/// Reads a transcript. Empty lines mean nothing. A last line without line feed is a message
/// if it can be read, and torn if it cannot; any other line that cannot be read is damage.
pub(super) fn parse(content: &[u8]) -> Result<Parsed, Damage> {
    let mut parsed = Parsed::default();
    for (index, line) in content.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.ends_with(b"\n");
        if !line.trim_ascii().is_empty() {
            match serde_json::from_slice::<Message>(line) {
                Ok(message) if is_kept(&message) => parsed.messages.push(Arc::new(message)),
                Ok(_) => parsed.left_out += 1,
                Err(_) if !whole => {
                    parsed.torn_len = line.len();
                    break;
                }
                Err(error) => return Err(Damage { line: index + 1, reason: json_reason(&error) }),
            }
        }
        parsed.good_len += line.len();
        parsed.owes_line_feed = !whole;
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(parsed: &Parsed) -> Vec<String> {
        parsed.messages.iter().map(|message| message.text()).collect()
    }

    #[test]
    fn each_whole_line_is_read_wherever_the_file_is_cut() {
        let lines = ["a", "bö", "c\\n"].map(|text| format!("{{\"role\":\"user\",\"content\":\"{text}\"}}\n"));
        let content = lines.concat().into_bytes();
        for cut in 0..=content.len() {
            let parsed = parse(&content[..cut]).unwrap();
            let (mut whole, mut end) = (0, 0);
            for line in &lines {
                end += line.len();
                // A line is whole without its line feed too.
                whole += usize::from(end - 1 <= cut);
            }
            assert_eq!(parsed.messages.len(), whole, "cut at {cut}");
            assert_eq!(parsed.good_len + parsed.torn_len, cut);
        }
    }

    #[test]
    fn damage_names_its_line_and_not_its_content() {
        let good = "{\"role\":\"user\",\"content\":\"a\"}\n";
        for (bad, reason) in [
            (
                "{\"role\":\"user\",\"content\":\"sk-secret\n",
                "control character (\\u0000-\\u001F) found while parsing a string",
            ),
            ("{\"role\":\"sk-secret\"}\n", "expected one of"),
            ("{\"content\":\"sk-secret\"}\n", "missing field `role`"),
            ("\"sk-secret\"\n", "expected struct Message"),
            ("\0\0\0\0\n", "expected value"),
        ] {
            let damage = parse(format!("{good}\n{bad}{good}").as_bytes()).unwrap_err();
            assert_eq!(damage.line, 3, "{bad}");
            assert!(damage.reason.contains(reason), "{bad}: {}", damage.reason);
            assert!(!damage.reason.contains("sk-secret"), "{}", damage.reason);
        }
    }

    #[test]
    fn a_last_line_without_line_feed_is_a_message_if_it_is_whole() {
        let parsed =
            parse(b"{\"role\":\"user\",\"content\":\"a\"}\r\n{\"role\":\"user\",\"content\":\"b\"}").unwrap();
        assert_eq!(texts(&parsed), ["a", "b"]);
        assert!(parsed.owes_line_feed);
    }

    #[test]
    fn a_message_that_could_not_be_read_back_is_refused() {
        let mut deep = serde_json::Value::Null;
        for _ in 0..200 {
            deep = serde_json::Value::Array(vec![deep]);
        }
        let mut message = Message::user("x");
        message.metadata.insert("deep".into(), deep);
        let id = SessionId::new("s").unwrap();
        let refused = Lines::write(&id, &[Arc::new(message)]);
        assert!(matches!(refused, Err(StorageError::NotStorable { .. })), "{refused:?}");
    }
}

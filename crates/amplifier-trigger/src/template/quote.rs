//! Values of an event as they may stand in an instruction.
//!
//! Guarantees: text stays on one line in its quotes; no mark can be closed from within; no mention of a
//! file remains.

use serde_json::Value;

/// Most bytes of one quoted value.
const MAX_BYTES: usize = 64 * 1024;

/// A value as data.
pub(super) fn quoted(value: &Value) -> String {
    let json = cut(value);
    match value {
        Value::Array(_) | Value::Object(_) => {
            format!("\n<event_data>\n{}\n</event_data>\n", escaped(&json))
        }
        _ => escaped(&json),
    }
}

/// JSON of bounded length; what is longer becomes a string of its beginning.
fn cut(value: &Value) -> String {
    let json = value.to_string();
    if json.len() <= MAX_BYTES {
        return json;
    }
    let text = value.as_str().unwrap_or(&json);
    let mut end = MAX_BYTES;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Value::String(format!("{}… ({} bytes in all)", &text[..end], text.len())).to_string()
}

/// JSON in which `<`, `>`, `@` and odd line ends are written as escapes. These stand in strings alone,
/// so the JSON means the same.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '@' | '`' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            // Marks that turn the direction of text around would show something else than is there.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            _ => text.push(c),
        }
    }
    text
}

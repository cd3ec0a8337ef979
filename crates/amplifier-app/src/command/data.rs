//! Data of an event or a firing, as it is typed.

use std::io::Read;
use std::path::Path;

use amplifier_core::Payload;
use amplifier_core::payload::{MAX_PAYLOAD_BYTES, PayloadError};
use amplifier_foundation::fs::read;

use crate::exit::Failure;
use crate::terminal::chain;

/// The data that a word stands for.
pub fn data(given: Option<&str>) -> Result<Payload, Failure> {
    let bytes = match given {
        None => return Ok(Payload::null()),
        Some("-") => from_stdin()?,
        Some(text) => match text.strip_prefix('@') {
            Some(file) => from_file(Path::new(file))?,
            None => text.as_bytes().to_vec(),
        },
    };
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(Failure::usage(chain(&PayloadError::TooLarge { len: bytes.len() })));
    }
    Payload::from_json(bytes).map_err(|error| match error {
        PayloadError::Decode(error) => Failure::usage(format!("the data is no JSON: {error}"))
            .help("quote it for the shell, such as '{\"n\": 1}'; @FILE reads a file, - standard input"),
        other => Failure::usage(chain(&other)),
    })
}

fn from_file(path: &Path) -> Result<Vec<u8>, Failure> {
    let read = read::bytes(path, MAX_PAYLOAD_BYTES as u64);
    read.map(|(bytes, _)| bytes).map_err(|error| Failure::usage(chain(&error)))
}

fn from_stdin() -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = MAX_PAYLOAD_BYTES as u64 + 1;
    match std::io::stdin().lock().take(limit).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > MAX_PAYLOAD_BYTES => Err(Failure::usage(format!(
            "standard input has more than {MAX_PAYLOAD_BYTES} bytes, which is the most that an event carries"
        ))
        .help("pass a reference instead, such as the path of a file")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::work(&error)),
    }
}

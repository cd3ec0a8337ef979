//! Output of a command, cut in the middle while it is read.
//!
//! Guarantees: memory stays within [`HEAD_BYTES`] + [`TAIL_BYTES`], however much comes; the
//! beginning and the end are kept, and what is left out is counted.

use std::collections::VecDeque;

const HEAD_BYTES: usize = 64 * 1024;
const TAIL_BYTES: usize = 64 * 1024;

/// What is kept of an output.
#[derive(Debug, Default)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    left_out: u64,
}

impl Capture {
    /// Takes a piece.
    pub fn push(&mut self, bytes: &[u8]) {
        let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        let last = &rest[rest.len().saturating_sub(TAIL_BYTES)..];
        let over = (self.tail.len() + last.len()).saturating_sub(TAIL_BYTES);
        self.tail.drain(..over);
        self.tail.extend(last);
        self.left_out += (over + rest.len() - last.len()) as u64;
    }

    /// What was kept, as text: bytes that are none are replaced.
    pub fn into_text(self) -> String {
        let mut bytes = self.head;
        if self.left_out == 0 {
            bytes.extend(self.tail);
            return text(&bytes);
        }
        let tail: Vec<u8> = self.tail.into();
        // A cut may have gone through a character; its pieces go with what is left out.
        let end = match std::str::from_utf8(&bytes) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => bytes.len(),
        };
        let begin = tail.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        let left_out = self.left_out + (bytes.len() - end + begin) as u64;
        format!("{}\n[… {left_out} bytes left out …]\n{}", text(&bytes[..end]), text(&tail[begin..]))
    }
}

/// Zero bytes would not survive every store; they are shown as their symbol.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "␀")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(pieces: impl IntoIterator<Item = Vec<u8>>) -> Capture {
        let mut capture = Capture::default();
        pieces.into_iter().for_each(|piece| capture.push(&piece));
        capture
    }

    #[test]
    fn what_fits_is_kept_whole() {
        let all = vec![b'x'; HEAD_BYTES + TAIL_BYTES];
        for size in [1, 1_000, all.len()] {
            let text = capture(all.chunks(size).map(<[u8]>::to_vec)).into_text();
            assert_eq!(text.len(), all.len());
        }
    }

    #[test]
    fn beginning_and_end_are_kept_and_the_rest_is_counted() {
        for size in [7, 4_096, 1_000_000] {
            let all: Vec<u8> = (0..100_000).flat_map(|n| format!("{n:>9}\n").into_bytes()).collect();
            let kept = capture(all.chunks(size).map(<[u8]>::to_vec));
            assert!(kept.head.len() <= HEAD_BYTES && kept.tail.len() <= TAIL_BYTES);
            let text = kept.into_text();
            assert!(text.starts_with("        0\n") && text.ends_with("    99999\n"));
            let left_out = all.len() - HEAD_BYTES - TAIL_BYTES;
            assert!(text.contains(&format!("[… {left_out} bytes left out …]")), "{size}");
        }
    }

    #[test]
    fn a_cut_character_is_not_shown_in_pieces() {
        let all = "a".to_owned() + &"ä".repeat(HEAD_BYTES);
        let text = capture([all.into_bytes(), vec![b'b']]).into_text();
        assert!(!text.contains('\u{FFFD}'));
        assert_eq!(capture([b"a\0\xFFb".to_vec()]).into_text(), "a␀\u{FFFD}b");
    }
}

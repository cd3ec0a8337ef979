//! Images as model services take them.
//!
//! Guarantees: what is given on is PNG, JPEG, GIF or WebP by its own first bytes, at most [`MAX_BYTES`] long and
//! [`MAX_SIDE`] wide and high. A service refuses a request with any other, and so each later one of the session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longest image that is shown, in bytes of base64.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// Most pixels of its width and height.
pub(super) const MAX_SIDE: u32 = 8_000;

/// The media type of an image and its base64 text; why it is none that can be shown.
pub(super) fn read(data: &str) -> Result<(&'static str, &str), String> {
    let data = data.trim();
    if data.len() > MAX_BYTES {
        return Err(format!("it is longer than {} MiB of base64", MAX_BYTES >> 20));
    }
    let bytes = STANDARD.decode(data).map_err(|_| "it is no base64".to_owned())?;
    let (kind, size) = sniff(&bytes).ok_or("it is no PNG, JPEG, GIF or WebP")?;
    match size {
        Some((1..=MAX_SIDE, 1..=MAX_SIDE)) => Ok((kind, data)),
        Some((width, height)) => {
            Err(format!("it has {width} x {height} pixels; up to {MAX_SIDE} x {MAX_SIDE} are shown"))
        }
        None => Err("it is damaged".to_owned()),
    }
}

type Size = Option<(u32, u32)>;

/// What the first bytes say; the size is missing where they are cut off.
fn sniff(bytes: &[u8]) -> Option<(&'static str, Size)> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        let size = (bytes.get(12..16) == Some(b"IHDR")).then(|| Some((be(bytes, 16, 4)?, be(bytes, 20, 4)?)));
        return Some(("image/png", size.flatten()));
    }
    if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        return Some(("image/gif", le(bytes, 6, 2).zip(le(bytes, 8, 2))));
    }
    if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        return Some(("image/jpeg", of_jpeg(bytes)));
    }
    let riff = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    riff.then(|| ("image/webp", of_webp(bytes)))
}

/// Looks for the frame among the segments.
fn of_jpeg(bytes: &[u8]) -> Size {
    let mut at = 2;
    loop {
        while bytes.get(at)? == &0xff && bytes.get(at + 1)? == &0xff {
            at += 1;
        }
        let (0xff, marker) = (*bytes.get(at)?, *bytes.get(at + 1)?) else { return None };
        match marker {
            0xc4 | 0xc8 | 0xcc => {}
            0xc0..=0xcf => return be(bytes, at + 7, 2).zip(be(bytes, at + 5, 2)),
            // The picture itself, or the end, before any frame.
            0xd9 | 0xda => return None,
            _ => {}
        }
        at += 2 + be(bytes, at + 2, 2)?.max(2) as usize;
    }
}

fn of_webp(bytes: &[u8]) -> Size {
    match bytes.get(12..16)? {
        b"VP8X" => Some((le(bytes, 24, 3)? + 1, le(bytes, 27, 3)? + 1)),
        b"VP8L" => le(bytes, 21, 4).map(|bits| ((bits & 0x3fff) + 1, ((bits >> 14) & 0x3fff) + 1)),
        b"VP8 " => Some((le(bytes, 26, 2)? & 0x3fff, le(bytes, 28, 2)? & 0x3fff)),
        _ => None,
    }
}

fn be(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(count)?)?;
    Some(part.iter().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
}

fn le(bytes: &[u8], at: usize, count: usize) -> Option<u32> {
    let part = bytes.get(at..at.checked_add(count)?)?;
    Some(part.iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The head of a PNG of this size, in base64.
    pub(in crate::client) fn png(width: u32, height: u32) -> String {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend([width.to_be_bytes(), height.to_be_bytes()].concat());
        STANDARD.encode(bytes)
    }

    #[test]
    fn an_image_is_what_its_first_bytes_say() {
        let check = |bytes: &[u8], kind: &str| {
            let data = STANDARD.encode(bytes);
            assert_eq!(read(&data), Ok((kind, data.as_str())), "{kind}");
            for cut in 0..bytes.len() {
                assert!(read(&STANDARD.encode(&bytes[..cut])).is_err(), "{kind} of {cut} bytes");
            }
        };
        check(&STANDARD.decode(png(640, 480)).unwrap(), "image/png");
        check(b"GIF89a\x10\x00\x20\x00", "image/gif");
        check(
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xff\xc4\x00\x02\xff\xc2\x00\x0b\x08\x00\x20\x00\x10",
            "image/jpeg",
        );
        check(b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x10\x00\x20\x00", "image/webp");
        check(b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x0f\xc0\x07\x00", "image/webp");
        check(b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x0f\0\0\x1f\0\0", "image/webp");
    }

    #[test]
    fn what_a_service_would_refuse_is_refused_here() {
        let check = |data: &str, why: &str| assert!(read(data).unwrap_err().contains(why), "{why}");
        check(&png(8_001, 1), "8001 x 1 pixels");
        check(&png(0, 1), "0 x 1");
        check(&STANDARD.encode("<svg xmlns='http://www.w3.org/2000/svg'/>"), "no PNG");
        check("???", "no base64");
        check(&"A".repeat(MAX_BYTES + 4), "4 MiB");
        check(&STANDARD.encode(b"\xff\xd8\xff\xda\x00\x02"), "damaged");
    }
}

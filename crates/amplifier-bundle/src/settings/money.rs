//! US dollars as people write them, kept in millionths.

/// Reads `5`, `0.50`, `$12.5`: at most six decimals, neither sign nor exponent. `None` for anything else.
pub fn micro_usd(text: &str) -> Option<u64> {
    let text = text.trim();
    let text = text.strip_prefix('$').unwrap_or(text);
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    let micros: u64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(micro_usd(text), expect, "{text}");
        check("5", Some(5_000_000));
        check("0.50", Some(500_000));
        check(" $12.5 ", Some(12_500_000));
        check("0.000001", Some(1));
        check("0", Some(0));
        for bad in
            ["", "$", ".5", "5.", "-1", "+1", "1e3", "1,5", "0.0000001", "1.2.3", "inf", "99999999999999"]
        {
            check(bad, None);
        }
    }
}

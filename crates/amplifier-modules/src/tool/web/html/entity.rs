//! Characters that HTML writes by name or number.
//!
//! The names that pages use; one that is not here stays as it is written.

use std::borrow::Cow;

/// Longest name, with room for numbers.
const LONGEST: usize = 10;

const NAMES: &[(&str, &str)] = &[
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", "\u{a0}"),
    ("shy", ""),
    ("copy", "©"),
    ("reg", "®"),
    ("trade", "™"),
    ("sect", "§"),
    ("para", "¶"),
    ("deg", "°"),
    ("plusmn", "±"),
    ("middot", "·"),
    ("bull", "•"),
    ("hellip", "…"),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("sbquo", "‚"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("bdquo", "„"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("lsaquo", "‹"),
    ("rsaquo", "›"),
    ("times", "×"),
    ("divide", "÷"),
    ("minus", "−"),
    ("frac12", "½"),
    ("frac14", "¼"),
    ("frac34", "¾"),
    ("sup1", "¹"),
    ("sup2", "²"),
    ("sup3", "³"),
    ("micro", "µ"),
    ("euro", "€"),
    ("pound", "£"),
    ("yen", "¥"),
    ("cent", "¢"),
    ("curren", "¤"),
    ("iexcl", "¡"),
    ("iquest", "¿"),
    ("ordf", "ª"),
    ("ordm", "º"),
    ("not", "¬"),
    ("dagger", "†"),
    ("Dagger", "‡"),
    ("permil", "‰"),
    ("prime", "′"),
    ("Prime", "″"),
    ("larr", "←"),
    ("uarr", "↑"),
    ("rarr", "→"),
    ("darr", "↓"),
    ("harr", "↔"),
    ("rArr", "⇒"),
    ("lArr", "⇐"),
    ("hArr", "⇔"),
    ("infin", "∞"),
    ("asymp", "≈"),
    ("ne", "≠"),
    ("equiv", "≡"),
    ("le", "≤"),
    ("ge", "≥"),
    ("sum", "∑"),
    ("prod", "∏"),
    ("radic", "√"),
    ("part", "∂"),
    ("int", "∫"),
    ("isin", "∈"),
    ("cap", "∩"),
    ("cup", "∪"),
    ("and", "∧"),
    ("or", "∨"),
    ("forall", "∀"),
    ("exist", "∃"),
    ("empty", "∅"),
    ("check", "✓"),
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("epsilon", "ε"),
    ("lambda", "λ"),
    ("mu", "μ"),
    ("pi", "π"),
    ("sigma", "σ"),
    ("tau", "τ"),
    ("phi", "φ"),
    ("omega", "ω"),
    ("Delta", "Δ"),
    ("Sigma", "Σ"),
    ("Omega", "Ω"),
    ("auml", "ä"),
    ("ouml", "ö"),
    ("uuml", "ü"),
    ("Auml", "Ä"),
    ("Ouml", "Ö"),
    ("Uuml", "Ü"),
    ("szlig", "ß"),
    ("agrave", "à"),
    ("aacute", "á"),
    ("acirc", "â"),
    ("atilde", "ã"),
    ("aring", "å"),
    ("aelig", "æ"),
    ("ccedil", "ç"),
    ("egrave", "è"),
    ("eacute", "é"),
    ("ecirc", "ê"),
    ("euml", "ë"),
    ("igrave", "ì"),
    ("iacute", "í"),
    ("icirc", "î"),
    ("iuml", "ï"),
    ("ntilde", "ñ"),
    ("ograve", "ò"),
    ("oacute", "ó"),
    ("ocirc", "ô"),
    ("otilde", "õ"),
    ("oslash", "ø"),
    ("ugrave", "ù"),
    ("uacute", "ú"),
    ("ucirc", "û"),
    ("yacute", "ý"),
    ("Agrave", "À"),
    ("Aacute", "Á"),
    ("Aring", "Å"),
    ("AElig", "Æ"),
    ("Ccedil", "Ç"),
    ("Egrave", "È"),
    ("Eacute", "É"),
    ("Ntilde", "Ñ"),
    ("Oslash", "Ø"),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("zwnj", ""),
    ("zwj", "\u{200d}"),
    ("lrm", ""),
    ("rlm", ""),
    ("lbrace", "{"),
    ("rbrace", "}"),
    ("lbrack", "["),
    ("rbrack", "]"),
    ("lpar", "("),
    ("rpar", ")"),
    ("comma", ","),
    ("period", "."),
    ("colon", ":"),
    ("num", "#"),
    ("sol", "/"),
    ("bsol", "\\"),
    ("lowbar", "_"),
    ("ast", "*"),
    ("plus", "+"),
    ("equals", "="),
    ("percnt", "%"),
    ("dollar", "$"),
    ("excl", "!"),
    ("quest", "?"),
    ("commat", "@"),
    ("vert", "|"),
    ("grave", "`"),
    ("Hat", "^"),
    ("tilde", "˜"),
    ("NewLine", "\n"),
    ("Tab", "\t"),
];

/// A text with its entities as characters.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('&') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match entity(rest) {
            Some((value, behind)) => {
                out.push_str(&value);
                rest = behind;
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The entity with which a text behind `&` begins, and what follows it.
fn entity(text: &str) -> Option<(Cow<'static, str>, &str)> {
    let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '#';
    let length: usize = text.chars().take(LONGEST).take_while(is_part).map(char::len_utf8).sum();
    let (name, behind) = text.split_at(length);
    let closed = behind.strip_prefix(';');
    if let Some(number) = name.strip_prefix('#') {
        let hex = number.strip_prefix(['x', 'X']);
        let code = hex.map_or_else(|| number.parse(), |hex| u32::from_str_radix(hex, 16)).ok()?;
        let value = char::from_u32(code).filter(|c| *c != '\0').unwrap_or('\u{fffd}');
        return Some((value.to_string().into(), closed.unwrap_or(behind)));
    }
    // Without its `;` a name counts only where it cannot be a part of something else.
    let behind =
        closed.or(Some(behind).filter(|_| matches!(name, "amp" | "lt" | "gt" | "quot" | "nbsp" | "copy")))?;
    let (_, value) = NAMES.iter().find(|(known, _)| *known == name)?;
    Some(((*value).into(), behind))
}

//! `${NAME}` and `${NAME:-default}` in the configuration of servers.
//!
//! Guarantees: a variable that is not set and has no default is an error that names it; no error holds a value.

use amplifier_core::env::Variables;

/// The text with its variables replaced. `Err` is the name of one that is not set.
pub(crate) fn expand(text: &str, variables: &dyn Variables) -> Result<String, String> {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = from.find('}') else {
            out.push_str(from);
            return Ok(out);
        };
        let (name, default) = match from[2..end].split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (&from[2..end], None),
        };
        // An empty variable takes the default, as in a shell.
        let value = variables.get(name).filter(|value| default.is_none() || !value.is_empty());
        match value.as_deref().or(default) {
            Some(value) => out.push_str(value),
            None => return Err(name.to_owned()),
        }
        rest = &from[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Some3;

    impl Variables for Some3 {
        fn get(&self, name: &str) -> Option<String> {
            match name {
                "A" => Some("a".into()),
                "EMPTY" => Some(String::new()),
                "ODD" => Some("${A}".into()),
                _ => None,
            }
        }
    }

    #[test]
    fn variables_are_replaced_once_and_defaults_count_where_nothing_is_set() {
        let check = |text: &str, expect: Result<&str, &str>| {
            let got = expand(text, &Some3);
            assert_eq!(got.as_deref().map_err(String::as_str), expect, "{text}");
        };
        check("plain $A {A}", Ok("plain $A {A}"));
        check("${A}/x/${A}", Ok("a/x/a"));
        check("${EMPTY}|${EMPTY:-d}|${NONE:-d}|${NONE:-}", Ok("|d|d|"));
        check("${ODD}", Ok("${A}"));
        check("x ${NONE} y", Err("NONE"));
        check("open ${A", Ok("open ${A"));
    }
}

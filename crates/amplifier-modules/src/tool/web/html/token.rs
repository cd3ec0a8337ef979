//! HTML cut into tags and text.
//!
//! Guarantees: every input is read to its end, each byte a bounded number of times; what looks like a tag and is none is text.

use super::entity::decoded;

/// Most attributes of one tag that are kept.
const ATTRIBUTES: usize = 64;

/// Elements whose content is no HTML.
const RAW: [&str; 7] = ["script", "style", "title", "textarea", "xmp", "noembed", "noframes"];

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text, entities not decoded yet.
    Text(&'a str),
    Open(Tag),
    Close(String),
    /// An element whose content is no HTML, with its content.
    Raw(String, &'a str),
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self { rest: html }
    }

    /// What is before the first of these marks; behind the mark it goes on.
    fn until(&mut self, mark: &str) -> &'a str {
        match self.rest.split_once(mark) {
            Some((before, behind)) => {
                self.rest = behind;
                before
            }
            None => std::mem::take(&mut self.rest),
        }
    }

    /// Text up to the next `<` that may begin something.
    fn text(&mut self) -> Token<'a> {
        let from = usize::from(self.rest.starts_with('<'));
        let end = self.rest[from..].find('<').map_or(self.rest.len(), |at| at + from);
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        Token::Text(text)
    }

    fn open(&mut self) -> Token<'a> {
        let name = self.name();
        let mut tag = Tag { name, ..Tag::default() };
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            match self.rest.chars().next() {
                None => break,
                Some('>') => {
                    self.rest = &self.rest[1..];
                    break;
                }
                Some(_) => {
                    let attribute = self.attribute();
                    if tag.attributes.len() < ATTRIBUTES {
                        tag.attributes.push(attribute);
                    }
                }
            }
        }
        if RAW.contains(&tag.name.as_str()) {
            let content = self.raw(&tag.name);
            return Token::Raw(tag.name, content);
        }
        Token::Open(tag)
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/'));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        name.to_ascii_lowercase()
    }

    fn attribute(&mut self) -> (String, String) {
        let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/' | '=');
        // A `=` in front is a part of the name, so that something is taken.
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[first..].find(is_end).map_or(self.rest.len(), |at| at + first);
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        let value = match self.rest.strip_prefix('=') {
            None => "",
            Some(rest) => {
                self.rest = rest.trim_start();
                self.value()
            }
        };
        (name.to_ascii_lowercase(), decoded(value).into_owned())
    }

    fn value(&mut self) -> &'a str {
        for quote in ["\"", "'"] {
            if let Some(rest) = self.rest.strip_prefix(quote) {
                self.rest = rest;
                return self.until(quote);
            }
        }
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || c == '>');
        let (value, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        value
    }

    /// The content of an element that is no HTML, up to its end tag.
    fn raw(&mut self, name: &str) -> &'a str {
        let mut from = 0;
        while let Some(at) = self.rest[from..].find("</") {
            let at = from + at;
            let behind = &self.rest[at + 2..];
            if behind.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name)) {
                let content = &self.rest[..at];
                self.rest = &behind[name.len()..];
                self.until(">");
                return content;
            }
            from = at + 2;
        }
        std::mem::take(&mut self.rest)
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let behind = match self.rest.strip_prefix('<') {
                None if self.rest.is_empty() => return None,
                None => return Some(self.text()),
                Some(behind) => behind,
            };
            let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
            if let Some(comment) = behind.strip_prefix("!--") {
                self.rest = comment;
                self.until("-->");
            } else if let Some(text) = behind.strip_prefix("![CDATA[") {
                self.rest = text;
                return Some(Token::Text(self.until("]]>")));
            } else if behind.starts_with(['!', '?']) {
                self.until(">");
            } else if let Some(end) = behind.strip_prefix('/').filter(|end| letter(end)) {
                self.rest = end;
                let name = self.name();
                self.until(">");
                return Some(Token::Close(name));
            } else if letter(behind) {
                self.rest = behind;
                return Some(self.open());
            } else {
                return Some(self.text());
            }
        }
    }
}

//! The first pass over a text: bounds and places.
//!
//! It refuses what is too deep, too large once aliases are expanded, or has a key twice, while it builds an
//! outline of places. Aliases share their outline, so memory stays in proportion to the text.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{Fault, MAX_DEPTH, MAX_NODES, Position, YamlFault};

/// The places of a value and what is in it.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) position: Position,
    pub(super) shape: Shape,
    /// Values and keys in it, itself included, aliases expanded.
    nodes: usize,
    /// Levels of lists and maps, itself included.
    height: usize,
}

/// What an outline is of.
#[derive(Debug)]
pub(super) enum Shape {
    /// A scalar, as it is written.
    Leaf(Box<str>),
    Seq(Vec<Rc<Outline>>),
    Map(Vec<Key>),
}

/// A key of a map and the outline of its value.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) text: Box<str>,
    pub(super) position: Position,
    /// Whether it is a plain `<<`.
    pub(super) merges: bool,
    pub(super) value: Rc<Outline>,
}

/// The outline of the only document; `None` when there is none.
pub(super) fn outline(text: &str) -> Result<Option<Rc<Outline>>, Fault> {
    let mut guard = Guard::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| syntax_fault(text, &error))?;
        guard.on_event(event, position(span.start))?;
    }
    Ok(guard.root)
}

#[derive(Default)]
struct Guard {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Outline>>,
    nodes: usize,
    documents: usize,
    root: Option<Rc<Outline>>,
}

/// A list or map whose end has not been seen.
struct Open {
    position: Position,
    anchor: usize,
    nodes: usize,
    height: usize,
    items: Items,
}

enum Items {
    Seq(Vec<Rc<Outline>>),
    Map { done: Vec<Key>, lines: HashMap<Box<str>, u32>, key: Option<PendingKey> },
}

struct PendingKey {
    text: Box<str>,
    position: Position,
    merges: bool,
}

impl Guard {
    fn on_event(&mut self, event: Event<'_>, at: Position) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(Fault::new(YamlFault::SeveralDocuments, at));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                check_tag(tag.as_deref(), at)?;
                self.count(1, at)?;
                if self.wants_key() {
                    return self.on_key(&text, style, anchor, at);
                }
                let outline = Outline { position: at, shape: Shape::Leaf(text.into()), nodes: 1, height: 0 };
                self.on_value(Rc::new(outline), anchor);
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), at, Items::Seq(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                let items = Items::Map { done: Vec::new(), lines: HashMap::new(), key: None };
                self.open(anchor, tag.as_deref(), at, items)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.on_alias(anchor, at)?,
            _ => {}
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Fault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(Fault::new(YamlFault::TooManyNodes, at));
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { items: Items::Map { key: None, .. }, .. }))
    }

    fn open(&mut self, anchor: usize, tag: Option<&Tag>, at: Position, items: Items) -> Result<(), Fault> {
        check_tag(tag, at)?;
        if self.wants_key() {
            return Err(Fault::new(YamlFault::BadKey, at));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(YamlFault::TooDeep, at));
        }
        self.count(1, at)?;
        self.open.push(Open { position: at, anchor, nodes: 1, height: 1, items });
        Ok(())
    }

    fn close(&mut self) {
        let Some(Open { position, anchor, nodes, height, items }) = self.open.pop() else { return };
        let shape = match items {
            Items::Seq(items) => Shape::Seq(items),
            Items::Map { done, .. } => Shape::Map(done),
        };
        self.on_value(Rc::new(Outline { position, shape, nodes, height }), anchor);
    }

    fn on_key(&mut self, text: &str, style: ScalarStyle, anchor: usize, at: Position) -> Result<(), Fault> {
        let plain = style == ScalarStyle::Plain;
        if plain && text.is_empty() {
            return Err(Fault::new(YamlFault::BadKey, at));
        }
        if anchor != 0 {
            let leaf = Outline { position: at, shape: Shape::Leaf(text.into()), nodes: 1, height: 0 };
            self.anchors.insert(anchor, Rc::new(leaf));
        }
        let Some(Open { items: Items::Map { lines, key, .. }, nodes, .. }) = self.open.last_mut() else {
            return Ok(());
        };
        if let Some(first_line) = lines.insert(text.into(), at.line) {
            return Err(Fault::new(YamlFault::DuplicateKey { key: text.to_owned(), first_line }, at));
        }
        *nodes += 1;
        *key = Some(PendingKey { text: text.into(), position: at, merges: plain && text == "<<" });
        Ok(())
    }

    fn on_alias(&mut self, anchor: usize, at: Position) -> Result<(), Fault> {
        let Some(target) = self.anchors.get(&anchor).cloned() else {
            return Err(Fault::new(YamlFault::RecursiveAlias, at));
        };
        if self.wants_key() {
            return Err(Fault::new(YamlFault::BadKey, at));
        }
        if self.open.len() + target.height > MAX_DEPTH {
            return Err(Fault::new(YamlFault::TooDeep, at));
        }
        self.count(target.nodes, at)?;
        self.on_value(target, 0);
        Ok(())
    }

    fn on_value(&mut self, value: Rc<Outline>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&value));
        }
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(value);
            return;
        };
        parent.nodes += value.nodes;
        parent.height = parent.height.max(value.height + 1);
        match &mut parent.items {
            Items::Seq(items) => items.push(value),
            Items::Map { done, key, .. } => {
                if let Some(PendingKey { text, position, merges }) = key.take() {
                    done.push(Key { text, position, merges, value });
                }
            }
        }
    }
}

/// The types of YAML's core schema; what lies in its namespace besides (`!!python/…`) is refused.
const CORE_TYPES: [&str; 7] = ["bool", "float", "int", "map", "null", "seq", "str"];

fn check_tag(tag: Option<&Tag>, at: Position) -> Result<(), Fault> {
    let Some(tag) = tag else { return Ok(()) };
    let core = tag.is_yaml_core_schema();
    if core && CORE_TYPES.contains(&tag.suffix.as_str()) {
        return Ok(());
    }
    let written = if core { format!("!!{}", tag.suffix) } else { tag.to_string() };
    Err(Fault::new(YamlFault::Tag { tag: written }, at))
}

fn position(marker: Marker) -> Position {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Position { line: number(marker.line().max(1)), column: number(marker.col() + 1) }
}

fn syntax_fault(text: &str, error: &ScanError) -> Fault {
    let at = position(*error.marker());
    if error.info().contains("recursion limit") {
        return Fault::new(YamlFault::TooDeep, at);
    }
    let line = text.lines().nth(at.line as usize - 1).unwrap_or_default();
    let blank = line.len() - line.trim_start().len();
    let help = if line.get(..blank).is_some_and(|indent| indent.contains('\t')) {
        Some("indent with spaces, not with tabs")
    } else if line.matches(": ").count() > 1 {
        Some("put a value that contains `: ` in quotes")
    } else {
        None
    };
    Fault::new(YamlFault::Syntax { message: error.info().to_owned(), help }, at)
}

//! Tags and text become Markdown.
//!
//! Guarantees: the work for a tag is bounded, however deep the page is; marks that hold nothing leave nothing.

use reqwest::Url;

use super::entity::decoded;
use super::token::{Tag, Token};
use super::{Page, table::Table};

/// Lists and quotes in each other that are shown as such.
const LEVELS: usize = 12;
/// Marks in each other that are shown as such.
const MARKS: usize = 16;
/// Most characters of a title.
const TITLE: usize = 300;

/// Elements that are left out with all that is in them.
const SKIPPED: [&str; 10] =
    ["svg", "template", "noscript", "iframe", "object", "canvas", "audio", "video", "select", "datalist"];

/// Elements that stand apart from what is before and behind them.
const BLOCKS: [&str; 24] = [
    "p",
    "div",
    "section",
    "article",
    "main",
    "header",
    "footer",
    "nav",
    "aside",
    "form",
    "fieldset",
    "figure",
    "figcaption",
    "address",
    "details",
    "summary",
    "center",
    "dl",
    "body",
    "html",
    "head",
    "hgroup",
    "caption",
    "legend",
];

/// A list or quote that is open.
struct Level {
    kind: &'static str,
    /// The number of the next item, in a list that counts.
    next: Option<u64>,
    /// What stands before the first line of an item.
    lead: Option<String>,
    /// What stands before its other lines.
    indent: String,
}

/// A mark around words that is open.
struct Mark {
    name: String,
    before: &'static str,
    behind: String,
    /// True once something stands behind `before`.
    written: bool,
}

/// Where text goes: the page, or a cell of a table.
#[derive(Default)]
struct Sheet {
    text: String,
    /// New lines before the next word.
    gap: usize,
    /// How many levels there were in the gap at least.
    gap_levels: usize,
    space: bool,
    /// What stands before the next word of this line: a heading's mark.
    lead: Option<String>,
    /// Levels that are outside of this sheet.
    base_levels: usize,
}

/// Preformatted text that is open.
#[derive(Default)]
struct Pre {
    language: String,
    text: String,
}

pub(super) struct Renderer<'a> {
    base: &'a Url,
    title: Option<String>,
    sheet: Sheet,
    /// The page, while `sheet` is a cell of its table.
    page: Option<Sheet>,
    table: Option<Table>,
    /// Tables within the cell.
    inner_tables: usize,
    levels: Vec<Level>,
    marks: Vec<Mark>,
    pre: Option<Pre>,
    skipping: Option<(String, usize)>,
}

impl<'a> Renderer<'a> {
    pub(super) fn new(base: &'a Url) -> Self {
        Self {
            base,
            title: None,
            sheet: Sheet::default(),
            page: None,
            table: None,
            inner_tables: 0,
            levels: Vec::new(),
            marks: Vec::new(),
            pre: None,
            skipping: None,
        }
    }

    pub(super) fn take(&mut self, token: Token<'_>) {
        if self.is_skipping(&token) {
            return;
        }
        match token {
            Token::Text(text) => self.text(&decoded(text)),
            Token::Raw(name, text) if name == "title" && self.title.is_none() => {
                let words: Vec<&str> = text.split_whitespace().collect();
                self.title = Some(decoded(&words.join(" ")).chars().take(TITLE).collect());
            }
            Token::Raw(..) => {}
            Token::Open(tag) => self.open(&tag),
            Token::Close(name) => self.close(&name),
        }
    }

    pub(super) fn finish(mut self) -> Page {
        self.end_pre();
        self.end_table();
        self.marks.clear();
        let text = self.sheet.text.trim_end().to_owned();
        Page { title: self.title.unwrap_or_default().trim().to_owned(), text }
    }

    fn is_skipping(&mut self, token: &Token<'_>) -> bool {
        let Some((name, depth)) = &mut self.skipping else { return false };
        match token {
            Token::Open(tag) if tag.name == *name => *depth += 1,
            Token::Close(closed) if closed == name => *depth -= 1,
            _ => {}
        }
        if *depth == 0 {
            self.skipping = None;
        }
        true
    }

    fn open(&mut self, tag: &Tag) {
        let name = tag.name.as_str();
        if let Some(pre) = &mut self.pre {
            match name {
                "code" if pre.language.is_empty() => pre.language = language(tag),
                "br" => pre.text.push('\n'),
                _ => {}
            }
            return;
        }
        match name {
            _ if SKIPPED.contains(&name) => self.skipping = Some((name.to_owned(), 1)),
            "br" => self.gap((self.sheet.gap + 1).min(2)),
            "hr" => self.line("---", 2),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.gap(2);
                let level = name[1..].parse().unwrap_or(1);
                self.sheet.lead = Some(format!("{} ", "#".repeat(level)));
            }
            "ul" | "ol" | "menu" => self.list(tag),
            "li" => self.item(),
            "blockquote" => {
                self.gap(2);
                self.push_level("blockquote", None, "> ");
            }
            "dt" => self.gap(1),
            "dd" => {
                self.gap(1);
                self.sheet.lead = Some(": ".to_owned());
            }
            "pre" => {
                self.gap(2);
                self.pre = Some(Pre { language: language(tag), text: String::new() });
            }
            "b" | "strong" => self.mark(name, "**", "**".to_owned()),
            "i" | "em" | "cite" | "dfn" => self.mark(name, "*", "*".to_owned()),
            "del" | "s" | "strike" => self.mark(name, "~~", "~~".to_owned()),
            "code" | "kbd" | "samp" | "tt" => self.mark(name, "`", "`".to_owned()),
            "a" => {
                self.end_mark("a");
                if let Some(to) = tag.attribute("href").and_then(|href| self.link(href)) {
                    self.mark("a", "[", format!("]({to})"));
                }
            }
            "img" => self.image(tag),
            "table" | "tr" | "td" | "th" => self.open_table(name),
            _ if BLOCKS.contains(&name) => self.gap(2),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if self.pre.is_some() {
            if name == "pre" {
                self.end_pre();
            }
            return;
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.sheet.lead = None;
                self.gap(2);
            }
            "ul" | "ol" | "menu" | "blockquote" => self.end_level(name),
            "li" | "dt" | "dd" => {
                self.sheet.lead = None;
                self.gap(1);
            }
            "td" | "th" if self.inner_tables == 0 => self.end_cell(),
            "table" if self.inner_tables > 0 => self.inner_tables -= 1,
            "table" => self.end_table(),
            _ if BLOCKS.contains(&name) => self.gap(2),
            _ => self.end_mark(name),
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(pre) = &mut self.pre {
            pre.text.push_str(text);
            return;
        }
        for word in text.split_inclusive(char::is_whitespace) {
            let trimmed = word.trim_end();
            if !trimmed.is_empty() {
                self.word(trimmed);
            }
            self.sheet.space |= trimmed.len() < word.len();
        }
    }

    /// Writes something that has no space in front or behind.
    fn word(&mut self, word: &str) {
        self.begin();
        self.sheet.text.push_str(word);
    }

    /// Writes what stands before a word: new lines, levels, a space, marks.
    fn begin(&mut self) {
        let sheet = &mut self.sheet;
        let at_start = sheet.text.is_empty() || sheet.gap > 0;
        if at_start {
            let levels = &mut self.levels[sheet.base_levels..];
            if !sheet.text.is_empty() {
                sheet.text.push('\n');
                let shared = sheet.gap_levels.saturating_sub(sheet.base_levels).min(levels.len());
                for _ in 1..sheet.gap {
                    let indent: String = levels[..shared].iter().map(|level| level.indent.as_str()).collect();
                    sheet.text.push_str(indent.trim_end());
                    sheet.text.push('\n');
                }
            }
            for level in levels {
                match level.lead.take() {
                    Some(lead) => sheet.text.push_str(&lead),
                    None => sheet.text.push_str(&level.indent),
                }
            }
            if let Some(lead) = sheet.lead.take() {
                sheet.text.push_str(&lead);
            }
        } else if sheet.space {
            sheet.text.push(' ');
        }
        (sheet.gap, sheet.space) = (0, false);
        for mark in self.marks.iter_mut().filter(|mark| !mark.written) {
            mark.written = true;
            sheet.text.push_str(mark.before);
        }
    }

    /// So many new lines at least before what comes.
    fn gap(&mut self, lines: usize) {
        let levels = self.levels.len();
        let sheet = &mut self.sheet;
        sheet.gap_levels = if sheet.gap == 0 { levels } else { sheet.gap_levels.min(levels) };
        sheet.gap = sheet.gap.max(lines);
        sheet.space = false;
    }

    /// A line that stands apart.
    fn line(&mut self, text: &str, gap: usize) {
        self.gap(gap);
        self.word(text);
        self.gap(gap);
    }

    fn mark(&mut self, name: &str, before: &'static str, behind: String) {
        if self.marks.len() < MARKS {
            self.marks.push(Mark { name: name.to_owned(), before, behind, written: false });
        }
    }

    fn end_mark(&mut self, name: &str) {
        if let Some(at) = self.marks.iter().rposition(|mark| mark.name == name) {
            let mark = self.marks.remove(at);
            if mark.written {
                self.sheet.text.push_str(&mark.behind);
            }
        }
    }

    fn link(&self, to: &str) -> Option<String> {
        let url = self.base.join(to.trim()).ok().filter(|_| !to.trim_start().starts_with('#'))?;
        let text = url.as_str().replace('(', "%28").replace(')', "%29");
        matches!(url.scheme(), "http" | "https" | "mailto").then_some(text)
    }

    fn image(&mut self, tag: &Tag) {
        let alt = tag.attribute("alt").map(|alt| alt.split_whitespace().collect::<Vec<_>>().join(" "));
        let to = tag.attribute("src").and_then(|src| self.link(src));
        if let (Some(alt), Some(to)) = (alt.filter(|alt| !alt.is_empty()), to) {
            self.word(&format!("![{alt}]({to})"));
        }
    }

    fn list(&mut self, tag: &Tag) {
        let nested = self.levels.last().is_some_and(|level| level.kind != "blockquote");
        self.gap(if nested { 1 } else { 2 });
        match tag.name.as_str() {
            "ol" => {
                let start = tag.attribute("start").and_then(|start| start.trim().parse().ok());
                self.push_level("ol", Some(start.unwrap_or(1)), "");
            }
            "ul" => self.push_level("ul", None, ""),
            _ => self.push_level("menu", None, ""),
        }
    }

    fn push_level(&mut self, kind: &'static str, next: Option<u64>, indent: &str) {
        if self.levels.len() < LEVELS {
            self.levels.push(Level { kind, next, lead: None, indent: indent.to_owned() });
        }
    }

    fn item(&mut self) {
        let base = self.sheet.base_levels;
        let Some(at) = self.levels[base..].iter().rposition(|level| level.kind != "blockquote") else {
            self.gap(1);
            return;
        };
        self.levels.truncate(base + at + 1);
        self.gap(1);
        let Some(level) = self.levels.last_mut() else { return };
        let lead = match &mut level.next {
            Some(next) => {
                let lead = format!("{next}. ");
                *next = next.saturating_add(1);
                lead
            }
            None => "- ".to_owned(),
        };
        level.indent = " ".repeat(lead.len());
        level.lead = Some(lead);
    }

    fn end_level(&mut self, name: &str) {
        let base = self.sheet.base_levels;
        if let Some(at) = self.levels[base..].iter().rposition(|level| level.kind == name) {
            self.levels.truncate(base + at);
        }
        let nested = self.levels.last().is_some_and(|level| level.kind != "blockquote");
        self.gap(if nested && name != "blockquote" { 1 } else { 2 });
    }

    fn end_pre(&mut self) {
        let Some(pre) = self.pre.take() else { return };
        let text = pre.text.trim_end().trim_start_matches(['\n', '\r']);
        if text.is_empty() {
            return;
        }
        let mut fence = "```".to_owned();
        while text.contains(&fence) {
            fence.push('`');
        }
        let marks = std::mem::take(&mut self.marks);
        self.line(&format!("{fence}{}", pre.language), 1);
        let text: Vec<&str> = text.lines().collect();
        for line in text {
            self.gap(1);
            self.begin();
            self.sheet.text.push_str(line);
        }
        self.line(&fence, 1);
        self.gap(2);
        self.marks = marks;
    }

    fn open_table(&mut self, name: &str) {
        match (name, &mut self.table) {
            ("table", Some(_)) if self.page.is_some() => {
                self.inner_tables += 1;
                self.sheet.space = true;
            }
            ("table", _) => {
                self.end_table();
                self.gap(2);
                self.table = Some(Table::default());
            }
            (_, Some(_)) if self.inner_tables > 0 => self.sheet.space = true,
            ("tr", Some(_)) => {
                self.end_cell();
                if let Some(table) = &mut self.table {
                    table.row();
                }
            }
            (_, Some(_)) => {
                self.end_cell();
                let cell = Sheet { base_levels: self.levels.len(), ..Sheet::default() };
                self.page = Some(std::mem::replace(&mut self.sheet, cell));
            }
            (_, None) => self.gap(1),
        }
    }

    fn end_cell(&mut self) {
        if let (Some(page), Some(table)) = (self.page.take(), &mut self.table) {
            let mut cell = std::mem::replace(&mut self.sheet, page);
            // Marks that are open end with their cell.
            for mark in self.marks.drain(..).rev().filter(|mark| mark.written) {
                cell.text.push_str(&mark.behind);
            }
            self.levels.truncate(cell.base_levels);
            table.cell(&cell.text);
        }
    }

    fn end_table(&mut self) {
        self.end_cell();
        self.inner_tables = 0;
        if let Some(table) = self.table.take() {
            for line in table.lines() {
                self.line(&line, 1);
            }
            self.gap(2);
        }
    }
}

/// The language that the class of a `code` or `pre` names.
fn language(tag: &Tag) -> String {
    let classes = tag.attribute("class").unwrap_or_default().split_whitespace();
    let named = classes.filter_map(|class| class.strip_prefix("language-").or(class.strip_prefix("lang-")));
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || "+-#._".contains(c));
    named.filter(plain).map(str::to_owned).next().unwrap_or_default()
}

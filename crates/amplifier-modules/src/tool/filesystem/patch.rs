//! The patch format that models know: `*** Begin Patch`, sections per file, hunks.
//!
//! Guarantees: a text that is not wholly understood is refused with its line.
//! Never here: files.

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Section {
    /// A new file.
    Add { path: String, content: String },
    /// No more file.
    Delete { path: String },
    /// Other lines, and perhaps another place.
    Update { path: String, move_to: Option<String>, hunks: Vec<Hunk> },
}

/// One place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Hunk {
    /// Lines that come before it, from the `@@` lines.
    pub(super) anchors: Vec<String>,
    pub(super) lines: Vec<HunkLine>,
    /// True if it is at the end of the file.
    pub(super) at_end: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HunkLine {
    Keep(String),
    Remove(String),
    Add(String),
}

impl HunkLine {
    /// The line as it must be in the file.
    pub(super) fn old(&self) -> Option<&str> {
        match self {
            Self::Keep(line) | Self::Remove(line) => Some(line),
            Self::Add(_) => None,
        }
    }
}

impl Hunk {
    /// The hunk without the blank lines that only part it from the next; `None` if nothing is left.
    fn finished(mut self) -> Option<Self> {
        while self.lines.last().is_some_and(|line| *line == HunkLine::Keep(String::new())) {
            self.lines.pop();
        }
        (!self.lines.is_empty()).then_some(self)
    }
}

const BEGIN: &str = "*** Begin Patch";
const END: &str = "*** End Patch";

/// Reads a patch. `Err` names the line.
pub(super) fn parse(text: &str) -> Result<Vec<Section>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let begin = lines.iter().position(|line| line.trim() == BEGIN);
    let begin = begin.ok_or_else(|| format!("a patch begins with `{BEGIN}`"))?;
    let end = lines.iter().rposition(|line| line.trim() == END).filter(|end| *end > begin);
    let end = end.ok_or_else(|| format!("a patch ends with `{END}`; this one was cut off"))?;
    let mut parser = Parser { lines: &lines[..end], at: begin + 1 };
    let mut sections = Vec::new();
    while let Some(section) = parser.section()? {
        sections.push(section);
    }
    if sections.is_empty() { Err("the patch names no file".into()) } else { Ok(sections) }
}

struct Parser<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Parser<'a> {
    fn section(&mut self) -> Result<Option<Section>, String> {
        while self.peek().is_some_and(|line| line.trim().is_empty()) {
            self.at += 1;
        }
        let Some(line) = self.peek() else { return Ok(None) };
        let (number, heading) = (self.at + 1, line.trim());
        let path = |prefix: &str| heading.strip_prefix(prefix).map(|path| path.trim().to_owned());
        self.at += 1;
        let section = if let Some(path) = path("*** Add File:") {
            Section::Add { path, content: self.added()? }
        } else if let Some(path) = path("*** Delete File:") {
            Section::Delete { path }
        } else if let Some(path) = path("*** Update File:") {
            self.update(path)?
        } else {
            return Err(format!(
                "line {number}: `{heading}` is none of `*** Add File:`, `*** Update File:`, `*** Delete File:`"
            ));
        };
        Ok(Some(section))
    }

    fn peek(&self) -> Option<&'a str> {
        self.lines.get(self.at).copied()
    }

    /// The next line of the section's body.
    fn body(&mut self) -> Option<&'a str> {
        let line = self.peek().filter(|line| !line.starts_with("*** ") || line.trim() == END_OF_FILE)?;
        self.at += 1;
        Some(line)
    }

    fn added(&mut self) -> Result<String, String> {
        let mut content = String::new();
        while let Some(line) = self.body() {
            match line.strip_prefix('+') {
                Some(line) => content.extend([line, "\n"]),
                None if line.trim().is_empty() => {}
                None => return Err(format!("line {}: a line of a new file begins with `+`", self.at)),
            }
        }
        Ok(content)
    }

    fn update(&mut self, path: String) -> Result<Section, String> {
        let move_to = self.peek().and_then(|line| line.trim().strip_prefix("*** Move to:"));
        let move_to = move_to.map(|target| target.trim().to_owned());
        self.at += usize::from(move_to.is_some());
        let mut hunks = Vec::new();
        let mut hunk = Hunk::default();
        while let Some(line) = self.body() {
            if let Some(anchor) = line.strip_prefix("@@") {
                if !hunk.lines.is_empty() {
                    hunks.extend(std::mem::take(&mut hunk).finished());
                }
                hunk.anchors.extend(anchor_of(anchor));
            } else if line.trim() == END_OF_FILE {
                hunk.at_end = true;
            } else {
                hunk.lines.push(self.hunk_line(line)?);
            }
        }
        hunks.extend(hunk.finished());
        if hunks.is_empty() && move_to.is_none() {
            return Err(format!("the section of {path} has no hunk"));
        }
        Ok(Section::Update { path, move_to, hunks })
    }

    fn hunk_line(&self, line: &str) -> Result<HunkLine, String> {
        let mut characters = line.chars();
        let rest = |characters: std::str::Chars<'_>| characters.as_str().to_owned();
        match characters.next() {
            None => Ok(HunkLine::Keep(String::new())),
            Some(' ') => Ok(HunkLine::Keep(rest(characters))),
            Some('-') => Ok(HunkLine::Remove(rest(characters))),
            Some('+') => Ok(HunkLine::Add(rest(characters))),
            Some(_) => Err(format!("line {}: a line of a hunk begins with ` `, `-`, `+` or `@@`", self.at)),
        }
    }
}

const END_OF_FILE: &str = "*** End of File";

/// What a `@@` line names: a line of the file. Line numbers (`@@ -1,2 +1,3 @@`) are not trusted;
/// only what stands behind them counts.
fn anchor_of(text: &str) -> Option<String> {
    let text = text.trim();
    let numbers = |text: &str| text.starts_with('-') && text.contains('+');
    let anchor = match text.split_once("@@") {
        Some((before, after)) if numbers(before) => after.trim(),
        _ if numbers(text) && text.chars().all(|c| c.is_ascii_digit() || "-+, ".contains(c)) => "",
        _ => text,
    };
    (!anchor.is_empty()).then(|| anchor.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_becomes_its_sections() {
        let text = "*** Begin Patch\n*** Add File: a b.txt\n+one\n+\n*** Delete File: old\n\n\
            *** Update File: src/x.rs\n*** Move to: src/y.rs\n@@ fn main\n@@ -1,2 +3,4 @@ inner\n keep\n-out\n+in\n\n\
            *** End of File\n*** End Patch\n";
        let sections = parse(text).unwrap();
        assert_eq!(sections[0], Section::Add { path: "a b.txt".into(), content: "one\n\n".into() });
        assert_eq!(sections[1], Section::Delete { path: "old".into() });
        let Section::Update { path, move_to, hunks } = &sections[2] else { panic!("{sections:?}") };
        assert_eq!((path.as_str(), move_to.as_deref()), ("src/x.rs", Some("src/y.rs")));
        assert_eq!(hunks[0].anchors, ["fn main", "inner"]);
        assert!(hunks[0].at_end);
        assert_eq!(
            hunks[0].lines[..3],
            [HunkLine::Keep("keep".into()), HunkLine::Remove("out".into()), HunkLine::Add("in".into()),]
        );
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, expect) in [
            ("", "begins with"),
            ("*** Begin Patch\n*** Add File: x\n+a", "cut off"),
            ("*** Begin Patch\n*** End Patch", "names no file"),
            ("*** Begin Patch\n*** Rename File: x\n*** End Patch", "line 2"),
            ("*** Begin Patch\n*** Add File: x\nplain\n*** End Patch", "line 3"),
            ("*** Begin Patch\n*** Update File: x\n@@\n?\n*** End Patch", "line 4"),
            ("*** Begin Patch\n*** Update File: x\n*** End Patch", "no hunk"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expect), "{text:?}: {error}");
        }
    }
}

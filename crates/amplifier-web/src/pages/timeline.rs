//! The timeline of an issue as a picture: what happened, from the top down, beside the runs and sessions that
//! lasted through it.
//!
//! Guarantees: what others wrote is escaped; a picture has at most [`MOST`] rows; without a style in it.

use std::fmt::Write;

use amplifier_core::Timestamp;

use crate::view::{IssueHistory, usd};

/// Rows of a picture: the latest.
const MOST: usize = 60;
const ROW: usize = 28;
const TOP: usize = 26;
const WIDTH: usize = 780;
/// Where the lanes stand, and where the text begins.
const ISSUE: usize = 22;
const FIRST: usize = 60;
const GAP: usize = 30;
const LANE: usize = 16;
/// Lanes of runs, and of sessions: more of them share the last one.
const LANES: usize = 3;
/// Letters of a row's text.
const LETTERS: usize = 62;

/// Something that happened.
struct Row {
    at: Timestamp,
    /// What comes first of what happened at the same time.
    rank: u8,
    class: String,
    text: String,
    /// Whose bar begins or ends here.
    edge: Option<(Kind, usize, Edge)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Run,
    Session,
}

#[derive(Clone, Copy, PartialEq)]
enum Edge {
    Begins,
    Ends,
}

/// Draws it.
pub(super) fn draw(history: &IssueHistory, now: Timestamp) -> String {
    let mut rows = rows(history);
    rows.sort_by_key(|row| (row.at, row.rank));
    let left_out = rows.len().saturating_sub(MOST);
    rows.drain(..left_out);
    let lanes = Lanes::of(history);
    let height = TOP + rows.len() * ROW + 16;
    let mut svg = format!(
        "<svg class=\"timeline\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"what happened to this issue\">"
    );
    let named = [
        (ISSUE, "issue", true),
        (lanes.x(Kind::Run, 0), "run", lanes.runs > 0),
        (lanes.x(Kind::Session, 0), "session", lanes.sessions > 0),
    ];
    for (x, text, _) in named.into_iter().filter(|(.., is_there)| *is_there) {
        // A text takes what is written to it, here and below.
        let _ = write!(svg, "<text class=\"lane\" x=\"{x}\" y=\"16\" text-anchor=\"middle\">{text}</text>");
    }
    let bottom = height - 16;
    let _ = write!(svg, "<line class=\"rail\" x1=\"{ISSUE}\" y1=\"{TOP}\" x2=\"{ISSUE}\" y2=\"{bottom}\"/>");
    bars(&mut svg, &rows, bottom, lanes);
    for (at, row) in rows.iter().enumerate() {
        draw_row(&mut svg, row, at, lanes, now);
    }
    svg.push_str("</svg>");
    svg
}

fn rows(history: &IssueHistory) -> Vec<Row> {
    let mut rows = Vec::new();
    for note in &history.notes {
        let event = note.event.strip_prefix("issue_").unwrap_or(&note.event).replace('_', " ");
        let said = note.text.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
        let status = note.status.as_deref().unwrap_or("note");
        rows.push(Row {
            at: note.at,
            rank: 2,
            class: format!("dot s-{status}"),
            text: format!("{event} by {}{said}", note.actor),
            edge: None,
        });
    }
    for (at, run) in history.runs.iter().enumerate() {
        let lane = at.min(LANES - 1);
        let queue = run.queue.strip_prefix("background/").unwrap_or(&run.queue);
        let begins = format!("run #{} in {queue}", run.number);
        rows.push(row(run.created, 0, "run", begins, (Kind::Run, lane, Edge::Begins)));
        if run.is_over {
            let why = run.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let ends = format!("run #{} {}{why}", run.number, run.state);
            rows.push(row(run.updated, 5, run.state, ends, (Kind::Run, lane, Edge::Ends)));
        }
    }
    for (at, session) in history.sessions.iter().enumerate() {
        let lane = at.min(LANES - 1);
        let begins = format!("session {}", session.session_id);
        rows.push(row(session.created, 1, "session", begins, (Kind::Session, lane, Edge::Begins)));
        if let Some(outcome) = session.outcome {
            let cost = session.cost_usd.unwrap_or(usd(0));
            let turns = session.turns.unwrap_or(0);
            let ends = format!("session {outcome}, {turns} turns, ${cost:.4}");
            rows.push(row(session.updated, 4, outcome, ends, (Kind::Session, lane, Edge::Ends)));
        }
    }
    rows
}

fn row(at: Timestamp, rank: u8, class: &str, text: String, edge: (Kind, usize, Edge)) -> Row {
    Row { at, rank, class: format!("mark o-{class}"), text, edge: Some(edge) }
}

/// How many lanes there are of each kind.
#[derive(Clone, Copy)]
struct Lanes {
    runs: usize,
    sessions: usize,
}

impl Lanes {
    fn of(history: &IssueHistory) -> Self {
        Self { runs: history.runs.len().min(LANES), sessions: history.sessions.len().min(LANES) }
    }

    /// Where a lane stands.
    fn x(self, kind: Kind, lane: usize) -> usize {
        let runs = if self.runs == 0 { 0 } else { self.runs * LANE + GAP };
        match kind {
            Kind::Run => FIRST + lane * LANE,
            Kind::Session => FIRST + runs + lane * LANE,
        }
    }

    /// Where the text begins.
    fn text(self) -> usize {
        let sessions = if self.sessions == 0 { 0 } else { self.sessions * LANE + GAP };
        self.x(Kind::Session, 0) + sessions - LANE / 2
    }
}

fn middle(at: usize) -> usize {
    TOP + at * ROW + ROW / 2
}

/// A bar from where a run or session begins to where it ends, or to the bottom.
fn bars(svg: &mut String, rows: &[Row], bottom: usize, lanes: Lanes) {
    let begun = rows.iter().enumerate().filter_map(|(at, row)| row.edge.map(|edge| (at, edge)));
    let edges: Vec<_> = begun.collect();
    for (at, (kind, lane, edge)) in &edges {
        if *edge != Edge::Begins {
            continue;
        }
        let same = |(later, (of, on, end)): &&(usize, (Kind, usize, Edge))| {
            later > at && of == kind && on == lane && *end == Edge::Ends
        };
        let to = edges.iter().find(same).map_or(bottom, |(to, _)| middle(*to));
        let (x, y) = (lanes.x(*kind, *lane), middle(*at));
        let name = if *kind == Kind::Run { "run" } else { "session" };
        let open = if to == bottom { " open" } else { "" };
        let _ = write!(
            svg,
            "<rect class=\"bar {name}{open}\" x=\"{}\" y=\"{y}\" width=\"8\" height=\"{}\" rx=\"4\"/>",
            x - 4,
            to.saturating_sub(y).max(8)
        );
        // A session is reached from its run, a run from the issue.
        let from = match kind {
            Kind::Session if lanes.runs > 0 => lanes.x(Kind::Run, (*lane).min(lanes.runs - 1)),
            _ => ISSUE,
        };
        let _ = write!(svg, "<line class=\"link\" x1=\"{from}\" y1=\"{y}\" x2=\"{x}\" y2=\"{y}\"/>");
    }
}

fn draw_row(svg: &mut String, row: &Row, at: usize, lanes: Lanes, now: Timestamp) {
    let y = middle(at);
    let x = row.edge.map_or(ISSUE, |(kind, lane, _)| lanes.x(kind, lane));
    let radius = if row.edge.is_some() { 4 } else { 6 };
    let text_x = lanes.text();
    let time = row.at.to_string();
    // Of another day the day, of this one the time.
    let today = now.to_string().get(..10).map(str::to_owned) == time.get(..10).map(str::to_owned);
    let time = if today { time.get(11..19) } else { time.get(5..16) }.unwrap_or_default().replace('T', " ");
    let _ = write!(
        svg,
        "<circle class=\"{}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"/><text class=\"time\" x=\"{text_x}\" y=\"{}\">{time}</text>\
         <text x=\"{}\" y=\"{}\">{}</text>",
        escape(&row.class),
        y + 4,
        text_x + 88,
        y + 4,
        escape(&cut(&row.text))
    );
}

fn cut(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(LETTERS) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line,
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{IssueRun, Session};
    use amplifier_core::{IssueId, RunId, SessionId};
    use amplifier_issue::queue::{HistoryEntry, IssueView, NoteView, Noted};
    use amplifier_issue::{Issue as Plain, IssueRow};
    use amplifier_store::NoteKind;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(1_795_342_331_000_000 + second * 1_000_000)
    }

    fn note(second: i64, event: &str, status: &str, text: Option<&str>) -> NoteView {
        let mut noted = Noted::default();
        noted.event = event.to_owned();
        noted.status = status.to_owned();
        noted.text = text.map(str::to_owned);
        HistoryEntry::new(NoteKind::Change, "alice", at(second), noted).into()
    }

    fn session(id: &str, from: i64, outcome: Option<&'static str>, to: i64) -> Session {
        let id = SessionId::new(id).unwrap();
        Session {
            parent_id: None,
            root_id: id.clone(),
            session_id: id,
            bundle: None,
            status: "ended",
            activity: None,
            outcome,
            error: None,
            activations: 1,
            turns: Some(3),
            cost_usd: Some(0.02),
            created: at(from),
            updated: at(to),
            depth: 0,
        }
    }

    fn run(number: u64, from: i64, state: &'static str, to: i64) -> IssueRun {
        IssueRun {
            run_id: RunId::new(format!("r{number}")).unwrap(),
            number,
            queue: "background/coding".to_owned(),
            state,
            attempt: 1,
            reason: None,
            session_id: None,
            created: at(from),
            updated: at(to),
            is_over: to > 0,
        }
    }

    fn history() -> IssueHistory {
        let plain = Plain::new(IssueId::new("i1").unwrap(), "a title", "");
        let body = amplifier_core::Payload::encode(&serde_json::json!({"title": plain.title})).unwrap();
        let row = IssueRow::new(plain.id, "task", 2, body);
        IssueHistory {
            issue: IssueView::from(amplifier_issue::QueuedIssue::of(&row).unwrap()),
            blockers: Vec::new(),
            dependents: Vec::new(),
            notes: vec![
                note(0, "issue_opened", "open", None),
                note(3, "issue_started", "in_progress", None),
                note(9, "issue_question", "pending_user_input", Some("<b>red</b> & \"blue\"?")),
                note(40, "issue_answered", "open", Some("red")),
                note(60, "issue_completed", "completed", None),
            ],
            runs: vec![run(4, 1, "completed", 10), run(7, 41, "running", 0)],
            sessions: vec![session("s-one", 2, Some("completed"), 10), session("s-two", 42, None, 42)],
        }
    }

    #[test]
    fn a_picture_goes_from_the_trigger_to_the_end_and_escapes_what_was_said() {
        let svg = draw(&history(), at(100));
        let order = [
            "opened by",
            "run #4 in",
            "session s-one",
            "started by",
            "question by",
            "run #4 completed",
            "run #7 in",
        ];
        let places: Vec<usize> =
            order.iter().map(|text| svg.find(text).unwrap_or_else(|| panic!("{text}: {svg}"))).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert!(svg.contains("&lt;b&gt;red&lt;/b&gt; &amp; &quot;blue&quot;?"), "{svg}");
        assert!(!svg.contains("style=") && !svg.contains("<b>"));
        assert_eq!(svg.matches("class=\"bar run").count(), 2);
        assert_eq!(svg.matches(" open\"").count(), 2, "what is not over reaches the bottom");
    }

    #[test]
    fn a_long_life_is_cut_at_its_beginning() {
        let mut long = history();
        long.notes = (0..500).map(|n| note(n, "issue_commented", "open", Some("word"))).collect();
        let svg = draw(&long, at(1_000));
        assert_eq!(svg.matches("<circle").count(), MOST);
        let mut none = history();
        (none.runs, none.sessions) = (Vec::new(), Vec::new());
        assert!(!draw(&none, at(100)).contains("class=\"bar"));
    }
}

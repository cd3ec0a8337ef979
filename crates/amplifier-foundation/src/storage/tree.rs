//! Which session spawned which, from what a list tells.
//!
//! Guarantees: every session that is listed is in the result exactly once, whatever is damaged: one
//! whose metadata cannot be read, whose parent is gone, or whose line of parents leads back to itself.

use std::collections::HashMap;

use amplifier_core::SessionId;

use super::SessionSummary;

/// How many levels are followed; more can only be damage.
const MAX_DEPTH: usize = 64;

/// A session at its place.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TreeEntry {
    /// The session.
    pub summary: SessionSummary,
    /// Levels below its root.
    pub depth: usize,
    /// What is odd about its place.
    pub oddity: Option<Oddity>,
}

/// What is odd about the place of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Oddity {
    /// The session that spawned it is not there.
    ParentGone,
    /// Its metadata cannot be read; its id says where it belongs.
    PlacedById,
    /// Its line of parents leads to no root.
    NoRoot,
}

impl Oddity {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ParentGone => "the session that spawned it is not there",
            Self::PlacedById => "placed by its id",
            Self::NoRoot => "its line of parents leads to no root",
        }
    }
}

/// Sessions as a forest: each root as it comes, its descendants behind it, the earliest child first.
pub fn forest(summaries: Vec<SessionSummary>) -> Vec<TreeEntry> {
    let parents = parents(&summaries);
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); summaries.len()];
    for (child, (parent, _)) in parents.iter().enumerate() {
        if let Some(parent) = parent {
            children[*parent].push(child);
        }
    }
    let when = |place: &usize| (summaries[*place].created, summaries[*place].id.clone());
    children.iter_mut().for_each(|all| all.sort_by_key(when));
    let mut places = Vec::with_capacity(summaries.len());
    let mut seen = vec![false; summaries.len()];
    for (root, _) in parents.iter().enumerate().filter(|(_, (parent, _))| parent.is_none()) {
        walk(root, &children, &mut seen, &mut places);
    }
    for rest in 0..summaries.len() {
        if !seen[rest] {
            let begin = places.len();
            walk(rest, &children, &mut seen, &mut places);
            places[begin].2 = true;
        }
    }
    let mut summaries: Vec<Option<SessionSummary>> = summaries.into_iter().map(Some).collect();
    let entry = |(place, depth, rootless): (usize, usize, bool)| {
        let summary = summaries[place].take()?;
        let oddity = if rootless { Some(Oddity::NoRoot) } else { parents[place].1 };
        Some(TreeEntry { summary, depth, oddity })
    };
    places.into_iter().filter_map(entry).collect()
}

/// A session and its descendants, as (place, depth, false), each parent before its children.
fn walk(from: usize, children: &[Vec<usize>], seen: &mut [bool], places: &mut Vec<(usize, usize, bool)>) {
    let mut stack = vec![(from, 0)];
    while let Some((place, depth)) = stack.pop() {
        if depth > MAX_DEPTH || std::mem::replace(&mut seen[place], true) {
            continue;
        }
        places.push((place, depth, false));
        stack.extend(children[place].iter().rev().map(|child| (*child, depth + 1)));
    }
}

/// Of each session the place of its parent, and what is odd about that.
fn parents(summaries: &[SessionSummary]) -> Vec<(Option<usize>, Option<Oddity>)> {
    let by_id: HashMap<&SessionId, usize> =
        summaries.iter().enumerate().map(|(place, summary)| (&summary.id, place)).collect();
    let by_span = spans(summaries);
    let parent = |summary: &SessionSummary| match (&summary.broken, summary.spawned_by()) {
        (Some(_), _) => {
            let above = spans_of(summary.id.as_str()).map(|(above, _)| above);
            let parent = above.and_then(|above| by_span.get(above).copied().flatten());
            (parent, parent.map(|_| Oddity::PlacedById))
        }
        (None, Some(parent)) => match by_id.get(parent) {
            Some(place) => (Some(*place), None),
            None => (None, Some(Oddity::ParentGone)),
        },
        (None, None) => (None, None),
    };
    summaries.iter().map(parent).collect()
}

/// Which session has which span; `None` where several have.
fn spans(summaries: &[SessionSummary]) -> HashMap<String, Option<usize>> {
    let mut spans = HashMap::new();
    for (place, summary) in summaries.iter().enumerate() {
        let id = summary.id.as_str();
        let own = spans_of(id).map(|(_, own)| own.to_owned()).or_else(|| middle(id));
        if let Some(own) = own {
            spans.entry(own).and_modify(|known| *known = None).or_insert(Some(place));
        }
    }
    spans
}

/// Of a child's id `<parent's span>-<own span>_<agent>` both spans.
pub(crate) fn spans_of(id: &str) -> Option<(&str, &str)> {
    let (above, rest) = id.split_once('-')?;
    let (own, _) = rest.split_once('_')?;
    (is_span(above) && is_span(own)).then_some((above, own))
}

/// The span of a root: the middle of its UUID.
pub(crate) fn middle(id: &str) -> Option<String> {
    let digits: String = id.chars().filter(|c| *c != '-').collect();
    let middle = digits.get(8..24).filter(|middle| digits.len() == 32 && is_span(middle));
    middle.map(str::to_owned)
}

fn is_span(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::SessionMetadata;

    const ROOT: &str = "a1b2c3d4-e5f6-4a1b-8c2d-3e4f5a6b7c8d";

    fn id(text: &str) -> SessionId {
        SessionId::new(text).unwrap()
    }

    fn one(text: &str, parent: Option<&str>) -> SessionSummary {
        let metadata = SessionMetadata { parent_id: parent.map(id), ..SessionMetadata::default() };
        SessionSummary::new(id(text), &metadata, None)
    }

    fn broken(text: &str) -> SessionSummary {
        SessionSummary::broken(id(text), "line 1: no object".into(), None)
    }

    #[track_caller]
    fn check(summaries: Vec<SessionSummary>, expect: &[(&str, usize, Option<Oddity>)]) {
        let count = summaries.len();
        let forest = forest(summaries);
        let found: Vec<_> =
            forest.iter().map(|entry| (entry.summary.id.as_str(), entry.depth, entry.oddity)).collect();
        assert_eq!(found, expect);
        assert_eq!(found.len(), count);
    }

    #[test]
    fn children_stand_behind_their_parents() {
        let all = vec![one("c", Some("b")), one("r2", None), one("b", Some("r1")), one("r1", None)];
        check(all, &[("r2", 0, None), ("r1", 0, None), ("b", 1, None), ("c", 2, None)]);
    }

    #[test]
    fn a_damaged_child_stands_where_its_id_says() {
        let child = "e5f64a1b8c2d3e4f-0123456789abcdef_explorer";
        let below = "0123456789abcdef-1111111111111111_explorer";
        let stray = "2222222222222222-3333333333333333_explorer";
        let all = vec![one(ROOT, None), broken(child), broken(below), broken(stray), broken("x")];
        let by_id = Some(Oddity::PlacedById);
        check(
            all,
            &[(ROOT, 0, None), (child, 1, by_id), (below, 2, by_id), (stray, 0, None), ("x", 0, None)],
        );
    }

    #[test]
    fn lines_that_lead_to_no_root_hide_nothing() {
        check(vec![one("a", Some("gone"))], &[("a", 0, Some(Oddity::ParentGone))]);
        let circle = vec![one("a", Some("b")), one("b", Some("a")), one("c", Some("c"))];
        let none = Some(Oddity::NoRoot);
        check(circle, &[("a", 0, none), ("b", 1, None), ("c", 0, none)]);
        let name = |n: usize| format!("s{n}");
        let chain = (0..=MAX_DEPTH + 1).map(|n| one(&name(n), n.checked_sub(1).map(name).as_deref()));
        let forest = forest(chain.collect());
        assert_eq!(forest.len(), MAX_DEPTH + 2);
        assert_eq!(forest.last().map(|last| (last.depth, last.oddity)), Some((0, none)));
    }

    #[test]
    fn two_with_one_span_take_no_child() {
        let other = "ffffffff-e5f6-4a1b-8c2d-3e4f5a6b7c8d";
        let child = "e5f64a1b8c2d3e4f-0123456789abcdef_explorer";
        let all = vec![one(ROOT, None), one(other, None), broken(child)];
        check(all, &[(ROOT, 0, None), (other, 0, None), (child, 0, None)]);
    }
}

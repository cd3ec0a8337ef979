//! What issues have to do with one another: duplicates, dependencies, order.
//!
//! Guarantees: ends for any input, without recursion. What a done issue depended on does not matter.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use amplifier_bundle::bundle::Code;
use amplifier_core::IssueId;

use crate::list::{Draft, Notes};
use crate::model::Issue;

/// The places of the drafts in the order in which they are worked on; `None` if some depend on themselves.
pub(crate) fn order(drafts: &[Draft], notes: &mut Notes<'_>) -> Option<Vec<usize>> {
    let known = known(drafts, notes);
    let needs: Vec<Vec<usize>> = drafts.iter().map(|draft| needs(draft, &known, notes)).collect();
    let order = sorted(drafts, &needs);
    if order.len() == drafts.len() {
        return Some(order);
    }
    report_cycles(drafts, &needs, &order, notes);
    None
}

/// The first place of each id; a later one is reported.
pub(crate) fn known<'a>(drafts: &'a [Draft], notes: &mut Notes<'_>) -> HashMap<&'a IssueId, usize> {
    let mut known: HashMap<&IssueId, usize> = HashMap::new();
    for (place, draft) in drafts.iter().enumerate() {
        let Some(id) = &draft.id else { continue };
        let first = *known.entry(id).or_insert(place);
        if first != place {
            let message = format!("the id `{id}` is taken by line {}", drafts[first].line);
            notes.error(Code::Duplicate, draft.line, message, "give each issue an id of its own");
        }
    }
    known
}

/// The places of what a draft depends on; what is not there is reported.
fn needs(draft: &Draft, known: &HashMap<&IssueId, usize>, notes: &mut Notes<'_>) -> Vec<usize> {
    let Some(issue) = draft.issue.as_ref().filter(|issue| !issue.status.is_done()) else { return Vec::new() };
    let mut places = Vec::with_capacity(issue.depends_on.len());
    for id in &issue.depends_on {
        match known.get(id) {
            Some(place) => places.push(*place),
            None => {
                let message = format!("`{}` depends on `{id}`, which is not there", issue.id);
                notes.error(
                    Code::Missing,
                    draft.line,
                    message,
                    "add that issue, or take it out of `depends_on`",
                );
            }
        }
    }
    places
}

/// Dependencies first, then priority, then place. What hangs in a cycle is left out.
fn sorted(drafts: &[Draft], needs: &[Vec<usize>]) -> Vec<usize> {
    let mut open: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); drafts.len()];
    for (place, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|need| needed_by[*need].push(place));
    }
    let priority = |place: usize| drafts[place].issue.as_ref().map(|issue: &Issue| issue.priority);
    let entry = |place: usize| Reverse((priority(place), place));
    let mut ready: BinaryHeap<_> = (0..drafts.len()).filter(|place| open[*place] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(drafts.len());
    while let Some(Reverse((_, place))) = ready.pop() {
        order.push(place);
        for dependent in &needed_by[place] {
            open[*dependent] -= 1;
            if open[*dependent] == 0 {
                ready.push(entry(*dependent));
            }
        }
    }
    order
}

/// Walks from each place that is left along its dependencies; a walk that meets itself is a cycle.
fn report_cycles(drafts: &[Draft], needs: &[Vec<usize>], order: &[usize], notes: &mut Notes<'_>) {
    let sorted: HashSet<usize> = order.iter().copied().collect();
    let next = |place: usize| needs[place].iter().copied().find(|need| !sorted.contains(need));
    let mut seen: HashSet<usize> = HashSet::new();
    for start in (0..drafts.len()).filter(|place| !sorted.contains(place)) {
        let mut walk: Vec<usize> = Vec::new();
        let mut here = Some(start).filter(|start| !seen.contains(start));
        while let Some(place) = here {
            if let Some(begin) = walk.iter().position(|other| *other == place) {
                report_cycle(drafts, &walk[begin..], notes);
                break;
            }
            if !seen.insert(place) {
                break;
            }
            walk.push(place);
            here = next(place);
        }
    }
}

fn report_cycle(drafts: &[Draft], cycle: &[usize], notes: &mut Notes<'_>) {
    // Told from the place that comes first in the file, whatever walk met it.
    let first = (0..cycle.len()).min_by_key(|at| cycle[*at]).unwrap_or_default();
    let turned = cycle[first..].iter().chain(&cycle[..first]).chain(&cycle[first..=first]);
    let names: Vec<&str> =
        turned.filter_map(|place| drafts[*place].id.as_ref().map(IssueId::as_str)).collect();
    let message = format!("`{}` depends on itself: {}", names[0], names.join(" → "));
    let line = drafts[cycle[first]].line;
    notes.error(Code::BadValue, line, message, "take one of them out of a `depends_on`");
}

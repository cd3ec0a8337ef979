//! Which issue comes next.
//!
//! Guarantees: an issue is ready once all that it depends on is completed or was done before; the
//! ready one that stands first in the list comes first. What depends on something that was not
//! completed is never ready. Each issue ends once.
//! Never here: sessions, time.

use std::collections::{BTreeSet, HashMap};

use amplifier_issue::{IssueId, IssueList};

/// The issues of a run, by their places in the list.
#[derive(Debug)]
pub(super) struct Board {
    needed_by: Vec<Vec<usize>>,
    /// How many dependencies are not completed yet.
    open: Vec<usize>,
    waiting: BTreeSet<usize>,
    ready: BTreeSet<usize>,
}

/// An issue that will not begin, and what it waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Barred {
    pub(super) place: usize,
    pub(super) by: usize,
}

impl Board {
    /// A board on which nothing has begun. Issues that are done are not on it.
    pub(super) fn new(list: &IssueList) -> Self {
        let issues = list.issues();
        let places: HashMap<&IssueId, usize> =
            issues.iter().enumerate().map(|(place, issue)| (&issue.id, place)).collect();
        let mut needed_by = vec![Vec::new(); issues.len()];
        let mut open = vec![0; issues.len()];
        for (place, issue) in issues.iter().enumerate().filter(|(_, issue)| !issue.status.is_done()) {
            let place_of = |id: &IssueId| places.get(id).copied();
            let needs = issue.depends_on.iter().filter_map(place_of);
            for need in needs.filter(|need| !issues[*need].status.is_done()) {
                needed_by[need].push(place);
                open[place] += 1;
            }
        }
        let undone = issues.iter().enumerate().filter(|(_, issue)| !issue.status.is_done());
        let waiting: BTreeSet<usize> = undone.map(|(place, _)| place).collect();
        let ready = waiting.iter().copied().filter(|place| open[*place] == 0).collect();
        Self { needed_by, open, waiting, ready }
    }

    /// The issue that should begin next.
    pub(super) fn next(&self) -> Option<usize> {
        self.ready.first().copied()
    }

    /// How many have neither begun nor ended.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Takes an issue that begins off the board.
    pub(super) fn begin(&mut self, place: usize) {
        self.waiting.remove(&place);
        self.ready.remove(&place);
    }

    /// An issue is completed: what waited for it alone is ready.
    pub(super) fn complete(&mut self, place: usize) {
        for dependent in &self.needed_by[place] {
            self.open[*dependent] -= 1;
            if self.open[*dependent] == 0 && self.waiting.contains(dependent) {
                self.ready.insert(*dependent);
            }
        }
    }

    /// An issue was not completed: takes off the board all that depends on it, the nearest first.
    pub(super) fn fail(&mut self, place: usize) -> Vec<Barred> {
        let mut barred: Vec<Barred> = Vec::new();
        let mut causes = vec![place];
        while let Some(by) = causes.pop() {
            for dependent in self.needed_by[by].iter().copied() {
                if self.waiting.remove(&dependent) {
                    self.ready.remove(&dependent);
                    barred.push(Barred { place: dependent, by });
                    causes.push(dependent);
                }
            }
        }
        barred
    }

    /// Takes everything that waits off the board.
    pub(super) fn clear(&mut self) -> BTreeSet<usize> {
        self.ready.clear();
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use amplifier_issue::{Issue, IssueStatus};

    use super::*;

    fn board(issues: &[(&str, &[&str], IssueStatus)]) -> Board {
        let id = |text: &str| IssueId::new(text).unwrap();
        let issue = |(name, needs, status): &(&str, &[&str], IssueStatus)| {
            let mut issue = Issue::new(id(name), *name, "");
            issue.depends_on = needs.iter().map(|need| id(need)).collect();
            issue.status = *status;
            issue
        };
        Board::new(&IssueList::new(issues.iter().map(issue)).unwrap())
    }

    fn drain(board: &mut Board) -> Vec<usize> {
        let mut begun = Vec::new();
        while let Some(place) = board.next() {
            board.begin(place);
            begun.push(place);
        }
        begun
    }

    const OPEN: IssueStatus = IssueStatus::Open;

    #[test]
    fn an_issue_is_ready_once_all_that_it_depends_on_is_completed() {
        let mut board = board(&[("a", &[], OPEN), ("b", &[], OPEN), ("c", &["a", "b"], OPEN)]);
        assert_eq!((drain(&mut board), board.waiting()), (vec![0, 1], 1));
        board.complete(0);
        assert_eq!(board.next(), None);
        board.complete(1);
        assert_eq!(board.next(), Some(2));
    }

    #[test]
    fn what_depends_on_a_failure_is_off_the_board_and_the_rest_stays() {
        let mut board =
            board(&[("a", &[], OPEN), ("b", &["a"], OPEN), ("c", &["b"], OPEN), ("d", &[], OPEN)]);
        // In the list: a, b, c, d.
        assert_eq!(drain(&mut board), [0, 3]);
        assert_eq!(board.fail(0), [Barred { place: 1, by: 0 }, Barred { place: 2, by: 1 }]);
        assert_eq!(board.fail(0), []);
        board.complete(3);
        assert_eq!((board.next(), board.waiting()), (None, 0));
    }

    #[test]
    fn one_failure_of_two_is_enough_and_a_late_success_changes_nothing() {
        let mut board = board(&[("a", &[], OPEN), ("b", &[], OPEN), ("c", &["a", "b"], OPEN)]);
        drain(&mut board);
        assert_eq!(board.fail(0), [Barred { place: 2, by: 0 }]);
        board.complete(1);
        assert_eq!(board.next(), None);
    }

    #[test]
    fn what_is_done_already_is_waited_for_by_nobody() {
        let mut board = board(&[("a", &[], IssueStatus::Closed), ("b", &["a"], OPEN), ("c", &["b"], OPEN)]);
        assert_eq!(drain(&mut board), [1]);
        assert_eq!(board.clear().into_iter().collect::<Vec<_>>(), [2]);
        board.complete(1);
        assert_eq!((board.next(), board.waiting()), (None, 0));
    }
}

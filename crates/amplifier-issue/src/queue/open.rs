//! New issues: one, or many in one commit.
//!
//! Guarantees: all of them or none. Every dependency is among them or in the queue, none leads in a circle,
//! and no issue that is there is touched but for its revision. An id that nobody gave is new.

use std::collections::{HashMap, HashSet};

use amplifier_core::{EventType, IssueId, Timestamp};
use amplifier_store::{Commit, Expect, IssueRow, IssueStatus, NoteKind, Receipt, StoreError, Write};
use serde_json::{Map, Value, json};

use super::body::{Body, Bound, Details, QueuedIssue, cut};
use super::error::{QueueError, conflict};
use super::scene::{Item, Said};
use super::{ATTEMPTS, IssueQueue};
use crate::model::{Issue, IssueType, Priority};

/// Ids that an error names at most.
const MAX_NAMED: usize = 20;

/// An issue that is to be opened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewIssue {
    /// Its id; 8 hexadecimal digits are made where none is given.
    pub id: Option<IssueId>,
    /// What it is about, in one line of at most 500 bytes.
    pub title: String,
    /// What is to be done, at most 256 KiB.
    pub description: String,
    /// What kind of work it is.
    pub issue_type: IssueType,
    /// How urgent it is.
    pub priority: Priority,
    /// Where it stands: an issue that is `in_progress` elsewhere is opened as `open`, since nobody works on it here.
    pub status: IssueStatus,
    /// What must be done before it begins; at most 1,000.
    pub depends_on: Vec<IssueId>,
    /// Free data for programs, at most 64 KiB.
    pub metadata: Map<String, Value>,
    /// The bundle of its worker.
    pub bundle: Option<String>,
    /// Keys of other programs, at most 64 KiB.
    pub extra: Map<String, Value>,
    /// The rest. Counters of attempts, the round and the flags of runs begin anew, whatever stands here.
    pub details: Details,
    /// What happened to it elsewhere.
    pub events: Vec<ForeignEvent>,
}

/// What another program has noted of an issue.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ForeignEvent {
    /// What that program calls it.
    pub event: String,
    /// Who did it.
    pub actor: String,
    /// When, as it was written.
    pub at: Option<String>,
    /// The session in which it was done.
    pub session: Option<amplifier_core::SessionId>,
    /// What was changed.
    pub changes: Map<String, Value>,
}

impl ForeignEvent {
    /// An event without time, session and changes.
    pub fn new(event: impl Into<String>, actor: impl Into<String>) -> Self {
        let (event, actor) = (event.into(), actor.into());
        Self { event, actor, at: None, session: None, changes: Map::new() }
    }
}

impl NewIssue {
    /// An open task of middling priority.
    pub fn new(title: impl Into<String>, description: impl Into<String>) -> Self {
        Self {
            id: None,
            title: title.into(),
            description: description.into(),
            issue_type: IssueType::default(),
            priority: Priority::default(),
            status: IssueStatus::Open,
            depends_on: Vec::new(),
            metadata: Map::new(),
            bundle: None,
            extra: Map::new(),
            details: Details::default(),
            events: Vec::new(),
        }
    }

    fn body(&self) -> Body {
        let given = self.details.clone();
        let is_done = self.status.is_done();
        let question = given.question.clone().or_else(|| given.blocking_notes.clone());
        let details = Details {
            question: if self.status == IssueStatus::PendingUserInput { question } else { given.question },
            result: given.result.map(cut),
            closed_at: given.closed_at.filter(|_| is_done),
            retry_count: 0,
            round: 0,
            resume: false,
            started: false,
            waits_for_needs: false,
            ..given
        };
        Body {
            title: self.title.clone(),
            description: self.description.clone(),
            bundle: self.bundle.clone(),
            metadata: self.metadata.clone(),
            extra: self.extra.clone(),
            details,
        }
    }
}

impl From<Issue> for NewIssue {
    /// The same issue; what other programs have said of it stays in `extra`.
    fn from(issue: Issue) -> Self {
        Self {
            id: Some(issue.id),
            issue_type: issue.issue_type,
            priority: issue.priority,
            status: issue.status,
            depends_on: issue.depends_on,
            metadata: issue.metadata,
            bundle: issue.bundle,
            extra: issue.extra,
            ..Self::new(issue.title, issue.description)
        }
    }
}

/// What is opened, with its ids.
struct Batch<'a> {
    issues: &'a [NewIssue],
    ids: Vec<IssueId>,
    places: HashMap<IssueId, usize>,
    /// What each depends on, each once.
    needs: Vec<Vec<IssueId>>,
}

impl IssueQueue {
    /// Opens one issue.
    pub async fn open(&self, issue: NewIssue) -> Result<QueuedIssue, QueueError> {
        let mut opened = self.open_many(std::slice::from_ref(&issue)).await?;
        opened.pop().ok_or(QueueError::Empty { what: "the list of issues" })
    }

    /// Opens at most 10,000 issues in one commit, in their order. They may depend on one another, whatever
    /// their order, and on issues that are there.
    pub async fn open_many(&self, issues: &[NewIssue]) -> Result<Vec<QueuedIssue>, QueueError> {
        Bound::Issues.check(issues.len())?;
        if issues.is_empty() {
            return Ok(Vec::new());
        }
        for _ in 0..ATTEMPTS {
            let batch = self.batch(issues)?;
            let others = self.others(&batch).await?;
            let (opened, commit) = self.plan_open(&batch, &others)?;
            match self.shared.store.commit(commit).await {
                Ok(Receipt::Applied(applied)) => {
                    let placed = opened.into_iter().zip(applied.issues);
                    let placed =
                        placed.map(|(issue, (_, place, revision))| QueuedIssue { place, revision, ..issue });
                    return Ok(placed.collect());
                }
                Ok(_) => {}
                Err(StoreError::IssueIs { issue, expected: 0, .. }) => self.taken(&batch, &issue).await?,
                Err(error) if conflict(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let issue = issues.first().and_then(|issue| issue.id.clone());
        Err(issue.map_or(QueueError::Empty { what: "the list of issues" }, |issue| QueueError::Contended {
            issue,
        }))
    }

    fn batch<'a>(&self, issues: &'a [NewIssue]) -> Result<Batch<'a>, QueueError> {
        let mut places = HashMap::with_capacity(issues.len());
        let mut twice = Vec::new();
        for (place, issue) in issues.iter().enumerate() {
            if let Some(id) = &issue.id
                && places.insert(id.clone(), place).is_some()
            {
                twice.push(id.clone());
            }
        }
        refuse(twice)?;
        let mut ids = Vec::with_capacity(issues.len());
        for (place, issue) in issues.iter().enumerate() {
            let id = match &issue.id {
                Some(id) => id.clone(),
                None => self.new_id(&places)?,
            };
            places.insert(id.clone(), place);
            ids.push(id);
        }
        let mut needs = Vec::with_capacity(issues.len());
        for issue in issues {
            Bound::Dependencies.check(issue.depends_on.len())?;
            let mut seen = HashSet::new();
            needs.push(issue.depends_on.iter().filter(|need| seen.insert(*need)).cloned().collect());
        }
        let batch = Batch { issues, ids, places, needs };
        match batch.cycle() {
            Some(path) => Err(QueueError::Cycle { path }),
            None => Ok(batch),
        }
    }

    fn new_id(&self, taken: &HashMap<IssueId, usize>) -> Result<IssueId, QueueError> {
        for _ in 0..ATTEMPTS {
            let digits = self.shared.ids.v4().simple().to_string();
            let id = digits.get(24..).and_then(|short| IssueId::new(short).ok());
            if let Some(id) = id.filter(|id| !taken.contains_key(id)) {
                return Ok(id);
            }
        }
        Err(QueueError::Empty { what: "what ids are made of" })
    }

    /// What is depended on and is in the queue already.
    async fn others(&self, batch: &Batch<'_>) -> Result<HashMap<IssueId, IssueRow>, QueueError> {
        let mut others = HashMap::new();
        for (place, needs) in batch.needs.iter().enumerate() {
            for need in needs {
                if batch.places.contains_key(need) || others.contains_key(need) {
                    continue;
                }
                let Some(row) = self.shared.store.issue(need).await? else {
                    let (issue, needed) = (batch.ids[place].clone(), need.clone());
                    return Err(QueueError::UnknownNeed { issue, needed });
                };
                others.insert(need.clone(), row);
            }
        }
        Ok(others)
    }

    /// An id is taken: an error if somebody gave it; one that was made is made anew.
    async fn taken(&self, batch: &Batch<'_>, id: &IssueId) -> Result<(), QueueError> {
        let given = batch.places.get(id).is_some_and(|place| batch.issues[*place].id.is_some());
        if !given {
            return Ok(());
        }
        let mut taken = Vec::new();
        for id in batch.issues.iter().filter_map(|issue| issue.id.as_ref()) {
            if self.shared.store.issue(id).await?.is_some() {
                taken.push(id.clone());
            }
        }
        refuse(taken)
    }

    fn plan_open(
        &self,
        batch: &Batch<'_>,
        others: &HashMap<IssueId, IssueRow>,
    ) -> Result<(Vec<QueuedIssue>, Commit), QueueError> {
        let (mut commit, mut told) = (Commit::new(), Vec::new());
        let mut opened = Vec::with_capacity(batch.ids.len());
        let by = self.as_actor();
        for (place, issue) in batch.issues.iter().enumerate() {
            let mut item = batch.item(place, others, by.now)?;
            told.extend(by.tell(&mut item, EventType::IssueOpened, NoteKind::Change, &Said::default())?);
            item.row.body = item.body.encode()?;
            told.extend(foreign(&item.row.id, &issue.events)?);
            opened.push(QueuedIssue::new(&item.row, item.body)?);
            commit.expects.push(Expect::IssueRevision { issue: item.row.id.clone(), revision: 0 });
            commit.writes.push(Write::PutIssue(Box::new(item.row)));
        }
        // Written anew as they are, so that whoever makes them done meanwhile looks again.
        for row in others.values() {
            commit.expects.push(Expect::IssueRevision { issue: row.id.clone(), revision: row.revision });
            commit.writes.push(Write::PutIssue(Box::new(row.clone())));
        }
        commit.writes.append(&mut told);
        Ok((opened, commit))
    }
}

fn refuse(mut issues: Vec<IssueId>) -> Result<(), QueueError> {
    let count = issues.len();
    issues.truncate(MAX_NAMED);
    if count == 0 { Ok(()) } else { Err(QueueError::Exists { issues, count }) }
}

fn foreign(issue: &IssueId, events: &[ForeignEvent]) -> Result<Vec<Write>, QueueError> {
    let note = |event: &ForeignEvent| {
        let body = json!({"event": event.event, "at": event.at, "changes": event.changes, "imported": true});
        let body = amplifier_core::Payload::from(body);
        body.check().map_err(|error| QueueError::Event(error.into()))?;
        let (actor, session) = (event.actor.as_str().into(), event.session.clone());
        Ok(Write::NoteIssue { issue: issue.clone(), kind: NoteKind::Change, actor, session, body })
    };
    events.iter().map(note).collect()
}

impl Batch<'_> {
    fn item(
        &self,
        place: usize,
        others: &HashMap<IssueId, IssueRow>,
        now: Timestamp,
    ) -> Result<Item, QueueError> {
        let issue = &self.issues[place];
        let mut body = issue.body();
        let status = here(issue.status);
        if status.is_done() {
            body.details.closed_at = body.details.closed_at.or(Some(now));
        }
        let done = |need: &&IssueId| match self.places.get(*need) {
            Some(place) => here(self.issues[*place].status).is_done(),
            None => others.get(*need).is_some_and(|row| row.status.is_done()),
        };
        let needs = &self.needs[place];
        let unmet = needs.len() - needs.iter().filter(done).count();
        let (id, issue_type) = (self.ids[place].clone(), issue.issue_type.as_str());
        let mut row = IssueRow::new(id, issue_type, issue.priority.number(), body.encode()?);
        (row.status, row.needs) = (status, needs.clone());
        row.unmet = u32::try_from(unmet).unwrap_or(u32::MAX);
        (row.created, row.updated, row.revision) = (now, now, 1);
        Ok(Item { row, body, from: status })
    }

    /// A circle among those that are opened, from one of them back to it.
    fn cycle(&self) -> Option<Vec<IssueId>> {
        let inner = |place: usize| self.needs[place].iter().filter_map(|need| self.places.get(need).copied());
        let mut open: Vec<usize> = (0..self.ids.len()).map(|place| inner(place).count()).collect();
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.ids.len()];
        for place in 0..self.ids.len() {
            inner(place).for_each(|need| needed_by[need].push(place));
        }
        let mut free: Vec<usize> = (0..self.ids.len()).filter(|place| open[*place] == 0).collect();
        while let Some(place) = free.pop() {
            for dependent in &needed_by[place] {
                open[*dependent] -= 1;
                if open[*dependent] == 0 {
                    free.push(*dependent);
                }
            }
        }
        let first = open.iter().position(|left| *left > 0)?;
        // Whatever is left depends on something that is left: a walk along these meets itself.
        let (mut walk, mut at, mut here) = (Vec::new(), HashMap::new(), first);
        while !at.contains_key(&here) {
            at.insert(here, walk.len());
            walk.push(here);
            here = inner(here).find(|need| open[*need] > 0)?;
        }
        let circle = walk.iter().skip(at[&here]).chain([&here]);
        Some(circle.map(|place| self.ids[*place].clone()).collect())
    }
}

/// The status that an issue from elsewhere has here.
fn here(status: IssueStatus) -> IssueStatus {
    if status == IssueStatus::InProgress { IssueStatus::Open } else { status }
}

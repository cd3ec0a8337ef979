//! A store as anybody would write it down: everything is copied for each commit, every sum is
//! computed anew. Slow, and too small to be wrong in the same way.

use std::collections::BTreeMap;

use amplifier_store::{Commit, Expect, IssueFilter, IssueOrder, IssueRow, IssueStatus, RunState, Write};

const STEPS: &str = "queued>leased queued>coalesced queued>skipped queued>cancelled leased>running \
    leased>queued leased>dead running>completed running>cancelled running>dead running>queued";

/// What a store said: `applied`, `repeated`, or the name of the error.
pub(crate) type Said = &'static str;

#[derive(Debug, Clone)]
struct Grant {
    from: Option<String>,
    amount: u64,
    /// What it spent itself, once settled.
    own: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) now: i64,
    log_id: u64,
    /// What happened, event by event; the first ones may be pruned.
    log: Vec<String>,
    pruned: u64,
    /// Activation, owner.
    sessions: BTreeMap<String, (u32, String)>,
    /// Activation to output and sequence.
    outcomes: BTreeMap<String, (String, u64)>,
    /// Name, state, attempt, session, in order.
    runs: Vec<(String, RunState, u32, Option<String>)>,
    /// Session to the run that it is an attempt of.
    attempts: BTreeMap<String, String>,
    /// Owner, epoch, end.
    leases: BTreeMap<String, (String, u64, i64)>,
    taken: u64,
    cursors: BTreeMap<String, u64>,
    grants: BTreeMap<String, Grant>,
    counters: BTreeMap<String, u64>,
    /// End.
    keys: BTreeMap<String, i64>,
    /// Place to owner.
    commands: BTreeMap<u64, String>,
    sent: u64,
    /// In the order of their places, which are counted from 1.
    issues: Vec<IssueRow>,
    /// Issue, kind, in order.
    notes: Vec<(String, &'static str)>,
}

fn ensure(holds: bool, otherwise: Said) -> Result<(), Said> {
    if holds { Ok(()) } else { Err(otherwise) }
}

impl Model {
    pub(crate) fn new(log_id: u64) -> Self {
        Self { log_id, ..Self::default() }
    }

    pub(crate) fn commit(&mut self, commit: &Commit) -> Said {
        if commit.writes.iter().any(|write| self.is_done(write)) {
            return "repeated";
        }
        let mut next = self.clone();
        let expects = commit.expects.iter().try_for_each(|expect| self.compare(expect));
        match expects.and_then(|()| commit.writes.iter().try_for_each(|write| next.write(write))) {
            Err(refusal) => refusal,
            Ok(()) => {
                for write in &commit.writes {
                    if let Write::Prune { before } = write {
                        next.pruned = next.pruned.max(before.saturating_sub(1)).min(next.log.len() as u64);
                    }
                }
                let now = next.now;
                next.keys.retain(|_, end| *end > now);
                *self = next;
                "applied"
            }
        }
    }

    pub(crate) fn is_done(&self, write: &Write) -> bool {
        match write {
            Write::Settle { of, .. } => self.outcomes.contains_key(&of.to_string()),
            Write::Enqueue { run, .. } => self.state(run.as_str()).is_some(),
            Write::PutKey { key, .. } => self.has_key(key.as_str()),
            _ => false,
        }
    }

    fn has_key(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(|end| *end > self.now)
    }

    pub(crate) fn state(&self, run: &str) -> Option<RunState> {
        self.runs.iter().find(|row| row.0 == run).map(|row| row.1)
    }

    fn attempt(&self, run: &str) -> Option<u32> {
        self.runs.iter().find(|row| row.0 == run).map(|row| row.2)
    }

    pub(crate) fn activation(&self, session: &str) -> Option<u32> {
        self.sessions.get(session).map(|row| row.0)
    }

    pub(crate) fn epoch(&self, key: &str) -> Option<u64> {
        self.leases.get(key).map(|held| held.1)
    }

    /// The places of the commands that wait.
    pub(crate) fn places(&self) -> Vec<u64> {
        self.commands.keys().copied().collect()
    }

    pub(crate) fn tail(&self) -> u64 {
        self.log.len() as u64 + 1
    }

    fn compare(&self, expect: &Expect) -> Result<(), Said> {
        match expect {
            Expect::SessionAbsent(id) => ensure(self.activation(id.as_str()).is_none(), "SessionExists"),
            Expect::SessionActivation(of) => {
                ensure(self.activation(of.session.as_str()) == Some(of.activation.0), "Stale")
            }
            Expect::SessionRunning(of) => {
                self.compare(&Expect::SessionActivation(of.clone()))?;
                ensure(!self.outcomes.contains_key(&of.to_string()), "Ended")
            }
            Expect::RunState { run, state } => ensure(self.state(run.as_str()) == Some(*state), "RunIs"),
            Expect::RunAttempt { run, state, attempt } => {
                self.compare(&Expect::RunState { run: run.clone(), state: *state })?;
                ensure(self.attempt(run.as_str()) == Some(*attempt), "RunIs")
            }
            Expect::LeaseHeld { key, owner, epoch } => {
                let held = self.leases.get(key.as_str());
                let fits = held.is_some_and(|held| held.0 == owner.as_str() && held.1 == epoch.0);
                ensure(fits, "LeaseLost")
            }
            Expect::CursorAt { consumer, cursor } => {
                let found = self.cursors.get(consumer.as_str()).copied();
                ensure(found == cursor.map(|cursor| cursor.sequence), "CursorIs")
            }
            Expect::IssueRevision { issue, revision } => {
                ensure(self.revision(issue.as_str()) == *revision, "IssueIs")
            }
            Expect::KeyAbsent(key) => ensure(!self.has_key(key.as_str()), "KeyPresent"),
            other => panic!("{other:?} is not in the model"),
        }
    }

    fn write(&mut self, write: &Write) -> Result<(), Said> {
        let end = |span: &std::time::Duration| self.now + i64::try_from(span.as_secs()).unwrap();
        match write {
            Write::Append(_) => self.log.push("note".into()),
            Write::Open { of, owner, .. } => {
                let name = of.session.as_str();
                if let Some(last) = self.activation(name) {
                    ensure(of.activation.0 == last + 1, "Stale")?;
                    ensure(self.outcomes.contains_key(&format!("{name}/{last}")), "StillRunning")?;
                }
                self.sessions.insert(name.into(), (of.activation.0, owner.to_string()));
            }
            Write::Settle { of, outcome, .. } => {
                self.compare(&Expect::SessionRunning(of.clone()))?;
                self.log.push(format!("end of {}", of.session));
                let entry = (outcome.output.clone(), self.log.len() as u64);
                self.outcomes.insert(of.to_string(), entry);
            }
            Write::Enqueue { run, .. } => {
                ensure(self.state(run.as_str()).is_none(), "Malformed")?;
                self.runs.push((run.to_string(), RunState::Queued, 1, None));
            }
            Write::MoveRun(step) => {
                ensure(self.state(step.run.as_str()) == Some(step.from), "RunIs")?;
                let arrow = format!("{}>{}", step.from.as_str(), step.to.as_str());
                ensure(STEPS.split(' ').any(|step| step == arrow), "IllegalStep")?;
                let row = self.runs.iter_mut().find(|row| row.0 == step.run.as_str()).unwrap();
                row.1 = step.to;
                row.2 += u32::from(arrow == "running>queued");
                if let Some(session) = &step.session {
                    self.attempts.insert(session.to_string(), step.run.to_string());
                }
                match step.to {
                    RunState::Running => row.3 = step.session.as_ref().map(ToString::to_string),
                    RunState::Queued => row.3 = None,
                    _ => {}
                }
            }
            Write::TakeLease { key, owner, ttl, over } => {
                let held = self.leases.get(key.as_str());
                let free = |held: &(String, u64, i64)| {
                    held.2 <= self.now || over.is_some_and(|over| over.0 == held.1)
                };
                ensure(held.is_none_or(free), "LeaseTaken")?;
                let row = (owner.to_string(), self.taken + 1, end(ttl));
                self.taken += 1;
                self.leases.insert(key.to_string(), row);
            }
            Write::RenewLease { key, epoch, ttl } => {
                let until = end(ttl);
                let held = self.leases.get_mut(key.as_str()).filter(|held| held.1 == epoch.0);
                held.ok_or("LeaseLost")?.2 = until;
            }
            Write::ReleaseLease { key, epoch } => {
                ensure(self.leases.get(key.as_str()).is_some_and(|held| held.1 == epoch.0), "LeaseLost")?;
                self.leases.remove(key.as_str());
            }
            Write::SetCursor { consumer, cursor } => {
                let (there, behind) = (self.pruned + 1, self.tail());
                let known = cursor.log == self.log_id && (there..=behind).contains(&cursor.sequence);
                ensure(known, "Gone")?;
                let at = self.cursors.get(consumer.as_str()).copied().unwrap_or(0);
                ensure(at <= cursor.sequence, "CursorIs")?;
                self.cursors.insert(consumer.to_string(), cursor.sequence);
            }
            Write::DropCursor { consumer } => drop(self.cursors.remove(consumer.as_str())),
            Write::Grant { to, from, amount } => {
                ensure(!self.grants.contains_key(&to.to_string()), "GrantExists")?;
                let from = from.as_ref().map(ToString::to_string);
                if let Some(from) = &from {
                    let giver = self.grants.get(from).filter(|grant| grant.own.is_none()).ok_or("NoGrant")?;
                    ensure(
                        self.passed_on(from) + amount.tokens <= giver.amount.max(self.passed_on(from)),
                        "Overdrawn",
                    )?;
                }
                self.grants.insert(to.to_string(), Grant { from, amount: amount.tokens, own: None });
            }
            Write::Refund { of, spent } => {
                let own = spent.tokens.saturating_sub(self.passed_on(&of.to_string()));
                let open = self.grants.get_mut(&of.to_string()).filter(|grant| grant.own.is_none());
                open.ok_or("NoGrant")?.own = Some(own);
            }
            Write::AddCounter { counter, by } => *self.counters.entry(counter.to_string()).or_default() += by,
            Write::PutKey { key, retain, .. } => {
                ensure(!self.has_key(key.as_str()), "Malformed")?;
                self.keys.insert(key.to_string(), end(retain));
            }
            Write::Send { to, .. } => {
                self.sent += 1;
                self.commands.insert(self.sent, to.to_string());
            }
            Write::TakeCommand { place } => {
                self.commands.remove(place).ok_or("NoCommand")?;
            }
            Write::DropCommands { to } => self.commands.retain(|_, owner| owner != to.as_str()),
            Write::PutIssue(row) => {
                let twice = |(at, id)| row.needs[..at].contains(id);
                ensure(!row.needs.iter().enumerate().any(twice), "Malformed")?;
                let mut next = (**row).clone();
                next.revision = self.revision(row.id.as_str()) + 1;
                match self.issues.iter_mut().find(|known| known.id == row.id) {
                    Some(known) => {
                        next.place = known.place;
                        *known = next;
                    }
                    None => {
                        next.place = self.issues.len() as u64 + 1;
                        self.issues.push(next);
                    }
                }
            }
            Write::NoteIssue { issue, kind, .. } => {
                ensure(self.revision(issue.as_str()) > 0, "NoIssue")?;
                self.notes.push((issue.to_string(), kind.as_str()));
            }
            Write::Prune { .. } => {}
            other => panic!("{other:?} is not in the model"),
        }
        Ok(())
    }

    pub(crate) fn revision(&self, issue: &str) -> u64 {
        self.issues.iter().find(|row| row.id.as_str() == issue).map_or(0, |row| row.revision)
    }

    /// What a filter finds, by a look at everything.
    fn find(&self, filter: &IssueFilter) -> Vec<&IssueRow> {
        let mut found: Vec<_> = self.issues.iter().filter(|row| filter.fits(row)).collect();
        found.sort_by_key(|row| filter.order.key(row));
        let (rank, place) = filter.after.unwrap_or((0, 0));
        let after = if filter.order == IssueOrder::Place { (0, place) } else { (rank, place) };
        found.retain(|row| filter.order.key(row) > after);
        found.truncate(filter.limit);
        found
    }

    fn passed_on(&self, of: &str) -> u64 {
        let children = self.grants.iter().filter(|(_, grant)| grant.from.as_deref() == Some(of));
        children.map(|(of, grant)| grant.own.map_or(grant.amount, |own| own + self.passed_on(of))).sum()
    }

    /// Everything that can be seen, a line each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("tail {}", self.tail())];
        let kept = (1..).zip(&self.log).skip(usize::try_from(self.pruned).unwrap());
        lines.extend(kept.map(|(sequence, what): (u64, _)| format!("event {sequence} {what}")));
        for (name, (activation, owner)) in &self.sessions {
            let ended = self.outcomes.contains_key(&format!("{name}/{activation}"));
            lines.push(format!("session {name}/{activation} of {owner}, ended {ended}"));
        }
        lines.extend(self.outcomes.iter().map(|(of, (output, at))| format!("outcome {of} {output} at {at}")));
        for (name, state, attempt, session) in &self.runs {
            lines.push(format!("run {name} {state:?} {attempt} {session:?}"));
        }
        lines.extend(self.attempts.iter().map(|(session, run)| format!("attempt {session} of {run}")));
        lines.extend(self.leases.iter().map(|(key, held)| format!("lease {key} {} {}", held.0, held.1)));
        lines.extend(self.cursors.iter().map(|(consumer, at)| format!("cursor {consumer} {at}")));
        for (of, grant) in &self.grants {
            let passed_on = self.passed_on(of);
            let spent = grant.own.map(|own| own + passed_on);
            lines.push(format!("grant {of} {} passed on {passed_on} spent {spent:?}", grant.amount));
        }
        lines.extend(self.counters.iter().map(|(counter, sum)| format!("counter {counter} {sum}")));
        lines.extend(self.commands.iter().map(|(place, owner)| format!("command {place} to {owner}")));
        let issues = |(name, filter)| line_of_issues(name, &self.find(&filter));
        lines.extend(filters().into_iter().map(issues));
        let count = |wanted: &dyn Fn(&IssueRow) -> bool| self.issues.iter().filter(|row| wanted(row)).count();
        for status in IssueStatus::ALL {
            lines.push(format!("{} {}", status.as_str(), count(&|row| row.status == status)));
        }
        let (ready, claimed) = (count(&IssueRow::is_ready), count(&|row| row.run.is_some()));
        lines.push(format!("ready {ready} claimed {claimed}"));
        for row in &self.issues {
            let of = self.notes.iter().filter(|note| note.0 == row.id.as_str());
            let kinds: Vec<_> = of.map(|note| note.1).collect();
            lines.push(format!("notes of {}: {}", row.id, kinds.join(" ")));
        }
        lines.extend(self.keys.keys().filter(|key| self.has_key(key)).map(|key| format!("key {key}")));
        lines
    }
}

/// What is asked of the issues after each commit.
pub(crate) fn filters() -> Vec<(&'static str, IssueFilter)> {
    let needing = |name| IssueFilter::needing(amplifier_core::IssueId::new(name).unwrap());
    let all = IssueFilter::default;
    let with = |mut filter: IssueFilter, change: &dyn Fn(&mut IssueFilter)| {
        change(&mut filter);
        filter
    };
    let some = |filter: &mut IssueFilter| filter.statuses = vec![IssueStatus::Open, IssueStatus::Completed];
    let either = |filter| with(filter, &some);
    vec![
        ("all", all()),
        ("by urgency", all().by_urgency()),
        ("the second by urgency", with(all().by_urgency().limit(1), &|filter| filter.after = Some((1, 1)))),
        ("open or completed", either(all().by_urgency())),
        ("those behind the first", with(either(all()), &|filter| filter.after = Some((7, 1)))),
        ("claimed", with(all().by_urgency(), &|filter| filter.claimed = Some(true))),
        ("not claimed", with(either(all()), &|filter| filter.claimed = Some(false))),
        ("ready", IssueFilter::ready()),
        ("ready by place", with(all(), &|filter| filter.ready = true)),
        ("needing a", needing("a")),
        ("needing b by urgency", needing("b").by_urgency()),
        ("needing c", either(needing("c"))),
        ("of a type", with(all().by_urgency(), &|filter| filter.issue_type = Some("bug".into()))),
    ]
}

pub(crate) fn line_of_issues(name: &str, rows: &[&IssueRow]) -> String {
    let row = |row: &&IssueRow| {
        let (needs, run) = (row.needs.iter().map(|id| id.as_str()).collect::<String>(), row.run.is_some());
        let (id, place, revision, status) = (&row.id, row.place, row.revision, row.status.as_str());
        let (kind, priority, unmet) = (&row.issue_type, row.priority, row.unmet);
        format!("{id}/{place}/{revision} {status} {kind} {priority} {needs} {unmet} {run}")
    };
    format!("issues, {name}: {}", rows.iter().map(row).collect::<Vec<_>>().join(", "))
}

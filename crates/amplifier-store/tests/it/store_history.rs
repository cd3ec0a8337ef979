//! Random histories of commits: the store and a naive model say the same, and after a crash
//! at any point the store is sound and goes on.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use amplifier_core::budget::Amount;
use amplifier_core::{IssueId, OutcomeKind, Payload, RunId, SessionId};
use amplifier_store::{
    ActivationId, CommandName, Commit, ConsumerName, CounterName, Cursor, DedupKey, Epoch, Expect, IssueRow,
    IssueStatus, LeaseKey, NoteKind, QueueName, Receipt, RunFilter, RunMove, RunState, SessionFilter, Store,
    StoreError, Write,
};
use proptest::prelude::*;

use crate::store::{Fixed, event, note, of, open, outcome, owner, recording, settle};
use crate::store_model::{Model, filters, line_of_issues};
use crate::store_sqlite::sqlite;

const NAMES: [&str; 3] = ["a", "b", "c"];
const ACTIVATIONS: std::ops::RangeInclusive<u32> = 1..=5;

/// Numbers that a write or condition is made of: what it is, about whom, and two more.
type Seed = (usize, usize, u32, u64);

fn span(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Turns a seed towards what the store would accept now.
fn aimed((kind, a, mut b, mut c): Seed, model: &Model) -> Seed {
    let (name, last) = (NAMES[a], *ACTIVATIONS.end());
    let now = model.activation(name);
    match kind {
        1 | 2 => b = now.map_or(b, |now| now + 1).min(last),
        3 | 4 | 13 | 14 => b = now.unwrap_or(b).min(last),
        8..=10 => c = model.epoch(name).unwrap_or(c),
        18 => c = model.places().get(usize::try_from(c).unwrap() % 3).copied().unwrap_or(c),
        11 => c = model.tail() - c.min(2).min(model.tail() - 1),
        _ => {}
    }
    (kind, a, b, c)
}

fn step(a: usize, b: u32, c: u64, model: &Model) -> RunMove {
    let pick = |from: usize| RunState::ALL[from % RunState::ALL.len()];
    let (number, run) = (usize::try_from(c).unwrap(), RunId::new(NAMES[a]).unwrap());
    let from = model.state(run.as_str()).filter(|_| b > 1).unwrap_or(pick(number));
    let legal: Vec<_> = RunState::ALL.into_iter().filter(|to| from.may_become(*to)).collect();
    let to = if b > 1 && !legal.is_empty() { legal[number % legal.len()] } else { pick(number * 3 + a) };
    let step = RunMove::new(run, from, to);
    if to == RunState::Running { step.session(SessionId::new(NAMES[number % 3]).unwrap()) } else { step }
}

fn priority(number: u32) -> i8 {
    i8::try_from(number % 3).unwrap()
}

fn tokens(tokens: u64) -> Amount {
    Amount { tokens, micro_usd: tokens }
}

fn write((kind, a, b, c): Seed, log: u64, model: &Model) -> Write {
    let name = NAMES[a];
    let payload = Payload::null();
    let (key, epoch) = (LeaseKey::new(name).unwrap(), Epoch(c));
    let consumer = ConsumerName::new(name).unwrap();
    let amount = tokens(c * 5);
    match kind {
        0 => note(),
        1 | 2 => open(name, b, NAMES[usize::try_from(c).unwrap() % 3]),
        3 | 4 => settle(name, b, &c.to_string()),
        5 => {
            let (run, queue) = (RunId::new(name).unwrap(), QueueName::new("q").unwrap());
            Write::Enqueue { run, queue, trigger: None, payload, priority: priority(b), delay: span(c) }
        }
        6 | 7 => Write::MoveRun(step(a, b, c, model)),
        8 => {
            let over = (b == 3).then_some(epoch);
            Write::TakeLease { key, owner: owner(NAMES[b as usize % 3]), ttl: span(c), over }
        }
        9 => Write::RenewLease { key, epoch, ttl: span(u64::from(b)) },
        10 => Write::ReleaseLease { key, epoch },
        11 => Write::SetCursor { consumer, cursor: Cursor { log: log + u64::from(a == 2), sequence: c } },
        12 if c == 0 => Write::DropCursor { consumer },
        12 => Write::AddCounter { counter: CounterName::new(name).unwrap(), by: c },
        13 => {
            let giver = NAMES[c as usize % 3];
            let from = (c > 2).then(|| of(giver, model.activation(giver).unwrap_or(1)));
            let amount = if from.is_none() { tokens(40) } else { amount };
            Write::Grant { to: of(name, b), from, amount }
        }
        14 => Write::Refund { of: of(name, b), spent: amount },
        15 if c < 2 => Write::Prune { before: u64::from(b) },
        17 | 20 => Write::Send { to: owner(name), name: CommandName::new("cancel").unwrap(), payload },
        18 => Write::TakeCommand { place: c },
        19 => Write::DropCommands { to: owner(name) },
        21..=24 => Write::PutIssue(Box::new(issue(a, b, c))),
        25 => {
            let (issue, actor) = (IssueId::new(name).unwrap(), "ada".into());
            Write::NoteIssue {
                issue,
                kind: NoteKind::ALL[b as usize % 4],
                actor,
                session: None,
                body: payload,
            }
        }
        _ => Write::PutKey { key: DedupKey::new(name).unwrap(), value: payload, retain: span(c) },
    }
}

/// Any row; the numbers are spread over all that it is found by.
fn issue(a: usize, b: u32, c: u64) -> IssueRow {
    let number = usize::try_from(c).unwrap() + b as usize * 9;
    let id = |name: &str| IssueId::new(name).unwrap();
    let mut row =
        IssueRow::new(id(NAMES[a]), if b == 2 { "bug" } else { "task" }, b as u8 % 3, Payload::null());
    row.status = if c < 4 { IssueStatus::Open } else { IssueStatus::ALL[number % 7] };
    row.needs = NAMES
        .iter()
        .filter(|_| c > 2)
        .enumerate()
        .filter(|(at, _)| number >> at & 1 == 1)
        .map(|(_, name)| id(name))
        .collect();
    if number % 11 == 10 {
        row.needs = vec![id("a"), id("a")];
    }
    row.unmet = u32::from(number % 3 == 2);
    row.run = (number % 5 == 1).then(|| RunId::new("r").unwrap());
    row
}

fn expect((kind, a, b, c): Seed, log: u64, model: &Model) -> Expect {
    let name = NAMES[a];
    match kind % 8 {
        0 => Expect::SessionAbsent(SessionId::new(name).unwrap()),
        1 => Expect::SessionActivation(of(name, b)),
        2 => Expect::SessionRunning(of(name, b)),
        3 => {
            let (run, state) = (RunId::new(name).unwrap(), step(a, b, c, model).from);
            if c % 2 == 0 {
                Expect::RunState { run, state }
            } else {
                Expect::RunAttempt { run, state, attempt: b }
            }
        }
        4 => {
            let (key, owner) = (LeaseKey::new(name).unwrap(), owner(NAMES[b as usize % 3]));
            Expect::LeaseHeld { key, owner, epoch: Epoch(c) }
        }
        5 => {
            let cursor = (c > 0).then_some(Cursor { log, sequence: c });
            Expect::CursorAt { consumer: ConsumerName::new(name).unwrap(), cursor }
        }
        6 => {
            let (issue, now) = (IssueId::new(name).unwrap(), model.revision(name));
            Expect::IssueRevision { issue, revision: if b > 1 { now } else { c } }
        }
        _ => Expect::KeyAbsent(DedupKey::new(name).unwrap()),
    }
}

fn seed() -> impl Strategy<Value = Seed> {
    (0..26usize, 0..NAMES.len(), ACTIVATIONS, 0..9u64)
}

/// By how many seconds the clock jumps, the writes, the conditions; each aimed or not.
type Step = (i64, Vec<(Seed, bool)>, Vec<(Seed, bool)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let aimed = || (seed(), prop::bool::weighted(0.9));
    let conditions = prop_oneof![5 => Just(Vec::new()), 1 => prop::collection::vec(aimed(), 1..2)];
    prop::collection::vec((-1..3i64, prop::collection::vec(aimed(), 1..4), conditions), 1..60)
}

fn said(result: Result<Receipt, StoreError>) -> String {
    match result {
        Ok(receipt) => if receipt.applied().is_some() { "applied" } else { "repeated" }.to_owned(),
        Err(error) => {
            assert!(error.wrote_nothing());
            format!("{error:?}").split(' ').next().unwrap().to_owned()
        }
    }
}

fn activations() -> impl Iterator<Item = ActivationId> {
    NAMES.iter().flat_map(|name| ACTIVATIONS.map(|number| of(name, number)))
}

/// Everything that can be seen, a line each, as the model tells it.
async fn lines(store: &dyn Store) -> Vec<String> {
    let tail = store.tail().await.unwrap();
    let mut lines = vec![format!("tail {}", tail.sequence)];
    let oldest = match store.events(Cursor { sequence: 0, ..tail }, 1).await {
        Err(StoreError::Gone { oldest }) => oldest,
        other => panic!("there is no sequence 0: {other:?}"),
    };
    for event in store.events(oldest, 10_000).await.unwrap().events {
        let end = |source: &SessionId| format!("end of {source}");
        let what = event.source.as_ref().map_or("note".into(), end);
        lines.push(format!("event {} {what}", event.sequence.unwrap()));
    }
    for row in store.sessions(&SessionFilter::default()).await.unwrap() {
        let ended = row.settled.is_some();
        assert_eq!(store.settled(&row.last()).await.unwrap(), row.settled);
        lines.push(format!("session {} of {}, ended {ended}", row.last(), row.owner));
    }
    for of in activations() {
        if let Some(settled) = store.settled(&of).await.unwrap() {
            lines.push(format!("outcome {of} {} at {}", settled.outcome.output, settled.sequence));
        }
    }
    for row in store.runs(&RunFilter::default()).await.unwrap() {
        let session = row.session.as_ref().map(ToString::to_string);
        lines.push(format!("run {} {:?} {} {session:?}", row.id, row.state, row.attempt));
    }
    for session in NAMES {
        let filter = RunFilter::of_session(SessionId::new(session).unwrap());
        let rows = store.runs(&filter).await.unwrap();
        lines.extend(rows.iter().map(|row| format!("attempt {session} of {}", row.id)));
    }
    for name in NAMES {
        if let Some(lease) = store.lease(&LeaseKey::new(name).unwrap()).await.unwrap() {
            lines.push(format!("lease {name} {} {}", lease.owner, lease.epoch));
        }
    }
    for name in NAMES {
        if let Some(cursor) = store.cursor(&ConsumerName::new(name).unwrap()).await.unwrap() {
            lines.push(format!("cursor {name} {}", cursor.sequence));
        }
    }
    for of in activations() {
        if let Some(grant) = store.grant(&of).await.unwrap() {
            let (amount, spent) = (grant.amount.tokens, grant.spent.map(|spent| spent.tokens));
            lines.push(format!("grant {of} {amount} passed on {} spent {spent:?}", grant.passed_on.tokens));
        }
    }
    for name in NAMES {
        match store.counter(&CounterName::new(name).unwrap()).await.unwrap() {
            0 => {}
            sum => lines.push(format!("counter {name} {sum}")),
        }
    }
    let mut waiting = Vec::new();
    for name in NAMES {
        waiting.extend(store.commands(&owner(name), 1_000).await.unwrap());
    }
    waiting.sort_by_key(|command| command.place);
    lines.extend(waiting.iter().map(|command| format!("command {} to {}", command.place, command.to)));
    issues(store, &mut lines).await;
    for name in NAMES {
        if store.key(&DedupKey::new(name).unwrap()).await.unwrap().is_some() {
            lines.push(format!("key {name}"));
        }
    }
    lines
}

async fn issues(store: &dyn Store, lines: &mut Vec<String>) {
    for (name, filter) in filters() {
        let rows = store.issues(&filter).await.unwrap();
        lines.push(line_of_issues(name, &rows.iter().collect::<Vec<_>>()));
    }
    let counts = store.count_issues().await.unwrap();
    lines.extend(IssueStatus::ALL.map(|status| format!("{} {}", status.as_str(), counts.of(status))));
    lines.push(format!("ready {} claimed {}", counts.ready, counts.claimed));
    for row in store.issues(&Default::default()).await.unwrap() {
        assert_eq!(store.issue(&row.id).await.unwrap().as_ref(), Some(&row));
        let notes = store.issue_notes(&row.id, 0, 1_000).await.unwrap();
        let kinds: Vec<_> = notes.iter().map(|note| note.kind.as_str()).collect();
        lines.push(format!("notes of {}: {}", row.id, kinds.join(" ")));
    }
}

/// What holds in any store at any time, whatever the history was.
async fn invariants(store: &dyn Store) {
    let tail = store.tail().await.unwrap();
    let Err(StoreError::Gone { oldest }) = store.events(Cursor { sequence: 0, ..tail }, 1).await else {
        panic!("there is no sequence 0")
    };
    let events = store.events(oldest, 10_000).await.unwrap().events;
    let sequences: Vec<_> = events.iter().map(|event| event.sequence.unwrap()).collect();
    assert_eq!(sequences, (oldest.sequence..tail.sequence).collect::<Vec<_>>(), "no gap, nothing twice");

    let mut ends = HashSet::new();
    for of in activations() {
        if let Some(settled) = store.settled(&of).await.unwrap() {
            assert!(ends.insert(settled.sequence), "two outcomes share an event");
            let again = outcome(OutcomeKind::Lost, of.activation.0, "again");
            let terminal = event(amplifier_core::EventType::SessionError, Some(of.session.as_str()));
            let again = Write::Settle { of, outcome: again, event: terminal };
            assert_eq!(said(store.commit(again.into()).await), "repeated", "settled once");
        }
    }
    let terminal = events.iter().filter(|event| event.event_type.is_terminal());
    let terminal: Vec<_> = terminal.map(|event| event.sequence.unwrap()).collect();
    assert_eq!(terminal.len(), ends.iter().filter(|end| **end >= oldest.sequence).count());
    assert!(terminal.iter().all(|sequence| ends.contains(sequence)), "each end is of an outcome");

    for row in store.runs(&RunFilter::default()).await.unwrap() {
        row.check().unwrap();
        for to in RunState::ALL.into_iter().filter(|to| !row.state.may_become(*to)) {
            let step = Write::MoveRun(RunMove::new(row.id.clone(), row.state, to));
            assert_eq!(said(store.commit(step.into()).await), "IllegalStep");
        }
    }

    let mut grants = Vec::new();
    for of in activations() {
        grants.extend(store.grant(&of).await.unwrap());
    }
    for grant in &grants {
        let children = grants.iter().filter(|child| child.from.as_ref() == Some(&grant.of));
        let sum: u64 = children.map(|child| child.counted().tokens).sum();
        assert_eq!(grant.passed_on.tokens, sum, "the grants of {} add up", grant.of);
        assert!(grant.spent.is_none_or(|spent| spent.tokens >= sum));
    }

    for name in NAMES {
        let (key, value) = (DedupKey::new(name).unwrap(), Payload::null());
        if store.key(&key).await.unwrap().is_some() {
            let again = Write::PutKey { key, value, retain: span(1) };
            assert_eq!(said(store.commit(again.into()).await), "repeated", "no key twice");
        }
    }
    assert_eq!(store.tail().await.unwrap(), tail, "what was refused or repeated wrote nothing");
}

fn turn(clock: &Fixed, seconds: i64) {
    clock.micros.store(seconds * 1_000_000, Ordering::SeqCst);
}

async fn live_through(history: Vec<Step>) {
    let (clock, store) = recording();
    let log = store.tail().await.unwrap().log;
    let mut model = Model::new(log);
    let mut applied: Vec<(Commit, Model)> = Vec::new();
    for (jump, writes, conditions) in history {
        let mut commit = Commit::new();
        let aim = |(seed, hit)| if hit { aimed(seed, &model) } else { seed };
        commit.writes.extend(writes.into_iter().map(|seed| write(aim(seed), log, &model)));
        let conditions = conditions.into_iter().map(aim);
        commit.expects.extend(conditions.map(|seed| expect(seed, log, &model)));
        model.now += jump;
        turn(&clock, model.now);
        let expected = model.commit(&commit);
        assert_eq!(said(store.commit(commit.clone()).await), expected, "{commit:?}");
        assert_eq!(lines(&store).await, model.lines(), "after {commit:?}");
        if expected == "applied" {
            applied.push((commit, model.clone()));
        }
    }
    assert_eq!(store.recorded(), applied.len());
    for crash in 0..=applied.len() {
        let image = store.image_after(crash).unwrap();
        if let Some((last, then)) = applied[..crash].last() {
            turn(&clock, then.now);
            assert_eq!(lines(&image).await, then.lines(), "crashed after {crash} commits");
            if last.writes.iter().any(|write| then.is_done(write)) {
                assert_eq!(said(image.commit(last.clone()).await), "repeated", "sent again: {last:?}");
            }
        }
        invariants(&image).await;
        for (commit, then) in &applied[crash..] {
            turn(&clock, then.now);
            assert_eq!(
                said(image.commit(commit.clone()).await),
                "applied",
                "after crash {crash}: {commit:?}"
            );
        }
        let end = applied.last().map_or_else(|| Model::new(log).lines(), |(_, then)| then.lines());
        assert_eq!(lines(&image).await, end, "went on after {crash} commits");
    }
}

/// The same in a file, opened anew after every few commits.
async fn live_through_in_a_file(history: Vec<Step>, reopen: usize) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(Fixed::default()));
    let open = || sqlite(folder.path(), &clock);
    let mut store = open();
    let log = store.tail().await.unwrap().log;
    let mut model = Model::new(log);
    for (number, (jump, writes, conditions)) in history.into_iter().enumerate() {
        let mut commit = Commit::new();
        let aim = |(seed, hit)| if hit { aimed(seed, &model) } else { seed };
        commit.writes.extend(writes.into_iter().map(|seed| write(aim(seed), log, &model)));
        commit.expects.extend(conditions.into_iter().map(aim).map(|seed| expect(seed, log, &model)));
        model.now += jump;
        turn(&clock, model.now);
        let expected = model.commit(&commit);
        assert_eq!(said(store.commit(commit.clone()).await), expected, "{commit:?}");
        if number % reopen == 0 {
            drop(store);
            store = open();
        }
        assert_eq!(lines(&store).await, model.lines(), "after {commit:?}");
        if expected == "applied" && commit.writes.iter().any(|write| model.is_done(write)) {
            assert_eq!(said(store.commit(commit.clone()).await), "repeated", "sent again: {commit:?}");
        }
    }
    invariants(&store).await;
    drop(store);
    let store = open();
    assert_eq!(lines(&store).await, model.lines());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_in_a_file_is_as_the_model_says(history in steps(), reopen in 1..20usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live_through_in_a_file(history, reopen));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_as_the_model_says_and_sound_after_every_crash(history in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(live_through(history));
    }
}

/// What a history leaves and says, with the ids and times of its log.
async fn trace(store: &dyn Store, clock: &Fixed, history: &[Step]) -> String {
    let log = store.tail().await.unwrap().log;
    let (mut model, mut trace) = (Model::new(log), String::new());
    for (jump, writes, conditions) in history {
        let mut commit = Commit::new();
        let aim = |(seed, hit): &(Seed, bool)| if *hit { aimed(*seed, &model) } else { *seed };
        commit.writes.extend(writes.iter().map(|seed| write(aim(seed), log, &model)));
        commit.expects.extend(conditions.iter().map(aim).map(|seed| expect(seed, log, &model)));
        model.now += jump;
        turn(clock, model.now);
        model.commit(&commit);
        trace.push_str(&format!("{}\n{:?}\n", said(store.commit(commit).await), lines(store).await));
    }
    let tail = store.tail().await.unwrap();
    let first = match store.events(Cursor { sequence: 0, ..tail }, 1).await {
        Err(StoreError::Gone { oldest }) => oldest,
        other => panic!("{other:?}"),
    };
    for event in store.events(first, 10_000).await.unwrap().events {
        trace.push_str(&format!("{:?} {} {}\n", event.sequence, event.event_type, event.at));
    }
    trace
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_leaves_the_same_trace_in_both_stores_and_each_time(history in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut traces = Vec::new();
            for _ in 0..2 {
                let (clock, memory) = recording();
                traces.push(trace(&memory, &clock, &history).await);
                let (_folder, clock, file) = crate::store_sqlite::place();
                traces.push(trace(&file, &clock, &history).await);
            }
            for other in &traces[1..] {
                assert_eq!(*other, traces[0]);
            }
        });
    }
}

//! Clauses on leases, cursors, grants, counters and keys.

use super::*;
use crate::{CommandName, ConsumerName, Epoch, Expect, Grant, Repeated};

pub(super) const CLAUSES: &[Clause] = &[
    ("a lease is held by one, and its fence grows at each taking", |s| Box::pin(leased(s))),
    ("a lease that was lost does nothing any more", |s| Box::pin(fenced(s))),
    ("a cursor goes forward, to places that the log holds", |s| Box::pin(cursors(s))),
    ("a key is put once, and the second commit is told the first value", |s| Box::pin(keys(s))),
    ("a value is replaced, and a key that was put once is not", |s| Box::pin(values(s))),
    ("keys of a prefix are listed page by page", |s| Box::pin(listed_keys(s))),
    ("a counter adds up and stops at its end", |s| Box::pin(counters(s))),
    ("no more is granted than there is", |s| Box::pin(granted(s))),
    ("a command waits for its owner, in order, and is taken once", |s| Box::pin(commanded(s))),
    ("what was not spent goes back to who still has a use for it", |s| Box::pin(refunded(s))),
];

const LONG: Duration = Duration::from_secs(3_600);

fn take(name: &str, ttl: Duration, over: Option<Epoch>) -> Result<Write, InvalidId> {
    Ok(Write::TakeLease { key: LeaseKey::new("k")?, owner: owner(name)?, ttl, over })
}

async fn taken(store: &dyn Store, name: &str, ttl: Duration, over: Option<Epoch>) -> Result<Epoch, Found> {
    let applied = applied(store, take(name, ttl, over)?).await?;
    let epoch = applied.epochs.first().filter(|(key, _)| key.as_str() == "k");
    epoch.map(|(_, epoch)| *epoch).ok_or(Found("the receipt has no epoch".into()))
}

async fn leased(store: &dyn Store) -> Check {
    let key = LeaseKey::new("k")?;
    let held =
        |error: &StoreError| matches!(error, StoreError::LeaseTaken { owner, .. } if owner.as_str() == "a");
    same("the lease", store.lease(&key).await?, None)?;
    let first = taken(store, "a", LONG, None).await?;
    refused(store, take("b", LONG, None)?, "LeaseTaken", held).await?;
    refused(store, take("a", LONG, None)?, "LeaseTaken for the holder too", held).await?;
    let wrong = Some(Epoch(first.0 + 1));
    refused(store, take("b", LONG, wrong)?, "LeaseTaken over another epoch", held).await?;
    let second = taken(store, "b", LONG, Some(first)).await?;
    applied(store, Write::ReleaseLease { key: key.clone(), epoch: second }).await?;
    same("the lease once released", store.lease(&key).await?, None)?;
    let third = taken(store, "a", Duration::ZERO, None).await?;
    let shown = store.lease(&key).await?.map(|lease| (lease.epoch, lease.left));
    same("a lease that has run out", shown, Some((third, Duration::ZERO)))?;
    applied(store, Write::RenewLease { key: key.clone(), epoch: third, ttl: LONG }).await?;
    refused(store, take("b", LONG, None)?, "LeaseTaken once renewed", held).await?;
    applied(store, Write::RenewLease { key: key.clone(), epoch: third, ttl: Duration::ZERO }).await?;
    let fourth = taken(store, "b", LONG, None).await?;
    same("the fences grow", first < second && second < third && third < fourth, true)?;
    let left = store.lease(&key).await?.map(|lease| lease.left <= LONG && !lease.left.is_zero());
    same("some time is left", left, Some(true))
}

async fn fenced(store: &dyn Store) -> Check {
    let key = LeaseKey::new("k")?;
    let lost = |error: &StoreError| matches!(error, StoreError::LeaseLost { .. });
    let first = taken(store, "a", Duration::ZERO, None).await?;
    let held = |name: &str, epoch| {
        let (key, owner) = (LeaseKey::new("k")?, owner(name)?);
        Ok::<_, InvalidId>(Commit::new().when(Expect::LeaseHeld { key, owner, epoch }))
    };
    applied(store, held("a", first)?.write(note("a")?)).await?;
    refused(store, held("b", first)?, "LeaseLost for another owner", lost).await?;
    let second = taken(store, "b", LONG, None).await?;
    refused(store, held("a", first)?, "LeaseLost", lost).await?;
    refused(store, held("a", second)?, "LeaseLost for another owner", lost).await?;
    let renew = Write::RenewLease { key: key.clone(), epoch: first, ttl: LONG };
    refused(store, renew, "LeaseLost", lost).await?;
    refused(store, Write::ReleaseLease { key: key.clone(), epoch: first }, "LeaseLost", lost).await?;
    applied(store, Write::ReleaseLease { key, epoch: second }).await?;
    refused(store, held("b", second)?, "LeaseLost once released", lost).await
}

async fn cursors(store: &dyn Store) -> Check {
    let consumer = ConsumerName::new("c")?;
    let start = store.tail().await?;
    let at = |sequence| Cursor { sequence, ..start };
    let set = |cursor| Write::SetCursor { consumer: consumer.clone(), cursor };
    let expect = |cursor| Commit::new().when(Expect::CursorAt { consumer: consumer.clone(), cursor });
    applied(store, Commit::new().write(note("a")?).write(note("b")?)).await?;
    same("the cursor", store.cursor(&consumer).await?, None)?;
    applied(store, expect(None).write(set(at(2)))).await?;
    applied(store, expect(Some(at(2))).write(set(at(3)))).await?;
    let elsewhere =
        |error: &StoreError| matches!(error, StoreError::CursorIs { found, .. } if *found == Some(at(3)));
    refused(store, expect(Some(at(2))), "CursorIs", elsewhere).await?;
    refused(store, expect(None), "CursorIs", elsewhere).await?;
    refused(store, set(at(1)), "CursorIs for a step back", elsewhere).await?;
    let gone = |error: &StoreError| matches!(error, StoreError::Gone { .. });
    let foreign = Cursor { log: !start.log, sequence: 3 };
    // The refused group appends an event too, so the tail lies one further.
    for place in [at(5), at(0), foreign] {
        refused(store, set(place), "Gone", gone).await?;
    }
    applied(store, Write::DropCursor { consumer: consumer.clone() }).await?;
    applied(store, set(at(1))).await?;
    applied(store, Write::Prune { before: 2 }).await?;
    same("a cursor whose place was pruned", store.cursor(&consumer).await?, Some(at(1)))
}

async fn keys(store: &dyn Store) -> Check {
    let name = DedupKey::new("hook/1")?;
    let absent = || Commit::new().when(Expect::KeyAbsent(name.clone()));
    applied(store, absent().write(key("hook/1")?).write(enqueue("r", Duration::ZERO)?)).await?;
    let present = |error: &StoreError| matches!(error, StoreError::KeyPresent { .. });
    refused(store, absent(), "KeyPresent", present).await?;
    let first = Payload::from(serde_json::json!("first"));
    same("the value", store.key(&name).await?, Some(first.clone()))?;
    let (value, retain) = (Payload::null(), LONG);
    let second = Write::PutKey { key: name, value, retain };
    let again = Commit::new().write(enqueue("other", Duration::ZERO)?).write(second).write(count("n")?);
    match store.commit(again).await? {
        Receipt::Repeated(Repeated::Key { value, .. }) => same("what the second is told", value, first)?,
        other => return Err(Found(format!("a second key is {other:?}"))),
    }
    same("a run of the second", store.run(&RunId::new("other")?).await?, None)?;
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    let twice = Commit::new().write(key("hook/2")?).write(key("hook/2")?);
    refused(store, twice, "Malformed for twice in one commit", malformed).await?;
    same("a refused key", store.key(&DedupKey::new("hook/2")?).await?, None)
}

async fn values(store: &dyn Store) -> Check {
    let name = DedupKey::new("value/1")?;
    let set =
        |key: &DedupKey, n: u64| Write::SetValue { key: key.clone(), value: serde_json::json!(n).into() };
    for n in 1..4 {
        applied(store, set(&name, n)).await?;
        same("the value", store.key(&name).await?, Some(serde_json::json!(n).into()))?;
    }
    applied(store, Commit::new().write(set(&name, 4)).write(set(&name, 5))).await?;
    same("the last of two", store.key(&name).await?, Some(serde_json::json!(5).into()))?;
    applied(store, key("value/2")?).await?;
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    refused(store, set(&DedupKey::new("value/2")?, 6), "Malformed for a key that was put", malformed).await
}

/// Keys of a prefix, page by page: those that were put, and values; none of another prefix.
async fn listed_keys(store: &dyn Store) -> Check {
    for name in ["list/b", "list/a", "list/ü", "lisu/x"] {
        applied(store, key(name)?).await?;
    }
    let (value, name) = (Payload::from(serde_json::json!(7)), DedupKey::new("list/c")?);
    applied(store, Write::SetValue { key: name, value: value.clone() }).await?;
    let names = |found: &[(DedupKey, Payload)]| found.iter().map(|(key, _)| key.to_string()).collect();
    let first = store.keys("list/", None, 3).await?;
    same("the first page", names(&first), ["list/a", "list/b", "list/c"].map(str::to_owned).to_vec())?;
    let last = first.last().map(|(key, value)| (key.clone(), value.clone()));
    same("the value of a key", last.as_ref().map(|(_, value)| value.clone()), Some(value))?;
    let rest: Vec<String> = names(&store.keys("list/", last.as_ref().map(|(key, _)| key), 3).await?);
    same("the second page", rest, vec!["list/ü".to_owned()])?;
    same("another prefix", store.keys("list/x", None, 3).await?.len(), 0)
}

async fn counters(store: &dyn Store) -> Check {
    let counter = CounterName::new("n")?;
    same("an unknown counter", store.counter(&counter).await?, 0)?;
    applied(store, Commit::new().write(count("n")?).write(count("n")?)).await?;
    same("the counter", store.counter(&counter).await?, 2)?;
    applied(store, Write::AddCounter { counter: counter.clone(), by: u64::MAX }).await?;
    same("the end", store.counter(&counter).await?, u64::MAX)
}

fn grant(to: &str, from: Option<&str>, amount: u64) -> Result<Write, InvalidId> {
    let from = from.map(|from| of(from, 1)).transpose()?;
    Ok(Write::Grant { to: of(to, 1)?, from, amount: tokens(amount) })
}

fn refund(session: &str, spent: u64) -> Result<Write, InvalidId> {
    Ok(Write::Refund { of: of(session, 1)?, spent: tokens(spent) })
}

async fn passed(store: &dyn Store, session: &str) -> Result<(u64, Option<u64>), Found> {
    let found = store.grant(&of(session, 1)?).await?;
    let Grant { passed_on, spent, .. } = found.ok_or(Found("the grant is gone".into()))?;
    Ok((passed_on.tokens, spent.map(|spent| spent.micro_usd)))
}

async fn granted(store: &dyn Store) -> Check {
    let none = |error: &StoreError| matches!(error, StoreError::NoGrant { .. });
    refused(store, grant("c", Some("r"), 1)?, "NoGrant", none).await?;
    applied(store, grant("r", None, 100)?).await?;
    let exists = |error: &StoreError| matches!(error, StoreError::GrantExists { .. });
    refused(store, grant("r", None, 100)?, "GrantExists", exists).await?;
    let over = |error: &StoreError| matches!(error, StoreError::Overdrawn { wanted, left, .. } if wanted.tokens > left.tokens);
    refused(store, grant("c", Some("r"), 101)?, "Overdrawn", over).await?;
    let both = Commit::new().write(grant("c", Some("r"), 60)?);
    refused(store, both.clone().write(grant("d", Some("r"), 60)?), "Overdrawn together", over).await?;
    applied(store, both).await?;
    refused(store, grant("d", Some("r"), 41)?, "Overdrawn", over).await?;
    applied(store, grant("d", Some("c"), 60)?).await?;
    same("of the root", passed(store, "r").await?, (60, None))?;
    same("of the child", passed(store, "c").await?, (60, None))?;
    applied(store, grant("free", None, u64::MAX)?).await?;
    applied(store, grant("e", Some("free"), 5)?).await.map(drop)
}

async fn refunded(store: &dyn Store) -> Check {
    let tree = Commit::new().write(grant("r", None, 100)?).write(grant("c", Some("r"), 60)?);
    applied(store, tree.write(grant("g", Some("c"), 40)?).write(grant("h", Some("c"), 10)?)).await?;
    applied(store, refund("g", 15)?).await?;
    same("of the child", passed(store, "c").await?, (25, None))?;
    same("of the root", passed(store, "r").await?, (60, None))?;
    // The child ends before `h` does: it has spent no less than what it passed on.
    applied(store, refund("c", 5)?).await?;
    same("of the child that ended", passed(store, "c").await?, (25, Some(25)))?;
    same("of the root", passed(store, "r").await?, (25, None))?;
    applied(store, refund("h", 4)?).await?;
    same("of the child that ended", passed(store, "c").await?, (19, Some(19)))?;
    same("what went up past it", passed(store, "r").await?, (19, None))?;
    let none = |error: &StoreError| matches!(error, StoreError::NoGrant { .. });
    refused(store, refund("h", 4)?, "NoGrant for a second refund", none).await?;
    refused(store, grant("x", Some("c"), 1)?, "NoGrant from a settled grant", none).await?;
    applied(store, grant("o", Some("r"), 1)?).await?;
    applied(store, refund("o", 50)?).await?;
    same("what was overspent is counted", passed(store, "r").await?, (69, None))
}

async fn commanded(store: &dyn Store) -> Check {
    let send = |to: &str, name: &str| -> Result<Write, InvalidId> {
        let payload = Payload::from(serde_json::json!({ "name": name }));
        Ok(Write::Send { to: owner(to)?, name: CommandName::new(name)?, payload })
    };
    let sent =
        applied(store, Commit::new().write(send("a", "one")?).write(send("b", "two")?)).await?.commands;
    let last = applied(store, send("a", "three")?).await?.commands;
    let (Some(&first), Some(&third)) = (sent.first(), last.first()) else {
        return Err(Found("the receipt has no places".into()));
    };
    let waiting = store.commands(&owner("a")?, 10).await?;
    let names: Vec<_> = waiting.iter().map(|command| (command.place, command.name.as_str())).collect();
    same("the commands to an owner", names, vec![(first, "one"), (third, "three")])?;
    same("the first one alone", store.commands(&owner("a")?, 1).await?.len(), 1)?;
    same(
        "its payload",
        waiting.first().map(|one| one.payload.clone()),
        Some(Payload::from(serde_json::json!({ "name": "one" }))),
    )?;
    applied(store, Write::TakeCommand { place: first }).await?;
    refused(store, Write::TakeCommand { place: first }, "NoCommand", |error| {
        matches!(error, StoreError::NoCommand { .. })
    })
    .await?;
    applied(store, Write::DropCommands { to: owner("b")? }).await?;
    same("after the owner was given up", store.commands(&owner("b")?, 10).await?.len(), 0)?;
    same("the other one\'s", store.commands(&owner("a")?, 10).await?.len(), 1)
}

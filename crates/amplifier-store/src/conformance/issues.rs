//! Clauses on issues: revisions, lists, counts, notes.

use super::*;
use crate::{Expect, IssueFilter, IssueOrder, IssueRow, IssueStatus, NoteKind};
use amplifier_core::IssueId;

pub(super) const CLAUSES: &[Clause] = &[
    ("an issue is made with its place and revision 1, and is read as it was written", |s| Box::pin(made(s))),
    ("an issue that is written anew keeps place and beginning, and counts its revision", |s| {
        Box::pin(replaced(s))
    }),
    ("a revision that is not the one that was read refuses all of the commit", |s| Box::pin(compared(s))),
    ("of many who write one revision at once one wins", |s| Box::pin(at_once(s))),
    ("writes of one commit see the earlier ones, and its conditions do not", |s| Box::pin(seen(s))),
    ("issues come by place or by urgency, a page at a time", |s| Box::pin(ordered(s))),
    ("issues are found by status and type, in either order", |s| Box::pin(by_status(s))),
    ("ready is what is open, needs nothing more and is claimed by no run", |s| Box::pin(ready(s))),
    ("an issue is found by each that it needs, as it names them now", |s| Box::pin(needing(s))),
    ("an issue names each that it needs once", |s| Box::pin(needs_once(s))),
    ("issues are counted as they stand", |s| Box::pin(counted(s))),
    ("notes come in their order, a page at a time, and touch no revision", |s| Box::pin(notes(s))),
    ("there is no note on an issue that is not there", |s| Box::pin(noted_nowhere(s))),
];

fn id(name: &str) -> Result<IssueId, InvalidId> {
    IssueId::new(name)
}

fn row(name: &str, priority: u8) -> Result<IssueRow, InvalidId> {
    Ok(IssueRow::new(id(name)?, "task", priority, Payload::null()))
}

fn put(row: IssueRow) -> Write {
    Write::PutIssue(Box::new(row))
}

fn at(name: &str, revision: u64) -> Result<Expect, InvalidId> {
    Ok(Expect::IssueRevision { issue: id(name)?, revision })
}

fn comment(name: &str, text: &str) -> Result<Write, InvalidId> {
    let body = Payload::from(serde_json::json!(text));
    let (kind, session) = (NoteKind::Comment, Some(SessionId::new("s")?));
    Ok(Write::NoteIssue { issue: id(name)?, kind, actor: "ada".into(), session, body })
}

async fn read(store: &dyn Store, name: &str) -> Result<IssueRow, Found> {
    store.issue(&id(name)?).await?.ok_or_else(|| Found(format!("issue {name} is gone")))
}

/// The ids of what is found, each a letter.
async fn listed(store: &dyn Store, filter: IssueFilter) -> Result<String, Found> {
    Ok(store.issues(&filter).await?.iter().map(|row| row.id.as_str()).collect())
}

fn by_urgency() -> IssueFilter {
    IssueFilter { order: IssueOrder::Urgency, ..IssueFilter::default() }
}

async fn made(store: &dyn Store) -> Check {
    same("an issue of an empty store", store.issue(&id("a")?).await?, None)?;
    let wanted = IssueRow {
        place: 9,
        revision: 9,
        status: IssueStatus::Blocked,
        issue_type: "own_type".into(),
        needs: vec![id("z")?, id("ein langer Name")?],
        unmet: 2,
        run: Some(RunId::new("r")?),
        session: Some(SessionId::new("s")?),
        body: Payload::from(serde_json::json!({ "title": "what it is" })),
        ..row("a", 4)?
    };
    let told = applied(store, put(wanted.clone())).await?.issues;
    same("what the receipt says", told, vec![(id("a")?, 1, 1)])?;
    let found = read(store, "a").await?;
    same("when it was written", found.created, found.updated)?;
    let (created, updated) = (found.created, found.updated);
    same("the row", found, IssueRow { place: 1, revision: 1, created, updated, ..wanted })?;
    let told = applied(store, Commit::from(put(row("c", 2)?)).write(put(row("b", 2)?))).await?.issues;
    same("the next places", told, vec![(id("c")?, 2, 1), (id("b")?, 3, 1)])
}

async fn replaced(store: &dyn Store) -> Check {
    applied(store, Commit::from(put(row("a", 2)?)).write(put(row("b", 2)?))).await?;
    let before = read(store, "a").await?;
    let next =
        IssueRow { status: IssueStatus::Completed, created: Timestamp::from_micros(5), ..row("a", 0)? };
    let told = applied(store, Commit::from(put(next.clone())).when(at("a", 1)?)).await?.issues;
    same("what the receipt says", told, vec![(id("a")?, 1, 2)])?;
    let found = read(store, "a").await?;
    let IssueRow { created, place, .. } = before;
    let updated = found.updated;
    same("the row", found, IssueRow { place, revision: 2, created, updated, ..next })?;
    same("the order", listed(store, IssueFilter::default()).await?.as_str(), "ab")
}

async fn compared(store: &dyn Store) -> Check {
    let is = |wanted: u64, there: u64| move |error: &StoreError| matches!(error, StoreError::IssueIs { expected, revision, .. } if (*expected, *revision) == (wanted, there));
    let write = |revision| Ok::<_, InvalidId>(Commit::from(put(row("a", 0)?)).when(at("a", revision)?));
    refused(store, write(1)?, "IssueIs without an issue", is(1, 0)).await?;
    applied(store, write(0)?).await?;
    refused(store, write(0)?, "IssueIs for a second making", is(0, 1)).await?;
    refused(store, write(2)?, "IssueIs for a later one", is(2, 1)).await?;
    let others = write(7)?.write(comment("a", "never")?).write(put(row("b", 0)?));
    refused(store, others, "IssueIs for a group", is(7, 1)).await?;
    same("another issue of what was refused", store.issue(&id("b")?).await?, None)?;
    same("a note of what was refused", store.issue_notes(&id("a")?, 0, 9).await?, vec![])?;
    applied(store, write(1)?).await?;
    same("its revision", read(store, "a").await?.revision, 2)?;
    let told = applied(store, put(row("c", 0)?)).await?.issues;
    same("a place that was not given away", told, vec![(id("c")?, 2, 1)])
}

async fn at_once(store: &dyn Store) -> Check {
    applied(store, put(row("a", 2)?)).await?;
    let mut commits = Vec::new();
    for _ in 0..20 {
        let commit = Commit::from(put(row("a", 1)?)).when(at("a", 1)?).write(comment("a", "won")?);
        commits.push(store.commit(commit));
    }
    let mut won = 0;
    for result in futures_util::future::join_all(commits).await {
        match result {
            Ok(receipt) => won += usize::from(receipt.applied().is_some()),
            Err(StoreError::IssueIs { expected: 1, revision: 2, .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    same("the winners", won, 1)?;
    same("the revision", read(store, "a").await?.revision, 2)?;
    same("the notes", store.issue_notes(&id("a")?, 0, 99).await?.len(), 1)
}

async fn seen(store: &dyn Store) -> Check {
    let claimed = IssueRow { run: Some(RunId::new("r")?), needs: vec![id("z")?], ..row("a", 1)? };
    let again = IssueRow { status: IssueStatus::Closed, needs: vec![id("y")?], ..row("a", 3)? };
    let commit = Commit::new().when(at("a", 0)?).when(at("b", 0)?);
    let commit = commit.write(put(claimed)).write(comment("a", "between")?).write(put(again));
    let told = applied(store, commit.write(put(row("b", 1)?))).await?.issues;
    same("what the receipt says", told, vec![(id("a")?, 1, 1), (id("a")?, 1, 2), (id("b")?, 2, 1)])?;
    let found = read(store, "a").await?;
    same("the last writing", (found.revision, found.priority, found.run), (2, 3, None))?;
    same("what needs z", listed(store, IssueFilter::needing(id("z")?)).await?.as_str(), "")?;
    same("what needs y", listed(store, IssueFilter::needing(id("y")?)).await?.as_str(), "a")?;
    let counts = store.count_issues().await?;
    let told = (counts.total(), counts.of(IssueStatus::Closed), counts.ready, counts.claimed);
    same("all, closed, ready, claimed", told, (2, 1, 1, 0))
}

async fn ordered(store: &dyn Store) -> Check {
    for (name, priority) in [("a", 2), ("b", 0), ("c", 4), ("d", 0), ("e", 2)] {
        applied(store, put(row(name, priority)?)).await?;
    }
    applied(store, put(IssueRow { status: IssueStatus::Blocked, ..row("e", 1)? })).await?;
    for (order, wanted) in [(IssueOrder::Place, "abcde"), (IssueOrder::Urgency, "bdeac")] {
        let filter = IssueFilter { order, ..IssueFilter::default() };
        same("all", listed(store, filter.clone()).await?.as_str(), wanted)?;
        let (mut pages, mut page) = (String::new(), IssueFilter { limit: 2, ..filter });
        loop {
            let rows = store.issues(&page).await?;
            let Some(last) = rows.last() else { break };
            page.after = Some(order.key(last));
            pages.extend(rows.iter().map(|row| row.id.as_str()));
        }
        same("page by page", pages.as_str(), wanted)?;
    }
    // By place the first number of the key is nothing.
    let after = Some((9, 3));
    same(
        "behind a place",
        listed(store, IssueFilter { after, ..IssueFilter::default() }).await?.as_str(),
        "de",
    )?;
    same("none at all", listed(store, IssueFilter { limit: 0, ..by_urgency() }).await?.as_str(), "")
}

async fn by_status(store: &dyn Store) -> Check {
    use IssueStatus::{Blocked, Closed, Failed, Open};
    let made = [("a", Open, 3), ("b", Blocked, 2), ("c", Closed, 1), ("d", Open, 0), ("e", Blocked, 3)];
    for (name, status, priority) in made {
        let issue_type = if name == "b" { "bug" } else { "task" }.into();
        applied(store, put(IssueRow { status, issue_type, ..row(name, priority)? })).await?;
    }
    let of = |statuses: &[IssueStatus], order| {
        listed(store, IssueFilter { statuses: statuses.to_vec(), order, ..IssueFilter::default() })
    };
    for (statuses, place, urgency) in [
        (&[Open][..], "ad", "da"),
        (&[Blocked, Open], "abde", "dbae"),
        (&[Open, Open], "ad", "da"),
        (&[Failed], "", ""),
        (&IssueStatus::ALL, "abcde", "dcbae"),
    ] {
        same("by place", of(statuses, IssueOrder::Place).await?.as_str(), place)?;
        same("by urgency", of(statuses, IssueOrder::Urgency).await?.as_str(), urgency)?;
    }
    let limited = IssueFilter { statuses: vec![Blocked, Open], limit: 3, ..by_urgency() };
    same("a page of several", listed(store, limited).await?.as_str(), "dba")?;
    let bugs = IssueFilter { issue_type: Some("bug".into()), ..IssueFilter::default() };
    same("of a type", listed(store, bugs.clone()).await?.as_str(), "b")?;
    same(
        "of a type and status",
        listed(store, IssueFilter { statuses: vec![Open], ..bugs }).await?.as_str(),
        "",
    )
}

async fn ready(store: &dyn Store) -> Check {
    for name in ["a", "b", "c", "d"] {
        applied(store, put(row(name, if name == "c" { 0 } else { 2 })?)).await?;
    }
    applied(store, put(IssueRow { unmet: 1, needs: vec![id("a")?], ..row("e", 0)? })).await?;
    same("ready", listed(store, IssueFilter::ready()).await?.as_str(), "cabd")?;
    let by_place = IssueFilter { order: IssueOrder::Place, ..IssueFilter::ready() };
    same("ready by place", listed(store, by_place).await?.as_str(), "abcd")?;
    applied(store, put(IssueRow { run: Some(RunId::new("r")?), ..row("a", 2)? })).await?;
    applied(store, put(IssueRow { status: IssueStatus::InProgress, ..row("b", 2)? })).await?;
    applied(store, put(IssueRow { needs: vec![id("b")?], ..row("e", 2)? })).await?;
    same("ready then", listed(store, IssueFilter::ready()).await?.as_str(), "cde")?;
    let page = IssueFilter { after: Some((0, 3)), limit: 1, ..IssueFilter::ready() };
    same("a page", listed(store, page).await?.as_str(), "d")?;
    let claimed = |claimed, ready| IssueFilter { claimed: Some(claimed), ready, ..by_urgency() };
    same("claimed", listed(store, claimed(true, false)).await?.as_str(), "a")?;
    same("claimed and ready", listed(store, claimed(true, true)).await?.as_str(), "")?;
    same("not claimed", listed(store, claimed(false, false)).await?.as_str(), "cbde")?;
    let other = IssueFilter { statuses: vec![IssueStatus::Blocked], ..IssueFilter::ready() };
    same("ready and blocked", listed(store, other).await?.as_str(), "")?;
    applied(store, put(row("a", 0)?)).await?;
    same("ready once it is given back", listed(store, IssueFilter::ready()).await?.as_str(), "acde")
}

async fn needing(store: &dyn Store) -> Check {
    for (name, needs) in [("c", vec!["a", "b"]), ("d", vec!["a"]), ("a", vec![]), ("b", vec!["a"])] {
        let needs = needs.into_iter().map(id).collect::<Result<_, _>>()?;
        applied(store, put(IssueRow { needs, ..row(name, if name == "b" { 0 } else { 2 })? })).await?;
    }
    let of = |name: &str| Ok::<_, InvalidId>(IssueFilter::needing(id(name)?));
    for (name, wanted) in [("a", "cdb"), ("b", "c"), ("c", ""), ("nobody", "")] {
        same("what needs it", listed(store, of(name)?).await?.as_str(), wanted)?;
    }
    let urgent = IssueFilter { order: IssueOrder::Urgency, limit: 2, ..of("a")? };
    same("by urgency", listed(store, urgent).await?.as_str(), "bc")?;
    let needs = vec![id("b")?, id("d")?];
    applied(store, put(IssueRow { status: IssueStatus::Closed, needs, ..row("c", 2)? })).await?;
    for (name, wanted) in [("a", "db"), ("b", "c"), ("d", "c")] {
        same("what needs it then", listed(store, of(name)?).await?.as_str(), wanted)?;
    }
    let open = IssueFilter { statuses: vec![IssueStatus::Open, IssueStatus::Failed], ..of("b")? };
    same("open ones", listed(store, open).await?.as_str(), "")
}

async fn needs_once(store: &dyn Store) -> Check {
    let twice = IssueRow { needs: vec![id("b")?, id("b")?], ..row("a", 0)? };
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    refused(store, put(twice), "Malformed", malformed).await?;
    same("what was refused", store.issue(&id("a")?).await?, None)
}

async fn counted(store: &dyn Store) -> Check {
    use IssueStatus::{Completed, Failed, InProgress, Open};
    same("nothing", store.count_issues().await?, Default::default())?;
    for name in ["a", "b", "c"] {
        applied(store, put(row(name, 0)?)).await?;
    }
    let of = async || -> Result<_, Found> {
        let counts = store.count_issues().await?;
        Ok((counts.by_status.into_iter().collect::<Vec<_>>(), counts.ready, counts.claimed))
    };
    same("new ones", of().await?, (vec![(Open, 3)], 3, 0))?;
    let run = Some(RunId::new("r")?);
    applied(store, put(IssueRow { run: run.clone(), ..row("a", 0)? })).await?;
    applied(store, put(IssueRow { unmet: 1, ..row("b", 0)? })).await?;
    same("claimed, waiting", of().await?, (vec![(Open, 3)], 1, 1))?;
    applied(store, put(IssueRow { run, status: InProgress, ..row("a", 0)? })).await?;
    same("one at work", of().await?, (vec![(Open, 2), (InProgress, 1)], 1, 1))?;
    let malformed = |error: &StoreError| matches!(error, StoreError::Malformed { .. });
    let twice = IssueRow { needs: vec![id("b")?, id("b")?], ..row("a", 0)? };
    let failed = Commit::from(put(IssueRow { status: Failed, ..row("c", 0)? })).write(put(twice));
    refused(store, failed, "Malformed", malformed).await?;
    same("after a refusal", of().await?, (vec![(Open, 2), (InProgress, 1)], 1, 1))?;
    applied(store, put(IssueRow { status: Completed, ..row("a", 0)? })).await?;
    same("one done", of().await?, (vec![(Open, 2), (Completed, 1)], 1, 0))
}

async fn notes(store: &dyn Store) -> Check {
    applied(store, Commit::from(put(row("a", 0)?)).write(put(row("b", 0)?))).await?;
    let commit = Commit::from(comment("a", "1")?).write(comment("b", "2")?).write(comment("a", "3")?);
    applied(store, commit).await?;
    let (kind, session, body) = (NoteKind::Answer, None, Payload::null());
    applied(store, Write::NoteIssue { issue: id("a")?, kind, actor: "bo".into(), session, body }).await?;
    let found = store.issue_notes(&id("a")?, 0, 9).await?;
    let places: Vec<_> = found.iter().map(|note| note.place).collect();
    same("their places", places.is_sorted() && places.len() == 3, true)?;
    let told: Vec<_> = found.iter().map(|note| (note.kind, &*note.actor, note.session.is_some())).collect();
    let (said, answered) = ((NoteKind::Comment, "ada", true), (NoteKind::Answer, "bo", false));
    same("kind, actor, session", told, vec![said, said, answered])?;
    let first = found.first().map(|note| note.body.clone());
    same("what it says", first, Some(Payload::from(serde_json::json!("1"))))?;
    let after = found.first().map_or(0, |note| note.place);
    same("a page", store.issue_notes(&id("a")?, after, 1).await?, found.get(1..2).unwrap_or(&[]).to_vec())?;
    same("the other's", store.issue_notes(&id("b")?, 0, 9).await?.len(), 1)?;
    same("the revision", read(store, "a").await?.revision, 1)?;
    applied(store, put(row("a", 1)?)).await?;
    same("after a writing", store.issue_notes(&id("a")?, 0, 9).await?, found)
}

async fn noted_nowhere(store: &dyn Store) -> Check {
    let none = |error: &StoreError| matches!(error, StoreError::NoIssue { .. });
    refused(store, comment("a", "never")?, "NoIssue", none).await?;
    let late = Commit::from(comment("a", "never")?).write(put(row("a", 0)?));
    refused(store, late, "NoIssue before the issue", none).await?;
    same("its notes", store.issue_notes(&id("a")?, 0, 9).await?, vec![])?;
    applied(store, Commit::from(put(row("a", 0)?)).write(comment("a", "now")?)).await?;
    same("its notes then", store.issue_notes(&id("a")?, 0, 9).await?.len(), 1)
}

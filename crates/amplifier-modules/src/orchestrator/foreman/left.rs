//! The issues that a session of one turn has added: they are waited for, and how each came out is told.
//!
//! Guarantees: it waits while this session's own crew can bring one of them further, and no longer than the
//! session may run; a cancelled session waits no more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::approval::NoticeLevel;
use amplifier_core::env::SessionEnv;
use amplifier_core::until::until;
use amplifier_core::{IssueId, SessionId};
use amplifier_foundation::spawn::Spawner;
use amplifier_foundation::store::{Cursor, Store, StoreError};
use amplifier_issue::{IssueStatus, QueuedIssue};
use serde::Deserialize;

use super::crew::Staff;
use super::tell;

/// How often it is looked, beside the events.
const LOOK: Duration = Duration::from_secs(5);
const PAGE: usize = 1_000;
/// Issues that are looked at for one that waits for others.
const MAX_NEEDS: usize = 1_000;
/// Characters that are told of what came out.
const PREVIEW: usize = 200;
/// What brings an issue to rest or lets it go on.
const BELLS: [&str; 6] =
    ["issue_completed", "issue_closed", "issue_failed", "issue_blocked", "issue_question", "issue_escalated"];

#[derive(Deserialize)]
struct Told {
    issue_id: IssueId,
}

/// Waits for what was added behind `began`.
pub(super) async fn wait(env: &SessionEnv, spawner: &Spawner, began: Cursor, staff: &Staff) {
    let store = spawner.host().store();
    let added = match added(store.as_ref(), began, spawner.session()).await {
        Ok(added) if added.is_empty() => return,
        Ok(added) => added,
        Err(error) => {
            return tell(env, NoticeLevel::Warning, &format!("added issues are not known: {error}"));
        }
    };
    let many = match added.len() {
        1 => "1 issue".to_owned(),
        more => format!("{more} issues"),
    };
    if !staff.is_own() {
        return tell(env, NoticeLevel::Info, &format!("{many} added; this run does not wait for them"));
    }
    tell(env, NoticeLevel::Info, &format!("waiting for {many}; Ctrl+C stops"));
    if let Err(error) = watch(env, spawner, added).await {
        tell(env, NoticeLevel::Warning, &format!("issues are not waited for: {error}"));
    }
}

/// What this session has added.
async fn added(store: &dyn Store, began: Cursor, session: &SessionId) -> Result<Vec<IssueId>, StoreError> {
    let (mut added, mut at) = (Vec::new(), began);
    loop {
        let page = store.events(at, PAGE).await?;
        if page.events.is_empty() {
            return Ok(added);
        }
        let own = page.events.iter().filter(|event| {
            event.event_type.name() == "issue_opened" && event.source.as_ref() == Some(session)
        });
        added.extend(own.filter_map(|event| Some(event.payload.decode::<Told>().ok()?.issue_id)));
        at = page.next;
    }
}

async fn watch(env: &SessionEnv, spawner: &Spawner, mut added: Vec<IssueId>) -> Result<(), StoreError> {
    let host = spawner.host();
    let mut bell = host.router().subscribe(BELLS).ok();
    loop {
        let mut stuck = BTreeMap::new();
        let mut moving = false;
        let mut left = Vec::new();
        for id in added {
            let Some(issue) = read(host.store(), &id).await? else { continue };
            match at_rest(&issue) {
                Some((level, line)) => tell(env, level, &line),
                None => {
                    let moves = can_go_on(host.store(), &issue).await?;
                    moving |= moves;
                    if !moves {
                        stuck.insert(id.clone(), issue);
                    }
                    left.push(id);
                }
            }
        }
        added = left;
        if !moving {
            for (id, issue) in stuck {
                let needs = issue.issue.depends_on.iter().map(ToString::to_string).collect::<Vec<_>>();
                let line = format!("issue {id}: open; it depends on {}", needs.join(", "));
                tell(env, NoticeLevel::Warning, &line);
            }
            return Ok(());
        }
        let rung = async {
            match &mut bell {
                Some(bell) => drop(until(bell.next(), host.clock().sleep(LOOK)).await),
                None => host.clock().sleep(LOOK).await,
            }
        };
        if until(rung, env.cancel.cancelled()).await.is_none() {
            let left = added.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            tell(env, NoticeLevel::Warning, &format!("stopped; these go on with the next foreman: {left}"));
            return Ok(());
        }
    }
}

async fn read(store: &Arc<dyn Store>, id: &IssueId) -> Result<Option<QueuedIssue>, StoreError> {
    Ok(store.issue(id).await?.and_then(|row| QueuedIssue::of(&row).ok()))
}

/// What to tell of an issue that nothing happens to any more; `None` for one that goes on.
fn at_rest(issue: &QueuedIssue) -> Option<(NoticeLevel, String)> {
    use IssueStatus::{Blocked, Closed, Completed, Failed, InProgress, Open, PendingUserInput};
    let (id, status, details) = (&issue.issue.id, issue.issue.status, &issue.details);
    let (level, said) = match status {
        Open | InProgress => return None,
        Completed | Closed => (NoticeLevel::Info, details.result.as_ref().or(details.reason.as_ref())),
        Blocked => (NoticeLevel::Warning, details.blocking_notes.as_ref().or(details.reason.as_ref())),
        Failed => (NoticeLevel::Error, details.reason.as_ref()),
        PendingUserInput => (NoticeLevel::Warning, details.question.as_ref()),
        _ => (NoticeLevel::Info, None),
    };
    let said: String = said.map(|said| said.trim().chars().take(PREVIEW).collect()).unwrap_or_default();
    let mut line = format!("issue {id}: {}", status.as_str());
    if !said.is_empty() {
        line.push_str(&format!(": {}", said.replace(['\n', '\r'], " ")));
    }
    if status == PendingUserInput {
        line.push_str(&format!("; answer with `foreman issue answer {id} TEXT`"));
    }
    Some((level, line))
}

/// True if an open issue is worked on, or will be, without anybody's help.
async fn can_go_on(store: &Arc<dyn Store>, issue: &QueuedIssue) -> Result<bool, StoreError> {
    let mut looked: BTreeSet<IssueId> = BTreeSet::new();
    let mut next = vec![issue.clone()];
    while let Some(issue) = next.pop() {
        match issue.issue.status {
            IssueStatus::InProgress => continue,
            IssueStatus::Open => {}
            status if status.is_done() => continue,
            _ => return Ok(false),
        }
        if issue.unmet == 0 {
            continue;
        }
        for need in &issue.issue.depends_on {
            if looked.len() >= MAX_NEEDS || !looked.insert(need.clone()) {
                continue;
            }
            match read(store, need).await? {
                Some(need) => next.push(need),
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

//! The first page: what wants attention, what runs, what comes.

use std::sync::Arc;

use amplifier_issue::queue::IssueView;
use amplifier_issue::{IssueFilter, IssueStatus};
use axum::Extension;
use axum::extract::State;
use minijinja::context;

use super::lists::{latest_events, live_trees};
use super::render::{Page, page, seen};
use crate::api::issues;
use crate::auth::Who;
use crate::state::App;
use crate::view::{Background, Trigger, usd};

/// Issues of a kind that the first page shows.
const FEW: usize = 8;

async fn some(app: &App, statuses: &[IssueStatus]) -> Result<Vec<IssueView>, crate::api::Fault> {
    let mut filter = IssueFilter::default().by_urgency();
    filter.statuses = statuses.to_vec();
    filter.limit = FEW;
    let (found, _) = issues::page(app.issues(), &filter).await?;
    Ok(found.into_iter().map(IssueView::from).collect())
}

pub(super) async fn show(State(app): State<Arc<App>>, Extension(who): Extension<Who>) -> Page {
    let counts = app.issues().counts().await?;
    let all = Background::all(&app).await?;
    let report = app.report().await?;
    let mut upcoming = Vec::new();
    for one in &all {
        let next = |trigger: &&Trigger| trigger.next.is_some();
        upcoming.extend(one.triggers.iter().filter(next).map(|trigger| (&one.name, trigger)));
    }
    upcoming.sort_by_key(|(_, trigger)| trigger.next);
    upcoming.truncate(FEW);
    let upcoming: Vec<_> =
        upcoming.into_iter().map(|(name, trigger)| context! { name, trigger => seen(trigger) }).collect();
    let tiles = context! {
        asks => counts.of(IssueStatus::PendingUserInput),
        open => counts.of(IssueStatus::Open),
        ready => counts.ready,
        in_progress => counts.of(IssueStatus::InProgress),
        blocked => counts.of(IssueStatus::Blocked),
        failed => counts.of(IssueStatus::Failed),
        done => counts.of(IssueStatus::Completed) + counts.of(IssueStatus::Closed),
        queued => all.iter().map(|one| one.queued).sum::<u64>(),
        active => app.host().sessions().len(),
        cost => usd(report.within.spent.known_micro_usd),
        cost_is_known => report.within.spent.cost_micro_usd.is_some(),
    };
    let shows = context! {
        here => "overview",
        tiles,
        asking => seen(&some(&app, &[IssueStatus::PendingUserInput]).await?),
        stuck => seen(&some(&app, &[IssueStatus::Failed, IssueStatus::Blocked]).await?),
        at_work => seen(&some(&app, &[IssueStatus::InProgress]).await?),
        waiting => seen(&some(&app, &[IssueStatus::Open]).await?),
        pools => seen(&all),
        trees => seen(&live_trees(&app, FEW).await?),
        upcoming,
        events => seen(&latest_events(&app, 12).await?),
    };
    Ok(page(&app, &who, "overview.html", "Overview", shows)?)
}

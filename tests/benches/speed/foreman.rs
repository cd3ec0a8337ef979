//! How fast a crew gets through issues.
//!
//! Store and transcripts are files. The rival is a loop that writes and syncs the same files, in the same run; a durable wait is what a
//! commit of one event takes at the same time on the same store.

use std::path::Path;
use std::time::{Duration, Instant};

use amplifier_background::BackgroundSessionManager;
use amplifier_background::trigger::TriggerRegistry;
use amplifier_crew::{Crew, CrewConfig};
use amplifier_foundation::storage::ProjectPaths;
use amplifier_foundation::{Host, Shutdown};
use amplifier_issue::{IssueStatus, NewIssue};
use serde_json::json;

use crate::durable;
use crate::kit::Wanted::{AtMost, Nothing};
use crate::kit::{Call, Rival, against, builder, row};

/// Issues that are timed together.
const ISSUES: usize = 1_000;
/// Pools, and the places of each.
const POOLS: usize = 4;
const PLACES: usize = 4;
/// All places.
const AT_ONCE: usize = POOLS * PLACES;
/// Durable waits that an issue may have beside its files.
const WAITS: f64 = 4.0;

pub(crate) fn measure(call: &Call) {
    let runs = call.runs.min(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut ours, mut rivals, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..=runs {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (took, wait, files) = runtime.block_on(crew(folder.path()));
        let rival = durable::of_loop(&folder.path().join("loop"), &files, AT_ONCE, ISSUES / AT_ONCE);
        let allowed = 1.5 * rival + WAITS * wait * ISSUES as f64 / AT_ONCE as f64;
        ours.push(took * 1e3);
        rivals.push(rival * 1e3);
        ratios.push(took / allowed);
    }
    let rival = Rival { what: "16 threads, the same files and syncs", runs: &rivals[1..], wanted: Nothing };
    against("1,000 issues, pools of 16 in all", "ms", Nothing, &ours[1..], &rival);
    row("the same against 1.5 such loops and 4 durable waits an issue", "times", AtMost(1.0), &ratios[1..]);
}

/// From the start of a crew to its last issue, a durable wait, and what a worker has left.
async fn crew(folder: &Path) -> (f64, f64, durable::Files) {
    let (home, project) = (folder.join("home"), folder.join("project"));
    std::fs::create_dir(&project).unwrap();
    let host = builder().home(&home).open(&project).await.unwrap();
    let manager = BackgroundSessionManager::new(&host);
    let pool = |n: usize| {
        let types = json!([format!("kind-{n}")]);
        json!({"name": format!("pool-{n}"), "worker_bundle": "bench", "max_concurrent": PLACES, "route_types": types})
    };
    let config = json!({"worker_pools": (0..POOLS).map(pool).collect::<Vec<_>>()});
    let crew = Crew::new(&host, &manager, CrewConfig::parse(&config, &TriggerRegistry::new()).unwrap());
    let issues: Vec<NewIssue> = (0..ISSUES).map(issue).collect();
    let _ = crew.queue().open_many(&issues).await.unwrap();
    let began = Instant::now();
    crew.start().await.unwrap();
    while crew.queue().counts().await.unwrap().of(IssueStatus::Completed) < ISSUES as u64 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let wait = a_wait(&host).await;
    let paths = ProjectPaths::resolve(&home, &project).unwrap();
    let row = crew.queue().get(&issues[0].id.clone().unwrap()).await.unwrap();
    let files = durable::files(&paths.session(&row.session.unwrap()));
    manager.shutdown(Shutdown::Now).await;
    host.shutdown(Shutdown::Now).await;
    (took, wait, files)
}

fn issue(n: usize) -> NewIssue {
    let mut issue = NewIssue::new(format!("number {n}"), "");
    issue.id = Some(amplifier_core::IssueId::new(format!("i{n}")).unwrap());
    issue.issue_type = amplifier_issue::IssueType::new(&format!("kind-{}", n % POOLS)).unwrap();
    issue
}

/// What a commit of one event takes now, in seconds: the median of a few.
async fn a_wait(host: &Host) -> f64 {
    let mut each = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        host.router().emit("bench:wait", json!({})).await.unwrap();
        each.push(began.elapsed().as_secs_f64());
    }
    each.sort_by(f64::total_cmp);
    each[10]
}

//! Random changes against a model of a few lines.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use amplifier_core::{IssueId, SessionId};
use amplifier_issue::{End, IssueFilter, IssueStatus, QueueError};
use proptest::prelude::*;

use crate::stage::{Stage, id, new};

use IssueStatus::{Blocked, Closed, Completed, Failed, InProgress, Open, PendingUserInput};

/// Counts, readiness and the absence of circles, computed anew from all rows.
pub(crate) async fn consistent(stage: &Stage) {
    let mut filter = IssueFilter::default();
    filter.limit = 100_000;
    let all = stage.queue.list(&filter).await.unwrap();
    let by_id: HashMap<&IssueId, _> = all.iter().map(|issue| (&issue.issue.id, issue)).collect();
    for issue in &all {
        let undone =
            issue.issue.depends_on.iter().filter(|need| !by_id[*need].issue.status.is_done()).count();
        assert_eq!(issue.unmet as usize, undone, "{}", issue.issue.id);
        let (mut seen, mut next) = (BTreeSet::new(), issue.issue.depends_on.clone());
        while let Some(here) = next.pop() {
            assert_ne!(here, issue.issue.id, "a circle");
            if seen.insert(here.clone()) {
                next.extend(by_id[&here].issue.depends_on.iter().cloned());
            }
        }
    }
    let ready: BTreeSet<_> =
        all.iter().filter(|one| one.is_ready()).map(|one| one.issue.id.clone()).collect();
    let listed = stage.queue.ready(100_000).await.unwrap();
    assert_eq!(listed.into_iter().map(|one| one.issue.id).collect::<BTreeSet<_>>(), ready);
}

#[derive(Debug, Clone)]
enum Do {
    Open(Vec<usize>),
    Complete(usize),
    Close(usize),
    Reopen(usize),
    Block(usize),
    Ask(usize),
    Answer(usize),
    Fail(usize),
    Retry(usize),
    Begin(usize),
    Depend(usize, usize),
    Release(usize, usize),
    Claim(usize),
    Start(usize),
    End(usize, u8),
}

fn anything() -> impl Strategy<Value = Do> {
    let one = || 0..5_usize;
    prop_oneof![
        2 => prop::collection::vec(one(), 0..3).prop_map(Do::Open),
        2 => one().prop_map(Do::Complete),
        1 => one().prop_map(Do::Close),
        1 => one().prop_map(Do::Reopen),
        1 => one().prop_map(Do::Block),
        1 => one().prop_map(Do::Ask),
        1 => one().prop_map(Do::Answer),
        1 => one().prop_map(Do::Fail),
        1 => one().prop_map(Do::Retry),
        1 => one().prop_map(Do::Begin),
        2 => (one(), one()).prop_map(|(a, b)| Do::Depend(a, b)),
        1 => (one(), one()).prop_map(|(a, b)| Do::Release(a, b)),
        3 => one().prop_map(Do::Claim),
        3 => one().prop_map(Do::Start),
        3 => (one(), 0..5_u8).prop_map(|(a, end)| Do::End(a, end)),
    ]
}

/// What an issue should be.
#[derive(Debug, Clone, Default)]
struct Known {
    status: Option<IssueStatus>,
    needs: BTreeSet<usize>,
    run: Option<u32>,
    started: bool,
}

#[derive(Debug, Default)]
struct Model {
    issues: BTreeMap<usize, Known>,
    runs: u32,
}

impl Model {
    fn status(&self, at: usize) -> Option<IssueStatus> {
        self.issues.get(&at).and_then(|known| known.status)
    }

    fn unmet(&self, at: usize) -> usize {
        let undone = |need: &&usize| !self.status(**need).is_some_and(IssueStatus::is_done);
        self.issues[&at].needs.iter().filter(undone).count()
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        from == to || self.issues[&from].needs.iter().any(|need| self.reaches(*need, to))
    }

    fn set(&mut self, at: usize, from: &[IssueStatus], to: IssueStatus) -> bool {
        let fits = self.status(at).is_some_and(|status| from.contains(&status));
        if fits {
            let known = self.issues.get_mut(&at).unwrap();
            known.status = Some(to);
            // Runs are in no queue here, so nobody takes them back.
        }
        fits
    }

    /// Does it, and says whether it can be done.
    fn step(&mut self, what: &Do) -> bool {
        let undone = [Open, InProgress, Blocked, PendingUserInput, Failed];
        match what {
            Do::Open(needs) => {
                let at = self.issues.len();
                if needs.iter().any(|need| !self.issues.contains_key(need)) {
                    return false;
                }
                let needs = needs.iter().copied().collect();
                self.issues.insert(at, Known { status: Some(Open), needs, ..Known::default() });
                true
            }
            Do::Complete(at) => self.set(*at, &undone, Completed),
            Do::Close(at) => self.set(*at, &[&undone[..], &[Completed]].concat(), Closed),
            Do::Reopen(at) => self.set(*at, &[Completed, Closed, Failed], Open),
            Do::Block(at) => self.set(*at, &[Open, InProgress, PendingUserInput], Blocked),
            Do::Ask(at) => self.set(*at, &[Open, InProgress, Blocked], PendingUserInput),
            Do::Answer(at) => self.set(*at, &[PendingUserInput], Open),
            Do::Fail(at) => self.set(*at, &[Open, InProgress, Blocked, PendingUserInput], Failed),
            Do::Retry(at) => self.set(*at, &[Failed, Blocked, PendingUserInput], Open),
            Do::Begin(at) => {
                self.issues.contains_key(at)
                    && self.unmet(*at) == 0
                    && self.set(*at, &[Open, Blocked, PendingUserInput, Failed], InProgress)
            }
            Do::Depend(a, b) => {
                let there = self.issues.contains_key(a) && self.issues.contains_key(b);
                let fits = there && (self.issues[a].needs.contains(b) || !self.reaches(*b, *a));
                if fits {
                    self.issues.get_mut(a).unwrap().needs.insert(*b);
                }
                fits
            }
            Do::Release(a, b) => self.issues.get_mut(a).is_some_and(|known| known.needs.remove(b)),
            Do::Claim(at) => {
                let ready =
                    self.status(*at) == Some(Open) && self.issues[at].run.is_none() && self.unmet(*at) == 0;
                self.runs += 1;
                if ready {
                    let known = self.issues.get_mut(at).unwrap();
                    (known.run, known.started) = (Some(self.runs), false);
                }
                ready
            }
            Do::Start(at) => {
                let fits =
                    matches!(self.status(*at), Some(Open | InProgress)) && self.issues[at].run.is_some();
                if fits {
                    let known = self.issues.get_mut(at).unwrap();
                    (known.status, known.started) = (Some(InProgress), true);
                }
                fits
            }
            Do::End(at, end) => self.end(*at, *end),
        }
    }

    fn end(&mut self, at: usize, end: u8) -> bool {
        let Some(known) = self.issues.get_mut(&at).filter(|known| known.run.is_some()) else { return false };
        let is_its_own = known.status == Some(InProgress) || (known.status == Some(Open) && !known.started);
        if is_its_own {
            known.status = Some([Completed, Failed, Open, Open, Blocked][usize::from(end)]);
        }
        known.started = false;
        if end != 2 || !is_its_own {
            known.run = None;
        }
        true
    }
}

async fn take(stage: &Stage, model: &Model, what: &Do) -> Result<(), QueueError> {
    let queue = &stage.queue;
    let name = |at: usize| id(&format!("n{at}"));
    let run = |at: &usize| {
        let run = model.issues.get(at).and_then(|known| known.run).unwrap_or(model.runs);
        amplifier_core::RunId::new(format!("r-{run}")).unwrap()
    };
    match what {
        Do::Open(needs) => {
            let mut issue = new(&format!("n{}", model.issues.len()));
            issue.depends_on = needs.iter().map(|need| name(*need)).collect();
            queue.open(issue).await.map(drop)
        }
        Do::Complete(at) => queue.complete(&name(*at), None).await.map(drop),
        Do::Close(at) => queue.close(&name(*at), None).await.map(drop),
        Do::Reopen(at) => queue.reopen(&name(*at), None).await.map(drop),
        Do::Block(at) => queue.block(&name(*at), None).await.map(drop),
        Do::Ask(at) => queue.ask(&name(*at), "which?").await.map(drop),
        Do::Answer(at) => queue.answer(&name(*at), "this").await.map(drop),
        Do::Fail(at) => queue.fail(&name(*at), None).await.map(drop),
        Do::Retry(at) => queue.retry(&name(*at), None).await.map(drop),
        Do::Begin(at) => queue.begin(&name(*at)).await.map(drop),
        Do::Depend(a, b) => queue.add_dependency(&name(*a), &name(*b)).await.map(drop),
        Do::Release(a, b) => queue.remove_dependency(&name(*a), &name(*b)).await.map(drop),
        Do::Claim(at) => {
            let run = amplifier_core::RunId::new(format!("r-{}", model.runs + 1)).unwrap();
            queue.claim(&name(*at), &run).await
        }
        Do::Start(at) => queue.start(&name(*at), &run(at), &SessionId::new("s").unwrap()).await,
        Do::End(at, end) => {
            let reason = || "why".to_owned();
            let delay = std::time::Duration::ZERO;
            let ends = [
                End::Completed { result: "out".into() },
                End::Failed { reason: reason() },
                End::Retry { reason: reason(), delay },
                End::Released { reason: reason(), resume: false },
                End::Blocked { reason: reason() },
            ];
            queue.end(&name(*at), &run(at), ends[usize::from(*end)].clone()).await
        }
    }
}

async fn agree(stage: &Stage, steps: &[Do]) {
    let mut model = Model::default();
    for what in steps {
        let done = take(stage, &model, what).await;
        if let Err(QueueError::Store(error)) = &done {
            panic!("{what:?}: {error}");
        }
        let fits = model.step(what);
        assert_eq!(done.is_ok(), fits, "{what:?} of {model:?}: {done:?}");
    }
    consistent(stage).await;
    for (at, known) in &model.issues {
        let found = stage.queue.get(&id(&format!("n{at}"))).await.unwrap();
        assert_eq!(
            (Some(found.issue.status), found.run.is_some()),
            (known.status, known.run.is_some()),
            "n{at} of {model:?}"
        );
        assert_eq!(found.unmet as usize, model.unmet(*at));
        // Each change of a status is told once, with who did it.
        let history = stage.queue.whole_history(&id(&format!("n{at}"))).await.unwrap();
        let mut before = "open".to_owned();
        for entry in &history {
            assert_eq!((&entry.noted.from, &*entry.actor), (&before, "ada"), "n{at}: {history:?}");
            before.clone_from(&entry.noted.status);
        }
        assert_eq!(before, found.issue.status.as_str());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn the_queue_does_what_the_model_does(steps in prop::collection::vec(anything(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(&Stage::memory(), &steps));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]
    #[test]
    fn it_does_so_on_disk_too(steps in prop::collection::vec(anything(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(agree(&Stage::sqlite(), &steps));
    }
}

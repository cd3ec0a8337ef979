//! Two processes that share a project's background sessions; again and again one of them hangs and wakes up.
//!
//! Both work, fire and emit. One is stopped at a random moment, with all that it holds; once its lease has run out
//! the other one takes its runs over; then it is let go on, in the middle of whatever it did. Now and then both
//! are stopped, as by a machine that sleeps. At the end a fresh process finishes what is left, and
//! [`verdict`](super::verdict) looks at the closed files.
//!
//! Guarantees: moments follow from the seed, what the machine makes of them does not. A stop counts if
//! something was taken over in it. What was settled while it stood is compared with what stands at the end.
//! Never here: a process that ends.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use amplifier_core::{Clock, OutcomeKind};
use amplifier_foundation::host::{RandomIds, SystemClock};
use amplifier_foundation::store::{
    ActivationId, CounterName, Epoch, Instance, LeaseKey, OwnerId, SessionFilter, SessionRow, Settled,
    SqliteOptions, SqliteStore, Store, StoreError, Write,
};

use super::fleet::{Place, QuickClock, Timers};
use super::judge::{self, Case, Judgement};
use super::verdict::Acknowledged;
use super::{Dice, Report, Worker, folder, program};

/// How much faster time passes than the machine's: a lease of a minute lasts a second and a half.
const TIMES: u32 = 40;
/// What the lease of a process that gives no sign of life is believed to have run out after, at the latest.
const SILENCE: Duration = Duration::from_secs(100);
/// When what does not happen is given up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How often a look is taken.
const LOOK: Duration = Duration::from_millis(5);
/// Longest random pause, in milliseconds.
const PAUSE: u64 = 100;
/// How long who looks waits for its turn to write: longer, and somebody stands in the middle of a commit.
const TURN: Duration = Duration::from_secs(1);
/// Stops for each that is to count.
const TRIES: usize = 6;

/// Lets one of two hang until something was taken over so many times.
pub async fn hang(hangs: usize, seed: u64, progress: impl Fn(usize)) -> Report {
    let began = Instant::now();
    let mut report = Report::of("background, hanging past the lease");
    let mut campaign = Campaign::begin(seed).await;
    report.of = hangs;
    while report.hit < hangs && report.tried < hangs * TRIES && campaign.flaws.is_empty() {
        report.tried += 1;
        match campaign.round().await {
            Ok(false) => {}
            Ok(true) => {
                report.hit += 1;
                progress(report.hit);
            }
            Err(flaw) => campaign.flaws.push(flaw),
        }
    }
    if report.hit < hangs && campaign.flaws.is_empty() {
        campaign
            .flaws
            .push(format!("of {} stops only {} had something taken over", report.tried, report.hit));
    }
    let Campaign { place, folder, told, flaws, seen, .. } = campaign.end().await;
    let around = place.around().to_owned();
    report.acknowledged = told.total();
    let Judgement { flaws: found, looked } = judge::ask(&Case::Background { around, told });
    report.checked = format!("{looked}; {seen}");
    report.judge(format!("--seed {seed} --hangs {hangs}"), flaws.into_iter().chain(found).collect(), folder);
    report.seconds = began.elapsed().as_secs_f64();
    report
}

/// What was met.
#[derive(Debug, Default)]
struct Seen {
    taken: usize,
    lost: usize,
    blocked: usize,
    idle: usize,
    asleep: usize,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { taken, lost, blocked, idle, asleep } = self;
        write!(f, "{taken} activations taken over, {lost} of them as lost; ")?;
        write!(f, "{blocked} stops within a commit, {asleep} of both, {idle} with nothing at work")
    }
}

/// One of the two.
struct Share {
    worker: Worker,
    owner: OwnerId,
}

struct Campaign {
    place: Place,
    folder: tempfile::TempDir,
    clock: QuickClock,
    quick: String,
    dice: Dice,
    told: Acknowledged,
    /// Who looks; `None` once nobody may have the project open any more.
    store: Option<SqliteStore>,
    shares: Vec<Share>,
    /// What others have settled while its owner stood.
    settled: Vec<(ActivationId, Settled)>,
    seen: Seen,
    flaws: Vec<String>,
}

impl Campaign {
    async fn begin(seed: u64) -> Self {
        let folder = folder();
        std::fs::create_dir_all(folder.path().join("project")).unwrap();
        let place = Place::in_folder(folder.path());
        place.declare(Timers::Off);
        let began = SystemClock::new().now();
        let mut campaign = Self {
            clock: QuickClock::since(began).times(TIMES),
            quick: format!("quick={}x{TIMES}", began.as_micros()),
            place,
            folder,
            dice: Dice::new(seed),
            told: Acknowledged::default(),
            store: None,
            shares: Vec::new(),
            settled: Vec::new(),
            seen: Seen::default(),
            flaws: Vec::new(),
        };
        // What is emitted before the triggers are known fires nothing.
        campaign.join("own", 10_000);
        campaign.join("work", 20_000);
        campaign.store = Some(campaign.looking());
        campaign
    }

    fn worker(&self, what: &[&str]) -> Command {
        let mut command = Command::new(program("background-worker"));
        command.args(what).arg(self.place.around());
        command
    }

    fn join(&mut self, part: &str, first: usize) {
        let mut command = self.worker(&["share", part]);
        command.arg(format!("{part}-share")).arg(first.to_string()).arg(&self.quick);
        let (worker, mut owner) = (Worker::start(command), None);
        loop {
            let line = worker.line(PATIENCE);
            match line.as_deref().map(|line| line.split(' ').collect::<Vec<_>>()).as_deref() {
                Some(["owner", id]) => owner = Some(OwnerId::new(*id).unwrap()),
                Some(["ready"]) => break,
                Some(_) => {}
                None => panic!("it does not begin: {:?}", worker.complaints()),
            }
        }
        self.shares.push(Share { worker, owner: owner.unwrap() });
    }

    /// The store, for who looks, by the clock of the others.
    fn looking(&self) -> SqliteStore {
        let folder = self.place.store().unwrap();
        let instance = Instance::enter(&folder.join("run"), OwnerId::new("looks").unwrap()).unwrap();
        let clock = Arc::new(self.clock);
        let mut options = SqliteOptions::new(folder.join("amplifier.db"), clock, Arc::new(RandomIds::new()));
        options.patience = TURN * TIMES;
        SqliteStore::open(options.instance(instance)).unwrap()
    }

    fn store(&self) -> &SqliteStore {
        self.store.as_ref().unwrap()
    }

    fn hear(&mut self) {
        for share in &self.shares {
            self.told.hear(&share.worker.said());
        }
    }

    /// What one of them has at work.
    async fn at_work(&self, at: usize) -> Vec<SessionRow> {
        let mut filter = SessionFilter::running();
        filter.owner = Some(self.shares[at].owner.clone());
        self.store().sessions(&filter).await.unwrap()
    }

    async fn lease(&self, at: usize) -> Option<(OwnerId, Epoch)> {
        let key = LeaseKey::new(format!("work/{}", self.shares[at].owner)).unwrap();
        self.store().lease(&key).await.unwrap().map(|lease| (lease.owner, lease.epoch))
    }

    /// True if nobody stands in the middle of a commit.
    async fn can_write(&self) -> bool {
        let counter = CounterName::new("hangs/looks").unwrap();
        match self.store().commit(Write::AddCounter { counter, by: 1 }.into()).await {
            Ok(_) => true,
            Err(StoreError::Busy { .. }) => false,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// One stop, from when it has something at work until it has taken up new work. True if something was taken
    /// over.
    async fn round(&mut self) -> Result<bool, String> {
        let at = usize::try_from(self.dice.below(2)).unwrap();
        let (both, patient) = (self.dice.once_in(8), self.dice.once_in(3));
        self.until("something is at work", async |this| !this.at_work(at).await.is_empty()).await?;
        self.pause().await;
        self.shares[at].worker.stop();
        let held = self.at_work(at).await;
        if held.is_empty() {
            self.shares[at].worker.go_on();
            self.seen.idle += 1;
            return Ok(false);
        }
        if both || !self.can_write().await {
            self.stand(at, both, patient).await;
            return Ok(false);
        }
        let what = format!("{} lose what they have at work: {held:?}", self.shares[at].owner);
        let taken = self.until(&what, async |this| this.are_settled(&held).await).await;
        if taken.is_ok() {
            self.note(&held).await;
            self.pause().await;
        }
        let lease = self.lease(at).await;
        self.shares[at].worker.go_on();
        taken?;
        self.works_again(at, lease).await?;
        Ok(true)
    }

    /// Lets it stand with the lock of the database, or both of them: nothing can be taken over.
    async fn stand(&mut self, at: usize, both: bool, patient: bool) {
        let other = both.then_some(1 - at);
        other.iter().for_each(|other| self.shares[*other].worker.stop());
        *(if both { &mut self.seen.asleep } else { &mut self.seen.blocked }) += 1;
        let began = self.clock.monotonic();
        while (both || patient) && self.clock.monotonic().saturating_since(began) < SILENCE {
            tokio::time::sleep(LOOK).await;
        }
        self.shares[at].worker.go_on();
        other.iter().for_each(|other| self.shares[*other].worker.go_on());
    }

    async fn are_settled(&self, held: &[SessionRow]) -> bool {
        for row in held {
            if self.store().settled(&row.last()).await.unwrap().is_none() {
                return false;
            }
        }
        true
    }

    /// Notes what the other one has settled.
    async fn note(&mut self, held: &[SessionRow]) {
        for row in held {
            let settled = self.store().settled(&row.last()).await.unwrap().unwrap();
            self.settled.push((row.last(), settled));
        }
        self.seen.taken += held.len();
    }

    /// It takes its lease again, and begins something.
    async fn works_again(&mut self, at: usize, lost: Option<(OwnerId, Epoch)>) -> Result<(), String> {
        let owner = self.shares[at].owner.clone();
        let Some((holder, epoch)) = lost.as_ref().filter(|(holder, _)| *holder != owner) else {
            return Err(format!("{owner} has lost what it had at work, and its lease is {lost:?}"));
        };
        let what = format!("{owner} takes its lease again from {holder}");
        let again = async |this: &Self| {
            this.lease(at).await.is_some_and(|(holder, now)| holder == owner && now > *epoch)
        };
        self.until(&what, again).await?;
        // What it had is settled: whatever it has at work was begun since.
        self.until(&format!("{owner} works on"), async |this| !this.at_work(at).await.is_empty()).await
    }

    async fn pause(&mut self) {
        let millis = self.dice.below(PAUSE);
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    async fn until(&mut self, what: &str, is: impl AsyncFn(&Self) -> bool) -> Result<(), String> {
        let began = Instant::now();
        while !is(self).await {
            tokio::time::sleep(LOOK).await;
            self.hear();
            let over = self.shares.iter_mut().any(|share| share.worker.is_over());
            if over || began.elapsed() > PATIENCE {
                let complaints: Vec<_> =
                    self.shares.iter().flat_map(|share| share.worker.complaints()).collect();
                return Err(format!("{what}: not within {:?}; {complaints:?}", began.elapsed()));
            }
        }
        Ok(())
    }

    /// What was settled while its owner stood is what stands in the end.
    async fn compare(&mut self) {
        for (of, first) in std::mem::take(&mut self.settled) {
            let now = self.store().settled(&of).await.unwrap();
            // Where a resume was refused in between its number is in the files alone. Then the store begins anew with
            // the next one, and only the log tells of the ends before: once each, as the verdict sees.
            let stands = match &now {
                Some(now) => *now == first,
                None => self.store().event(first.event).await.unwrap().is_some(),
            };
            if !stands {
                self.flaws.push(format!("{of:?} was settled as {first:?}, and is now {now:?}"));
            }
            // The others had written down how they had ended, and were stopped before they could say so.
            self.seen.lost += usize::from(first.outcome.kind == OutcomeKind::Lost);
        }
    }

    /// Lets both end in order, and a fresh process finish what is left.
    async fn end(mut self) -> Self {
        let mut ended: Vec<Share> = std::mem::take(&mut self.shares);
        ended.iter_mut().for_each(|share| share.worker.release());
        for Share { worker, owner } in ended {
            let (said, complaints, status) = worker.end(PATIENCE);
            self.told.hear(&said);
            if !status.is_some_and(|status| status.success()) {
                self.flaws.push(format!("{owner} did not end in order: {status:?} {complaints:?}"));
            }
        }
        let mut finish = self.worker(&["finish"]);
        finish.arg(&self.quick);
        let (said, complaints, status) = Worker::start(finish).end(PATIENCE);
        if !status.is_some_and(|status| status.success()) {
            self.flaws.push(format!("what was left was not finished: {status:?} {said:?} {complaints:?}"));
        }
        self.compare().await;
        self.store = None;
        self
    }
}

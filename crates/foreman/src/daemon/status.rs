//! `foreman status`: pools, issues, and what runs.
//!
//! Guarantees: a process that was killed runs nothing here. `--watch` shows what changed within a second of it.

use std::io::IsTerminal;
use std::time::Duration;

use amplifier_app::standing::{standing_json, state};
use amplifier_app::terminal::{Code, Signals, Stdout, plain, say, table};
use amplifier_background::control::{OwnerInfo, Standing, standings};
use amplifier_core::until::until;
use amplifier_foundation::Host;
use amplifier_foundation::store::{IssueCounts, IssueStatus};
use serde_json::{Value, json};

use super::plan::Plan;
use super::{here, small};
use crate::args::daemon::StatusArgs;
use crate::exit::Failure;
use amplifier_app::exit::print_json;

/// How often it is shown at most.
const EVERY: Duration = Duration::from_millis(250);
/// How long nothing needs to happen until it is shown again: times go on.
const LONGEST: Duration = Duration::from_secs(10);
/// Clears a terminal, and goes to its first place.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Shows how the foreman of this project stands.
pub(crate) fn status(args: &StatusArgs) -> Result<Code, Failure> {
    small(async {
        let context = here()?;
        let host = context.host().await?;
        let plan = Plan::load(&args.of, &context, &host).await?;
        plan.tell();
        match args.watch {
            false => once(args, &Seen::read(&host, &plan).await?),
            true => watch(args, &host, &plan).await,
        }
    })
}

/// How all stands.
struct Seen {
    owner: Option<OwnerInfo>,
    standings: Vec<Standing>,
    places: Vec<u32>,
    issues: IssueCounts,
}

impl Seen {
    async fn read(host: &Host, plan: &Plan) -> Result<Self, Failure> {
        let read = standings(host, plan.standing()).await;
        let (owner, standings) = read.map_err(|error| Failure::store(&error))?;
        let places = plan.standing().iter().map(|one| one.config.pool_size).collect();
        let issues = host.store().count_issues().await.map_err(|error| Failure::store(&error))?;
        Ok(Self { owner, standings, places, issues })
    }

    fn lead(&self) -> String {
        match &self.owner {
            Some(owner) => format!("run by {owner}"),
            None => "not running: `foreman start` starts it".to_owned(),
        }
    }

    fn table(&self) -> String {
        let row = |(standing, places): (&Standing, &u32)| {
            [
                standing.name.to_string(),
                state(self.owner.as_ref(), standing).to_owned(),
                format!("{}/{places}", standing.sessions.len()),
                standing.queued.to_string(),
                standing.dead.to_string(),
                standing.error.clone().unwrap_or_default(),
            ]
        };
        let rows: Vec<[String; 6]> = self.standings.iter().zip(&self.places).map(row).collect();
        table(["POOL", "STATE", "RUNNING", "QUEUED", "GIVEN UP", "LAST ERROR"], &rows)
    }

    /// Issues by their statuses, those that there are.
    fn issues(&self) -> String {
        let of = |status: IssueStatus| (status.as_str(), self.issues.of(status));
        let mut parts: Vec<String> = IssueStatus::ALL
            .into_iter()
            .map(of)
            .filter(|(_, count)| *count > 0)
            .map(|(status, count)| format!("{count} {}", status.replace('_', " ")))
            .collect();
        if self.issues.ready > 0 {
            parts.push(format!("{} ready", self.issues.ready));
        }
        if parts.is_empty() { "no issues".to_owned() } else { format!("issues: {}", parts.join(", ")) }
    }

    fn text(&self) -> String {
        let all = format!("{}\n{}{}\n", self.lead(), self.table(), self.issues());
        all.lines().map(|line| format!("{}\n", plain(line))).collect()
    }

    fn json(&self) -> Value {
        let pool = |(standing, places): (&Standing, &u32)| {
            let mut object = standing_json(standing);
            object["max_concurrent"] = json!(places);
            object
        };
        let by_status: serde_json::Map<String, Value> = IssueStatus::ALL
            .into_iter()
            .map(|status| (status.as_str().to_owned(), json!(self.issues.of(status))))
            .collect();
        json!({
            "owner": self.owner,
            "pools": self.standings.iter().zip(&self.places).map(pool).collect::<Vec<_>>(),
            "issues": by_status, "ready": self.issues.ready, "claimed": self.issues.claimed,
        })
    }
}

fn once(args: &StatusArgs, seen: &Seen) -> Result<Code, Failure> {
    match args.json {
        true => print_json(&seen.json()),
        false => {
            say(&plain(&seen.lead()));
            let text: String = format!("{}{}\n", seen.table(), seen.issues());
            Ok(amplifier_app::terminal::print(&text))
        }
    }
}

async fn watch(args: &StatusArgs, host: &Host, plan: &Plan) -> Result<Code, Failure> {
    let mut signals = Signals::listen().map_err(|error| Failure::work(&error))?;
    let mut events = host.router().subscribe("*").map_err(|error| Failure::work(&error))?;
    let stdout = Stdout::new();
    let clears = std::io::stdout().is_terminal() && !args.json;
    let clock = host.clock();
    loop {
        let seen = Seen::read(host, plan).await?;
        let text = if args.json { format!("{}\n", seen.json()) } else { seen.text() };
        stdout.write(&if clears { format!("{CLEAR}{text}") } else { text });
        let change = async {
            until(events.next(), clock.sleep(LONGEST)).await;
            clock.sleep(EVERY).await;
        };
        tokio::select! {
            biased;
            _ = signals.next() => return Ok(stdout.code(Code::Success)),
            () = stdout.closed() => return Ok(Code::Success),
            () = change => {}
        }
    }
}

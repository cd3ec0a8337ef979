//! `trigger history`: each firing, and what became of it.

use amplifier_background::report::{Became, FiringQuery, FiringRow, Firings};
use amplifier_foundation::Host;
use amplifier_foundation::trigger::{BackgroundName, TriggerKey};

use crate::command::args::HistoryArgs;
use crate::command::runs::failure;
use crate::command::runs::figures::{WIDTH, cut, second, span};
use crate::context::Context;
use crate::exit::Failure;
use crate::terminal as output;
use crate::terminal::Code;

/// A firing that is made later than this was late.
const ON_TIME: std::time::Duration = std::time::Duration::from_secs(1);

/// Prints it, the latest firing first.
pub async fn history(args: &HistoryArgs, context: &Context, host: &Host) -> Result<Code, Failure> {
    let mut query = FiringQuery::default();
    (query.background, query.trigger) = args.of.clone().map_or((None, None), |of| (Some(of.name), of.key));
    query.since = args.since.map(|since| since.from(host.clock().now()));
    query.limit = Some(args.limit);
    let firings = Firings::of(host).list(&query).await.map_err(|error| failure(&error, context.program()))?;
    if firings.is_empty() && !args.json {
        output::say("nothing has fired; what became no run is remembered for seven days");
    }
    let lines: Result<String, Failure> =
        firings.iter().map(|firing| if args.json { as_json(firing) } else { Ok(line(firing)) }).collect();
    Ok(output::print(&lines?))
}

fn as_json(firing: &FiringRow) -> Result<String, Failure> {
    let line = serde_json::to_string(firing).map_err(|error| Failure::work(&error))?;
    Ok(format!("{line}\n"))
}

/// When it was due, whose it is, what it became, and a line of why.
fn line(firing: &FiringRow) -> String {
    let key = match firing.trigger.as_str() {
        key if key.starts_with("h-") => firing.kind.as_str(),
        key => key,
    };
    let whose = cut(&format!("{}/{key}", firing.background), 32);
    let became = match &firing.became {
        Became::Run { number, .. } => format!("#{number} {}", firing.became.as_str()),
        other => other.as_str().to_owned(),
    };
    let mut text = format!("{}  {whose:<32}  {became}\n", second(firing.due));
    let late = firing.fired.saturating_since(firing.due);
    let late = (late >= ON_TIME).then(|| format!("{} late", span(late)));
    let passed = firing.passed.coalesced + firing.passed.skipped;
    let passed = (passed > 0).then(|| format!("{passed} before it were passed over"));
    let why = firing.became.reason().map(str::to_owned);
    let notes: Vec<String> = [why, late, passed].into_iter().flatten().collect();
    if !notes.is_empty() {
        text.push_str(&format!("{:22}{}\n", "", cut(&notes.join("; "), WIDTH - 22)));
    }
    text
}

/// `NAME` or `NAME/KEY`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfTrigger {
    /// The background session.
    pub name: BackgroundName,
    /// One of its triggers.
    pub key: Option<TriggerKey>,
}

impl std::str::FromStr for OfTrigger {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, key) = text.split_once('/').map_or((text, None), |(name, key)| (name, Some(key)));
        let name = BackgroundName::new(name).map_err(|error| error.to_string())?;
        let key = key.map(TriggerKey::named).transpose().map_err(|error| error.to_string())?;
        Ok(Self { name, key })
    }
}

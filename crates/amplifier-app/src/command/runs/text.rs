//! The morning report.
//!
//! Guarantees: no line is wider than 80 columns; what wants attention stands first, each with what to type;
//! colour only on a terminal. What a model or an event wrote moves no cursor.

use std::io::IsTerminal;

use amplifier_background::report::{RunReport, RunSummary, Spent, Standing, Totals};
use amplifier_core::Timestamp;
use amplifier_foundation::settings::duration;

use super::figures::{WIDTH, cost, cut, minute, span, tokens};
use crate::command::args::runs::{RunsArgs, Since};
use crate::context::Program;
use crate::terminal::Code;
use crate::terminal::{self as output, Style};

/// How far lines below a run are set in.
const INDENT: usize = 8;

/// Prints it; what is amiss goes to stderr.
pub(super) fn print(report: &RunReport, args: &RunsArgs, program: Program) -> Code {
    for totals in report.totals.iter().filter(|totals| !totals.adds_up()) {
        output::say(&format!("warning: {}", astray(totals)));
    }
    if report.within.runs() == 0 && report.totals.is_empty() {
        output::say(&format!("no run {}; `{} runs --all` looks further back", of_when(args), program.name));
        return Code::Success;
    }
    output::print(&text(report, args, program, Style::of(std::io::stdout().is_terminal())))
}

fn astray(totals: &Totals) -> String {
    let counts = totals.counts;
    format!(
        "the numbers of {} do not add up: {} fired, {} runs, {} coalesced, {} skipped, {} rejected",
        totals.name,
        counts.triggered,
        totals.rows() + totals.retired,
        counts.coalesced,
        counts.skipped,
        counts.rejected
    )
}

fn of_when(args: &RunsArgs) -> String {
    match args.since {
        _ if args.all => "at all".to_owned(),
        Since::Span(span) => format!("in the last {}", in_hours(span.0)),
        Since::Time(time) => format!("since {}", minute(time)),
    }
}

/// Up to three days in hours, as people say of a night.
fn in_hours(span: std::time::Duration) -> String {
    match span.as_secs() {
        seconds @ 3_600..=259_200 if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        _ => duration::format(span),
    }
}

fn text(report: &RunReport, args: &RunsArgs, program: Program, style: Style) -> String {
    let mut text = heading(report, args);
    for standing in Standing::ALL {
        let runs: Vec<&RunSummary> = report.runs.iter().filter(|run| run.standing == standing).collect();
        if runs.is_empty() {
            continue;
        }
        text.push_str(&format!("\n{}\n", titled(standing, style)));
        runs.iter().for_each(|run| text.push_str(&entry(run, program, report.at)));
    }
    if report.left_out > 0 {
        text.push_str(&format!("\n{} more; --limit shows them\n", report.left_out));
    }
    if !report.totals.is_empty() {
        text.push_str(&format!("\n{}", totals(&report.totals)));
    }
    text
}

/// `12 runs in the last 24h: 10 completed, 1 failed, 1 waiting; 34.2k tokens, $0.41`
fn heading(report: &RunReport, args: &RunsArgs) -> String {
    let within = &report.within;
    let each = Standing::ALL.into_iter().filter(|standing| within.count(*standing) > 0);
    let each: Vec<String> =
        each.map(|standing| format!("{} {}", within.count(standing), word(standing))).collect();
    let runs = match within.runs() {
        1 => "1 run".to_owned(),
        more => format!("{more} runs"),
    };
    let mut line = format!("{runs} {}", of_when(args));
    if !each.is_empty() {
        line.push_str(&format!(": {}", each.join(", ")));
        line.push_str(&format!("; {}", used(&within.spent)));
    }
    wrapped(&line, 0)
}

fn used(spent: &Spent) -> String {
    match spent.sessions {
        0 => "nothing used".to_owned(),
        _ => format!("{} tokens, {}", tokens(spent.usage.total()), cost(spent)),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Asks => "asking",
        Standing::Retried => "tried again",
        Standing::LeftOut => "left out",
        other => other.as_str(),
    }
}

fn titled(standing: Standing, style: Style) -> String {
    match standing {
        Standing::Failed => style.failure("FAILED"),
        Standing::Asks => style.warning("ASKS FOR SOMETHING"),
        Standing::Running => "RUNNING".to_owned(),
        Standing::Interrupted => style.warning("INTERRUPTED"),
        Standing::Retrying => style.warning("WAITS FOR ANOTHER ATTEMPT"),
        Standing::Waiting => "WAITS".to_owned(),
        Standing::Completed => "COMPLETED".to_owned(),
        Standing::Cancelled => "CANCELLED".to_owned(),
        Standing::Retried => style.dim("TRIED AGAIN"),
        _ => style.dim("LEFT OUT"),
    }
}

/// What names a run at the command line.
pub(super) fn handle(run: &RunSummary) -> String {
    run.number.map_or_else(|| run.id.to_string(), |number| number.to_string())
}

/// Whose it is, and which trigger fired.
fn whose(run: &RunSummary) -> String {
    let key = run.event.as_ref().and_then(|event| event.id.as_str().split('/').nth(1));
    // A trigger without a name has a hash for one.
    let key = key.filter(|key| !key.starts_with("h-"));
    let kind = || run.event.as_ref().map(|event| event.trigger.as_str());
    match key.or_else(kind) {
        Some(key) => format!("{}/{key}", run.of),
        None => run.of.to_string(),
    }
}

/// A run, on two or three lines.
fn entry(run: &RunSummary, program: Program, now: Timestamp) -> String {
    let number = run.number.map_or_else(|| "-".to_owned(), |number| format!("#{number}"));
    let ran = run.spent.sessions > 0;
    let figures = match ran {
        true => format!(
            "{:>7}  {:>7}  {:>8}",
            span(std::time::Duration::from_millis(run.spent.duration_ms)),
            tokens(run.spent.usage.total()),
            cost(&run.spent)
        ),
        false => String::new(),
    };
    let line = format!("{number:>6}  {:<25}  {:<17}  {figures}", cut(&whose(run), 25), minute(run.updated));
    let mut text = format!("{}\n", line.trim_end());
    for note in notes(run, program, now) {
        text.push_str(&wrapped(&note, INDENT));
    }
    text
}

fn notes(run: &RunSummary, program: Program, now: Timestamp) -> Vec<String> {
    let answer = || run.outcome.as_ref().map(|outcome| cut(&outcome.output, WIDTH - INDENT));
    let why = || run.why().map(|why| cut(why, 2 * (WIDTH - INDENT)));
    let handle = handle(run);
    let attempts = match run.attempt {
        1 => String::new(),
        more => format!(" (attempt {more})"),
    };
    let session = run.session.as_ref().map_or_else(String::new, |session| format!("session {session}"));
    match run.standing {
        Standing::Failed | Standing::Cancelled if run.number.is_some() => {
            let again = format!("{0} runs show {handle} · {0} runs retry {handle}", program.name);
            let why = why().map(|why| format!("{why}{attempts}"));
            match run.standing {
                Standing::Failed => why.into_iter().chain([again]).collect(),
                _ => why.into_iter().collect(),
            }
        }
        Standing::Asks => why().into_iter().chain([format!("{} runs show {handle}", program.name)]).collect(),
        Standing::Running => {
            let since = span(now.saturating_since(run.updated));
            vec![format!("for {since}{attempts}"), session]
        }
        Standing::Interrupted => {
            vec!["its process is gone; the next that works here goes on".to_owned(), session]
        }
        Standing::Retrying | Standing::Waiting => waits(run, now, why()),
        Standing::Completed => answer().filter(|answer| !answer.is_empty()).into_iter().collect(),
        Standing::Retried => {
            let by = run.retried_as.as_ref().map(|by| format!("as {by}"));
            why().into_iter().chain(by).collect()
        }
        _ => why().into_iter().collect(),
    }
}

fn waits(run: &RunSummary, now: Timestamp, why: Option<String>) -> Vec<String> {
    let left = run.ready_at.saturating_since(now);
    let when = match (left.is_zero(), run.attempt) {
        (true, _) => "for a place".to_owned(),
        (false, 1) => format!("ready in {}", span(left)),
        (false, attempt) => format!("attempt {attempt} in {}", span(left)),
    };
    why.into_iter().chain([when]).collect()
}

/// The conservation law of each background session, and what its runs have cost.
fn totals(all: &[Totals]) -> String {
    let mut text = format!(
        "{:<20} {:>6} = {:>5} + {:>9} + {:>7} + {:>8}  {:>8}\n",
        "BACKGROUND SESSION", "FIRED", "RUNS", "COALESCED", "SKIPPED", "REJECTED", "COST"
    );
    for totals in all {
        let counts = totals.counts;
        text.push_str(&format!(
            "{:<20} {:>6} = {:>5} + {:>9} + {:>7} + {:>8}  {:>8}\n",
            cut(totals.name.as_str(), 20),
            counts.triggered,
            counts.rows(),
            counts.coalesced,
            counts.skipped,
            counts.rejected,
            cost(&totals.within.spent)
        ));
    }
    text
}

/// Words in lines of at most 80 columns; a longer word stands alone.
fn wrapped(text: &str, indent: usize) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let width = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && width > WIDTH {
            lines.push_str(&format!("{:indent$}{line}\n", ""));
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push_str(&format!("{:indent$}{line}\n", ""));
    }
    lines
}

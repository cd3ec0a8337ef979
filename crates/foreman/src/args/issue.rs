//! The queue: what was typed.

use std::path::PathBuf;

use amplifier_core::IssueId;
use amplifier_foundation::settings::duration::HumanDuration;
use amplifier_issue::queue::LinkKind;
use amplifier_issue::{IssueStatus, IssueType, Priority};
use clap::{Args, Subcommand};

/// `foreman add`
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// What it is about, in one line
    pub(crate) title: String,
    /// What is to be done; `-` reads standard input
    #[arg(long, value_name = "TEXT", visible_alias = "description")]
    pub(crate) body: Option<String>,
    /// task, feature, bug, epic, chore, or a name of your own
    #[arg(long = "type", value_name = "TYPE", default_value = "task", value_parser = kind)]
    pub(crate) kind: IssueType,
    /// From 0 (first) to 4 (last)
    #[arg(long, value_name = "N", default_value = "2", value_parser = priority)]
    pub(crate) priority: Priority,
    /// An issue that must be done before; as often as needed
    #[arg(long = "depends-on", value_name = "ID", value_delimiter = ',')]
    pub(crate) depends_on: Vec<IssueId>,
    /// Its id; one is made where none is given
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<IssueId>,
    /// The bundle of its worker, in the place of its pool's
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// Who is to do it
    #[arg(long, value_name = "NAME")]
    pub(crate) assignee: Option<String>,
    /// What it is a part of
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<IssueId>,
    /// Free data, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// Wait until it is done, and tell what came out
    #[arg(long)]
    pub(crate) wait: bool,
    /// How long to wait
    #[arg(long, value_name = "D", requires = "wait")]
    pub(crate) timeout: Option<HumanDuration>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman issue …`
#[derive(Debug, Subcommand)]
pub(crate) enum IssueCommand {
    /// List issues, the most urgent first; what is completed or closed with --all
    List(ListArgs),
    /// Show an issue: what it is about, what it waits for, what happened to it
    Show(OneArgs),
    /// Change what is said of it, or where it stands
    Update(Box<UpdateArgs>),
    /// Add a comment
    Comment(TextArgs),
    /// Close it: done, or not to be done
    Close(ReasonArgs),
    /// Answer the question of its worker, whose session goes on
    Answer(TextArgs),
    /// Try one again that failed or is blocked
    Retry(ReasonArgs),
    /// Close it and stop whoever works on it
    Cancel(ReasonArgs),
    /// Open one again that was completed, closed or has failed
    Reopen(ReasonArgs),
    /// Have it wait for another one, or link it to one
    Link(LinkArgs),
}

/// `foreman issue list`
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those that stand so, commas between
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_parser = status)]
    pub(crate) status: Vec<IssueStatus>,
    /// Only those of this type
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    pub(crate) kind: Option<IssueType>,
    /// Only those that a worker may begin
    #[arg(long, conflicts_with_all = ["status", "blocked", "needing"])]
    pub(crate) ready: bool,
    /// Only those that wait for something other than a worker, with what they wait for
    #[arg(long, conflicts_with_all = ["status", "needing", "kind"])]
    pub(crate) blocked: bool,
    /// Only those that depend on this one
    #[arg(long, value_name = "ID")]
    pub(crate) needing: Option<IssueId>,
    /// All of them, in the order in which they were opened
    #[arg(long, conflicts_with_all = ["status", "ready", "blocked"])]
    pub(crate) all: bool,
    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) limit: usize,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One issue.
#[derive(Debug, Args)]
pub(crate) struct OneArgs {
    /// The issue
    pub(crate) id: IssueId,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// One issue, and what is said to it.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    /// The issue
    pub(crate) id: IssueId,
    /// What to say; `-` reads standard input
    pub(crate) text: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Issues, and why.
#[derive(Debug, Args)]
pub(crate) struct ReasonArgs {
    /// The issues
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<IssueId>,
    /// Why, for who looks later
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman issue update`
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// The issue
    pub(crate) id: IssueId,
    /// Its title
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// What is to be done; `-` reads standard input
    #[arg(long, value_name = "TEXT", visible_alias = "description")]
    pub(crate) body: Option<String>,
    /// Its type
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    pub(crate) kind: Option<IssueType>,
    /// From 0 (first) to 4 (last)
    #[arg(long, value_name = "N", value_parser = priority)]
    pub(crate) priority: Option<Priority>,
    /// Where it stands: open, in_progress, blocked, pending_user_input, completed, closed, failed
    #[arg(long, value_name = "STATUS", value_parser = status)]
    pub(crate) status: Option<IssueStatus>,
    /// The bundle of its worker; empty for that of its pool
    #[arg(short = 'B', long, value_name = "NAME|URI")]
    pub(crate) bundle: Option<String>,
    /// Who is to do it; empty for nobody
    #[arg(long, value_name = "NAME")]
    pub(crate) assignee: Option<String>,
    /// What it is a part of
    #[arg(long, value_name = "ID")]
    pub(crate) parent: Option<IssueId>,
    /// All its free data, a JSON object
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// What stands in its way, for `blocked`; the question, for `pending_user_input`
    #[arg(long, value_name = "TEXT")]
    pub(crate) notes: Option<String>,
    /// What came out, for `completed`
    #[arg(long, value_name = "TEXT")]
    pub(crate) result: Option<String>,
    /// Why, for the other statuses
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman issue link`
#[derive(Debug, Args)]
pub(crate) struct LinkArgs {
    /// The issue
    pub(crate) id: IssueId,
    /// The other one
    pub(crate) to: IssueId,
    /// What the other one is to it: depends-on, related, parent-child or discovered-from
    #[arg(long, value_name = "KIND", default_value = "depends-on", value_parser = link)]
    pub(crate) kind: Linked,
    /// Take the dependency away
    #[arg(long)]
    pub(crate) remove: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What an issue is to another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Linked {
    /// It waits for it.
    DependsOn,
    /// It does not.
    As(LinkKind),
}

/// `foreman wait`
#[derive(Debug, Args)]
pub(crate) struct WaitArgs {
    /// The issues
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<IssueId>,
    /// How long to wait
    #[arg(long, value_name = "D")]
    pub(crate) timeout: Option<HumanDuration>,
    /// Print JSON, one object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman ps`
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The issue
    pub(crate) id: IssueId,
    /// Go on with what comes, of sessions that begin later too, until the issue is done
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print each line as it stands in the file
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman import`
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file of issues, one JSON object a line, or a folder with `issues.jsonl` and what lies beside it
    #[arg(value_name = "FILE.jsonl")]
    pub(crate) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `foreman export`
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Write `issues.jsonl`, `dependencies.jsonl` and `events.jsonl` into this folder, as the Python system's
    /// issue manager does; without it one line an issue is printed
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn kind(name: &str) -> Result<IssueType, String> {
    IssueType::new(name).map_err(|error| error.to_string())
}

fn priority(text: &str) -> Result<Priority, String> {
    let number =
        text.parse::<u64>().map_err(|_| "give a whole number from 0 (first) to 4 (last)".to_owned())?;
    Priority::new(number).map_err(|error| error.to_string())
}

fn status(name: &str) -> Result<IssueStatus, String> {
    let all = || IssueStatus::ALL.map(IssueStatus::as_str).join(", ");
    IssueStatus::from_name(name).ok_or_else(|| format!("there are {}", all()))
}

fn link(name: &str) -> Result<Linked, String> {
    match (name, LinkKind::from_name(name)) {
        ("depends-on" | "blocks", _) => Ok(Linked::DependsOn),
        (_, Some(kind)) => Ok(Linked::As(kind)),
        _ => Err("there are depends-on, related, parent-child, discovered-from".to_owned()),
    }
}

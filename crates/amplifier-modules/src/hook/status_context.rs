//! `hooks-status-context`: tells the model where and when it works, and how its git repository stands.
//!
//! Guarantees: what is told is part of one request and of no transcript; the date has no clock time unless that is
//! asked for, so that a request begins like the one before; git is asked once a user message, within a time, and only
//! where the directory is trusted; what it says is bounded.
//! Never here: a change to the repository.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use amplifier_core::hook::{Hook, HookError, HookEvent, Injection, Verdict};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::{EventPattern, EventType, SessionEnv};
use amplifier_foundation::process::Processes;
use amplifier_foundation::spawn::Spawner;
use amplifier_sandbox::{Confinement, Ended, Program, Request, Variables, run};
use async_trait::async_trait;
use serde::Deserialize;

use crate::tool::whole;

const ID: &str = "hooks-status-context";
/// How long git may take.
const GIT_TIMEOUT: Duration = Duration::from_secs(2);
/// Most changed files and most commits that are told, and most characters of a line.
const CHANGED: usize = 30;
const COMMITS: u64 = 20;
const LINE_CHARS: usize = 200;

const CONFIG_KEYS: &[&str] = &[
    "working_dir",
    "include_git",
    "git_include_status",
    "git_include_commits",
    "git_include_branch",
    "git_include_main_branch",
    "include_datetime",
    "datetime_include_timezone",
    "include_session",
    "priority",
];

/// The module `hooks-status-context`.
#[derive(Debug, Clone, Copy)]
pub struct HooksStatusContext;

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Config {
    working_dir: Option<String>,
    include_git: bool,
    git_include_status: bool,
    #[serde(deserialize_with = "whole")]
    git_include_commits: Option<u64>,
    git_include_branch: bool,
    git_include_main_branch: bool,
    include_datetime: bool,
    datetime_include_timezone: bool,
    include_session: bool,
    priority: i32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            working_dir: None,
            include_git: true,
            git_include_status: true,
            git_include_commits: None,
            git_include_branch: true,
            git_include_main_branch: true,
            include_datetime: false,
            datetime_include_timezone: false,
            include_session: true,
            priority: 100,
        }
    }
}

#[async_trait]
impl Module for HooksStatusContext {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: ID,
            aliases: &[],
            kind: ModuleKind::Hook,
            summary: "Tells the model where and when it works, and how its git repository stands",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let events = ["provider:request", "prompt:submit"].iter().map(EventPattern::new);
        let events = events.collect::<Result<_, _>>();
        let events = events.map_err(|error| MountError::config(spec, error.to_string()))?;
        let env = mount.env().clone();
        let dir = match config.working_dir.as_deref() {
            None | Some("." | "") => env.cwd.clone(),
            Some(written) => {
                let resolved = env.paths.resolve(&env.cwd, written);
                let wrong = |error: amplifier_core::permission::PathError| {
                    MountError::config(spec, format!("config: working_dir: {}", error.source))
                };
                resolved.map_err(wrong)?.as_path().to_owned()
            }
        };
        let untrusted =
            env.coordinator.capability::<Spawner>().is_some_and(|spawner| spawner.host().is_untrusted());
        mount.hook(Arc::new(Status { events, config, env, dir, untrusted, git: Mutex::default() }));
        Ok(())
    }
}

#[derive(Debug)]
struct Status {
    events: Vec<EventPattern>,
    config: Config,
    env: SessionEnv,
    dir: PathBuf,
    /// Configuration of a repository may name programs; a stranger's is not asked.
    untrusted: bool,
    /// How the repository stood at the user's last message; `None` until somebody asks.
    // Held to copy or replace; never across an await.
    git: Mutex<Option<Arc<Git>>>,
}

/// How a repository stands.
#[derive(Debug, Default)]
struct Git {
    /// False where there is none, or git did not answer.
    found: bool,
    text: String,
}

#[async_trait]
impl Hook for Status {
    fn name(&self) -> &str {
        ID
    }

    fn events(&self) -> &[EventPattern] {
        &self.events
    }

    fn priority(&self) -> i32 {
        self.config.priority
    }

    async fn handle(&self, event: &HookEvent<'_>) -> Result<Verdict, HookError> {
        if *event.event == EventType::PromptSubmit {
            *self.git.lock().unwrap_or_else(PoisonError::into_inner) = None;
            return Ok(Verdict::Continue);
        }
        let git = self.git().await;
        Ok(Verdict::Inject(Injection::ephemeral(self.text(git.as_deref()))))
    }
}

impl Status {
    fn text(&self, git: Option<&Git>) -> String {
        let (env, config) = (&self.env, &self.config);
        let mut lines = vec![format!("Working directory: {}", self.dir.display())];
        if config.include_session {
            lines.push(format!("Session ID: {}", env.session));
            if let Some(parent) = &env.parent {
                lines.push(format!("Parent Session ID: {parent}"));
            }
            lines.push(format!("Is sub-session: {}", if env.depth > 0 { "Yes" } else { "No" }));
        }
        if let Some(git) = git {
            lines.push(format!("Is directory a git repo: {}", if git.found { "Yes" } else { "No" }));
        }
        lines.push(format!("Platform: {}", std::env::consts::OS));
        let now = env.clock.now().to_string();
        let (day, time) = now.split_at_checked(10).unwrap_or((&now, ""));
        let time = time.get(1..9).filter(|_| config.include_datetime);
        let zone = if config.datetime_include_timezone || time.is_some() { " UTC" } else { "" };
        lines.push(format!(
            "Today's date: {day}{}{zone}",
            time.map(|time| format!(" {time}")).unwrap_or_default()
        ));
        let git = git.filter(|git| git.found && !git.text.is_empty());
        let git = git.map(|git| format!("\n\ngitStatus, as of the user's last message:\n{}", git.text));
        format!(
            "<system-reminder>\nWhere you work:\n<env>\n{}\n</env>{}\n</system-reminder>",
            lines.join("\n"),
            git.unwrap_or_default()
        )
    }

    async fn git(&self) -> Option<Arc<Git>> {
        if !self.config.include_git || self.untrusted {
            return None;
        }
        let known = self.git.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return known;
        }
        let git = Arc::new(self.look().await);
        *self.git.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&git));
        Some(git)
    }

    async fn look(&self) -> Git {
        let config = &self.config;
        let commits = config.git_include_commits.unwrap_or(5).min(COMMITS);
        let last = format!("-{commits}");
        let status: &[&str] = &["status", "--porcelain=v1", "--branch", "--ignore-submodules=all"];
        let status = self.ask(status, true);
        let log = ["log", "--oneline", "--no-decorate", last.as_str()];
        let log = self.ask(&log, commits > 0);
        let main = self.ask(
            &["for-each-ref", "--format=%(refname:short)", "refs/heads/main", "refs/heads/master"],
            config.git_include_main_branch,
        );
        let (status, log, main) = tokio::join!(status, log, main);
        let Some(status) = status else { return Git::default() };
        let mut parts = Vec::new();
        let mut lines = status.lines();
        if let Some(branch) =
            lines.next().and_then(|line| line.strip_prefix("## ")).filter(|_| config.git_include_branch)
        {
            let branch = branch.strip_prefix("No commits yet on ").unwrap_or(branch);
            let branch = branch.split("...").next().unwrap_or(branch);
            parts.push(format!("Current branch: {}", shortened(branch)));
        }
        if let Some(main) = main.as_deref().and_then(|main| main.lines().next()) {
            parts.push(format!("Main branch: {}", shortened(main)));
        }
        if config.git_include_status {
            let changed: Vec<&str> = lines.collect();
            let mut text: Vec<String> = changed.iter().take(CHANGED).map(|line| shortened(line)).collect();
            if changed.len() > CHANGED {
                text.push(format!("… {} more", changed.len() - CHANGED));
            }
            parts.push(match text.is_empty() {
                true => "Status: clean".to_owned(),
                false => format!("Status:\n{}", text.join("\n")),
            });
        }
        if let Some(log) = log.filter(|log| !log.trim().is_empty()) {
            let commits: Vec<String> = log.lines().map(shortened).collect();
            parts.push(format!("Recent commits:\n{}", commits.join("\n")));
        }
        Git { found: true, text: parts.join("\n") }
    }

    /// What git says; `None` if it fails, takes too long or is not wanted.
    async fn ask(&self, arguments: &[&str], wanted: bool) -> Option<String> {
        if !wanted {
            return None;
        }
        let tree = Processes::of(&self.env).begin().ok()?;
        // Nothing of the repository's configuration is to start a program, take a lock or ask anybody.
        let fixed = ["git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "--no-pager"];
        let argv: Vec<OsString> = fixed.iter().chain(arguments).map(Into::into).collect();
        let variables = Variables::of_child(&self.env, &[], &tree.mark())
            .with("GIT_OPTIONAL_LOCKS", "0")
            .with("GIT_TERMINAL_PROMPT", "0")
            .with("LC_ALL", "C");
        let request = Request {
            program: Program::Argv(argv),
            cwd: self.dir.clone(),
            variables,
            confinement: Confinement::none(),
            timeout: GIT_TIMEOUT,
        };
        let report = Box::pin(run(request, None, tree, self.env.clock.as_ref())).await.ok()?;
        match report.ended {
            Ended::Exit(status) if status.success() => Some(report.output),
            _ => None,
        }
    }
}

fn shortened(line: &str) -> String {
    line.chars().take(LINE_CHARS).collect()
}

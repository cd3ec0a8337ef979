//! What a bundle may set of `loop-external`, and the command line that follows from it.
//!
//! Guarantees: what the permissions decide is no setting: an argument that would change it, or the format of the
//! output, is refused when the module is mounted. No argument holds a prompt or a key.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use amplifier_core::module::{ModuleSpec, MountError, parse_config};
use serde::Deserialize;

use super::stance::Stance;
use crate::price::Prices;
use crate::tool::span;

/// Keys that the module understands.
pub(super) const CONFIG_KEYS: &[&str] = &[
    "kind",
    "command",
    "model",
    "args",
    "env_passthrough",
    "permission_mode",
    "start_timeout",
    "silence_timeout",
    "prices",
];

/// How long the first line is waited for.
const START: Duration = Duration::from_secs(120);
/// How long any line is waited for, while one of its tools runs too.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// Whose command line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Claude,
    Codex,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Claude => "claude",
            Self::Codex => "codex",
        }
    }

    /// Folders and files of its own that it must be able to write to: below a variable, or in the user's home.
    pub(super) fn own(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Claude => ("CLAUDE_CONFIG_DIR", &["~/.claude", "~/.claude.json"]),
            Self::Codex => ("CODEX_HOME", &["~/.codex"]),
        }
    }

    /// What a person does to log in.
    pub(super) fn log_in(self) -> &'static str {
        match self {
            Self::Claude => "start `claude` once and log in, or name its key under `env_passthrough`",
            Self::Codex => "run `codex login`, or name its key under `env_passthrough`",
        }
    }
}

/// Claude's own modes, as far as a bundle may choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum OwnMode {
    Default,
    AcceptEdits,
    Plan,
}

#[derive(Debug, Deserialize)]
struct Given {
    kind: Kind,
    command: Option<Vec<String>>,
    model: Option<String>,
    #[serde(default)]
    args: Vec<String>,
    #[serde(default)]
    env_passthrough: Vec<String>,
    permission_mode: Option<OwnMode>,
    #[serde(default, deserialize_with = "span")]
    start_timeout: Option<Duration>,
    #[serde(default, deserialize_with = "span")]
    silence_timeout: Option<Duration>,
    #[serde(default)]
    prices: Prices,
}

/// The settings.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) kind: Kind,
    /// The program and its first arguments; never empty.
    pub(super) command: Vec<String>,
    pub(super) model: Option<String>,
    pub(super) env_passthrough: Vec<String>,
    pub(super) start_timeout: Duration,
    pub(super) silence_timeout: Duration,
    pub(super) prices: Prices,
    args: Vec<String>,
    mode: Option<OwnMode>,
}

/// What a run's command line is made of beside the settings.
#[derive(Debug, Default)]
pub(super) struct Wish<'a> {
    pub(super) model: Option<&'a str>,
    /// The agent's own session to go on with, and whether it belongs to another session of ours.
    pub(super) resume: Option<(&'a str, bool)>,
    pub(super) turns: Option<u32>,
    pub(super) micro_usd: Option<u64>,
}

/// Arguments that say what the permissions say, how output looks, or which session goes on.
const REFUSED: [&str; 23] = [
    "--dangerously-skip-permissions",
    "--allow-dangerously-skip-permissions",
    "--permission-mode",
    "--permission-prompt-tool",
    "--dangerously-bypass-approvals-and-sandbox",
    "--dangerously-bypass-hook-trust",
    "--yolo",
    "--full-auto",
    "--sandbox",
    "-s",
    "--ask-for-approval",
    "-a",
    "--output-format",
    "--input-format",
    "--print",
    "-p",
    "--resume",
    "-r",
    "--continue",
    "--session-id",
    "--json",
    "--max-turns",
    "--max-budget-usd",
];

impl Config {
    pub(super) fn parse(spec: &ModuleSpec) -> Result<Self, MountError> {
        let wrong = |message: String| MountError::config(spec, message);
        if !spec.config.contains_key("kind") {
            return Err(wrong("config: `kind` is missing; give claude or codex".into()));
        }
        let given: Given = parse_config(spec)?;
        let command = given.command.unwrap_or_else(|| vec![given.kind.name().to_owned()]);
        if command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(wrong("config: `command` is empty; give a program and its arguments".into()));
        }
        if let Some(argument) =
            command.iter().skip(1).chain(&given.args).find(|argument| is_refused(argument))
        {
            let name = argument.split('=').next().unwrap_or_default();
            return Err(wrong(format!(
                "config: `{name}` is set by the session itself, from its permissions and limits; leave it out"
            )));
        }
        if given.kind == Kind::Codex && given.permission_mode.is_some() {
            let help = "config: `permission_mode` is for kind claude; codex has the session's own";
            return Err(wrong(help.into()));
        }
        Ok(Self {
            kind: given.kind,
            command,
            model: given.model,
            env_passthrough: given.env_passthrough,
            start_timeout: given.start_timeout.unwrap_or(START),
            silence_timeout: given.silence_timeout.unwrap_or(SILENCE),
            prices: given.prices,
            args: given.args,
            mode: given.permission_mode,
        })
    }

    /// The command line of a run of this program. The prompt goes in by its input.
    pub(super) fn argv(&self, program: PathBuf, stance: Stance, wish: &Wish<'_>) -> Vec<OsString> {
        let mut argv: Vec<OsString> = vec![program.into()];
        argv.extend(self.command.iter().skip(1).map(OsString::from));
        let own = match self.kind {
            Kind::Claude => self.claude(stance, wish),
            Kind::Codex => self.codex(stance, wish),
        };
        argv.extend(own.into_iter().map(OsString::from));
        argv
    }

    fn claude(&self, stance: Stance, wish: &Wish<'_>) -> Vec<String> {
        let mode = match (stance, self.mode) {
            (Stance::Bypass, None) => "bypassPermissions",
            (Stance::Plan, _) | (_, Some(OwnMode::Plan)) => "plan",
            (_, Some(OwnMode::Default)) => "default",
            (_, Some(OwnMode::AcceptEdits) | None) => "acceptEdits",
        };
        let mut args: Vec<String> = Vec::new();
        let mut put = |words: &[&str]| args.extend(words.iter().map(|word| (*word).to_owned()));
        put(&["-p"]);
        // As commands of our own shell do, they run in the sandbox, which holds all that the agent starts.
        if stance == Stance::Sandboxed && mode == "acceptEdits" {
            put(&["--allowedTools", "Bash"]);
        }
        put(&["--output-format", "stream-json", "--verbose", "--include-partial-messages"]);
        put(&["--permission-mode", mode]);
        if let Some(model) = wish.model.or(self.model.as_deref()) {
            put(&["--model", model]);
        }
        if let Some(turns) = wish.turns {
            put(&["--max-turns", &turns.to_string()]);
        }
        if let Some(left) = wish.micro_usd {
            put(&["--max-budget-usd", &format!("{}.{:06}", left / 1_000_000, left % 1_000_000)]);
        }
        if let Some((session, of_another)) = wish.resume {
            put(&["--resume", session]);
            if of_another {
                put(&["--fork-session"]);
            }
        }
        args.extend(self.args.iter().cloned());
        args
    }

    fn codex(&self, stance: Stance, wish: &Wish<'_>) -> Vec<String> {
        let sandbox = match stance {
            Stance::Plan => "read-only",
            Stance::Sandboxed | Stance::Free => "workspace-write",
            Stance::Bypass => "danger-full-access",
        };
        let mut args: Vec<String> =
            ["exec", "--json", "--skip-git-repo-check", "--sandbox", sandbox].map(str::to_owned).into();
        if let Some(model) = wish.model.or(self.model.as_deref()) {
            args.extend(["--model".to_owned(), model.to_owned()]);
        }
        args.extend(self.args.iter().cloned());
        if let Some((thread, _)) = wish.resume {
            args.extend(["resume".to_owned(), thread.to_owned()]);
        }
        args.push("-".to_owned());
        args
    }
}

fn is_refused(argument: &str) -> bool {
    let name = argument.split('=').next().unwrap_or_default();
    let sets_sandbox = ["sandbox_mode", "approval_policy", "sandbox_workspace_write", "sandbox_permissions"];
    REFUSED.contains(&name) || sets_sandbox.iter().any(|key| argument.contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(config: Value) -> Result<Config, String> {
        let mut spec = ModuleSpec::new("loop-external");
        spec.config = config.as_object().cloned().unwrap_or_default();
        Config::parse(&spec).map_err(|error| error.to_string())
    }

    fn line(config: Value, stance: Stance, wish: &Wish<'_>) -> String {
        let argv = parse(config).unwrap().argv("/bin/agent".into(), stance, wish);
        argv.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_command_line_follows_from_permissions_and_limits() {
        let common = "--output-format stream-json --verbose --include-partial-messages --permission-mode";
        let claude = json!({"kind": "claude", "model": "sonnet", "args": ["--add-dir", "/x"]});
        for (stance, wish, expect) in [
            (Stance::Plan, Wish::default(), format!("-p {common} plan --model sonnet --add-dir /x")),
            (
                Stance::Sandboxed,
                Wish { turns: Some(3), micro_usd: Some(1_250_000), ..Wish::default() },
                format!(
                    "-p --allowedTools Bash {common} acceptEdits --model sonnet --max-turns 3 --max-budget-usd 1.250000 --add-dir /x"
                ),
            ),
            (
                Stance::Free,
                Wish { model: Some("opus"), resume: Some(("s1", false)), ..Wish::default() },
                format!("-p {common} acceptEdits --model opus --resume s1 --add-dir /x"),
            ),
            (
                Stance::Bypass,
                Wish { resume: Some(("s1", true)), ..Wish::default() },
                format!(
                    "-p {common} bypassPermissions --model sonnet --resume s1 --fork-session --add-dir /x"
                ),
            ),
        ] {
            assert_eq!(line(claude.clone(), stance, &wish), format!("/bin/agent {expect}"));
        }
        let codex = json!({"kind": "codex", "command": ["npx", "codex"], "args": ["--color", "never"]});
        for (stance, resume, expect) in [
            (Stance::Plan, None, "read-only --color never -"),
            (Stance::Sandboxed, Some(("t1", false)), "workspace-write --color never resume t1 -"),
            (Stance::Bypass, None, "danger-full-access --color never -"),
        ] {
            let wish = Wish { resume, ..Wish::default() };
            let expect = format!("/bin/agent codex exec --json --skip-git-repo-check --sandbox {expect}");
            assert_eq!(line(codex.clone(), stance, &wish), expect);
        }
    }

    #[test]
    fn a_bundle_may_be_stricter_and_never_wider() {
        let stricter = json!({"kind": "claude", "permission_mode": "plan"});
        assert!(line(stricter, Stance::Bypass, &Wish::default()).contains("--permission-mode plan"));
        for (config, expect) in [
            (json!({}), "`kind` is missing"),
            (json!({"kind": "gemini"}), "`kind`"),
            (json!({"kind": "claude", "permission_mode": "bypassPermissions"}), "`permission_mode`"),
            (json!({"kind": "codex", "permission_mode": "plan"}), "`permission_mode` is for kind claude"),
            (json!({"kind": "claude", "args": ["--dangerously-skip-permissions"]}), "leave it out"),
            (json!({"kind": "claude", "args": ["--permission-mode=bypassPermissions"]}), "leave it out"),
            (json!({"kind": "codex", "args": ["-c", "sandbox_mode=danger-full-access"]}), "leave it out"),
            (json!({"kind": "codex", "command": ["codex", "--yolo"]}), "`--yolo`"),
            (json!({"kind": "claude", "command": []}), "`command` is empty"),
            (json!({"kind": "claude", "silence_timeout": "soon"}), "silence_timeout"),
        ] {
            let error = parse(config.clone()).unwrap_err();
            assert!(error.contains(expect), "{config}: {error}");
        }
    }
}

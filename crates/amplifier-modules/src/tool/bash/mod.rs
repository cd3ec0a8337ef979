//! `tool-bash`: shell commands, bounded in time and output, that leave nothing behind.
//!
//! Guarantees: a command runs in a process session of its own; a time-out, an immediate
//! cancellation and the end of the session end its whole tree, also what has left the process
//! group; where the session has a ledger of processes, a command begins once it is in there;
//! output is held within 128 KiB while it is read; where the permissions ask for the sandbox the
//! command runs in it or not at all; variables that look like secrets are not passed on.
//! Never here: a sandbox that a bundle can turn off, and a promise about what other services
//! (a container engine, systemd) start on behalf of a command.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amplifier_core::ModuleSpec;
use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, Mount, MountError, parse_config};
use amplifier_core::permission::Access;
use amplifier_foundation::fs::tool_io::{self, Kind};
use amplifier_foundation::process::Processes;
pub use amplifier_sandbox::SandboxOff;
use amplifier_sandbox::{Confinement, Ended, Enforced, Program, Report, Request, Variables, run};
use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{resolve, schema, shown, whole};

const DEFAULT_TIMEOUT_S: u64 = 120;
const MAX_TIMEOUT_S: u64 = 600;

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ToolBash;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    env_passthrough: Vec<String>,
    /// Seconds that a command may take if its call does not say.
    #[serde(deserialize_with = "whole")]
    timeout: Option<u64>,
}

#[async_trait]
impl Module for ToolBash {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-bash",
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "runs shell commands",
            config_keys: &["env_passthrough", "timeout"],
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let processes = Processes::of(mount.env());
        let bash = Bash::new(processes, config.env_passthrough);
        mount.tool(Arc::new(bash.timeout(config.timeout.unwrap_or(DEFAULT_TIMEOUT_S))));
        Ok(())
    }
}

#[derive(Deserialize)]
struct Arguments {
    #[serde(alias = "cmd", alias = "script")]
    command: String,
    #[serde(default, deserialize_with = "whole")]
    timeout: Option<u64>,
    #[serde(alias = "workdir")]
    cwd: Option<String>,
}

/// The tool.
#[derive(Debug)]
pub struct Bash {
    schema: ToolSchema,
    processes: Arc<Processes>,
    passthrough: Vec<String>,
    timeout_s: u64,
}

impl Bash {
    /// The tool; `passthrough` names variables that commands get although they look like secrets.
    pub fn new(processes: Arc<Processes>, passthrough: Vec<String>) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "command": {"type": "string"},
                "timeout": {"type": "integer", "description": "seconds"},
                "cwd": {"type": "string"},
            },
            "required": ["command"],
        });
        let schema = schema("bash", "Run a shell command", input);
        Self { schema, processes, passthrough, timeout_s: DEFAULT_TIMEOUT_S }
    }

    /// The same, with another time in seconds for calls that name none; at most ten minutes.
    #[must_use]
    pub fn timeout(self, timeout_s: u64) -> Self {
        Self { timeout_s, ..self }
    }
}

#[async_trait]
impl Tool for Bash {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        let mut accesses = vec![Access::Shell(arguments.command)];
        if let Some(cwd) = arguments.cwd {
            accesses.push(Access::Read(resolve(env, &cwd)?));
        }
        Ok(accesses)
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let seconds = arguments.timeout.unwrap_or(self.timeout_s).clamp(1, MAX_TIMEOUT_S);
        let timeout = Duration::from_secs(seconds);
        let tree = self.processes.begin().map_err(|closed| ToolError::Refused(closed.to_string()))?;
        let request = Request {
            program: Program::Shell(arguments.command),
            cwd: folder(cx, arguments.cwd.as_deref())?,
            variables: Variables::of_child(cx.env, &self.passthrough, &tree.mark()),
            confinement: Confinement::of_session(cx.env, cx.permissions, cx.sandboxed),
            timeout,
        };
        let report = run(request, None, tree, cx.env.clock.as_ref()).await?;
        result(report, timeout)
    }
}

fn folder(cx: &ToolContext<'_>, cwd: Option<&str>) -> Result<PathBuf, ToolError> {
    let env = cx.env;
    let Some(cwd) = cwd else { return Ok(env.cwd.clone()) };
    let path = cx.judged(Access::Read, resolve(env, cwd)?)?.as_path().to_owned();
    match tool_io::kind(&path) {
        Ok(Kind::Folder) => Ok(path),
        _ => Err(ToolError::Arguments(format!("cwd {} is not a folder", shown(env, &path)))),
    }
}

fn result(report: Report, timeout: Duration) -> Result<ToolOutput, ToolError> {
    let mut text = report.output;
    let note = match report.ended {
        Ended::TimedOut => {
            let after_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            return Err(ToolError::TimedOut { after_ms, partial: text });
        }
        Ended::Exit(status) => match status.code() {
            Some(0) => None,
            Some(code) => Some(format!("[exit code {code}]")),
            None => Some(format!("[{status}]")),
        },
    };
    let is_error = note.is_some();
    let tcp_only = "[only TCP is closed to this command: this kernel has no seccomp]";
    let background = "[processes are still running in the background; they end with the session]";
    let notes = note
        .into_iter()
        .chain((report.enforced == Enforced::TcpOnly).then(|| tcp_only.to_owned()))
        .chain(report.background.then(|| background.to_owned()));
    for note in notes {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&note);
    }
    if text.is_empty() {
        text.push_str("(no output)");
    }
    Ok(if is_error { ToolOutput::failure(text) } else { ToolOutput::text(text) })
}

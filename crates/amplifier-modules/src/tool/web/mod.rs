//! `tool-web`: pages of the web as Markdown.
//!
//! Guarantees: only a GET, without credentials, over http or https; nothing on this machine, in a private network
//! or at an address of special use is asked, whatever names or redirections lead to it, unless the configuration of
//! a trusted bundle or the user's settings name it; each host is judged by the permissions; time and size are
//! bounded, and what is cut is told; what comes back is marked as words of strangers.
//! Never here: cookies, scripts, searching, and a proxy of the environment.

mod address;
mod fetch;
mod html;
mod show;

use std::sync::Arc;
use std::time::Duration;

use amplifier_core::SessionEnv;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::tool::{Repeat, Tool, ToolContext, ToolError, ToolOutput, parse_arguments};
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::permission::{Access, Ruling};
use amplifier_core::until::until;
use async_trait::async_trait;
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{schema, span, whole};
use address::{Reach, host_of};
use fetch::{FetchError, Fetcher, Lookup, SystemLookup};
use show::{Format, Window};

/// How long a fetch may take where nothing is said, and at most.
const TIMEOUT: Duration = Duration::from_secs(30);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of a page a call shows where nothing is said, and at most, in bytes.
const LENGTH: u64 = 48 * 1024;
const MAX_LENGTH: u64 = 200 * 1024;

/// Keys that the module understands; the last ones are of the reference's search and say nothing here.
const CONFIG_KEYS: &[&str] = &[
    "allow_hosts",
    "allow_private",
    "allowed_domains",
    "blocked_domains",
    "timeout",
    "default_limit",
    "extract_text",
    "search_engine",
    "search_timeout",
    "max_results",
    "working_dir",
];

/// The module.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ToolWeb;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    allow_hosts: Vec<String>,
    allow_private: bool,
    allowed_domains: Vec<String>,
    blocked_domains: Vec<String>,
    #[serde(deserialize_with = "span")]
    timeout: Option<Duration>,
    #[serde(deserialize_with = "whole")]
    default_limit: Option<u64>,
    extract_text: Option<bool>,
}

#[async_trait]
impl Module for ToolWeb {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-web",
            aliases: &[],
            kind: ModuleKind::Tool,
            summary: "fetches pages of the web",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        mount.tool(Arc::new(WebFetch::new(config, Arc::new(SystemLookup))));
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
struct Arguments {
    #[serde(alias = "uri", alias = "address")]
    url: String,
    #[serde(default)]
    format: Option<Format>,
    #[serde(default, alias = "limit", alias = "max_chars", deserialize_with = "whole")]
    max_length: Option<u64>,
    #[serde(default, alias = "start", deserialize_with = "whole")]
    offset: Option<u64>,
}

/// The tool.
#[derive(Debug)]
struct WebFetch {
    schema: ToolSchema,
    fetcher: Fetcher,
    timeout: Duration,
    length: u64,
    format: Format,
}

impl WebFetch {
    fn new(config: Config, lookup: Arc<dyn Lookup>) -> Self {
        let input = json!({
            "type": "object",
            "properties": {
                "url": {"type": "string"},
                "format": {"type": "string", "enum": ["markdown", "raw"]},
                "max_length": {"type": "integer", "description": "bytes"},
                "offset": {"type": "integer", "description": "byte to go on from"},
            },
            "required": ["url"],
        });
        let timeout = config.timeout.unwrap_or(TIMEOUT).clamp(Duration::from_millis(1), MAX_TIMEOUT);
        let reach = Reach {
            own: config.allow_hosts,
            private: config.allow_private,
            allowed: config.allowed_domains,
            blocked: config.blocked_domains,
        };
        Self {
            schema: schema("web_fetch", "Read a page of the public web as Markdown", input),
            fetcher: Fetcher::new(reach, lookup, timeout),
            timeout,
            length: config.default_limit.unwrap_or(LENGTH).clamp(1, MAX_LENGTH),
            format: if config.extract_text == Some(false) { Format::Raw } else { Format::Markdown },
        }
    }

    /// The address that is asked for, and its host.
    fn target(&self, arguments: &Arguments) -> Result<(Url, String), ToolError> {
        let url =
            self.fetcher.url(&arguments.url).map_err(|refusal| ToolError::Refused(refusal.to_string()))?;
        let host = host_of(&url).unwrap_or_default();
        Ok((url, host))
    }
}

#[async_trait]
impl Tool for WebFetch {
    fn schema(&self) -> &ToolSchema {
        &self.schema
    }

    fn access(&self, arguments: &Value, _env: &SessionEnv) -> Result<Vec<Access>, ToolError> {
        let arguments: Arguments = parse_arguments(arguments)?;
        Ok(vec![Access::Network(self.target(&arguments)?.1)])
    }

    async fn call(&self, arguments: Value, cx: &ToolContext<'_>) -> Result<ToolOutput, ToolError> {
        let arguments: Arguments = parse_arguments(&arguments)?;
        let (url, host) = self.target(&arguments)?;
        if !cx.accesses.contains(&Access::Network(host)) {
            return Err(ToolError::Refused("refused: this is not the host that was permitted".to_owned()));
        }
        let asked = cx.env.approver.can_answer();
        let permitted = |host: &str| {
            cx.permissions.decide(&Access::Network(host.to_owned()), asked).ruling == Ruling::Allow
        };
        let shown = url.to_string();
        let in_time =
            until(Box::pin(self.fetcher.get(url, permitted)), cx.env.clock.sleep(self.timeout)).await;
        let answer = match in_time {
            Some(Ok(answer)) => answer,
            Some(Err(
                error @ (FetchError::Refused(_)
                | FetchError::Redirected { .. }
                | FetchError::OtherHost { .. }),
            )) => {
                return Err(ToolError::Refused(error.to_string()));
            }
            Some(Err(error)) => return Ok(ToolOutput::failure(error.to_string())),
            None => {
                let seconds = self.timeout.as_secs_f32();
                return Ok(ToolOutput::failure(format!("{shown} did not answer within {seconds} seconds")));
            }
        };
        let window = Window {
            format: arguments.format.unwrap_or(self.format),
            offset: arguments.offset.unwrap_or(0),
            length: arguments.max_length.unwrap_or(self.length).clamp(1, MAX_LENGTH),
        };
        Ok(show::show(&answer, window))
    }

    fn repeat(&self) -> Repeat {
        Repeat::Pure
    }
}

#[cfg(test)]
mod tests;

//! `tool-mcp`: tools of MCP servers, inside a session.
//!
//! Guarantees: servers start with the session that needs them, all at once, so that it is ready when the slowest
//! of them is; one that fails is told in one line and the session goes on without it, unless it is strict; what
//! permissions deny is not started; each call is judged. At the session's end all of them end, within seconds.
//! Never here: what a server says of itself taken for granted; OAuth; tools that come into a session that runs.

mod config;
mod expand;
mod faults;
mod handler;
mod image;
mod lines;
mod live;
mod names;
mod place;
mod project_file;
mod result;
mod schema;
mod server;
mod shared;
mod tool;

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use amplifier_core::SessionEnv;
use amplifier_core::approval::NoticeLevel;
use amplifier_core::module::provider::ToolSchema;
use amplifier_core::module::{Module, ModuleInfo, ModuleKind, ModuleSpec, Mount, MountError, parse_config};
use amplifier_core::permission::{Access, Permissions, Rule, RuleEffect, RuleKind, Ruling};
use amplifier_core::until::until;
use amplifier_foundation::spawn::Spawner;
use amplifier_sandbox::Confinement;
use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::Value;

use config::{CONFIG_KEYS, Config, ServerSpec, Servers, Transport};
use place::Place;
use server::Server;
use shared::{InUse, Key, Shared};
use tool::{McpTool, tell};

/// Longest description of a tool, in characters.
const MAX_DESCRIPTION: usize = 4_096;

/// The module. One value serves all sessions of a host, which is how they share servers.
#[derive(Debug, Default)]
pub struct ToolMcp {
    shared: Shared,
}

/// What decides over servers in a session.
struct Rules {
    permissions: Permissions,
    strict: bool,
    trusted: bool,
    can_ask: bool,
}

impl Rules {
    fn of(env: &SessionEnv, spawner: Option<&Spawner>) -> Self {
        Self {
            // A program that embeds sessions without the foundation decides by itself.
            permissions: spawner
                .map_or_else(Permissions::unrestricted, |spawner| spawner.permissions().clone()),
            strict: spawner.is_some_and(|spawner| spawner.host().is_strict()),
            trusted: spawner.is_none_or(|spawner| !spawner.host().is_untrusted()),
            can_ask: env.approver.can_answer(),
        }
    }

    /// In which confinement a server may be used; `Err` says why it may not.
    fn confinement(&self, env: &SessionEnv, spec: &ServerSpec) -> Result<Confinement, String> {
        let ask = |access: &Access| self.permissions.decide(access, self.can_ask);
        let decision = ask(&Access::Mcp(spec.name.clone()));
        if decision.ruling == Ruling::Deny {
            return Err(format!(
                "the permissions do not allow it ({}); allow it with a rule `mcp({})`",
                decision.origin, spec.name
            ));
        }
        match &spec.transport {
            Transport::Http(http) => match self.denying(&Access::Network(http.host().to_owned())) {
                Some(origin) => {
                    Err(format!("the permissions deny the network to {} ({origin})", http.host()))
                }
                None => Ok(Confinement::none()),
            },
            Transport::Stdio(stdio) => {
                let decision = ask(&Access::Shell(stdio.argv.join(" ")));
                if decision.ruling == Ruling::Deny {
                    return Err(format!("the permissions do not allow its command ({})", decision.origin));
                }
                let inside = decision.ruling == Ruling::Sandboxed;
                let confinement = Confinement::of_session(env, &self.permissions, inside);
                // Where nobody can be asked, what the bundle declares counts, unless a rule speaks of hosts.
                let open = confinement.network || (stdio.network && !self.limits_network());
                Ok(confinement.with_network(open))
            }
        }
    }

    /// True if a rule denies some host, or wants to be asked.
    fn limits_network(&self) -> bool {
        let limits = |rule: &Rule| rule.kind() == RuleKind::Network && rule.effect() != RuleEffect::Allow;
        self.permissions.layers().iter().any(|layer| layer.rules.iter().any(limits))
    }

    /// The layer that has a rule against this.
    fn denying(&self, access: &Access) -> Option<String> {
        let denies = |rule: &Rule| rule.effect() == RuleEffect::Deny && rule.matches(access);
        let layer = self.permissions.layers().iter().find(|layer| layer.rules.iter().any(denies));
        layer.map(|layer| layer.origin.clone())
    }
}

/// A server of a session.
enum Held {
    Own(Arc<Server>),
    Shared(Arc<InUse>),
}

impl Held {
    fn server(&self) -> &Arc<Server> {
        match self {
            Self::Own(server) => server,
            Self::Shared(shared) => &shared.server,
        }
    }

    /// The same for the session's clean-up, which is a part of the surroundings that a server of its own has: it
    /// keeps no such server.
    fn left(&self) -> Left {
        match self {
            Self::Own(server) => Left::Own(Arc::downgrade(server)),
            Self::Shared(shared) => Left::Shared(Arc::clone(shared)),
        }
    }
}

/// A server that the session leaves.
enum Left {
    Own(Weak<Server>),
    Shared(Arc<InUse>),
}

impl Left {
    async fn leave(self) {
        match self {
            // One that nobody has any more is gone with its processes.
            Self::Own(server) => {
                if let Some(server) = server.upgrade() {
                    server.end().await;
                }
            }
            Self::Shared(shared) => shared.leave().await,
        }
    }
}

impl ToolMcp {
    fn held(
        &self,
        env: &SessionEnv,
        spawner: Option<&Spawner>,
        (spec, confinement): (ServerSpec, Confinement),
    ) -> Held {
        let Some(spawner) = spawner.filter(|_| spec.shared) else {
            return Held::Own(Arc::new(Server::new(spec, Place::of_session(env, confinement))));
        };
        let key = Key::new(&spec, &format!("{:?}{confinement:?}", env.cwd));
        let passthrough = match &spec.transport {
            Transport::Stdio(stdio) => stdio.passthrough.clone(),
            Transport::Http(_) => Vec::new(),
        };
        Held::Shared(self.shared.of(key, || {
            let processes = spawner.host().processes(env.session.clone());
            Server::new(spec, Place::shared(env, processes, confinement, &passthrough))
        }))
    }
}

/// All servers that the session is to have, and lines about those that it is not.
fn wanted(config: &Config, env: &SessionEnv, rules: &Rules) -> Servers {
    let mut all = match &config.servers {
        Some(servers) => config.read(servers, "bundle", env.variables.as_ref()),
        None => Servers::default(),
    };
    if config.mcp_json.unwrap_or(config.servers.is_none()) {
        match project_file::servers(&env.cwd, rules.trusted) {
            Ok(servers) => {
                let more = config.read(&servers, project_file::NAME, env.variables.as_ref());
                let known: BTreeSet<String> = all.specs.iter().map(|spec| spec.name.clone()).collect();
                all.specs.extend(more.specs.into_iter().filter(|spec| !known.contains(&spec.name)));
                all.faults.extend(more.faults);
            }
            Err(line) => all.faults.push(line),
        }
    }
    all
}

#[async_trait]
impl Module for ToolMcp {
    fn info(&self) -> ModuleInfo {
        ModuleInfo {
            id: "tool-mcp",
            aliases: &["mcp"],
            kind: ModuleKind::Tool,
            summary: "tools of MCP servers",
            config_keys: CONFIG_KEYS,
        }
    }

    async fn mount(&self, spec: &ModuleSpec, mount: &mut Mount<'_>) -> Result<(), MountError> {
        let config: Config = parse_config(spec)?;
        let env = mount.env();
        let spawner = env.coordinator.capability::<Spawner>();
        let rules = Rules::of(env, spawner.as_deref());
        let Servers { specs, mut faults } = wanted(&config, env, &rules);
        let mut held = Vec::new();
        for server in specs {
            match rules.confinement(env, &server) {
                Ok(confinement) => held.push(self.held(env, spawner.as_deref(), (server, confinement))),
                Err(reason) => faults.push(format!("MCP server `{}` is left out: {reason}", server.name)),
            }
        }
        let servers: Vec<Arc<Server>> = held.iter().map(|held| Arc::clone(held.server())).collect();
        if !held.is_empty() {
            // Before that of the processes, which would take them away from under it.
            let clock = Arc::clone(&env.clock);
            let left: Vec<Left> = held.iter().map(Held::left).collect();
            drop(held);
            env.coordinator.on_clean_up("MCP servers", move || {
                Box::pin(async move {
                    let leaving = join_all(left.into_iter().map(Left::leave));
                    until(leaving, clock.sleep(Server::END)).await;
                })
            });
        }
        let listed = join_all(servers.iter().map(|server| server.tools())).await;
        let mut taken = BTreeSet::new();
        for (server, listed) in servers.iter().zip(listed) {
            match listed {
                Ok(tools) => offer(server, tools, &mut taken, mount, &mut faults),
                Err(reason) => faults.push(format!("MCP server `{}` {reason}", server.spec.name)),
            }
        }
        if rules.strict && !faults.is_empty() {
            return Err(MountError::config(spec, faults.join("; ")));
        }
        faults.iter().for_each(|line| tell(env, NoticeLevel::Warning, line));
        Ok(())
    }
}

/// Adds a server's tools to the session.
fn offer(
    server: &Arc<Server>,
    tools: Vec<Value>,
    taken: &mut BTreeSet<String>,
    mount: &mut Mount<'_>,
    faults: &mut Vec<String>,
) {
    let spec = &server.spec;
    for tool in tools {
        let Some(remote) = tool.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()) else {
            faults.push(format!("MCP server `{}` has a tool without a name; it is left out", spec.name));
            continue;
        };
        if spec
            .tools
            .as_ref()
            .is_some_and(|offered| !offered.iter().any(|glob| fast_glob::glob_match(glob, remote)))
        {
            continue;
        }
        match schema::checked(tool.get("inputSchema").unwrap_or(&Value::Null)) {
            Ok(input_schema) => {
                let description = tool.get("description").and_then(Value::as_str).unwrap_or_default();
                let schema = ToolSchema {
                    name: names::name(&spec.name, remote, taken),
                    description: description.chars().take(MAX_DESCRIPTION).collect(),
                    input_schema,
                };
                mount.tool(Arc::new(McpTool::new(schema, remote.to_owned(), Arc::clone(server))));
            }
            Err(reason) => {
                let shown: String = remote.chars().take(100).collect();
                faults.push(format!("tool `{shown}` of MCP server `{}` is left out: {reason}", spec.name));
            }
        }
    }
}

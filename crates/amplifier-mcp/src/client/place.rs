//! Where a server runs, and on whose behalf.
//!
//! Guarantees: a program is one of the session's processes, or, if sessions share it, one of a scope of its own
//! that ends with the last of them. Never here: who may run what.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use amplifier_core::{Clock, SessionEnv};
use amplifier_foundation::process::{Processes, Tree};
use amplifier_foundation::redact::Redactor;
use amplifier_sandbox::{Confinement, Program, Request, RunError, Running, Variables};

use super::config::{ServerSpec, Stdio};

/// Of one server.
pub(super) struct Place {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cwd: PathBuf,
    pub(super) redactor: Arc<Redactor>,
    processes: Arc<Processes>,
    confinement: Confinement,
    /// `None` for a server that sessions share.
    session: Option<SessionEnv>,
    /// Secrets that are let through to a server that sessions share.
    passed: Vec<(String, String)>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("cwd", &self.cwd).finish_non_exhaustive()
    }
}

impl Place {
    /// That of a session.
    pub(super) fn of_session(env: &SessionEnv, confinement: Confinement) -> Self {
        Self { session: Some(env.clone()), ..Self::shared(env, Processes::of(env), confinement, &[]) }
    }

    /// One that outlives the session.
    pub(super) fn shared(
        env: &SessionEnv,
        processes: Arc<Processes>,
        confinement: Confinement,
        passthrough: &[String],
    ) -> Self {
        let passed = passthrough.iter().filter_map(|name| Some((name.clone(), env.variables.get(name)?)));
        Self {
            clock: Arc::clone(&env.clock),
            cwd: env.cwd.clone(),
            redactor: env.coordinator.capability::<Redactor>().unwrap_or_default(),
            processes,
            confinement,
            session: None,
            passed: passed.collect(),
        }
    }

    /// Starts a server's program.
    pub(super) async fn start(&self, spec: &ServerSpec, stdio: &Stdio) -> Result<Running, RunError> {
        let tree = self.processes.begin()?;
        let request = Request {
            program: Program::Argv(stdio.argv.iter().map(Into::into).collect()),
            cwd: stdio.cwd.as_ref().map_or_else(|| self.cwd.clone(), |cwd| self.cwd.join(cwd)),
            variables: self.variables(stdio, &tree),
            confinement: self.confinement.clone(),
            timeout: spec.startup,
        };
        amplifier_sandbox::start(request, tree, self.clock.as_ref()).await
    }

    fn variables(&self, stdio: &Stdio, tree: &Tree) -> Variables {
        let own = match &self.session {
            Some(env) => Variables::of_child(env, &stdio.passthrough, &tree.mark()),
            None => Variables::of_program(&tree.mark()),
        };
        let passed = self.passed.iter().map(|(name, value)| (name, value)).chain(&stdio.env);
        passed.fold(own, |variables, (name, value)| variables.with(name, value))
    }

    /// The last server of a shared scope has ended.
    pub(super) async fn close(&self) {
        if self.session.is_none() {
            let left = self.processes.end_all().await;
            if left > 0 {
                tracing::warn!(left, "processes of an MCP server could not be ended");
            }
        }
    }
}

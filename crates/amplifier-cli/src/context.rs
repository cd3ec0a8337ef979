//! Where a command works: directory, home folder, settings, keys; and the host made of them.
//!
//! Guarantees: flags win over the environment, that over files. Nothing is written. What is amiss
//! in settings is told once, on stderr.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_core::permission::{Mode, Permissions};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Clock, Limits, ModuleSpec};
use amplifier_foundation::bundle::{Diagnostic, Notice, Severity, builtin};
use amplifier_foundation::fs::read;
use amplifier_foundation::redact::{Redactor, SecretValue};
use amplifier_foundation::settings::environment::ProcessEnv;
use amplifier_foundation::settings::home::AmplifierHome;
use amplifier_foundation::settings::keys::Keys;
use amplifier_foundation::settings::trust::TrustList;
use amplifier_foundation::settings::{
    self, Flags, PermissionContext, ProjectTrust, Scope, Setter, Settings, SettingsFiles, permission_layers,
};
use amplifier_foundation::{Host, HostBuilder};
use tokio::runtime::{Builder, Runtime};

use crate::args::run::RunOptions;
use crate::exit::Failure;
use crate::output::say;

/// Where a command works.
#[derive(Debug)]
pub(crate) struct Context {
    cwd: PathBuf,
    home: AmplifierHome,
    files: SettingsFiles,
    settings: Settings,
    untrusted: bool,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

/// The bundle that is used, and why.
#[derive(Debug)]
pub(crate) struct Active {
    /// Its name, path or address.
    pub(crate) name: String,
    /// Who chose it; `None` for the one that is built in.
    pub(crate) by: Option<Setter>,
}

impl Active {
    /// True if the project's own settings chose it.
    pub(crate) fn by_project(&self) -> bool {
        self.by.as_ref().is_some_and(is_of_project)
    }
}

impl Context {
    /// For a directory (`None`: the current one) and what was typed.
    pub(crate) fn open(cwd: Option<&Path>, flags: &Flags, clock: Arc<dyn Clock>) -> Result<Self, Failure> {
        let given = cwd.unwrap_or(Path::new("."));
        let cwd = read::canonical(given).map_err(|error| Failure::config(&error))?;
        if !read::is_dir(&cwd) {
            return Err(Failure::usage(format!("{} is no directory", given.display())));
        }
        let process = ProcessEnv::capture();
        let home = AmplifierHome::discover(&process).map_err(|error| Failure::config(&error))?;
        let files = SettingsFiles::new(&home, &cwd);
        let trust = trust_of(&home, &cwd);
        let settings = settings::load(&files, &process, flags, trust);
        let settings = settings.map_err(|error| Failure::settings(&error))?;
        if let Some(log) = settings.log.as_ref().filter(|log| log.by.scope() != Scope::Environment) {
            crate::logging::begin(&log.value, &log.by.to_string());
        }
        let keys = Keys::load(&home, process).map_err(|error| Failure::config(&error))?;
        let untrusted = trust == ProjectTrust::Untrusted && files.needs_trust(Scope::Project);
        Ok(Self { cwd, home, files, settings, untrusted, keys: Arc::new(keys), clock })
    }

    /// For the current directory and a command that takes no flags of a run.
    pub(crate) fn here() -> Result<Self, Failure> {
        Self::open(None, &Flags::default(), Arc::new(amplifier_foundation::host::SystemClock::new()))
    }

    /// The directory: absolute, links resolved.
    pub(crate) fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// The user's folder.
    pub(crate) fn home(&self) -> &AmplifierHome {
        &self.home
    }

    /// The files of the settings.
    pub(crate) fn files(&self) -> &SettingsFiles {
        &self.files
    }

    /// What the settings say.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings' limits, those that were typed among them.
    pub(crate) fn limits(&self) -> Limits {
        self.settings.limits()
    }

    /// The bundle that is used where a session does not have one already.
    pub(crate) fn active(&self) -> Active {
        match &self.settings.bundle {
            Some(set) => Active { name: set.value.clone(), by: Some(set.by.clone()) },
            None => Active { name: builtin::DEFAULT.to_owned(), by: None },
        }
    }

    /// The bundle of a new session: the active one, but where nobody vouches for the project, its own
    /// `default` is none that somebody chose.
    pub(crate) fn chosen(&self, host: &Host) -> Active {
        let active = self.active();
        if active.by.is_some() || !self.untrusted {
            return active;
        }
        let Some((shadow, instead)) = host.bundles().shadowed_default() else { return active };
        say(&format!(
            "warning: the project's own bundle `default` ({}) is not used, because the directory is not \
             trusted; run `amplifier trust`, or choose it with -B default",
            shadow.display()
        ));
        Active { name: instead, by: None }
    }

    /// The bundle that was typed, else the active one.
    pub(crate) fn bundle(&self, typed: Option<&str>) -> String {
        typed.map_or_else(|| self.active().name, str::to_owned)
    }

    /// The permission mode.
    pub(crate) fn mode(&self) -> Mode {
        self.settings.mode.as_ref().map_or(Mode::Default, |set| set.value)
    }

    /// The layers of a session that a person starts here.
    pub(crate) fn permissions(&self, add_dirs: &[PathBuf], asked: bool) -> Result<Permissions, Failure> {
        let at = PermissionContext { project: &self.cwd, add_dirs, home: &self.home, asked };
        permission_layers(&self.settings, &at).map_err(|error| Failure::config(&error))
    }

    /// A host in the making: modules, providers, keys, bundles' names.
    pub(crate) fn builder(&self, strict: bool) -> HostBuilder {
        let settings = &self.settings;
        let added = settings.added_bundles.iter().chain(&settings.bundle_sources);
        let added = added.map(|(name, set)| (name.clone(), set.value.clone()));
        let untrusted = self.untrusted.then(|| self.project_names());
        let mut builder = Host::builder()
            .untrusted_project(untrusted)
            .modules(amplifier_modules::builtin())
            .providers(self.providers())
            .added_bundles(added)
            .variables(Arc::clone(&self.keys) as Arc<_>)
            .redactor(Redactor::new(self.secrets()))
            .retry(settings.retry_policy(RetryPolicy::default()))
            .clock(Arc::clone(&self.clock))
            .on_notice(Arc::new(tell_notice))
            .strict(strict);
        for (module, set) in &settings.overrides {
            builder = builder.override_module(module.clone(), set.value.config.clone());
        }
        builder
    }

    /// Names of bundles that the project's own settings added.
    fn project_names(&self) -> BTreeSet<String> {
        let settings = &self.settings;
        let added = settings.added_bundles.iter().chain(&settings.bundle_sources);
        added.filter(|(_, set)| is_of_project(&set.by)).map(|(name, _)| name.clone()).collect()
    }

    /// Values that must never be written.
    pub(crate) fn secrets(&self) -> Vec<SecretValue> {
        self.keys.known_secrets()
    }

    /// A host for commands that run no session.
    pub(crate) async fn host(&self) -> Result<Host, Failure> {
        self.builder(false).open(&self.cwd).await.map_err(|error| Failure::config(&error))
    }

    /// Those of the settings; where there are none, those whose keys are at hand.
    fn providers(&self) -> Vec<ModuleSpec> {
        if self.settings.providers.is_empty() {
            return amplifier_modules::detect(self.keys.as_ref());
        }
        self.settings.providers.iter().map(|set| set.value.clone()).collect()
    }

    /// Tells once what is amiss in settings and keys, and what does not count for want of trust.
    pub(crate) fn tell_warnings(&self) {
        tell(self.settings.warnings.iter().chain(self.keys.warnings()));
        for app in &self.settings.app_bundles {
            say(&format!(
                "warning: bundle.app {} ({}) is not composed yet in this version",
                app.value, app.by
            ));
        }
        match self.settings.ignored.as_slice() {
            [] => {}
            [only] => say(&format!("warning: {only}")),
            [first, rest @ ..] => {
                let what: Vec<&str> = rest.iter().map(|ignored| ignored.what.as_str()).collect();
                say(&format!("warning: {first}; so are {}", what.join(", ")));
            }
        }
    }
}

/// True for what the project's own settings say.
fn is_of_project(by: &Setter) -> bool {
    matches!(by.scope(), Scope::Project | Scope::Local)
}

/// Warnings of files, one after the other.
pub(crate) fn tell<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
    let worth = |diagnostic: &&Diagnostic| diagnostic.severity != Severity::Note;
    diagnostics.into_iter().filter(worth).for_each(|diagnostic| say(&diagnostic.to_string()));
}

fn tell_notice(notice: &Notice) {
    say(&format!("notice: {notice}"));
}

/// A list of trusted directories that cannot be read trusts nothing, and that is told.
fn trust_of(home: &AmplifierHome, cwd: &Path) -> ProjectTrust {
    match TrustList::new(home).is_trusted(cwd) {
        Ok(true) => ProjectTrust::Trusted,
        Ok(false) => ProjectTrust::Untrusted,
        Err(error) => {
            say(&format!("warning: {}", crate::exit::chain(&error)));
            ProjectTrust::Untrusted
        }
    }
}

/// What was typed that a setting could say too.
pub(crate) fn flags(options: &RunOptions) -> Flags {
    let mut flags = Flags::default();
    flags.bundle = options.bundle.clone();
    flags.provider = options.provider.clone();
    flags.model = options.model.clone();
    flags.permission_mode = options.permission_mode;
    flags.max_turns = options.max_turns;
    flags.timeout = options.timeout.map(|timeout| timeout.0);
    flags.max_cost_micro_usd = options.max_budget_usd;
    flags
}

/// The scope that `--local`, `--project` or `--global` names.
pub(crate) fn scope(args: &crate::args::ScopeArgs, default: Scope) -> Scope {
    match (args.local, args.project, args.global) {
        (true, ..) => Scope::Local,
        (_, true, _) => Scope::Project,
        (_, _, true) => Scope::User,
        _ => default,
    }
}

/// A runtime for sessions: a second thread, so that a signal is heard while a module is busy.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    built(Builder::new_multi_thread().worker_threads(2))
}

/// A runtime for commands that run no session.
pub(crate) fn small_runtime() -> Result<Runtime, Failure> {
    built(&mut Builder::new_current_thread())
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| Failure::work(&error))
}

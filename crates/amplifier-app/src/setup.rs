//! What a program finds where it is started: directory, home folder, settings, keys, trust. And the
//! host that it makes of them.
//!
//! Both programs begin here, so that a bundle runs under the same settings, keys and permissions
//! whoever starts it.
//!
//! Guarantees: flags win over the environment, that over files. Nothing is written and nothing is
//! shown: what is amiss is in the result, as lines for a person.
//! Never here: arguments, output.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use amplifier_core::env::Variables;
use amplifier_core::permission::{Mode, Permissions};
use amplifier_core::turn::RetryPolicy;
use amplifier_core::{Clock, Limits, ModuleSpec};

use amplifier_foundation::bundle::{Diagnostic, PreparedBundle, Severity, builtin};
use amplifier_foundation::fs::read::{self, ReadError};
use amplifier_foundation::redact::{Redactor, SecretValue};
use amplifier_foundation::settings::environment::ProcessEnv;
use amplifier_foundation::settings::home::{AmplifierHome, HomeError};
use amplifier_foundation::settings::keys::{Keys, KeysError};
use amplifier_foundation::settings::trust::{TrustError, TrustList};
use amplifier_foundation::settings::{
    self, Flags, PermissionContext, PermissionsError, ProjectTrust, Scope, Set, Setter, Settings,
    SettingsError, SettingsFiles, permission_layers,
};
use amplifier_foundation::{Host, HostBuilder};

/// The provider that answers from a script.
pub const SCRIPTED: &str = "provider-scripted";

/// Where a program works.
#[derive(Debug)]
pub struct Setup {
    cwd: PathBuf,
    home: AmplifierHome,
    files: SettingsFiles,
    settings: Settings,
    untrusted: bool,
    trust_fault: Option<TrustError>,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

/// Why a program cannot work here. Nothing should run then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The directory is missing.
    #[error(transparent)]
    Missing(ReadError),
    /// It is something else.
    #[error("{} is no directory", path.display())]
    NoDirectory {
        /// As it was given.
        path: PathBuf,
    },
    /// The user's folder cannot be found.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// Settings cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// The bundle that is used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Active {
    /// Its name, path or address.
    pub name: String,
    /// Who chose it; `None` for the one that is built in.
    pub by: Option<Setter>,
    /// What a person should be told about the choice.
    pub warning: Option<String>,
}

impl Active {
    /// True if the project's own settings chose it.
    pub fn by_project(&self) -> bool {
        self.by.as_ref().is_some_and(is_of_project)
    }
}

impl Setup {
    /// For a directory (`None`: the current one) and what was typed.
    pub fn open(cwd: Option<&Path>, flags: &Flags, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let given = cwd.unwrap_or(Path::new("."));
        let cwd = read::canonical(given).map_err(SetupError::Missing)?;
        if !read::is_dir(&cwd) {
            return Err(SetupError::NoDirectory { path: given.to_owned() });
        }
        let process = ProcessEnv::capture();
        let home = AmplifierHome::discover(&process)?;
        let files = SettingsFiles::new(&home, &cwd);
        // A list that cannot be read trusts nothing.
        let (trusted, trust_fault) = match TrustList::new(&home).is_trusted(&cwd) {
            Ok(trusted) => (trusted, None),
            Err(error) => (false, Some(error)),
        };
        let trust = if trusted { ProjectTrust::Trusted } else { ProjectTrust::Untrusted };
        let settings = settings::load(&files, &process, flags, trust)?;
        let keys = Arc::new(Keys::load(&home, process)?);
        let untrusted = !trusted && files.needs_trust(Scope::Project);
        Ok(Self { cwd, home, files, settings, untrusted, trust_fault, keys, clock })
    }

    /// The same where nobody can ever be asked: the mode `default` becomes `dontAsk`. A stricter one stays.
    #[must_use]
    pub fn unattended(mut self) -> Self {
        let by = match self.settings.mode.take() {
            Some(set) if set.value != Mode::Default => {
                self.settings.mode = Some(set);
                return self;
            }
            Some(set) => set.by,
            None => Setter::Program("nobody is there to ask"),
        };
        self.settings.mode = Some(Set::new(Mode::DontAsk, by));
        self
    }

    /// The directory: absolute, links resolved.
    pub fn cwd(&self) -> &Path {
        &self.cwd
    }

    /// True if nobody vouches for the project's own files.
    pub fn is_untrusted(&self) -> bool {
        self.untrusted
    }

    /// The user's folder.
    pub fn home(&self) -> &AmplifierHome {
        &self.home
    }

    /// The files of the settings.
    pub fn files(&self) -> &SettingsFiles {
        &self.files
    }

    /// What the settings say.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings' limits, those that were typed among them.
    pub fn limits(&self) -> Limits {
        self.settings.limits()
    }

    /// The permission mode.
    pub fn mode(&self) -> Mode {
        self.settings.mode.as_ref().map_or(Mode::Default, |set| set.value)
    }

    /// The bundle that is used where a session does not have one already.
    pub fn active(&self) -> Active {
        match &self.settings.bundle {
            Some(set) => Active { name: set.value.clone(), by: Some(set.by.clone()), warning: None },
            None => Active { name: builtin::DEFAULT.to_owned(), by: None, warning: None },
        }
    }

    /// The bundle of a new session: the active one, but where nobody vouches for the project, its own
    /// `default` is none that somebody chose.
    pub fn chosen(&self, host: &Host) -> Active {
        let active = self.active();
        if active.by.is_some() || !self.untrusted {
            return active;
        }
        let Some((shadow, instead)) = host.bundles().shadowed_default() else { return active };
        let warning = format!(
            "the project's own bundle `default` ({}) is not used, because the directory is not trusted; run \
             `amplifier trust`, or choose it with -B default",
            shadow.display()
        );
        Active { name: instead, by: None, warning: Some(warning) }
    }

    /// The layers of a session that a person starts here. `asked` tells whether somebody can answer.
    pub fn permissions(&self, add_dirs: &[PathBuf], asked: bool) -> Result<Permissions, PermissionsError> {
        let at = PermissionContext { project: &self.cwd, add_dirs, home: &self.home, asked };
        permission_layers(&self.settings, &at)
    }

    /// A host in the making: built-in modules, providers, keys, names of bundles. Where the settings have no
    /// provider, those whose keys are at hand count.
    pub fn builder(&self) -> HostBuilder {
        let settings = &self.settings;
        let providers = match settings.providers.is_empty() {
            true => amplifier_modules::detect(self.keys.as_ref()),
            false => settings.providers.iter().map(|set| set.value.clone()).collect(),
        };
        let added = self.added_bundles().map(|(name, set)| (name.clone(), set.value.clone()));
        let mut builder = Host::builder()
            .untrusted_project(self.untrusted.then(|| self.project_names()))
            .neighbours(settings.neighbours(), settings.project_files())
            .modules(amplifier_modules::builtin())
            .modules(amplifier_mcp::modules())
            .providers(providers)
            .added_bundles(added)
            .variables(Arc::clone(&self.keys) as Arc<_>)
            .redactor(Redactor::new(self.secrets()))
            .retry(settings.retry_policy(RetryPolicy::default()))
            .clock(Arc::clone(&self.clock));
        #[cfg(feature = "http-providers")]
        {
            builder = builder.fetch(amplifier_modules::fetch::web());
        }
        for (module, set) in &settings.overrides {
            builder = builder.override_module(module.clone(), set.value.config.clone());
        }
        builder
    }

    /// Where keys and secrets are looked up: the environment, then `keys.env`.
    pub fn variables(&self) -> Arc<dyn Variables> {
        Arc::clone(&self.keys) as Arc<_>
    }

    /// Values that must never be written.
    pub fn secrets(&self) -> Vec<SecretValue> {
        self.keys.known_secrets()
    }

    /// True if a script will answer in a session of this bundle: by the provider that was asked for, else
    /// the first by priority.
    pub fn is_scripted(&self, bundle: &PreparedBundle) -> bool {
        let configured: Vec<ModuleSpec> =
            self.settings.providers.iter().map(|set| set.value.clone()).collect();
        let of_bundle = &bundle.plan.providers;
        let providers = if of_bundle.is_empty() { &configured } else { of_bundle };
        let wanted = self.settings.provider.as_ref().map(|set| set.value.as_str());
        let names = |spec: &&ModuleSpec| {
            wanted.is_none_or(|wanted| {
                let short = spec.module.strip_prefix("provider-");
                spec.key() == wanted || spec.module == wanted || short == Some(wanted)
            })
        };
        let priority = |spec: &&ModuleSpec| {
            spec.config.get("priority").and_then(serde_json::Value::as_i64).unwrap_or(100)
        };
        match providers.iter().filter(names).min_by_key(priority) {
            Some(spec) => spec.module == SCRIPTED,
            None => wanted.is_some_and(|wanted| SCRIPTED.ends_with(wanted)),
        }
    }

    /// Why the list of trusted directories cannot be read; until it is mended nothing is trusted.
    pub fn trust_fault(&self) -> Option<&TrustError> {
        self.trust_fault.as_ref()
    }

    /// What was noticed in the files of settings and keys.
    pub fn noticed(&self) -> Vec<&Diagnostic> {
        worth_telling(self.settings.warnings.iter().chain(self.keys.warnings())).collect()
    }

    /// What is amiss in settings and keys, and what does not count for want of trust: lines to be shown once.
    pub fn warnings(&self) -> Vec<String> {
        let settings = &self.settings;
        let mut lines: Vec<String> = self.noticed().into_iter().map(Diagnostic::to_string).collect();
        for app in &settings.app_bundles {
            lines.push(format!(
                "warning: bundle.app {} ({}) is not composed yet in this version",
                app.value, app.by
            ));
        }
        match settings.ignored.as_slice() {
            [] => {}
            [only] => lines.push(format!("warning: {only}")),
            [first, rest @ ..] => {
                let what: Vec<&str> = rest.iter().map(|ignored| ignored.what.as_str()).collect();
                lines.push(format!("warning: {first}; so are {}", what.join(", ")));
            }
        }
        lines
    }

    /// Names that the settings gave to addresses of bundles.
    fn added_bundles(&self) -> impl Iterator<Item = (&String, &Set<String>)> {
        self.settings.added_bundles.iter().chain(&self.settings.bundle_sources)
    }

    /// Those of them that the project's own settings gave.
    fn project_names(&self) -> BTreeSet<String> {
        self.added_bundles().filter(|(_, set)| is_of_project(&set.by)).map(|(name, _)| name.clone()).collect()
    }
}

/// Those diagnostics that a person should see.
pub fn worth_telling<'a>(
    diagnostics: impl IntoIterator<Item = &'a Diagnostic>,
) -> impl Iterator<Item = &'a Diagnostic> {
    diagnostics.into_iter().filter(|diagnostic| diagnostic.severity != Severity::Note)
}

/// True for what the project's own settings say.
fn is_of_project(by: &Setter) -> bool {
    matches!(by.scope(), Scope::Project | Scope::Local)
}

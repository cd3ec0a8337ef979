//! Settings of all scopes: files, environment, flags.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use amplifier_bundle::settings::environment::ProcessEnv;
use amplifier_bundle::settings::home::AmplifierHome;
use amplifier_bundle::settings::{
    Flags, ProjectTrust, Scope, Set, Settings, SettingsError, SettingsFiles, load,
};
use amplifier_core::permission::Mode;
use amplifier_core::turn::RetryPolicy;

/// A home and a project on the disk.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["home", "project/.amplifier", "session"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        fs::canonicalize(self.dir.path()).unwrap().join(name)
    }

    pub(crate) fn home(&self) -> AmplifierHome {
        let home = self.path("home").display().to_string();
        let user = self.path("user").display().to_string();
        AmplifierHome::discover(&ProcessEnv::from_pairs([("AMPLIFIER_HOME", home), ("HOME", user)])).unwrap()
    }

    pub(crate) fn files(&self) -> SettingsFiles {
        SettingsFiles::new(&self.home(), &self.path("project")).with_session(&self.path("session"))
    }

    pub(crate) fn write(&self, scope: Scope, text: &str) -> &Self {
        fs::write(self.files().of(scope).unwrap(), text).unwrap();
        self
    }

    fn load_all(
        &self,
        environment: &[(&str, &str)],
        flags: &Flags,
        trust: ProjectTrust,
    ) -> Result<Settings, SettingsError> {
        load(&self.files(), &ProcessEnv::from_pairs(environment.iter().copied()), flags, trust)
    }

    pub(crate) fn load(&self, trust: ProjectTrust) -> Result<Settings, SettingsError> {
        self.load_all(&[], &Flags::default(), trust)
    }

    fn trusted(&self) -> Settings {
        self.load(ProjectTrust::Trusted).unwrap()
    }
}

fn value<T: Clone>(set: &Option<Set<T>>) -> Option<T> {
    set.as_ref().map(|set| set.value.clone())
}

#[test]
fn no_file_at_all_sets_nothing() {
    let world = World::new();
    let settings = world.trusted();
    assert_eq!(settings, Settings::default());
    for empty in ["", "\n", "# nothing\n", "---\n", "bundle:\nconfig: {}\n"] {
        assert_eq!(world.write(Scope::User, empty).trusted(), Settings::default(), "{empty:?}");
    }
}

#[test]
fn the_higher_scope_wins_and_says_who_it_is() {
    let world = World::new();
    let mut flags = Flags::default();
    let mut environment: Vec<(&str, &str)> = Vec::new();
    let check = |environment: &[(&str, &str)], flags: &Flags, expect: &str, by: &str| {
        let settings = world.load_all(environment, flags, ProjectTrust::Trusted).unwrap();
        let bundle = settings.bundle.unwrap();
        assert_eq!(bundle.value, expect);
        assert!(bundle.by.to_string().contains(by), "{}", bundle.by);
    };
    world.write(Scope::User, "bundle:\n  active: of-user\n");
    check(&environment, &flags, "of-user", "user settings");
    check(&environment, &flags, "of-user", "home/settings.yaml:2");
    world.write(Scope::Project, "# c\n\nbundle: {active: of-project}\n");
    check(&environment, &flags, "of-project", ".amplifier/settings.yaml:3");
    world.write(Scope::Local, "bundle: of-local\n");
    check(&environment, &flags, "of-local", "local settings");
    world.write(Scope::Session, "bundle: {active: of-session}\n");
    check(&environment, &flags, "of-session", "session/settings.yaml:1");
    environment.push(("AMPLIFIER_BUNDLE", "of-environment"));
    check(&environment, &flags, "of-environment", "environment AMPLIFIER_BUNDLE");
    flags.bundle = Some("of-flag".into());
    check(&environment, &flags, "of-flag", "flag --bundle");
}

#[test]
fn keys_of_the_reference_system_are_read() {
    let world = World::new();
    let text = "
bundle:
  active: foundation
  app: [git+https://example.org/a, b]
  added: {mine: ./bundles/mine, other: {uri: https://example.org/o}}
config:
  notifications: {desktop: {enabled: true}}
  providers:
    - module: provider-anthropic
      source: git+https://example.org/p
      config: {default_model: m-1, priority: 1, nested: {a: 1}}
    - provider-ollama
overrides:
  tool-bash: {config: {timeout: 5}, source: ./x}
sources:
  modules: {tool-bash: ./tool}
  bundles: {foundation: ./f}
provider: {module: provider-anthropic, model: m-2}
";
    let settings = world.write(Scope::User, text).trusted();
    assert_eq!(settings.warnings, []);
    assert_eq!(value(&settings.bundle).unwrap(), "foundation");
    let apps: Vec<&str> = settings.app_bundles.iter().map(|set| set.value.as_str()).collect();
    assert_eq!(apps, ["git+https://example.org/a", "b"]);
    assert_eq!(settings.added_bundles["mine"].value, "./bundles/mine");
    assert_eq!(settings.added_bundles["other"].value, "https://example.org/o");
    let provider = &settings.providers[0].value;
    assert_eq!(
        (provider.module.as_str(), &provider.config["nested"]["a"]),
        ("provider-anthropic", &1.into())
    );
    assert_eq!(settings.providers[1].value.module, "provider-ollama");
    assert_eq!(settings.overrides["tool-bash"].value.config["timeout"], 5);
    assert_eq!(settings.module_sources["tool-bash"].value, "./tool");
    assert_eq!(settings.bundle_sources["foundation"].value, "./f");
    assert_eq!(value(&settings.provider).unwrap(), "provider-anthropic");
    assert_eq!(value(&settings.model).unwrap(), "m-2");
}

#[test]
fn maps_lists_and_providers_of_scopes_are_merged() {
    let world = World::new();
    let user = "
bundle: {app: [a, b], added: {x: user, y: user}}
config: {providers: [{module: p-one, config: {model: user, deep: {k: 1, l: 1}}}, {module: p-two}]}
overrides: {tool-bash: {config: {timeout: 5, cap: 1}}}
";
    let local = "
bundle: {app: [b, c], added: {y: local}}
config: {providers: [{module: p-three}, {module: p-one, config: {deep: {l: 2}}}]}
overrides: {tool-bash: {config: {timeout: 9}}}
";
    let settings = world.write(Scope::User, user).write(Scope::Local, local).trusted();
    let apps: Vec<&str> = settings.app_bundles.iter().map(|set| set.value.as_str()).collect();
    assert_eq!(apps, ["a", "b", "c"]);
    assert_eq!(settings.added_bundles["x"].value, "user");
    assert_eq!(settings.added_bundles["y"].value, "local");
    let names: Vec<&str> = settings.providers.iter().map(|set| set.value.key()).collect();
    assert_eq!(names, ["p-three", "p-one", "p-two"]);
    let one = &settings.providers[1];
    assert_eq!(one.by.scope(), Scope::Local);
    assert_eq!(serde_json::to_string(&one.value.config).unwrap(), r#"{"model":"user","deep":{"k":1,"l":2}}"#);
    let bash = &settings.overrides["tool-bash"].value.config;
    assert_eq!((&bash["timeout"], &bash["cap"]), (&9.into(), &1.into()));
}

#[test]
fn limits_and_retries_are_read_in_their_units() {
    let world = World::new();
    let text = "
limits: {max_depth: 2, max_concurrent: 4, max_descendants: 0, max_turns: 7, timeout: 1h30m, max_tokens: 5000000000, max_budget_usd: 2.50}
retry: {max_attempts: 2, first_wait: 250ms, longest_wait: 1m}
rate_limit_patience: 6h
";
    let settings = world.write(Scope::User, text).trusted();
    let limits = settings.limits();
    assert_eq!(
        (limits.max_depth, limits.max_concurrent, limits.max_descendants),
        (Some(2), Some(4), Some(0))
    );
    assert_eq!((limits.max_turns, limits.timeout_ms), (Some(7), Some(5_400_000)));
    assert_eq!((limits.max_tokens, limits.max_cost_micro_usd), (Some(5_000_000_000), Some(2_500_000)));
    let policy = settings.retry_policy(RetryPolicy::default());
    assert_eq!((policy.max_attempts, policy.first_wait), (2, Duration::from_millis(250)));
    assert_eq!(policy.longest_wait, Duration::from_secs(60));
    assert_eq!(policy.rate_limit_patience, Duration::from_secs(6 * 3600));
    assert_eq!(Settings::default().retry_policy(RetryPolicy::default()), RetryPolicy::default());
}

#[test]
fn the_environment_is_typed_and_a_bad_value_is_named() {
    let world = World::new();
    world.write(Scope::User, "limits: {max_depth: 1}");
    let environment = [
        ("AMPLIFIER_PROVIDER", "p"),
        ("AMPLIFIER_MODEL", "m"),
        ("AMPLIFIER_MAX_SPAWN_DEPTH", "5"),
        ("AMPLIFIER_MAX_CONCURRENT", " 6 "),
        ("AMPLIFIER_MAX_BUDGET_USD", "0.5"),
        ("AMPLIFIER_LOG", "debug"),
        ("AMPLIFIER_BUNDLE", ""),
    ];
    let settings = world.load_all(&environment, &Flags::default(), ProjectTrust::Trusted).unwrap();
    let limits = settings.limits();
    assert_eq!((limits.max_depth, limits.max_concurrent), (Some(5), Some(6)));
    assert_eq!(limits.max_cost_micro_usd, Some(500_000));
    assert_eq!(value(&settings.provider).unwrap() + &value(&settings.model).unwrap(), "pm");
    assert_eq!((value(&settings.log).as_deref(), settings.bundle), (Some("debug"), None));
    for (name, bad) in [
        ("AMPLIFIER_MAX_SPAWN_DEPTH", "-1"),
        ("AMPLIFIER_MAX_CONCURRENT", "many"),
        ("AMPLIFIER_MAX_BUDGET_USD", "5 EUR"),
    ] {
        let error = world.load_all(&[(name, bad)], &Flags::default(), ProjectTrust::Trusted).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(name) && text.contains(bad) && text.contains("set it to"), "{text}");
    }
}

#[test]
fn unknown_keys_are_warnings_with_a_suggestion() {
    let check = |text: &str, line: u32, help: &str| {
        let world = World::new();
        let settings = world.write(Scope::User, text).trusted();
        assert_eq!(settings.warnings.len(), 1, "{text}: {:?}", settings.warnings);
        let warning = &settings.warnings[0];
        assert!(!warning.is_error());
        assert_eq!((warning.line(), warning.file.ends_with("settings.yaml")), (Some(line), true), "{text}");
        assert!(warning.to_string().contains(help), "{warning}");
    };
    check("bundel: x\n", 1, "did you mean `bundle`?");
    check("bundle:\n  actve: x\n", 2, "did you mean `active`?");
    check("permissions: {allowed: [read]}\n", 1, "did you mean `allow`?");
    check("limits:\n  max_turn: 5\n", 2, "did you mean `max_turns`?");
    check("config:\n  provider: []\n", 2, "did you mean `providers`?");
    check("overrides:\n  tool-bash:\n    timeout: 5\n", 3, "known here: config, source");
    check("routing: {matrix: balanced}\n", 1, "known here: bundle");
}

#[test]
fn wrong_types_and_values_are_errors_with_their_place() {
    let check = |text: &str, place: &str, expect: &str| {
        let world = World::new();
        let error = world.write(Scope::Project, text).load(ProjectTrust::Trusted).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(&format!("project/.amplifier/settings.yaml:{place}: error: ")), "{message}");
        assert!(message.contains(expect), "{message}");
    };
    check("- a\n", "1:1", "the file must be a map, not a list");
    check("bundle: [a]\n", "1:9", "`bundle` must be a map, not a list");
    check("bundle:\n  active: [a]\n", "2:11", "`bundle.active` must be text, not a list");
    check("bundle: {active: ''}\n", "1:18", "`bundle.active` is empty");
    check("config: {providers: {a: 1}}\n", "1:21", "`config.providers` must be a list, not a map");
    check("config:\n  providers:\n    - source: x\n", "3:7", "names no `module`");
    check("limits: {max_turns: many}\n", "1:21", "`limits.max_turns` must be a whole number");
    check("limits: {max_turns: 0}\n", "1:21", "write at least 1");
    check("limits: {max_depth: 4294967296}\n", "1:21", "too large");
    check("limits: {timeout: 90}\n", "1:19", "units ms, s, m, h, d or w");
    check("limits: {timeout: 0s}\n", "1:19", "`limits.timeout` is 0");
    check("limits: {max_budget_usd: -1}\n", "1:26", "no amount of US dollars");
    check("permissions: {mode: yolo}\n", "1:21", "write default, plan, acceptEdits or dontAsk");
    check("permissions: {allow: [fly(x)]}\n", "1:23", "no permission rule");
    check("permissions:\n  deny:\n    - read\n    - write(../x)\n", "4:7", "holds `..`");
    check("permissions: {deny: ['read(~bob/x)']}\n", "1:22", "holds `~bob`");
    check("retry: {first_wait: soon}\n", "1:21", "no duration");
    check("bundle: {active: a\n", "2:1", "");
    check("a: 1\na: 2\n", "2:1", "stands twice");
}

#[test]
fn bypass_counts_from_a_flag_alone() {
    let world = World::new();
    for scope in [Scope::User, Scope::Project, Scope::Local, Scope::Session] {
        let world = World::new();
        world.write(scope, "permissions:\n  mode: bypassPermissions\n");
        let text = world.load(ProjectTrust::Trusted).unwrap_err().to_string();
        assert!(
            text.contains("settings") && text.contains(":2:9: ") && text.contains("--permission-mode"),
            "{text}"
        );
    }
    let mut flags = Flags::default();
    flags.permission_mode = Some(Mode::BypassPermissions);
    let settings = world.load_all(&[], &flags, ProjectTrust::Untrusted).unwrap();
    assert_eq!(value(&settings.mode), Some(Mode::BypassPermissions));
}

#[test]
fn all_errors_of_all_files_are_told_at_once() {
    let world = World::new();
    world
        .write(Scope::User, "bundle: 1.5\nlimits: []\nprovider: {model: [x]}\n")
        .write(Scope::Local, "a: [\n");
    let text = world.load(ProjectTrust::Trusted).unwrap_err().to_string();
    assert!(text.contains("home/settings.yaml:2:9") && text.contains("home/settings.yaml:3:19"), "{text}");
    assert!(text.contains("settings.local.yaml:"), "{text}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_that_names_it() {
    let world = World::new();
    fs::create_dir(world.path("home/settings.yaml")).unwrap();
    let text = world.load(ProjectTrust::Trusted).unwrap_err().to_string();
    assert!(text.contains("home/settings.yaml is not a file"), "{text}");
}

#[test]
fn without_trust_a_project_restricts_but_does_not_widen() {
    let project = "
permissions: {mode: acceptEdits, allow: [shell(*)], ask: [shell(git push*)], deny: [read(secrets)]}
limits: {max_depth: 9, max_concurrent: 2, max_budget_usd: 50, max_turns: 5}
config: {providers: [{module: provider-openai, config: {base_url: 'https://evil.example', api_key_env: AWS_SECRET, default_model: m}}]}
overrides: {provider-ollama: {config: {base_url: 'http://127.0.0.1:1'}}}
";
    let user = "limits: {max_budget_usd: 5}\npermissions: {allow: [write(/data)]}";
    for scope in [Scope::Project, Scope::Local] {
        let world = World::new();
        world.write(Scope::User, user).write(scope, project);
        let settings = world.load(ProjectTrust::Untrusted).unwrap();
        assert_eq!(settings.mode, None);
        let rules: Vec<&str> = settings.rules.iter().map(|rule| rule.value.text.as_str()).collect();
        assert_eq!(rules, ["write(/data)", "shell(git push*)", "read(secrets)"]);
        let limits = settings.limits();
        assert_eq!((limits.max_depth, limits.max_concurrent, limits.max_turns), (None, Some(2), Some(5)));
        assert_eq!(limits.max_cost_micro_usd, Some(5_000_000));
        let config = &settings.providers[0].value.config;
        assert_eq!((config.get("base_url"), &config["default_model"]), (None, &"m".into()));
        assert_eq!(settings.overrides["provider-ollama"].value.config["base_url"], "http://127.0.0.1:1");
        let ignored: Vec<&str> = settings.ignored.iter().map(|ignored| ignored.what.as_str()).collect();
        assert_eq!(
            ignored,
            [
                "permissions.allow shell(*)",
                "permissions.mode acceptEdits",
                "limits.max_depth",
                "limits.max_budget_usd",
                "base_url of provider-openai",
                "api_key_env of provider-openai",
            ]
        );
        let text = settings.ignored[0].to_string();
        assert!(text.contains("yaml:2") && text.contains("amplifier trust"), "{text}");
        let trusted = world.trusted();
        assert!(trusted.ignored.is_empty());
        assert_eq!((trusted.rules.len(), value(&trusted.mode)), (4, Some(Mode::AcceptEdits)));
        assert_eq!(trusted.limits().max_depth, Some(9));
        assert_eq!(trusted.providers[0].value.config["base_url"], "https://evil.example");
    }
}

#[test]
fn without_trust_a_mode_counts_if_it_restricts() {
    let check = |user: &str, project: &str, expect: Mode| {
        let world = World::new();
        world.write(Scope::User, &format!("permissions: {{mode: {user}}}"));
        world.write(Scope::Project, &format!("permissions: {{mode: {project}}}"));
        let settings = world.load(ProjectTrust::Untrusted).unwrap();
        assert_eq!(value(&settings.mode), Some(expect), "{user} {project}");
        assert_eq!(settings.ignored.is_empty(), Mode::from_name(project) == Some(expect));
    };
    check("default", "plan", Mode::Plan);
    check("plan", "default", Mode::Plan);
    check("default", "dontAsk", Mode::Default);
    check("default", "acceptEdits", Mode::Default);
    check("dontAsk", "dontAsk", Mode::DontAsk);
}

#[test]
fn in_the_users_own_home_the_files_are_the_users() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(".amplifier");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("settings.yaml"), "permissions: {allow: [shell(ls)]}").unwrap();
    fs::write(folder.join("settings.local.yaml"), "permissions: {allow: [shell(pwd)]}").unwrap();
    let files = SettingsFiles::new(&AmplifierHome::at(&folder), dir.path());
    assert_eq!(files.of(Scope::Project), None);
    let environment = ProcessEnv::default();
    let settings = load(&files, &environment, &Flags::default(), ProjectTrust::Untrusted).unwrap();
    assert_eq!((settings.rules.len(), settings.ignored.len()), (2, 0));
}

#[test]
fn no_configuration_of_a_module_shows_in_debug() {
    let world = World::new();
    let text = "config: {providers: [{module: p, config: {api_key: sk-very-secret}}]}\noverrides: {p: {config: {api_key: sk-very-secret}}}";
    let settings = world.write(Scope::User, text).trusted();
    assert!(!format!("{settings:?}").contains("sk-very-secret"));
    let error = world.write(Scope::User, "config: {providers: [{module: p, config: sk-very-secret}]}");
    let error = error.load(ProjectTrust::Trusted).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("sk-very-secret"));
}

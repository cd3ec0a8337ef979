//! A session's own permission layers, made of settings.
//!
//! Three layers at most: the *guard*, which keeps a model from widening its own rights; the *mode*
//! with its working directories, the allowing and the denying rules; and the *asking* rules.
//!
//! What the guard speaks of, and why:
//!
//! | path | | why |
//! |---|---|---|
//! | `$AMPLIFIER_HOME/keys.env`, `trust.json` | neither read nor written | keys; which directories may widen |
//! | `$AMPLIFIER_HOME/settings.yaml`, `registry.json` | not written | rules, modes, what a bundle's name means |
//! | `$AMPLIFIER_HOME/cache/`, `projects/` | not written | fetched bundles; recorded layers, sessions, the store |
//! | the rest of `$AMPLIFIER_HOME` | asks | bundles and agents of later sessions |
//! | `.amplifier/settings*.yaml`, `background.yaml` | not written | rules; sessions that start by themselves |
//! | `.amplifier/bundles/`, `agents/`, `foreman.yaml` | asks | what later sessions are made of |
//! | `.git/config`, `.git/hooks`, those of submodules too, a file `.git` | not written | git runs them outside the sandbox |
//!
//! Asking means denying where nobody can be asked. `bypassPermissions` has no guard and does not
//! ask; denying rules hold even then. In mode `plan` allowing rules do not count.
//!
//! Limits: the guard binds the tools that ask for permission. A sandbox that allows a whole
//! directory cannot leave out a file in it, so a sandboxed command can still write the guarded
//! files of the project, unless the sandbox is told of them.

use std::path::{Path, PathBuf};

use amplifier_core::Permissions;
use amplifier_core::permission::{InvalidRule, Layer, Mode, Paths, Rule, RuleEffect, RuleKind};

use super::home::{AmplifierHome, FOLDER};
use super::model::{RuleText, Settings};
use super::scope::Set;
use amplifier_fs::paths::SystemPaths;
use amplifier_fs::read::is_file;

/// Where a session works.
#[derive(Debug, Clone, Copy)]
pub struct PermissionContext<'a> {
    /// The working directory; relative patterns begin here.
    pub project: &'a Path,
    /// Further directories that count as the working directory (`--add-dir`).
    pub add_dirs: &'a [PathBuf],
    /// The user's folder.
    pub home: &'a AmplifierHome,
    /// Whether somebody can answer.
    pub asked: bool,
}

/// Why no layers can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionsError {
    /// A rule cannot be read.
    #[error(transparent)]
    Rule(#[from] InvalidRule),
    /// A rule begins with `~/` and nobody knows the user's home.
    #[error("the rule `{rule}` needs your home folder, which is not known; set HOME or write the path out")]
    NoUserHome {
        /// The rule.
        rule: String,
    },
}

/// The session's own layers. They go behind those of its parent.
pub fn permission_layers(
    settings: &Settings,
    at: &PermissionContext<'_>,
) -> Result<Permissions, PermissionsError> {
    let mode = settings.mode.as_ref().map_or(Mode::Default, |set| set.value);
    let roots: Vec<PathBuf> =
        std::iter::once(at.project).chain(at.add_dirs.iter().map(PathBuf::as_path)).map(resolved).collect();
    let origin = match &settings.mode {
        Some(Set { by, .. }) => format!("mode {} ({by})", mode.as_str()),
        None => format!("mode {}", mode.as_str()),
    };
    let mut moded = Layer::of_mode(origin, mode, roots.clone());
    let mut asking = Vec::new();
    for Set { value: rule, .. } in &settings.rules {
        match (rule.effect, mode) {
            (RuleEffect::Allow, Mode::Plan) | (RuleEffect::Ask, Mode::BypassPermissions) => {}
            (RuleEffect::Ask, _) => asking.extend(asking_rules(rule, at)?),
            _ => moded.rules.extend(rules(rule.effect, &rule.text, at)?),
        }
    }
    let mut permissions = Permissions::unrestricted();
    if mode != Mode::BypassPermissions {
        permissions = permissions.with(Layer::of_rules("guard of settings and keys", guard(&roots, at)?));
    }
    permissions = permissions.with(moded);
    if !asking.is_empty() {
        permissions = permissions.with(Layer::of_rules("ask rules of the settings", asking));
    }
    Ok(permissions)
}

/// Without anybody to ask, what is not writing would fall back to what the mode `dontAsk` allows:
/// a rule that a person wrote to be asked then denies.
fn asking_rules(rule: &RuleText, at: &PermissionContext<'_>) -> Result<Vec<Rule>, PermissionsError> {
    let made = rules(RuleEffect::Ask, &rule.text, at)?;
    let falls_open = |rule: &Rule| matches!(rule.kind(), RuleKind::Read | RuleKind::Shell);
    if !at.asked && made.iter().any(falls_open) {
        return rules(RuleEffect::Deny, &rule.text, at);
    }
    Ok(made)
}

/// A rule as it is written, and once more with the links of its path resolved where that differs.
fn rules(effect: RuleEffect, text: &str, at: &PermissionContext<'_>) -> Result<Vec<Rule>, PermissionsError> {
    // A kind alone speaks of everything, not of what lies below the base of relative patterns.
    let bare = text.trim().to_ascii_lowercase();
    let text = match bare.as_str() {
        "read" | "write" | "edit" => format!("{bare}(/**)"),
        _ => text.replacen("(~)", "(~/)", 1),
    };
    let text = text.as_str();
    let pattern = text.split_once('(').map_or("", |(_, rest)| rest.trim_start());
    let user_home = match at.home.user_home() {
        Some(home) => home,
        None if pattern.starts_with("~/") => {
            return Err(PermissionsError::NoUserHome { rule: text.to_owned() });
        }
        None => Path::new("/"),
    };
    let project = resolved(at.project);
    let parse = |text: &str| Rule::parse(effect, text, &escaped(&project), &escaped(user_home));
    let rule = parse(text)?;
    let mut made = vec![rule];
    if matches!(made[0].kind(), RuleKind::Read | RuleKind::Write)
        && let Some(text) = with_links_resolved(text, &project, user_home)
    {
        made.push(parse(&text)?);
    }
    made.dedup();
    Ok(made)
}

/// `write(~/link/**)` as `write(/target/**)`; `None` if the part without wildcards holds no link.
fn with_links_resolved(text: &str, project: &Path, user_home: &Path) -> Option<String> {
    let (kind, rest) = text.trim().split_once('(')?;
    let pattern = rest.strip_suffix(')')?.trim();
    let wild = pattern.find(['*', '?', '[', '{', '\\', '!']).unwrap_or(pattern.len());
    let (fixed, tail) = match pattern[..wild].rfind('/') {
        _ if wild == pattern.len() => (pattern, ""),
        Some(slash) => pattern.split_at(slash + 1),
        None => ("", pattern),
    };
    let path = match fixed.strip_prefix("~/") {
        Some(rest) => user_home.join(rest),
        None => project.join(fixed),
    };
    let real = resolved(&path);
    if real == path {
        return None;
    }
    let pattern = if tail.is_empty() { escaped(&real) } else { escaped(&real).join(tail) };
    Some(format!("{kind}({})", pattern.display()))
}

/// The path without links, in the way that the paths of tools are resolved: a dangling link counts as
/// its target, and what does not exist keeps its name.
fn resolved(path: &Path) -> PathBuf {
    let found = SystemPaths::with_home(None).resolve(Path::new("/"), &path.to_string_lossy());
    found.map_or_else(|_| path.to_owned(), |found| found.as_path().to_owned())
}

/// The path as a pattern that matches it alone.
fn escaped(path: &Path) -> PathBuf {
    let mut pattern = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | '!') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.into()
}

/// What would let a model widen its own rights; the table at the top of this file.
fn guard(roots: &[PathBuf], at: &PermissionContext<'_>) -> Result<Vec<Rule>, InvalidRule> {
    let home = resolved(at.home.path());
    let mut guard = Guard { rules: Vec::new() };
    for name in ["keys.env", "trust.json"] {
        guard.add(RuleEffect::Deny, "read", &home, name)?;
        guard.add(RuleEffect::Deny, "write", &home, name)?;
    }
    for name in ["settings.yaml", "registry.json", "cache", "projects"] {
        guard.add(RuleEffect::Deny, "write", &home, name)?;
    }
    // Who works in that folder has chosen to; what is denied above stays denied.
    if !roots.iter().any(|root| root.starts_with(&home)) {
        guard.add(RuleEffect::Ask, "write", &home, "**")?;
    }
    for root in roots {
        let folder = root.join(FOLDER);
        for name in ["settings.yaml", "settings.local.yaml", "background.yaml"] {
            guard.add(RuleEffect::Deny, "write", &folder, name)?;
        }
        for name in
            ["**/.git/config*", "**/.git/hooks", "**/.git/modules/**/config", "**/.git/modules/**/hooks"]
        {
            guard.add(RuleEffect::Deny, "write", root, name)?;
        }
        // A file `.git` says where the repository is, and so whose hooks run.
        if is_file(&root.join(".git")) {
            guard.add(RuleEffect::Deny, "write", root, ".git")?;
        }
        for (folder, name) in [(&folder, "bundles"), (&folder, "agents"), (root, "foreman.yaml")] {
            guard.add(RuleEffect::Ask, "write", folder, name)?;
        }
    }
    Ok(guard.rules)
}

struct Guard {
    rules: Vec<Rule>,
}

impl Guard {
    /// A rule for `name` in `folder`, and for what it links to.
    fn add(&mut self, effect: RuleEffect, kind: &str, folder: &Path, name: &str) -> Result<(), InvalidRule> {
        let rule = |pattern: PathBuf| {
            let text = format!("{kind}({})", pattern.display());
            Rule::parse(effect, &text, Path::new("/"), Path::new("/"))
        };
        let plain = rule(escaped(folder).join(name))?;
        self.rules.push(plain);
        let path = folder.join(name);
        let real = resolved(&path);
        if !name.contains('*') && real != path {
            self.rules.push(rule(escaped(&real))?);
        }
        Ok(())
    }
}

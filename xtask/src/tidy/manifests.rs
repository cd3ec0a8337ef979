//! Arrows between crates, and what every `Cargo.toml` must and must not say.
//!
//! Guarantees: all tables of shipped dependencies are read, those of one target
//! too. Never looks at `[dev-dependencies]` for arrows: tests may use anything.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::finding::Finding;

/// Which of the workspace's crates each crate may depend on.
const ARROWS: [(&str, &[&str]); 19] = [
    ("amplifier-core", &[]),
    ("amplifier-fs", &["amplifier-core"]),
    ("amplifier-bundle", &["amplifier-core", "amplifier-fs"]),
    ("amplifier-store", &["amplifier-core", "amplifier-fs"]),
    ("amplifier-trigger", &["amplifier-core", "amplifier-fs"]),
    (
        "amplifier-foundation",
        &["amplifier-core", "amplifier-fs", "amplifier-bundle", "amplifier-store", "amplifier-trigger"],
    ),
    ("amplifier-issue", &["amplifier-core", "amplifier-fs", "amplifier-bundle", "amplifier-store"]),
    (
        "amplifier-background",
        &[
            "amplifier-core",
            "amplifier-issue",
            "amplifier-bundle",
            "amplifier-store",
            "amplifier-trigger",
            "amplifier-foundation",
        ],
    ),
    (
        "amplifier-crew",
        &[
            "amplifier-core",
            "amplifier-fs",
            "amplifier-bundle",
            "amplifier-store",
            "amplifier-trigger",
            "amplifier-issue",
            "amplifier-foundation",
            "amplifier-background",
        ],
    ),
    ("amplifier-sandbox", &["amplifier-core", "amplifier-fs", "amplifier-foundation"]),
    (
        "amplifier-modules",
        &[
            "amplifier-core",
            "amplifier-sandbox",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-issue",
            "amplifier-crew",
        ],
    ),
    (
        "amplifier-mcp",
        &[
            "amplifier-core",
            "amplifier-fs",
            "amplifier-sandbox",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-issue",
        ],
    ),
    (
        "amplifier-app",
        &[
            "amplifier-core",
            "amplifier-mcp",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-crew",
            "amplifier-modules",
        ],
    ),
    (
        "amplifier-web",
        &[
            "amplifier-core",
            "amplifier-store",
            "amplifier-trigger",
            "amplifier-issue",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-app",
        ],
    ),
    (
        "amplifier-cli",
        &[
            "amplifier-core",
            "amplifier-mcp",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-crew",
            "amplifier-modules",
            "amplifier-app",
        ],
    ),
    (
        "foreman",
        &[
            "amplifier-core",
            "amplifier-issue",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-crew",
            "amplifier-modules",
            "amplifier-app",
            "amplifier-web",
        ],
    ),
    (
        "amplifier-tests",
        &[
            "amplifier-core",
            "amplifier-issue",
            "amplifier-foundation",
            "amplifier-background",
            "amplifier-crew",
            "amplifier-modules",
        ],
    ),
    ("amplifier-fuzz", &[]),
    ("xtask", &[]),
];

/// The kernel's whole list of libraries, and the only features of theirs that it may
/// turn on (`None`: any, as none of them reaches files, the network, a clock or entropy).
const KERNEL: [(&str, Option<&[&str]>); 14] = [
    ("async-trait", None),
    ("bytes", None),
    ("fast-glob", None),
    ("futures-core", None),
    ("futures-util", None),
    ("jiff", Some(&["alloc", "serde"])),
    ("pin-project-lite", None),
    ("serde", None),
    ("serde_json", None),
    ("thiserror", None),
    ("tokio", Some(&["sync"])),
    ("tokio-util", Some(&[])),
    ("tracing", None),
    ("uuid", Some(&["std", "serde"])),
];

/// Libraries that belong to few crates.
const OWNED: [(&str, &[&str]); 9] = [
    ("croner", &["amplifier-trigger"]),
    ("landlock", &["amplifier-sandbox"]),
    ("notify", &["amplifier-trigger"]),
    ("process-wrap", &["amplifier-sandbox"]),
    ("rmcp", &["amplifier-mcp"]),
    ("rusqlite", &["amplifier-store"]),
    ("seccompiler", &["amplifier-sandbox"]),
    ("serde_yaml", &["amplifier-bundle"]),
    ("saphyr-parser", &["amplifier-bundle"]),
];

/// Checks one manifest.
pub(crate) fn check(path: &str, text: &str, found: &mut Vec<Finding>) {
    let manifest = match DeTable::parse(text) {
        Ok(manifest) => manifest.into_inner(),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_at(text, span.start));
            let message = error.message();
            found.push(Finding::new("syntax", (path, line), "Cargo.toml", message, "mend it"));
            return;
        }
    };
    let mut checker = Checker { path, text, found };
    checker.profiles(&manifest);
    match child(&manifest, "package").and_then(|(_, package)| child(package, "name")?.1.as_str()) {
        Some(name) => checker.member(name, &manifest),
        None => checker.root(&manifest),
    }
}

type Entry<'a, 'i> = (&'a Spanned<DeString<'i>>, &'a DeValue<'i>);

struct Checker<'a> {
    path: &'a str,
    text: &'a str,
    found: &'a mut Vec<Finding>,
}

impl Checker<'_> {
    fn note(&mut self, rule: &'static str, key: &Spanned<DeString<'_>>, message: &str, advice: &'static str) {
        let line = line_at(self.text, key.span().start);
        let item = key.get_ref().clone().into_owned();
        self.found.push(Finding::new(rule, (self.path, line), item, message, advice));
    }

    fn profiles(&mut self, manifest: &DeTable<'_>) {
        for (_, profile) in children(child(manifest, "profile")) {
            if let Some((key, value)) = child(profile, "panic")
                && value.as_str() == Some("abort")
            {
                self.note("panic-abort", key, "= \"abort\" loses outcomes", "let panics unwind");
            }
        }
    }

    fn root(&mut self, manifest: &DeTable<'_>) {
        let workspace = child(manifest, "workspace").map(|(_, workspace)| workspace);
        for (key, entry) in children(workspace.and_then(|workspace| child(workspace, "dependencies"))) {
            if child(entry, "features").is_some() {
                let advice = "name features in the crate that needs them";
                self.note("manifest", key, "has features for the whole workspace", advice);
            }
            let name = key.get_ref().as_ref();
            let is_restricted = KERNEL.iter().any(|(library, only)| *library == name && only.is_some());
            let off = child(entry, "default-features").and_then(|(_, value)| value.as_bool()) == Some(false);
            if is_restricted && !off {
                let advice = "write `default-features = false`: the kernel uses it";
                self.note("kernel", key, "has default features", advice);
            }
        }
    }

    fn member(&mut self, name: &str, manifest: &DeTable<'_>) {
        let inherits = child(manifest, "lints").and_then(|(_, lints)| child(lints, "workspace")?.1.as_bool());
        if inherits != Some(true) {
            let advice = "write `[lints]` with `workspace = true`";
            let message = "does not use the lints of the workspace";
            self.found.push(Finding::new("manifest", (self.path, 1), name, message, advice));
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(krate, _)| *krate == name) else {
            let advice = "write down in xtask/src/tidy/manifests.rs what it may depend on";
            self.found.push(Finding::new("arrow", (self.path, 1), name, "is not on the map", advice));
            return;
        };
        for (key, entry) in dependencies(manifest, &["dependencies", "build-dependencies"]) {
            self.arrow(name, allowed, key);
            if name == "amplifier-core" {
                self.kernel(key, entry);
            }
        }
        let all = ["dependencies", "build-dependencies", "dev-dependencies"];
        for (key, entry) in dependencies(manifest, &all) {
            if child(entry, "workspace").and_then(|(_, value)| value.as_bool()) != Some(true) {
                let advice = "put its version into [workspace.dependencies] and write `workspace = true`";
                self.note("manifest", key, "has a source of its own", advice);
            }
        }
    }

    fn arrow(&mut self, name: &str, allowed: &[&str], key: &Spanned<DeString<'_>>) {
        let on = key.get_ref().as_ref();
        if ARROWS.iter().any(|(krate, _)| *krate == on) && !allowed.contains(&on) {
            let advice = "arrows go core ← bundle ← issue, foundation ← background ← modules ← app ← amplifier-cli, foreman";
            self.note("arrow", key, &format!("is no dependency for `{name}`"), advice);
        }
        let owners = OWNED.iter().find(|(library, _)| *library == on);
        if let Some((_, owners)) = owners
            && !owners.contains(&name)
        {
            self.note("arrow", key, &format!("is no library for `{name}`"), "ask the crate that owns it");
        }
    }

    fn kernel(&mut self, key: &Spanned<DeString<'_>>, entry: &DeValue<'_>) {
        let Some((_, only)) = KERNEL.iter().find(|(library, _)| key.get_ref().as_ref() == *library) else {
            let advice = "the kernel has no I/O, no clock and no YAML; what it may use is in xtask/src/tidy/manifests.rs";
            self.note("kernel", key, "is no library for the kernel", advice);
            return;
        };
        let features = child(entry, "features").and_then(|(_, features)| features.as_array());
        let extra: Vec<&str> = features
            .into_iter()
            .flat_map(|features| features.iter().filter_map(|feature| feature.get_ref().as_str()))
            .filter(|feature| only.is_some_and(|only| !only.contains(feature)))
            .collect();
        let defaults = child(entry, "default-features").and_then(|(_, value)| value.as_bool());
        if !extra.is_empty() || (only.is_some() && defaults == Some(true)) {
            let message = format!("has features that the kernel must not have: {}", extra.join(", "));
            self.note("kernel", key, &message, "use the foundation for it");
        }
    }
}

/// Entries of the named tables, at the top and under `[target.*]`.
fn dependencies<'a, 'i>(manifest: &'a DeTable<'i>, tables: &[&str]) -> Vec<Entry<'a, 'i>> {
    let targets = children(child(manifest, "target"));
    let parts = targets.into_iter().filter_map(|(_, target)| target.as_table()).chain([manifest]);
    parts
        .flat_map(|part| tables.iter().flat_map(|name| children(child(part, name))).collect::<Vec<_>>())
        .collect()
}

/// A value with named children.
trait Parent<'i> {
    fn table(&self) -> Option<&DeTable<'i>>;
}

impl<'i> Parent<'i> for DeTable<'i> {
    fn table(&self) -> Option<&DeTable<'i>> {
        Some(self)
    }
}

impl<'i> Parent<'i> for DeValue<'i> {
    fn table(&self) -> Option<&DeTable<'i>> {
        self.as_table()
    }
}

fn child<'a, 'i: 'a>(parent: &'a impl Parent<'i>, name: &str) -> Option<Entry<'a, 'i>> {
    let (key, value) = parent.table()?.iter().find(|(key, _)| key.get_ref().as_ref() == name)?;
    Some((key, value.get_ref()))
}

fn children<'a, 'i>(parent: Option<Entry<'a, 'i>>) -> Vec<Entry<'a, 'i>> {
    let table = parent.and_then(|(_, value)| value.as_table());
    table.into_iter().flatten().map(|(key, value)| (key, value.get_ref())).collect()
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).map_or(1, |before| before.matches('\n').count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        check("Cargo.toml", text, &mut found);
        found.iter().map(|finding| format!("{}:{} {}", finding.line, finding.rule, finding.item)).collect()
    }

    fn member(name: &str, rest: &str) -> Vec<String> {
        found(&format!("[package]\nname = \"{name}\"\n[lints]\nworkspace = true\n{rest}"))
    }

    #[test]
    fn an_arrow_against_the_direction_fails() {
        let up = |from: &str, to: &str| member(from, &format!("[dependencies]\n{to}.workspace = true"));
        for (from, to) in [
            ("amplifier-core", "amplifier-bundle"),
            ("amplifier-core", "amplifier-foundation"),
            ("amplifier-bundle", "amplifier-foundation"),
            ("amplifier-trigger", "amplifier-store"),
            ("amplifier-trigger", "amplifier-foundation"),
            ("amplifier-cli", "croner"),
            ("amplifier-foundation", "amplifier-modules"),
            ("amplifier-foundation", "amplifier-background"),
            ("amplifier-background", "amplifier-modules"),
            ("amplifier-issue", "amplifier-foundation"),
            ("amplifier-foundation", "amplifier-issue"),
            ("amplifier-background", "croner"),
            ("amplifier-modules", "amplifier-cli"),
            ("amplifier-modules", "amplifier-app"),
            ("foreman", "amplifier-cli"),
            ("amplifier-cli", "amplifier-tests"),
            ("amplifier-cli", "rusqlite"),
            ("amplifier-foundation", "serde_yaml"),
            ("amplifier-modules", "serde_yaml"),
        ] {
            assert!(up(from, to).contains(&format!("6:arrow {to}")), "{from} → {to}");
        }
        let of_target = "[target.'cfg(unix)'.dependencies]\namplifier-modules.workspace = true";
        assert_eq!(member("amplifier-foundation", of_target), ["6:arrow amplifier-modules"]);
        assert_eq!(member("newcomer", ""), ["1:arrow newcomer"]);
    }

    #[test]
    fn arrows_along_the_direction_and_those_of_tests_pass() {
        let shipped = "[dependencies]\namplifier-bundle.workspace = true\namplifier-store.workspace = true\n";
        let tests =
            "[dev-dependencies]\namplifier-tests.workspace = true\namplifier-modules.workspace = true";
        assert!(member("amplifier-foundation", &format!("{shipped}{tests}")).is_empty());
    }

    #[test]
    fn the_kernel_has_no_io() {
        let core = |entry: &str| member("amplifier-core", &format!("[dependencies]\n{entry}"));
        assert_eq!(core("reqwest.workspace = true"), ["6:kernel reqwest"]);
        assert_eq!(core("rusqlite.workspace = true"), ["6:arrow rusqlite", "6:kernel rusqlite"]);
        assert_eq!(core("tokio = { workspace = true, features = [\"sync\", \"fs\"] }"), ["6:kernel tokio"]);
        assert_eq!(core("tokio = { workspace = true, default-features = true }"), ["6:kernel tokio"]);
        assert_eq!(core("uuid = { workspace = true, features = [\"v7\"] }"), ["6:kernel uuid"]);
        assert!(
            core("tokio = { workspace = true, features = [\"sync\"] }\ntokio-util.workspace = true")
                .is_empty()
        );
        assert_eq!(found("[workspace.dependencies]\ntokio = \"1\""), ["2:kernel tokio"]);
    }

    #[test]
    fn versions_live_in_the_root_and_features_in_the_crates() {
        assert_eq!(member("xtask", "[dependencies]\nsyn = \"3\""), ["6:manifest syn"]);
        assert_eq!(member("xtask", "[dev-dependencies]\na = { path = \"../a\" }"), ["6:manifest a"]);
        let root = "[workspace.dependencies]\nserde = { version = \"1\", features = [\"derive\"] }";
        assert_eq!(found(root), ["2:manifest serde"]);
        assert!(found("[workspace.dependencies]\nserde = { version = \"1\" }").is_empty());
    }

    #[test]
    fn each_crate_has_the_lints_of_the_workspace() {
        assert_eq!(found("[package]\nname = \"xtask\""), ["1:manifest xtask"]);
        assert_eq!(found("[package]\nname = \"xtask\"\n[lints]\nworkspace = false"), ["1:manifest xtask"]);
    }

    #[test]
    fn panics_unwind_in_every_profile() {
        assert_eq!(found("[workspace]\n[profile.release]\npanic = \"abort\""), ["3:panic-abort panic"]);
        assert!(found("[workspace]\n[profile.release]\npanic = \"unwind\"").is_empty());
    }

    #[test]
    fn a_manifest_that_is_no_toml_is_a_finding() {
        assert_eq!(found("[package"), ["1:syntax Cargo.toml"]);
    }
}

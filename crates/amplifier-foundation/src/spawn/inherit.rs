//! What a child takes over from its parent: `(inherited − excluded) + declared`.
//!
//! Guarantees: what a child declares itself it always has, also where the same module is excluded from
//! what it inherits; parent and child share no configuration that could be changed.

use serde::{Deserialize, Serialize};

use super::plan::{Planned, merge_config};

/// A choice among what the parent has, by module id or instance id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Selection {
    /// Nothing.
    None,
    /// Everything.
    All,
    /// Those of these ids.
    Only(Vec<String>),
}

impl Selection {
    /// True if the choice holds this module.
    pub fn holds(&self, planned: &Planned) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Only(ids) => ids.iter().any(|id| is_named(planned, id)),
        }
    }
}

/// What a child inherits. `None` is the usual for its kind.
///
/// | | a bundle | an agent |
/// |---|---|---|
/// | providers | all, where it declares none | all |
/// | tools | none | all |
/// | hooks | none | all |
/// | agents | none | all, within its own `agents` |
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Inherit {
    /// Which of the parent's providers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub providers: Option<Selection>,
    /// Which of the parent's tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Selection>,
    /// Which of the parent's hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<Selection>,
    /// Which of the parent's agents, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agents: Option<Selection>,
    /// Tools that are not inherited, by module id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_tools: Vec<String>,
    /// Hooks that are not inherited, by module id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_hooks: Vec<String>,
}

impl Inherit {
    /// True if nothing is said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Which of the parent's providers.
    #[must_use]
    pub fn providers(mut self, providers: Selection) -> Self {
        self.providers = Some(providers);
        self
    }

    /// Which of the parent's tools.
    #[must_use]
    pub fn tools(mut self, tools: Selection) -> Self {
        self.tools = Some(tools);
        self
    }

    /// Which of the parent's hooks.
    #[must_use]
    pub fn hooks(mut self, hooks: Selection) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Which of the parent's agents.
    #[must_use]
    pub fn agents(mut self, agents: Selection) -> Self {
        self.agents = Some(agents);
        self
    }

    /// Tools that are not inherited, by module id.
    #[must_use]
    pub fn exclude_tools(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exclude_tools.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Hooks that are not inherited, by module id.
    #[must_use]
    pub fn exclude_hooks(mut self, ids: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.exclude_hooks.extend(ids.into_iter().map(Into::into));
        self
    }
}

/// `(inherited − excluded) + declared`. A declared entry is merged over an inherited one of the same key.
pub(super) fn combine(
    inherited: &[Planned],
    selection: &Selection,
    excluded: &[String],
    declared: &[Planned],
) -> Vec<Planned> {
    let out = |planned: &Planned| excluded.iter().any(|id| is_named(planned, id));
    let kept = inherited.iter().filter(|planned| selection.holds(planned) && !out(planned));
    let mut all: Vec<Planned> = kept.map(Planned::inherited).collect();
    for own in declared {
        match all.iter_mut().find(|planned| planned.spec.key() == own.spec.key()) {
            Some(planned) => *planned = over(planned, own),
            None => all.push(own.clone()),
        }
    }
    all
}

/// A declared entry over an inherited one of the same key.
fn over(inherited: &Planned, own: &Planned) -> Planned {
    let mut spec = own.spec.as_ref().clone();
    if spec.module.is_empty() || spec.module == inherited.spec.module {
        spec.module.clone_from(&inherited.spec.module);
        spec.source = spec.source.or_else(|| inherited.spec.source.clone());
        let mut config = inherited.spec.config.clone();
        merge_config(&mut config, &spec.config);
        spec.config = config;
    }
    Planned::new(spec, own.from)
}

fn is_named(planned: &Planned, id: &str) -> bool {
    planned.spec.module == id || planned.spec.key() == id
}

#[cfg(test)]
mod tests {
    use super::super::plan::Layer;
    use super::*;
    use amplifier_core::ModuleSpec;
    use serde_json::json;

    fn planned(text: &str, from: Layer) -> Planned {
        let (module, size) = text.split_once('=').unwrap_or((text, ""));
        let mut spec = ModuleSpec::new(module);
        if !size.is_empty() {
            spec.config.insert("size".into(), json!(size));
        }
        Planned::new(spec, from)
    }

    fn check(inherited: &str, selection: Selection, excluded: &str, declared: &str, expect: &str) {
        let list =
            |text: &str, from| text.split_whitespace().map(|one| planned(one, from)).collect::<Vec<_>>();
        let excluded: Vec<String> = excluded.split_whitespace().map(str::to_owned).collect();
        let all =
            combine(&list(inherited, Layer::Bundle), &selection, &excluded, &list(declared, Layer::Agent));
        let shown: Vec<String> = all
            .iter()
            .map(|one| {
                let size = one.spec.config.get("size").and_then(|size| size.as_str());
                let size = size.map_or_else(String::new, |size| format!("={size}"));
                let from = if one.from == Layer::Agent { "own" } else { "inherited" };
                format!("{}{size}:{from}", one.spec.module)
            })
            .collect();
        assert_eq!(shown.join(" "), expect);
    }

    #[test]
    fn inherited_minus_excluded_plus_declared() {
        check("a b c", Selection::All, "b", "", "a:inherited c:inherited");
        check("a b c", Selection::None, "", "d", "d:own");
        check("a b c", Selection::Only(vec!["c".into(), "x".into()]), "", "", "c:inherited");
    }

    #[test]
    fn what_is_declared_stays_though_the_same_is_excluded() {
        check("a b=1", Selection::All, "b", "b", "a:inherited b:own");
    }

    #[test]
    fn a_declared_entry_is_merged_over_the_inherited_one_and_wins() {
        check("a=1 b=1", Selection::All, "", "b=2 a", "a=1:own b=2:own");
    }
}

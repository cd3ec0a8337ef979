//! All scopes into one: flags over environment over session, local, project and user.
//!
//! Guarantees: single values come from the highest scope that sets them; rules of all scopes add
//! up, so that a denial anywhere stands; maps and providers are merged key by key. Where the
//! directory is not trusted, the project's files add no allowing rule, no looser mode or limit
//! and no other address or key for a provider; what they restrict counts. Each such thing left out is told.
//! Never here: reading.

use std::collections::BTreeMap;

use amplifier_core::ModuleSpec;
use amplifier_core::permission::{Mode, RuleEffect};

use super::model::{Ignored, LimitSettings, NeighbourSettings, RetrySettings, Settings};
use super::redirect;
use super::scope::{Set, Setter};
use crate::bundle::merge::maps;

/// What holds where no scope says anything: depth, concurrent and total descendants (DESIGN §7).
const DEFAULT_TREE: [u32; 3] = [3, 8, 100];

/// Puts a higher scope over what is there. A scope without trust loses first what would widen.
pub(super) fn layer(base: &mut Settings, mut over: Settings, trusted: bool) {
    if !trusted {
        restrict(base, &mut over);
    }
    take(&mut base.bundle, over.bundle);
    take(&mut base.provider, over.provider);
    take(&mut base.model, over.model);
    take(&mut base.mode, over.mode);
    take(&mut base.log, over.log);
    base.app_bundles.extend(over.app_bundles);
    crate::bundle::merge::unique(&mut base.app_bundles, |set| set.value.clone());
    base.added_bundles.extend(over.added_bundles);
    base.module_sources.extend(over.module_sources);
    base.bundle_sources.extend(over.bundle_sources);
    base.rules.extend(over.rules);
    base.providers = providers(std::mem::take(&mut base.providers), over.providers);
    for (key, spec) in over.overrides {
        module(base.overrides.entry(key), spec);
    }
    limits(&mut base.limits, over.limits);
    retry(&mut base.retry, over.retry);
    neighbours(&mut base.neighbours, over.neighbours);
    base.ignored.extend(over.ignored);
    base.warnings.extend(over.warnings);
}

fn take<T>(base: &mut Option<T>, over: Option<T>) {
    if over.is_some() {
        *base = over;
    }
}

fn limits(base: &mut LimitSettings, over: LimitSettings) {
    take(&mut base.max_depth, over.max_depth);
    take(&mut base.max_concurrent, over.max_concurrent);
    take(&mut base.max_descendants, over.max_descendants);
    take(&mut base.max_turns, over.max_turns);
    take(&mut base.timeout, over.timeout);
    take(&mut base.max_tokens, over.max_tokens);
    take(&mut base.max_cost_micro_usd, over.max_cost_micro_usd);
}

fn neighbours(base: &mut NeighbourSettings, over: NeighbourSettings) {
    take(&mut base.claude, over.claude);
    take(&mut base.codex, over.codex);
    take(&mut base.agents_md, over.agents_md);
    take(&mut base.claude_md, over.claude_md);
}

fn retry(base: &mut RetrySettings, over: RetrySettings) {
    take(&mut base.max_attempts, over.max_attempts);
    take(&mut base.first_wait, over.first_wait);
    take(&mut base.longest_wait, over.longest_wait);
    take(&mut base.rate_limit_patience, over.rate_limit_patience);
}

/// The higher scope's providers first, each over the lower one of the same key.
fn providers(base: Vec<Set<ModuleSpec>>, over: Vec<Set<ModuleSpec>>) -> Vec<Set<ModuleSpec>> {
    let mut merged: Vec<Set<ModuleSpec>> = Vec::with_capacity(base.len() + over.len());
    let mut base = base;
    for higher in over {
        if let Some(known) = merged.iter_mut().find(|known| known.value.key() == higher.value.key()) {
            put_over(known, higher);
            continue;
        }
        let lower = base.iter().position(|lower| lower.value.key() == higher.value.key());
        match lower.map(|at| base.remove(at)) {
            Some(mut lower) => {
                put_over(&mut lower, higher);
                merged.push(lower);
            }
            None => merged.push(higher),
        }
    }
    merged.extend(base);
    merged
}

fn module(entry: std::collections::btree_map::Entry<'_, String, Set<ModuleSpec>>, over: Set<ModuleSpec>) {
    match entry {
        std::collections::btree_map::Entry::Occupied(mut known) => put_over(known.get_mut(), over),
        std::collections::btree_map::Entry::Vacant(free) => {
            free.insert(over);
        }
    }
}

fn put_over(base: &mut Set<ModuleSpec>, over: Set<ModuleSpec>) {
    maps(&mut base.value.config, &over.value.config);
    take(&mut base.value.source, over.value.source);
    base.value.module = over.value.module;
    base.by = over.by;
}

/// Takes out of a scope without trust what would widen, and tells it.
fn restrict(base: &Settings, over: &mut Settings) {
    let mut ignored = Vec::new();
    let mut ignore = |what: String, by: &Setter| ignored.push(Ignored { what, by: by.clone() });
    over.rules.retain(|rule| {
        let widens = rule.value.effect == RuleEffect::Allow;
        if widens {
            ignore(format!("permissions.allow {}", rule.value.text), &rule.by);
        }
        !widens
    });
    let current = base.mode.as_ref().map_or(Mode::Default, |set| set.value);
    if let Some(mode) = over.mode.take_if(|set| set.value != Mode::Plan && set.value != current) {
        ignore(format!("permissions.mode {}", mode.value.as_str()), &mode.by);
    }
    let [depth, concurrent, descendants] = DEFAULT_TREE;
    let limits = &mut over.limits;
    let lower = &base.limits;
    lowered(&mut limits.max_depth, &lower.max_depth, Some(depth), "max_depth", &mut ignore);
    lowered(
        &mut limits.max_concurrent,
        &lower.max_concurrent,
        Some(concurrent),
        "max_concurrent",
        &mut ignore,
    );
    lowered(
        &mut limits.max_descendants,
        &lower.max_descendants,
        Some(descendants),
        "max_descendants",
        &mut ignore,
    );
    lowered(&mut limits.max_turns, &lower.max_turns, None, "max_turns", &mut ignore);
    lowered(&mut limits.timeout, &lower.timeout, None, "timeout", &mut ignore);
    lowered(&mut limits.max_tokens, &lower.max_tokens, None, "max_tokens", &mut ignore);
    lowered(&mut limits.max_cost_micro_usd, &lower.max_cost_micro_usd, None, "max_budget_usd", &mut ignore);
    let set = &mut over.neighbours;
    let switches = [
        ("agents.claude", &mut set.claude),
        ("agents.codex", &mut set.codex),
        ("context.agents_md", &mut set.agents_md),
        ("context.claude_md", &mut set.claude_md),
    ];
    for (name, switch) in switches {
        if let Some(on) = switch.take_if(|set| set.value) {
            ignore(name.to_owned(), &on.by);
        }
    }
    own_addresses(&mut over.providers, &mut over.overrides, &mut ignore);
    over.ignored = ignored;
}

/// Leaves out a limit that is looser than the one below it.
fn lowered<T: Ord + Copy>(
    limit: &mut Option<Set<T>>,
    below: &Option<Set<T>>,
    default: Option<T>,
    name: &str,
    ignore: &mut impl FnMut(String, &Setter),
) {
    let ceiling = below.as_ref().map(|set| set.value).or(default);
    if let Some(loose) = limit.take_if(|set| ceiling.is_some_and(|ceiling| set.value > ceiling)) {
        ignore(format!("limits.{name}"), &loose.by);
    }
}

/// Another machine would get the user's key, or a program would be started unasked; that takes trust.
fn own_addresses(
    providers: &mut [Set<ModuleSpec>],
    overrides: &mut BTreeMap<String, Set<ModuleSpec>>,
    ignore: &mut impl FnMut(String, &Setter),
) {
    for Set { value: spec, by } in providers.iter_mut().chain(overrides.values_mut()) {
        let name = spec.key().to_owned();
        let mut taken = redirect::strip(&mut spec.config);
        taken.extend(redirect::strip_powers(&mut spec.config));
        taken.into_iter().for_each(|key| ignore(format!("{key} of {name}"), by));
    }
}

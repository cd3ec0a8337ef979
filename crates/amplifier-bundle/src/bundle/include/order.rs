//! The order in which bundles become one, and circles among them.
//!
//! Guarantees: a bundle is composed once, however many include it; a circle is cut
//! where it closes and reported with its chain; what is joined does not double.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Graph, MAX_DEPTH};
use crate::bundle::diagnostic::Severity;
use crate::bundle::model::{Bundle, Include};

impl Graph<'_> {
    /// The first node with all that it builds on: what is listed first comes first, itself last.
    pub(crate) fn compose(&mut self) -> Bundle {
        let mut done = vec![None; self.nodes.len()];
        let whole = self.compose_node(0, &mut Vec::new(), &mut done);
        drop(done);
        let mut whole = Arc::unwrap_or_clone(whole);
        whole.includes = self.followed();
        let folders = self.namespaces.iter().map(|(name, base)| (name.clone(), base.folder.clone()));
        whole.source_base_paths = folders.collect();
        whole
    }

    /// Every include that was followed, at each of its places.
    fn followed(&self) -> Vec<Include> {
        let listed = self.nodes.iter().flat_map(|node| node.bundle.includes.iter().zip(&node.children));
        listed.filter(|(_, child)| child.is_some()).map(|(include, _)| include.clone()).collect()
    }

    fn compose_node(
        &mut self,
        at: usize,
        chain: &mut Vec<usize>,
        done: &mut [Option<Arc<Bundle>>],
    ) -> Arc<Bundle> {
        if let Some(done) = &done[at] {
            return Arc::clone(done);
        }
        chain.push(at);
        let mut whole = Bundle::default();
        for slot in 0..self.nodes[at].children.len() {
            let Some(child) = self.nodes[at].children[slot] else { continue };
            if self.may_follow(at, slot, child, chain) {
                whole = whole.compose(&self.compose_node(child, chain, done));
            }
        }
        chain.pop();
        let mut whole = whole.compose(&self.nodes[at].bundle);
        forget_repeated(&mut whole);
        let whole = Arc::new(whole);
        done[at] = Some(Arc::clone(&whole));
        whole
    }

    fn may_follow(&mut self, at: usize, slot: usize, child: usize, chain: &[usize]) -> bool {
        let origin = self.nodes[at].bundle.includes[slot].origin.clone();
        if let Some(first) = chain.iter().position(|known| *known == child) {
            let circle: Vec<String> =
                chain[first..].iter().chain([&child]).map(|node| self.label(*node)).collect();
            let message = format!("includes form a circle, the last one is left out: {}", circle.join(" → "));
            let severity = if self.belong_together(at, child) { Severity::Note } else { Severity::Warning };
            self.note_at(&origin, severity, message);
            return false;
        }
        if chain.len() >= MAX_DEPTH {
            let message = format!("includes are nested deeper than {MAX_DEPTH}, the rest is left out");
            self.warn_at(&origin, message);
            return false;
        }
        true
    }

    /// A nested bundle may include the one that encloses it.
    fn belong_together(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.nodes[a], &self.nodes[b]);
        a.enclosing.as_ref() == Some(&b.file) || b.enclosing.as_ref() == Some(&a.file)
    }

    fn label(&self, node: usize) -> String {
        let node = &self.nodes[node];
        match node.bundle.name.as_str() {
            "" => node.file.display().to_string(),
            name => name.to_owned(),
        }
    }
}

/// What is joined in composing would double at each diamond.
fn forget_repeated(bundle: &mut Bundle) {
    bundle.includes.clear();
    for declared in bundle.declared.values_mut() {
        let mut seen = HashSet::new();
        declared.retain(|one| seen.insert(one.origin.clone()));
    }
}

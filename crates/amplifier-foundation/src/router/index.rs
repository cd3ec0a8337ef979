//! Which rings an event goes to.
//!
//! Guarantees: an event is put into each ring whose filter it passes, once. What an event costs depends on
//! the rings that want events of its name, and of those on the ones that want its source, tree or field: a
//! filter is looked up by the rarest thing it asks for, and only what is left of it is compared.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use amplifier_core::{EventType, SessionEvent, SessionId};

use super::filter::{Decoded, EventFilter, FieldValue};
use super::ring::{Ring, Woken};

/// Names whose rings are kept at hand though no filter names them exactly.
const MAX_ROUTES: usize = 4_096;

/// All rings, by filter and by what events they want.
#[derive(Debug, Default)]
pub(super) struct Index {
    rings: HashMap<Arc<EventFilter>, Arc<Ring>>,
    /// Rings whose filter holds a pattern, or any name.
    wild: Vec<Arc<Ring>>,
    routes: HashMap<EventType, Route, BuildHasherDefault<NameHasher>>,
    /// The route of a name that came twice in a row, taken out of the table: it is not looked up again.
    hot: Option<(EventType, Route)>,
    /// Where in memory the route lies that was looked up last; only compared.
    before: usize,
    /// How many rings ask for each hook event.
    hooks: Vec<usize>,
}

/// A fast hash for short names. Who may choose names can make it slow, no more: there are few routes.
#[derive(Debug, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.write_u64(u64::from_le_bytes(*word)));
        let last = rest.iter().fold(rest.len() as u64, |last, byte| last << 8 | u64::from(*byte));
        self.write_u64(last);
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(byte.into());
    }

    fn write_isize(&mut self, number: isize) {
        self.write_u64(number as u64);
    }

    fn write_u64(&mut self, word: u64) {
        // The multiplier of the Fibonacci hash, 2^64 divided by the golden ratio.
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }
}

/// The rings that want events of one name.
#[derive(Debug, Default)]
struct Route {
    /// How many of them name it exactly.
    exact: usize,
    any: Vec<Arc<Ring>>,
    by_source: HashMap<SessionId, Vec<Arc<Ring>>>,
    by_tree: HashMap<SessionId, Vec<Arc<Ring>>>,
    by_field: HashMap<String, HashMap<FieldValue, Vec<Arc<Ring>>>>,
}

impl Index {
    /// The ring of a filter, made if there is none.
    pub(super) fn ring(&mut self, filter: EventFilter) -> Arc<Ring> {
        if let Some(ring) = self.rings.get(&filter) {
            return Arc::clone(ring);
        }
        let filter = Arc::new(filter);
        let ring = Ring::new(Arc::clone(&filter));
        self.add(&ring);
        self.count_hooks(&filter, 1);
        self.rings.insert(filter, Arc::clone(&ring));
        ring
    }

    /// Forgets a ring that nobody reads.
    pub(super) fn remove(&mut self, ring: &Arc<Ring>) {
        self.rings.remove(&ring.filter);
        self.take(ring);
        self.count_hooks(&ring.filter, -1);
    }

    fn add(&mut self, ring: &Arc<Ring>) {
        self.cool();
        let Some(types) = ring.filter.types() else {
            let wanted = self.routes.iter_mut().filter(|(event, _)| ring.filter.names_match(event));
            wanted.for_each(|(_, route)| route.add(ring));
            self.wild.push(Arc::clone(ring));
            return;
        };
        for event in types {
            let wild = &self.wild;
            let route = self.routes.entry(event.clone()).or_insert_with(|| Route::of(&event, wild));
            route.exact += 1;
            route.add(ring);
        }
    }

    fn take(&mut self, ring: &Arc<Ring>) {
        self.cool();
        let Some(types) = ring.filter.types() else {
            let wanted = self.routes.iter_mut().filter(|(event, _)| ring.filter.names_match(event));
            wanted.for_each(|(_, route)| route.remove(ring));
            self.wild.retain(|other| !Arc::ptr_eq(other, ring));
            return;
        };
        for event in types {
            let Some(route) = self.routes.get_mut(&event) else { continue };
            route.remove(ring);
            route.exact -= 1;
            if route.exact == 0 {
                // What is left of it is found again among the patterns.
                self.routes.remove(&event);
            }
        }
    }

    fn count_hooks(&mut self, filter: &EventFilter, by: isize) {
        let bits = filter.hook_bits();
        self.hooks.resize(64, 0);
        for (_, count) in self.hooks.iter_mut().enumerate().filter(|(at, _)| bits & (1 << at) != 0) {
            *count = count.saturating_add_signed(by);
        }
    }

    /// One bit for each hook event that somebody asks for.
    pub(super) fn hook_bits(&self) -> u64 {
        let wanted = self.hooks.iter().enumerate().filter(|(_, count)| **count > 0);
        wanted.fold(0, |bits, (at, _)| bits | 1 << at)
    }

    /// True if somebody may want a hook event from there; what is in it, is not known yet.
    pub(super) fn wants(
        &mut self,
        event: &EventType,
        source: Option<&SessionId>,
        root: Option<&SessionId>,
    ) -> bool {
        self.learn(event);
        let mut rings = self.routes.get(event).into_iter().flat_map(Route::rings);
        rings.any(|ring| ring.filter.asks_for_hooks() && ring.filter.origin_matches(source, root))
    }

    pub(super) fn push(&mut self, event: &Arc<SessionEvent>, woken: &mut Woken) {
        if self.rings.is_empty() {
            return;
        }
        let name = &event.event_type;
        if let Some((hot, route)) = &self.hot
            && hot == name
        {
            return route.push(event, woken);
        }
        let Some(route) = self.routes.get(name) else {
            self.learn(name);
            return self.push(event, woken);
        };
        route.push(event, woken);
        let place = std::ptr::from_ref(route).addr();
        if std::mem::replace(&mut self.before, place) == place {
            self.cool();
            self.hot = self.routes.remove_entry(name);
        }
    }

    /// Puts the route that was taken out back.
    fn cool(&mut self) {
        self.routes.extend(self.hot.take());
        self.before = 0;
    }

    pub(super) fn each(&self, mut act: impl FnMut(&Ring)) {
        self.rings.values().for_each(|ring| act(ring));
    }

    /// Looks up what wants events of a name, where nobody has looked before; else it is known.
    fn learn(&mut self, event: &EventType) {
        self.cool();
        if self.routes.contains_key(event) {
            return;
        }
        if self.routes.len() >= MAX_ROUTES {
            self.routes.retain(|_, route| route.exact > 0);
        }
        let route = Route::of(event, &self.wild);
        self.routes.insert(event.clone(), route);
    }
}

impl Route {
    fn of(event: &EventType, wild: &[Arc<Ring>]) -> Self {
        let mut route = Self::default();
        wild.iter().filter(|ring| ring.filter.names_match(event)).for_each(|ring| route.add(ring));
        route
    }

    fn add(&mut self, ring: &Arc<Ring>) {
        let filter = &ring.filter;
        let put = |list: &mut Vec<Arc<Ring>>| list.push(Arc::clone(ring));
        match (filter.sources(), filter.trees(), filter.first_field()) {
            (Some(sources), ..) => {
                sources.iter().for_each(|id| put(self.by_source.entry(id.clone()).or_default()));
            }
            (None, Some(trees), _) => {
                trees.iter().for_each(|id| put(self.by_tree.entry(id.clone()).or_default()));
            }
            (None, None, Some((path, value))) => {
                put(self.by_field.entry(path.clone()).or_default().entry(value.clone()).or_default());
            }
            (None, None, None) => put(&mut self.any),
        }
    }

    fn remove(&mut self, ring: &Arc<Ring>) {
        let filter = &ring.filter;
        match (filter.sources(), filter.trees(), filter.first_field()) {
            (Some(sources), ..) => sources.iter().for_each(|id| take(&mut self.by_source, id, ring)),
            (None, Some(trees), _) => trees.iter().for_each(|id| take(&mut self.by_tree, id, ring)),
            (None, None, Some((path, value))) => {
                if let Some(values) = self.by_field.get_mut(path) {
                    take(values, value, ring);
                    if values.is_empty() {
                        self.by_field.remove(path);
                    }
                }
            }
            (None, None, None) => self.any.retain(|other| !Arc::ptr_eq(other, ring)),
        }
    }

    fn rings(&self) -> impl Iterator<Item = &Arc<Ring>> {
        let fields = self.by_field.values().flat_map(HashMap::values);
        let named = self.by_source.values().chain(self.by_tree.values()).chain(fields);
        self.any.iter().chain(named.flatten())
    }

    fn push(&self, event: &Arc<SessionEvent>, woken: &mut Woken) {
        let decoded = Decoded::new(event);
        let mut put = |rings: &[Arc<Ring>]| {
            for ring in rings {
                if ring.passes(&decoded) {
                    ring.push(event, woken);
                }
            }
        };
        put(&self.any);
        let (source, root) = (event.source.as_ref(), event.root.as_ref().or(event.source.as_ref()));
        if let Some(rings) =
            source.filter(|_| !self.by_source.is_empty()).and_then(|id| self.by_source.get(id))
        {
            put(rings);
        }
        if let Some(rings) = root.filter(|_| !self.by_tree.is_empty()).and_then(|id| self.by_tree.get(id)) {
            put(rings);
        }
        if self.by_field.is_empty() {
            return;
        }
        for (path, values) in &self.by_field {
            if let Some(rings) = decoded.at(path).and_then(|value| values.get(&value)) {
                put(rings);
            }
        }
    }
}

fn take<K: Hash + Eq>(map: &mut HashMap<K, Vec<Arc<Ring>>>, key: &K, ring: &Arc<Ring>) {
    if let Some(rings) = map.get_mut(key) {
        rings.retain(|other| !Arc::ptr_eq(other, ring));
        if rings.is_empty() {
            map.remove(key);
        }
    }
}

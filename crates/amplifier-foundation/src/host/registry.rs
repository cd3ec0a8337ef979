//! Modules that a process has: found by id or alias.

use std::collections::HashMap;
use std::sync::Arc;

use amplifier_core::module::{Module, ModuleInfo};

/// The modules of a host.
#[derive(Debug, Clone, Default)]
pub struct ModuleRegistry {
    modules: HashMap<&'static str, Arc<dyn Module>>,
}

impl ModuleRegistry {
    /// Adds modules under their ids and aliases; a later one of the same id wins.
    pub fn add(&mut self, modules: impl IntoIterator<Item = Arc<dyn Module>>) {
        for module in modules {
            let info = module.info();
            for alias in info.aliases {
                self.modules.insert(alias, Arc::clone(&module));
            }
            self.modules.insert(info.id, module);
        }
    }

    /// The module of this id or alias.
    pub fn get(&self, id: &str) -> Option<&Arc<dyn Module>> {
        self.modules.get(id)
    }

    /// What is known of each module, by id, aliases left out.
    pub fn infos(&self) -> Vec<ModuleInfo> {
        let mut infos: Vec<ModuleInfo> = self.modules.values().map(|module| module.info()).collect();
        infos.sort_by_key(|info| (info.kind, info.id));
        infos.dedup_by_key(|info| info.id);
        infos
    }
}

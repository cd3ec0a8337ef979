//! The store in a file against the contract.

use std::path::Path;
use std::sync::Arc;

use amplifier_core::{Clock, Ids};
use amplifier_store::{SqliteOptions, SqliteStore, Store, conformance};

use crate::store::Fixed;

pub(crate) fn options(folder: &Path, fixed: &Arc<Fixed>) -> SqliteOptions {
    let (clock, ids) = (Arc::clone(fixed) as Arc<dyn Clock>, Arc::clone(fixed) as Arc<dyn Ids>);
    SqliteOptions::new(folder.join("project/amplifier.db"), clock, ids)
}

pub(crate) fn sqlite(folder: &Path, fixed: &Arc<Fixed>) -> SqliteStore {
    SqliteStore::open(options(folder, fixed)).unwrap()
}

#[tokio::test]
async fn the_store_in_a_file_keeps_the_contract() {
    let folders = std::sync::Mutex::new(Vec::new());
    let fixed = Arc::new(Fixed::default());
    let make = || {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path(), &fixed);
        folders.lock().unwrap().push(folder);
        Arc::new(store) as Arc<dyn Store>
    };
    assert_eq!(conformance::run(make).await.unwrap().len(), 30);
}

//! The first page of the issues that are ready, read once for all pools that hear the same bell.
//!
//! Guarantees: what is given was read after all that its reader has heard of was recorded. It is held until each
//! pool has had it, or somebody reads anew.

use std::sync::Arc;

use amplifier_store::{IssueFilter, IssueRow, Store, StoreError};

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    // Held while one reads: the others wait for what it reads.
    last: tokio::sync::Mutex<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    /// The place behind the last event before it was read.
    tail: u64,
    page: IssueFilter,
    rows: Arc<[IssueRow]>,
    /// Pools that have not had it.
    left: usize,
}

impl Ready {
    /// The rows of a page. `heard`: the latest event after which they must have been read; `None`: they are read
    /// anew. `pools`: how many may want them.
    pub(super) async fn rows(
        &self,
        store: &dyn Store,
        page: &IssueFilter,
        heard: Option<u64>,
        pools: usize,
    ) -> Result<Arc<[IssueRow]>, StoreError> {
        let mut last = self.last.lock().await;
        let fits = |read: &&mut Read| read.page == *page && heard.is_some_and(|heard| heard < read.tail);
        if let Some(read) = last.as_mut().filter(fits) {
            let rows = Arc::clone(&read.rows);
            read.left -= 1;
            if read.left == 0 {
                *last = None;
            }
            return Ok(rows);
        }
        let tail = store.tail().await?.sequence;
        let rows: Arc<[IssueRow]> = store.issues(page).await?.into();
        let left = pools.saturating_sub(1);
        *last = (left > 0).then(|| Read { tail, page: page.clone(), rows: Arc::clone(&rows), left });
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use amplifier_core::{IssueId, Payload};
    use amplifier_foundation::host::{RandomIds, SystemClock};
    use amplifier_store::{Commit, MemoryStore, Write};

    use super::*;

    async fn add(store: &MemoryStore, name: &str) {
        let row = IssueRow::new(IssueId::new(name).unwrap(), "task", 2, Payload::null());
        let _ = store.commit(Commit::from(Write::PutIssue(Box::new(row)))).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_read_before_the_bell_rang_is_read_anew() {
        let store = MemoryStore::new(Arc::new(SystemClock::new()), &RandomIds::new());
        let (ready, page) = (Ready::default(), IssueFilter::ready());
        let count = async |heard: Option<u64>| ready.rows(&store, &page, heard, 3).await.unwrap().len();
        add(&store, "a").await;
        let tail = store.tail().await.unwrap().sequence;
        assert_eq!(count(None).await, 1);
        add(&store, "b").await;
        // Two others may have it who have heard of nothing later, the next one reads.
        assert_eq!((count(Some(tail - 1)).await, count(Some(tail - 1)).await), (1, 1));
        assert_eq!(count(Some(tail - 1)).await, 2);
        add(&store, "c").await;
        assert_eq!(count(Some(tail)).await, 3, "of an event at the tail it cannot know");
        add(&store, "d").await;
        assert_eq!(count(None).await, 4);
    }
}

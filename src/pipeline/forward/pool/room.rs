//! How the pools of all workers share the connections there may be, and what rests gives way.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::Weak;
use std::time::Duration;

use crate::net::budget::Budget;
use crate::net::budget::Permit;
use crate::net::budget::Share;
use crate::net::dialer;
use crate::pipeline::forward::pool::Pool;

/// How often something may give way to one new connection, and how long that may take: it ends on its own worker.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The pools that share a budget. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Room {
    budget: Budget,
    pools: Arc<Mutex<Vec<Weak<Pool>>>>,
}

impl Room {
    /// How many connections there may be.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Has what rests in `pool` give way to others.
    pub fn admit(&self, pool: Pool) -> Arc<Pool> {
        let pool = Arc::new(pool);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&pool));
        pool
    }

    /// Leave for a connection of the upstream with this `share`.
    ///
    /// # Errors
    /// [`dialer::Error::NoRoom`].
    pub async fn permit(&self, share: &Share) -> Result<Permit, dialer::Error> {
        for _ in 0..TRIES {
            match share.take() {
                Some(permit) => return Ok(permit),
                None if self.gives_way_to(share) => tokio::time::sleep(PAUSE).await,
                None => break,
            }
        }
        share.take().ok_or(dialer::Error::NoRoom)
    }

    /// Ends a connection that rests, of the same upstream or of one that has more: an upstream that hangs takes no other's.
    /// Whether there was one.
    fn gives_way_to(&self, share: &Share) -> bool {
        let pools: Vec<Arc<Pool>> = {
            let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        let own = pools.iter().filter(|pool| pool.share.is_same(share));
        let richer =
            pools.iter().filter(|pool| !pool.share.is_same(share) && pool.share.held() > share.held());
        own.chain(richer).any(|pool| pool.state().resting.shed())
    }
}

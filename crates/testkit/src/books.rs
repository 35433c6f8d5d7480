use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gatepost_gateway::{KeyUse, UsageBatch, UsageDelta, UsageSink, WallClock};
use gatepost_meter::{MemoryLedger, UnixSeconds};

/// The books of a gateway, in memory: a ledger that a test can make slow or unavailable, usage that it can read, and a
/// calendar that stands still until it is set. They can be given to a second gateway after the first, as after a restart.
#[derive(Debug, Clone)]
pub struct Books {
    /// Where quotas and budgets are granted.
    pub ledger: Arc<MemoryLedger>,
    /// What callers used.
    pub usage: Arc<MemoryUsage>,
    now: Arc<AtomicI64>,
}

/// Usage, added up in memory.
#[derive(Debug, Default)]
pub struct MemoryUsage {
    sums: Mutex<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    /// By caller, route and day.
    counts: BTreeMap<(String, String, String), [u64; 3]>,
    keys: Vec<KeyUse>,
}

impl Books {
    /// Empty ones, at this second since 1970.
    #[must_use]
    pub fn at(now: i64) -> Self {
        Self { ledger: MemoryLedger::new(), usage: Arc::default(), now: Arc::new(AtomicI64::new(now)) }
    }

    /// Sets the calendar, forwards or back.
    pub fn set(&self, now: i64) {
        self.now.store(now, Ordering::Release);
    }

    /// What the calendar says.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        self.wall().now()
    }

    /// The calendar.
    #[must_use]
    pub fn wall(&self) -> WallClock {
        WallClock::Set(Arc::clone(&self.now))
    }
}

impl MemoryUsage {
    /// Requests admitted, requests refused, and bytes of answers: of a caller at a route on a day, written `2026-11-20`.
    #[must_use]
    pub fn of(&self, caller: &str, route: &str, day: &str) -> [u64; 3] {
        let name = (caller.to_owned(), route.to_owned(), day.to_owned());
        self.sums().counts.get(&name).copied().unwrap_or_default()
    }

    /// The uses of keys that were told, in their order.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyUse> {
        self.sums().keys.clone()
    }

    fn sums(&self) -> std::sync::MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UsageSink for MemoryUsage {
    fn record(&self, batch: UsageBatch) -> Result<(), Vec<UsageDelta>> {
        let mut sums = self.sums();
        for UsageDelta { caller, route, day, admitted, refused, bytes_out, .. } in batch.counts {
            let sum = sums.counts.entry((caller.to_string(), route.to_string(), day.to_string())).or_default();
            for (sum, more) in sum.iter_mut().zip([admitted, refused, bytes_out]) {
                *sum += more;
            }
        }
        sums.keys.extend(batch.keys);
        Ok(())
    }
}

//! What callers used: counted where it happens, told once a second.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepost_config::model::KeyHash;
use gatepost_meter::UnixSeconds;
use smallvec::SmallVec;

use crate::caller::CallerRoute;

/// What a caller did at a route on one day, since that was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageDelta {
    /// The caller's name.
    pub caller: Arc<str>,
    /// The name of the route's API.
    pub api: Arc<str>,
    /// The key of the route.
    pub route: Arc<str>,
    /// The UTC day on which the requests came, counted from 1970-01-01.
    pub day: i64,
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that were refused after it was known whose they are.
    pub refused: u64,
    /// Bytes of the answers' bodies. Counted when an answer ends.
    pub bytes_out: u64,
}

/// When a request was last let in with an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's hash.
    pub key: KeyHash,
    /// When, by the wall clock.
    pub at: UnixSeconds,
}

/// All that happened since the last one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageBatch {
    /// In no order, and perhaps several of one caller, route and day: to be added up.
    pub counts: Vec<UsageDelta>,
    /// In no order, and perhaps several of one key: the latest counts.
    pub keys: Vec<KeyUse>,
}

/// Where usage is told: once a second, and when the gateway stops.
pub trait UsageSink: Debug + Send + Sync {
    /// Takes what happened, for good: it is told once. Must not block.
    fn record(&self, batch: UsageBatch);
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUsageSink;

impl UsageSink for NoUsageSink {
    fn record(&self, _: UsageBatch) {}
}

impl UsageBatch {
    /// Whether nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.keys.is_empty()
    }
}

/// The counters that are not empty. In parts, so that workers seldom meet: a counter is listed once, until it is told.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    parts: [Mutex<Vec<Arc<Counter>>>; PARTS],
}

const PARTS: usize = 16;

/// What one caller did at one route since it was last told.
#[derive(Debug)]
pub(crate) struct Counter {
    caller: Arc<str>,
    route: Arc<CallerRoute>,
    /// Held for a few additions.
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// Whether the tally has it.
    is_listed: bool,
    /// More than one only around midnight, or when the clock is set.
    days: SmallVec<[DayCount; 1]>,
    keys: Vec<KeyUse>,
}

#[derive(Debug, Clone, Copy, Default)]
struct DayCount {
    day: i64,
    admitted: u64,
    refused: u64,
    bytes_out: u64,
}

impl Counter {
    pub(crate) fn new(caller: Arc<str>, route: Arc<CallerRoute>) -> Arc<Self> {
        Arc::new(Self { caller, route, pending: Mutex::default() })
    }

    /// Counts a request that was let in at `now`, and the key that it came with.
    pub(crate) fn admitted(self: &Arc<Self>, now: UnixSeconds, day: i64, key: Option<KeyHash>, tally: &Tally) {
        self.count(tally, |pending| {
            pending.of(day).admitted += 1;
            let Some(key) = key else { return };
            match pending.keys.iter_mut().find(|known| known.key == key) {
                Some(known) => known.at = now,
                None => pending.keys.push(KeyUse { key, at: now }),
            }
        });
    }

    /// Counts a request that was refused.
    pub(crate) fn refused(self: &Arc<Self>, day: i64, tally: &Tally) {
        self.count(tally, |pending| pending.of(day).refused += 1);
    }

    /// Counts bytes of an answer.
    pub(crate) fn sent(self: &Arc<Self>, day: i64, bytes: u64, tally: &Tally) {
        if bytes > 0 {
            self.count(tally, |pending| pending.of(day).bytes_out += bytes);
        }
    }

    /// What was not told yet.
    pub(crate) fn untold(&self) -> Vec<UsageDelta> {
        lock(&self.pending).days.iter().map(|day| self.delta(day)).collect()
    }

    fn count(self: &Arc<Self>, tally: &Tally, change: impl FnOnce(&mut Pending)) {
        let mut pending = lock(&self.pending);
        change(&mut pending);
        if !std::mem::replace(&mut pending.is_listed, true) {
            drop(pending);
            tally.list(Arc::clone(self));
        }
    }

    fn tell(&self, batch: &mut UsageBatch) {
        let Pending { days, keys, .. } = std::mem::take(&mut *lock(&self.pending));
        batch.counts.extend(days.iter().map(|day| self.delta(day)));
        batch.keys.extend(keys);
    }

    fn delta(&self, count: &DayCount) -> UsageDelta {
        let DayCount { day, admitted, refused, bytes_out } = *count;
        let CallerRoute { api, key, .. } = &*self.route;
        let (caller, api, route) = (Arc::clone(&self.caller), Arc::clone(api), Arc::clone(key));
        UsageDelta { caller, api, route, day, admitted, refused, bytes_out }
    }
}

impl Pending {
    fn of(&mut self, day: i64) -> &mut DayCount {
        let place = self.days.iter().position(|count| count.day == day).unwrap_or_else(|| {
            self.days.push(DayCount { day, ..DayCount::default() });
            self.days.len() - 1
        });
        &mut self.days[place]
    }
}

impl Tally {
    fn list(&self, counter: Arc<Counter>) {
        // Counters are larger than 128 bytes, so these bits differ.
        let part = Arc::as_ptr(&counter).addr() / 128 % PARTS;
        lock(&self.parts[part]).push(counter);
    }

    /// Takes all that was counted.
    pub(crate) fn drain(&self) -> UsageBatch {
        let mut batch = UsageBatch::default();
        for part in &self.parts {
            let listed = std::mem::take(&mut *lock(part));
            listed.iter().for_each(|counter| counter.tell(&mut batch));
        }
        batch
    }
}

/// Nothing panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

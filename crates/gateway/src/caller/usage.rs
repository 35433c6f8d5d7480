//! What callers used: counted where it happens, told once a second.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepost_config::model::KeyHash;
use gatepost_meter::{UnixSeconds, Window};
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
    /// The day on which the requests came, in UTC. Displayed, it is `2026-11-20`.
    pub day: Window,
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
    /// Takes what happened, for good. Must not block.
    ///
    /// # Errors
    /// What there is no room for at present: it is told again, with what happens meanwhile. Uses of keys are not.
    fn record(&self, batch: UsageBatch) -> Result<(), Vec<UsageDelta>>;
}

/// Keeps nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUsageSink;

impl UsageSink for NoUsageSink {
    fn record(&self, _: UsageBatch) -> Result<(), Vec<UsageDelta>> {
        Ok(())
    }
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
    /// What was told, and could not be taken. At most once for each caller, route and day.
    refused: Mutex<Vec<UsageDelta>>,
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

#[derive(Debug, Clone, Copy)]
struct DayCount {
    day: Window,
    admitted: u64,
    refused: u64,
    bytes_out: u64,
}

impl Counter {
    pub(crate) fn new(caller: Arc<str>, route: Arc<CallerRoute>) -> Arc<Self> {
        Arc::new(Self { caller, route, pending: Mutex::default() })
    }

    /// Counts a request that was let in at `now`, and the key that it came with.
    pub(crate) fn admitted(self: &Arc<Self>, now: UnixSeconds, day: Window, key: Option<KeyHash>, tally: &Tally) {
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
    pub(crate) fn refused(self: &Arc<Self>, day: Window, tally: &Tally) {
        self.count(tally, |pending| pending.of(day).refused += 1);
    }

    /// Counts bytes of an answer.
    pub(crate) fn sent(self: &Arc<Self>, day: Window, bytes: u64, tally: &Tally) {
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
    fn of(&mut self, day: Window) -> &mut DayCount {
        let place = self.days.iter().position(|count| count.day == day).unwrap_or_else(|| {
            self.days.push(DayCount { day, admitted: 0, refused: 0, bytes_out: 0 });
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

    /// Tells all that was counted.
    pub(crate) fn tell(&self, sink: &dyn UsageSink) {
        let batch = self.drain();
        if batch.is_empty() {
            return;
        }
        if let Err(refused) = sink.record(batch) {
            *lock(&self.refused) = added_up(refused);
        }
    }

    fn drain(&self) -> UsageBatch {
        let mut batch = UsageBatch { counts: std::mem::take(&mut *lock(&self.refused)), keys: Vec::new() };
        for part in &self.parts {
            let listed = std::mem::take(&mut *lock(part));
            listed.iter().for_each(|counter| counter.tell(&mut batch));
        }
        batch
    }
}

fn added_up(deltas: Vec<UsageDelta>) -> Vec<UsageDelta> {
    let mut sums = HashMap::new();
    for delta in deltas {
        let UsageDelta { caller, api, route, day, admitted, refused, bytes_out } = &delta;
        let name = (Arc::clone(caller), Arc::clone(api), Arc::clone(route), *day);
        let sums: &mut HashMap<_, UsageDelta> = &mut sums;
        if let Some(sum) = sums.get_mut(&name) {
            sum.admitted += admitted;
            sum.refused += refused;
            sum.bytes_out += bytes_out;
        } else {
            sums.insert(name, delta);
        }
    }
    sums.into_values().collect()
}

/// Nothing panics while it holds the lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use gatepost_meter::Period;

    use super::*;

    /// Has no room at first.
    #[derive(Debug, Default)]
    struct Reluctant {
        told: Mutex<Vec<UsageBatch>>,
    }

    impl UsageSink for Reluctant {
        fn record(&self, batch: UsageBatch) -> Result<(), Vec<UsageDelta>> {
            let mut told = lock(&self.told);
            told.push(batch.clone());
            if told.len() <= 2 { Err(batch.counts) } else { Ok(()) }
        }
    }

    #[test]
    fn what_a_sink_has_no_room_for_is_told_again_and_added_up() {
        let (tally, sink) = (Tally::default(), Reluctant::default());
        let day = Period::Day.at(UnixSeconds(0));
        let route = Arc::new(CallerRoute::new(&"default".into(), &"GET /".into()));
        let counter = Counter::new("acme".into(), route);
        for _ in 0..3 {
            counter.admitted(UnixSeconds(7), day, Some(KeyHash([1; 32])), &tally);
            counter.refused(day, &tally);
            counter.sent(day, 10, &tally);
            tally.tell(&sink);
        }
        tally.tell(&sink);
        let told = lock(&sink.told);
        let sums: Vec<u64> = told.iter().map(|batch| batch.counts.iter().map(|delta| delta.bytes_out).sum()).collect();
        assert_eq!(sums, [10, 20, 30]);
        assert_eq!(told.iter().map(|batch| batch.keys.len()).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(counter.untold().is_empty());
    }

    #[test]
    fn a_caller_who_was_never_here_takes_next_to_nothing() {
        assert!(size_of::<crate::caller::CallerMeters>() <= 40);
    }
}

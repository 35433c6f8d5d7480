//! Which deliveries were let in, so that they are not let in again.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gatepost_meter::Nanos;

use crate::signature::Memory;

/// What a delivery is known by: half of a SHA-256.
pub(crate) type DeliveryKey = [u8; 16];

/// The deliveries that a route has let in, each until nobody could send it again or it is no longer remembered.
///
/// Bounded: it never forgets one before its time, so when it is full, nothing more is let in.
#[derive(Debug)]
pub(crate) struct Deliveries {
    shards: [Mutex<Shard>; SHARDS],
    /// Keys in all shards.
    count: AtomicUsize,
    most: usize,
    /// When all shards may be swept next.
    sweep_at: AtomicU64,
}

#[derive(Debug)]
struct Shard {
    until: HashMap<DeliveryKey, Nanos>,
    /// It is swept when it has so many.
    sweep_at: usize,
}

/// A delivery that is remembered, for whoever finds that it was not delivered after all.
#[derive(Debug)]
pub(crate) struct Delivery {
    memory: Arc<Memory>,
    keys: Vec<DeliveryKey>,
    until: Nanos,
}

/// Why a delivery is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotRemembered {
    /// It was let in before.
    Replayed,
    /// There is no room to remember it.
    Full,
}

/// So that a worker seldom waits for another one, and sweeping one takes no time to speak of.
const SHARDS: usize = 64;

/// What a route remembers at most, in keys: some 60 MB.
const MOST: usize = 1_000_000;

/// How often all shards are swept while there is no room, at most, in nanoseconds.
const SWEEP_PAUSE: u64 = 1_000_000_000;

/// A shard with fewer keys is not worth sweeping.
const FEW: usize = 64;

impl Default for Deliveries {
    fn default() -> Self {
        Self::with_room(MOST)
    }
}

impl Deliveries {
    fn with_room(most: usize) -> Self {
        let shards = std::array::from_fn(|_| Mutex::new(Shard { until: HashMap::new(), sweep_at: FEW }));
        Self { shards, count: AtomicUsize::new(0), most, sweep_at: AtomicU64::new(0) }
    }

    /// Whether there is something that must not be forgotten yet.
    pub(crate) fn holds_any(&self, now: Nanos) -> bool {
        self.shards.iter().any(|shard| locked(shard).until.values().any(|until| *until > now))
    }

    /// Remembers a key; of two at once, one finds it remembered.
    fn remember(&self, key: DeliveryKey, until: Nanos, now: Nanos) -> Result<(), NotRemembered> {
        if self.count.load(Ordering::Relaxed) >= self.most {
            self.make_room(now)?;
        }
        let mut shard = locked(self.shard(&key));
        if shard.until.len() >= shard.sweep_at {
            self.sweep(&mut shard, now);
        }
        match shard.until.entry(key) {
            Entry::Occupied(known) if *known.get() > now => return Err(NotRemembered::Replayed),
            Entry::Occupied(mut known) => {
                known.insert(until);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(until);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    fn forget(&self, key: &DeliveryKey, until: Nanos) {
        let mut shard = locked(self.shard(key));
        // Long after its time it may be another's.
        if shard.until.get(key) == Some(&until) {
            shard.until.remove(key);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn make_room(&self, now: Nanos) -> Result<(), NotRemembered> {
        let due = self.sweep_at.load(Ordering::Relaxed);
        let next = now.0.saturating_add(SWEEP_PAUSE);
        if due <= now.0 && self.sweep_at.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            for shard in &self.shards {
                self.sweep(&mut locked(shard), now);
            }
        }
        if self.count.load(Ordering::Relaxed) < self.most { Ok(()) } else { Err(NotRemembered::Full) }
    }

    fn sweep(&self, shard: &mut Shard, now: Nanos) {
        let before = shard.until.len();
        shard.until.retain(|_, until| *until > now);
        let left = shard.until.len();
        self.count.fetch_sub(before - left, Ordering::Relaxed);
        shard.sweep_at = (2 * left).max(FEW);
        shard.until.shrink_to(shard.sweep_at);
    }

    fn shard(&self, key: &DeliveryKey) -> &Mutex<Shard> {
        &self.shards[usize::from(key[0]) % SHARDS]
    }
}

/// A panic elsewhere leaves a map that is as good as before.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Delivery {
    /// Remembers a delivery by all of its keys, or by none.
    pub(super) fn remember(
        memory: Arc<Memory>,
        keys: Vec<DeliveryKey>,
        until: Nanos,
        now: Nanos,
    ) -> Result<Self, NotRemembered> {
        let mut delivery = Self { memory, keys: Vec::with_capacity(keys.len()), until };
        for key in keys {
            if let Err(refused) = delivery.memory.deliveries.remember(key, until, now) {
                delivery.forget();
                return Err(refused);
            }
            delivery.keys.push(key);
        }
        Ok(delivery)
    }

    /// It did not arrive: its sender may try again.
    pub(crate) fn forget(self) {
        for key in &self.keys {
            self.memory.deliveries.forget(key, self.until);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn key(number: u32) -> DeliveryKey {
        let mut key = DeliveryKey::default();
        key[..4].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn remember(memory: &Arc<Memory>, keys: &[u32], until: u64, now: u64) -> Result<Delivery, NotRemembered> {
        let keys = keys.iter().copied().map(key).collect();
        Delivery::remember(Arc::clone(memory), keys, Nanos(until * SECOND), Nanos(now * SECOND))
    }

    #[test]
    fn a_delivery_is_refused_until_its_time_is_over() {
        let memory = Arc::<Memory>::default();
        remember(&memory, &[1], 10, 0).unwrap();
        assert_eq!(remember(&memory, &[1], 20, 9).unwrap_err(), NotRemembered::Replayed);
        remember(&memory, &[1], 20, 10).unwrap();
        assert_eq!(remember(&memory, &[1], 30, 19).unwrap_err(), NotRemembered::Replayed);
    }

    #[test]
    fn any_of_its_keys_gives_a_delivery_away_and_one_that_is_refused_leaves_no_trace() {
        let memory = Arc::<Memory>::default();
        remember(&memory, &[1, 2], 10, 0).unwrap();
        assert_eq!(remember(&memory, &[3, 2], 10, 0).unwrap_err(), NotRemembered::Replayed);
        assert_eq!(remember(&memory, &[1, 3], 10, 0).unwrap_err(), NotRemembered::Replayed);
        remember(&memory, &[3], 10, 0).unwrap();
    }

    #[test]
    fn one_that_did_not_arrive_may_come_again() {
        let memory = Arc::<Memory>::default();
        remember(&memory, &[1, 2], 10, 0).unwrap().forget();
        remember(&memory, &[1, 2], 10, 0).unwrap();
        assert!(memory.deliveries.holds_any(Nanos(0)) && !memory.deliveries.holds_any(Nanos(10 * SECOND)));
    }

    #[test]
    fn a_full_memory_lets_nothing_in_until_something_may_be_forgotten() {
        let memory = Arc::new(Memory { deliveries: Deliveries::with_room(1000), ..Memory::default() });
        for number in 0..1000 {
            remember(&memory, &[number], 10 + u64::from(number % 2), 0).unwrap();
        }
        assert_eq!(remember(&memory, &[5000], 20, 1).unwrap_err(), NotRemembered::Full);
        assert_eq!(remember(&memory, &[5000], 20, 9).unwrap_err(), NotRemembered::Full);
        remember(&memory, &[5000], 20, 10).unwrap();
        // None of the others was forgotten.
        assert_eq!(remember(&memory, &[1], 20, 10).unwrap_err(), NotRemembered::Replayed);
        assert_eq!(memory.deliveries.count.load(Ordering::Relaxed), 501);
    }

    #[test]
    fn of_many_at_once_exactly_one_enters() {
        let memory = Arc::<Memory>::default();
        let entered: usize = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| remember(&memory, &[1, 2], 10, 0).map_or(0, |_| 1))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(entered, 1);
    }
}

//! One bucket a client, in a table that never grows.

use std::array;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Exceeded, Law, Nanos};

/// A throttle by client: each client has a bucket of its own under one [`Law`], and the table has a fixed size.
///
/// A client is an IPv4 address, or the /64 of an IPv6 address, for whoever has one has all of it. IPv4-mapped IPv6
/// counts as the IPv4 address it stands for.
///
/// **What holds.** Over any time `t` no client is admitted more than `burst + rate × t` times, however many threads
/// ask and however many other clients there are. A client's debt is never forgotten: its slot goes to another one only
/// when its bucket is full again, and then there is nothing to remember.
///
/// **What a flood of clients costs.** The table is made of sets of 16 slots; a keyed hash says which set a client
/// belongs to, so nobody can choose it. A client for whom no slot of its set is free takes from the one bucket that all
/// such clients of that set share. When a slot becomes free, the next newcomer gets it with the debt of that shared
/// bucket, for it may be one that took from it. So a flood can make newcomers in a full set wait for each other, and
/// never admits one of them too often. Who has a slot keeps it as long as it owes anything, and notices nothing.
///
/// **What it costs.** A slot is 24 bytes, a set 424: [`Self::DEFAULT_SLOTS`] make 1.7 MB. A set is guarded by a mutex,
/// held for the look at its slots, some dozens of nanoseconds, so that a slot's client and its debt change together.
/// Two threads meet there for one client, whose word they would have fought for as well, or by chance, once in 4096.
#[derive(Debug)]
pub struct ClientTable {
    sets: Box<[Mutex<Set>]>,
    key: RandomState,
    /// Held while it changes, so that two changes cannot interleave.
    law: Mutex<Law>,
    shared_takes: AtomicU64,
}

/// What a client has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLevel {
    /// How many requests would be admitted at once.
    pub tokens: u32,
    /// When the next token will be there, if nobody takes one; zero if there is one now.
    pub retry_after: Duration,
    /// Whether it has no slot, and takes from the bucket that such clients of its set share.
    pub is_shared: bool,
    /// The law it is under.
    pub law: Law,
}

/// Sets fill unevenly, the more so the smaller they are; this many are still looked at in no time.
const SLOTS_A_SET: usize = 16;

impl ClientTable {
    /// The slots of a table of which nothing else is known. With 30,000 clients in debt at once, fewer than one in a
    /// thousand has to share a bucket.
    pub const DEFAULT_SLOTS: usize = 65_536;

    /// An empty table of at least `slots` slots, rounded up to whole sets of 16. `key` decides which clients share a
    /// set, so take a random one: [`RandomState::new`].
    #[must_use]
    pub fn new(law: Law, slots: usize, key: RandomState) -> Self {
        let sets = slots.div_ceil(SLOTS_A_SET).max(1);
        Self {
            sets: (0..sets).map(|_| Mutex::new(Set::new(law))).collect(),
            key,
            law: Mutex::new(law),
            shared_takes: AtomicU64::new(0),
        }
    }

    /// Takes a token of the client's, and says how many it has left. Read the clock just before: a stale `now` can only
    /// refuse too much.
    ///
    /// # Errors
    /// There is none.
    pub fn take(&self, client: IpAddr, now: Nanos) -> Result<u32, Exceeded> {
        let client = ClientKey::of(client);
        let mut set = lock(self.set_of(client));
        let now = set.go_on_to(now);
        let place = set.place_of(client, now);
        let full_at = set.law.admit(set.full_at(place), now)?;
        match place {
            Place::Slot(slot) => set.slots[slot].full_at = full_at,
            Place::Free(slot) => set.slots[slot] = Slot { client: Some(client), full_at },
            Place::Shared => {
                set.shared_full_at = full_at;
                self.shared_takes.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(set.law.tokens(full_at, now))
    }

    /// Looks at what the client has left, and takes nothing.
    #[must_use]
    pub fn peek(&self, client: IpAddr, now: Nanos) -> ClientLevel {
        let client = ClientKey::of(client);
        let set = lock(self.set_of(client));
        let now = set.not_before(now);
        let place = set.place_of(client, now);
        let (law, full_at) = (set.law, set.full_at(place));
        ClientLevel {
            tokens: law.tokens(full_at, now),
            retry_after: law.admit(full_at, now).err().map_or(Duration::ZERO, |exceeded| exceeded.retry_after),
            is_shared: matches!(place, Place::Shared),
            law,
        }
    }

    /// The law that every client is under.
    #[must_use]
    pub fn law(&self) -> Law {
        *lock(&self.law)
    }

    /// Puts every client under `law` with the debt it has, counted in tokens. A debt larger than the new burst is an
    /// empty bucket.
    ///
    /// Goes through the whole table, a set at a time, and holds up nobody longer than that.
    pub fn change_law(&self, law: Law, now: Nanos) {
        let mut current = lock(&self.law);
        if *current != law {
            self.sets.iter().for_each(|set| lock(set).change_law(law, now));
            *current = law;
        }
    }

    /// How many slots there are. It never changes.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.sets.len() * SLOTS_A_SET
    }

    /// How many slots are of clients whose bucket is not full. Goes through the whole table.
    #[must_use]
    pub fn in_debt(&self, now: Nanos) -> usize {
        self.sets.iter().map(|set| lock(set).slots.iter().filter(|slot| slot.full_at > now.0).count()).sum()
    }

    /// Whether every token of every client is back: such a table can be forgotten and made anew without forgetting a
    /// debt. Goes through the whole table.
    #[must_use]
    pub fn is_full(&self, now: Nanos) -> bool {
        self.sets.iter().all(|set| lock(set).is_full(now))
    }

    /// How many tokens were taken from shared buckets so far. If it grows, there are too few slots.
    #[must_use]
    pub fn shared_takes(&self) -> u64 {
        self.shared_takes.load(Ordering::Relaxed)
    }

    fn set_of(&self, client: ClientKey) -> &Mutex<Set> {
        let hash = u128::from(self.key.hash_one(client));
        // Below the number of sets, as the hash is below 2^64.
        let number = (hash * self.sets.len() as u128) >> 64;
        &self.sets[number as usize]
    }
}

/// Nothing panics while it holds the lock, and each state on the way is a right one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who counts as one client. Kept whole, so that two clients never pass for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ClientKey {
    V4(u32),
    /// The upper half of the address.
    V6(u64),
}

impl ClientKey {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

/// The clients with the same hash, and the bucket of those among them who have no slot.
#[derive(Debug)]
struct Set {
    law: Law,
    /// The latest time anybody came with. Time goes on within a set even when threads come late with theirs: else a
    /// slot that was free for one of them would hold a debt for the next.
    latest: Nanos,
    shared_full_at: u64,
    slots: [Slot; SLOTS_A_SET],
}

/// A client's bucket, held as in [`crate::Bucket`].
#[derive(Debug)]
struct Slot {
    client: Option<ClientKey>,
    full_at: u64,
}

/// Where a client's tokens are.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In its slot.
    Slot(usize),
    /// In a slot that nobody needs, as many as there are in the shared bucket.
    Free(usize),
    /// In the shared bucket.
    Shared,
}

impl Set {
    fn new(law: Law) -> Self {
        Self { law, latest: Nanos(0), shared_full_at: 0, slots: array::from_fn(|_| Slot { client: None, full_at: 0 }) }
    }

    fn not_before(&self, now: Nanos) -> Nanos {
        now.max(self.latest)
    }

    fn go_on_to(&mut self, now: Nanos) -> Nanos {
        self.latest = self.not_before(now);
        self.latest
    }

    fn place_of(&self, client: ClientKey, now: Nanos) -> Place {
        // The one that has been full the longest: its client is the least likely to come back.
        let mut idlest = 0;
        for (number, slot) in self.slots.iter().enumerate() {
            if slot.client == Some(client) {
                return Place::Slot(number);
            }
            if slot.full_at < self.slots[idlest].full_at {
                idlest = number;
            }
        }
        if self.slots[idlest].full_at <= now.0 { Place::Free(idlest) } else { Place::Shared }
    }

    fn full_at(&self, place: Place) -> u64 {
        match place {
            Place::Slot(slot) => self.slots[slot].full_at,
            Place::Free(_) | Place::Shared => self.shared_full_at,
        }
    }

    fn is_full(&self, now: Nanos) -> bool {
        self.shared_full_at <= now.0 && self.slots.iter().all(|slot| slot.full_at <= now.0)
    }

    fn change_law(&mut self, law: Law, now: Nanos) {
        let now = self.go_on_to(now);
        let old = std::mem::replace(&mut self.law, law);
        for full_at in self.slots.iter_mut().map(|slot| &mut slot.full_at).chain([&mut self.shared_full_at]) {
            let debt = full_at.saturating_sub(now.0);
            if debt > 0 {
                *full_at = now.0 + old.debt_under(debt, law);
            }
        }
    }
}

#[cfg(test)]
mod tests;

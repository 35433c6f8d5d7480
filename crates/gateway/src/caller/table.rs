//! Tables to find a caller in by what it presents. Eight bytes and one for each key: they stay in the caches where a
//! table with the keys themselves would not, and the caller that is found is looked at anyway.

use std::fmt;
use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use rustc_hash::FxHasher;

/// Numbers by a part of a hash.
#[derive(Default)]
pub(super) struct Table(HashTable<Entry>);

#[derive(Clone, Copy)]
struct Entry {
    check: u32,
    number: u32,
}

impl Table {
    pub(super) fn with_room_for(entries: usize) -> Self {
        Self(HashTable::with_capacity(entries))
    }

    pub(super) fn add(&mut self, check: u32, number: u32) {
        self.0.insert_unique(spread(check), Entry { check, number }, |entry| spread(entry.check));
    }

    /// The number with this check that `is_it`: of different keys some have the same check.
    pub(super) fn find(&self, check: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let found = self.0.find(spread(check), |entry| entry.check == check && is_it(entry.number));
        found.map(|entry| entry.number)
    }
}

/// The part of a SHA-256 that it is found by.
pub(super) fn check_of_hash(hash: &[u8; 32]) -> u32 {
    let [first, second, third, fourth, ..] = *hash;
    u32::from_le_bytes([first, second, third, fourth])
}

/// The same of a text. Strangers only look for what is in the table, and put nothing into it.
pub(super) fn check_of_text(text: &str) -> u32 {
    let mut hasher = FxHasher::default();
    text.hash(&mut hasher);
    // The upper half is the better mixed one.
    (hasher.finish() >> 32) as u32
}

/// The table wants bits at both ends (Fibonacci hashing).
fn spread(check: u32) -> u64 {
    u64::from(check).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(20)
}

impl fmt::Debug for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Table({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_the_same_check_is_told_apart() {
        let mut table = Table::with_room_for(2);
        (0..100).for_each(|number| table.add(number % 10, number));
        for number in 0..100 {
            assert_eq!(table.find(number % 10, |found| found == number), Some(number));
        }
        assert_eq!(table.find(3, |_| false), None);
        assert_eq!(table.find(11, |_| true), None);
    }
}

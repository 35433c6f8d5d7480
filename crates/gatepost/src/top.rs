//! The most frequent of many things, in memory that does not grow with them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::hash::Hash;

/// Counts by key. Exact as long as there are at most [`Top::KEPT`] keys; beyond that, rare ones are forgotten, and counts
/// are at least so many.
#[derive(Debug)]
pub(crate) struct Top<K> {
    counts: HashMap<K, u64>,
    forgets: bool,
}

impl<K: Hash + Eq + Ord> Top<K> {
    /// How many keys are never forgotten, if they are the most frequent.
    pub(crate) const KEPT: usize = 50_000;

    pub(crate) fn add(&mut self, key: K) {
        *self.counts.entry(key).or_default() += 1;
        if self.counts.len() > 2 * Self::KEPT {
            self.forget();
        }
    }

    /// The most frequent ones, at most so many.
    pub(crate) fn most(&self, count: usize) -> Vec<(&K, u64)> {
        let mut all: Vec<(&K, u64)> = self.counts.iter().map(|(key, count)| (key, *count)).collect();
        all.sort_unstable_by_key(|(key, count)| (Reverse(*count), *key));
        all.truncate(count);
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    /// Whether every key is there with its whole count.
    pub(crate) fn is_exact(&self) -> bool {
        !self.forgets
    }

    /// Half of them go, so this is done once for very many keys.
    fn forget(&mut self) {
        self.forgets = true;
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        let (_, last, _) = counts.select_nth_unstable_by_key(Self::KEPT, |count| Reverse(*count));
        let last = *last;
        self.counts.retain(|_, count| *count > last);
    }
}

impl<K> Default for Top<K> {
    fn default() -> Self {
        Self { counts: HashMap::new(), forgets: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_are_found_among_millions() {
        let mut top = Top::default();
        for number in 0..1_000_000_u32 {
            top.add(number);
            if number % 4 == 0 {
                top.add(7);
            }
            if number % 8 == 0 {
                top.add(3);
            }
        }
        assert!(!top.is_exact());
        assert!(top.len() <= 2 * Top::<u32>::KEPT);
        assert_eq!(top.most(2), [(&7, 250_001), (&3, 125_001)]);
    }

    #[test]
    fn a_few_are_counted_exactly_and_told_in_order() {
        let mut top = Top::default();
        for key in ["b", "c", "a", "c"] {
            top.add(key);
        }
        assert!(top.is_exact());
        assert_eq!(top.most(9), [(&"c", 2), (&"a", 1), (&"b", 1)]);
    }
}

//! Ranges of addresses of one family, sorted and apart from one another.
//!
//! A look-up goes down a ladder: the topmost rung has a few starts of ranges, each rung below it sixteen times as many,
//! the lowest one all of them. It reads sixteen neighbours a rung, whatever the addresses are: nobody who publishes a
//! list can make it slower than its length does. Sixteen ranges and fewer are one rung.

use std::iter;

/// The numbers that the addresses of one family are.
pub(crate) trait Key: Copy + Ord {
    /// The one after it; none after the last.
    fn next(self) -> Option<Self>;
}

impl Key for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Key for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

/// Ranges, both ends included. No two touch.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Ranges<K> {
    starts: Box<[K]>,
    ends: Box<[K]>,
    /// Every sixteenth start, then every sixteenth of these, and so on; the last rung has at most sixteen.
    ladder: Box<[Box<[K]>]>,
}

/// How many neighbours a step of a look-up reads.
const STEP: usize = 16;

impl<K: Key> Ranges<K> {
    /// The ranges that cover just what these do, in any order.
    pub(crate) fn covering(mut ranges: Vec<(K, K)>) -> Self {
        ranges.sort_unstable();
        let mut starts: Vec<K> = Vec::with_capacity(ranges.len());
        let mut ends: Vec<K> = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            match ends.last_mut() {
                Some(last) if last.next().is_none_or(|after| start <= after) => *last = end.max(*last),
                Some(_) | None => {
                    starts.push(start);
                    ends.push(end);
                }
            }
        }
        let mut ladder: Vec<Box<[K]>> = Vec::new();
        loop {
            let below = ladder.last().map_or(&*starts, |rung| rung);
            if below.len() <= STEP {
                break;
            }
            let rung = below.iter().step_by(STEP).copied().collect();
            ladder.push(rung);
        }
        Self { starts: starts.into(), ends: ends.into(), ladder: ladder.into() }
    }

    /// Whether `key` lies in one of the ranges.
    #[inline]
    pub(crate) fn contains(&self, key: K) -> bool {
        let Some(place) = self.descend(key) else { return false };
        // Both ends are asked for at once, so that memory is waited for once.
        let begun = count(&self.starts, place, |start| start <= key);
        let ended = count(&self.ends, place, |end| end < key);
        begun > ended
    }

    /// The range that `key` lies in.
    pub(crate) fn around(&self, key: K) -> Option<(K, K)> {
        let place = self.descend(key)?;
        let last = place + count(&self.starts, place, |start| start <= key).checked_sub(1)?;
        let (start, end) = (*self.starts.get(last)?, *self.ends.get(last)?);
        (key <= end).then_some((start, end))
    }

    /// Where the sixteen neighbours begin among which the range of `key` is, if there is one.
    #[inline]
    fn descend(&self, key: K) -> Option<usize> {
        let down = |place, rung: &[K]| {
            let begun = count(rung, place, |start| start <= key);
            Some((place + begun.checked_sub(1)?) * STEP)
        };
        self.ladder.iter().rev().map(AsRef::as_ref).try_fold(0, down)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, K)> {
        self.starts.iter().copied().zip(self.ends.iter().copied())
    }

    /// What lies in a range of these and in one of `other`, in order.
    pub(crate) fn overlaps(&self, other: &Self) -> impl Iterator<Item = (K, K)> {
        let (mut own, mut others) = (self.iter().peekable(), other.iter().peekable());
        iter::from_fn(move || {
            loop {
                let ((start, end), (other_start, other_end)) = (*own.peek()?, *others.peek()?);
                // The one that ends first meets nothing that comes later.
                if end <= other_end {
                    own.next();
                } else {
                    others.next();
                }
                let both = (start.max(other_start), end.min(other_end));
                if both.0 <= both.1 {
                    return Some(both);
                }
            }
        })
    }

    /// What they take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let rungs: usize = self.ladder.iter().map(|rung| size_of_val(&**rung)).sum();
        size_of_val(&*self.starts) + size_of_val(&*self.ends) + size_of_val(&*self.ladder) + rungs
    }
}

impl<K: Key> Default for Ranges<K> {
    fn default() -> Self {
        Self { starts: Box::default(), ends: Box::default(), ladder: Box::default() }
    }
}

/// How many of the sixteen keys from `place` on are `so`.
///
/// Counted, not searched for the last one: that needs no guess of the processor's, which would be wrong half of the time.
#[inline]
fn count<K: Key>(keys: &[K], place: usize, so: impl Fn(K) -> bool) -> usize {
    let rest = keys.get(place..).unwrap_or_default();
    match rest.first_chunk::<STEP>() {
        Some(window) => window.iter().map(|key| usize::from(so(*key))).sum(),
        None => rest.iter().map(|key| usize::from(so(*key))).sum(),
    }
}

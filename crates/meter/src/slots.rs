use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are under way. The cap is passed in at each [`Slots::enter`], so it can change while some are.
#[derive(Debug, Default)]
pub struct Slots {
    taken: AtomicUsize,
}

/// One that is under way, until dropped.
#[derive(Debug)]
pub struct Slot(Arc<Slots>);

impl Slots {
    /// Takes a slot unless `cap` are taken.
    #[must_use]
    pub fn enter(self: &Arc<Self>, cap: usize) -> Option<Slot> {
        self.taken
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < cap).then_some(taken + 1))
            .is_ok()
            .then(|| Slot(Arc::clone(self)))
    }

    /// How many slots are taken now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_cap_are_under_way_and_a_dropped_one_makes_room() {
        let slots = Arc::new(Slots::default());
        let first = slots.enter(2).expect("room");
        let _second = slots.enter(2).expect("room");
        assert!(slots.enter(2).is_none());
        drop(first);
        assert!(slots.enter(2).is_some());
        assert_eq!(slots.taken(), 1);
    }

    #[test]
    fn a_lowered_cap_holds_for_the_next_one() {
        let slots = Arc::new(Slots::default());
        let _held: Vec<_> = (0..3).map(|_| slots.enter(3).expect("room")).collect();
        assert!(slots.enter(1).is_none());
    }
}

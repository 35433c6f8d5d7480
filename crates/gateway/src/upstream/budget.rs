use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gatepost_meter::{Bucket, Law, Nanos};

/// How many retries an upstream may cause, so that one that is failing is not sent several times its load.
///
/// Over any stretch: a fifth of the requests that could be retried, and ten a second beside that. What was saved while
/// all went well is good for a hundred retries at most.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What requests have saved, in fifths of a retry.
    saved: AtomicU32,
    least: Arc<Bucket>,
}

/// Requests that save up for one retry.
const PRICE: u32 = 5;

/// What is saved at most, in fifths of a retry.
const MOST_SAVED: u32 = 100 * PRICE;

/// Retries a second that nobody has to save for, and how many of them at once.
const LEAST: u32 = 10;

impl Default for Budget {
    fn default() -> Self {
        let burst = NonZeroU32::new(LEAST).unwrap_or(NonZeroU32::MIN);
        let law = Law::new(NonZeroU64::from(burst), Duration::from_secs(1), burst);
        Self { saved: AtomicU32::new(0), least: Bucket::new(law) }
    }
}

impl Budget {
    /// A request that could be retried has begun.
    pub(crate) fn save(&self) {
        // Workers that look at the same moment save a little more than the most.
        if self.saved.load(Ordering::Relaxed) < MOST_SAVED {
            self.saved.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Pays for a retry, if there is enough.
    pub(crate) fn take(&self, now: Nanos) -> bool {
        let pay = |saved: u32| saved.checked_sub(PRICE);
        self.saved.try_update(Ordering::Relaxed, Ordering::Relaxed, pay).is_ok() || self.least.take(now).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn retries(budget: &Budget, asked: usize, now: u64) -> usize {
        (0..asked).filter(|_| budget.take(Nanos(now))).count()
    }

    #[test]
    fn ten_retries_a_second_are_free() {
        let budget = Budget::default();
        assert_eq!(retries(&budget, 100, 0), 10);
        assert_eq!(retries(&budget, 100, SECOND), 10);
        assert_eq!(retries(&budget, 100, 3 * SECOND), 10, "what was not used is not kept");
    }

    #[test]
    fn beside_those_a_fifth_of_the_requests_is_retried() {
        let budget = Budget::default();
        assert_eq!(retries(&budget, 10, 0), 10);
        (0..100).for_each(|_| budget.save());
        assert_eq!(retries(&budget, 100, 0), 20);
    }

    #[test]
    fn a_long_time_without_failures_saves_a_hundred_retries_at_most() {
        let budget = Budget::default();
        (0..1_000_000).for_each(|_| budget.save());
        assert_eq!(retries(&budget, 1000, 0), 110);
    }
}

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Nanoseconds since a start that all callers share and that never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nanos(pub u64);

/// What a throttle promises: over any time `t`, at most `burst + rate × t` requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Law {
    /// The time in which one token comes back, rounded up, so that rounding never admits more.
    interval: u64,
    burst: NonZeroU32,
}

/// A token bucket that any number of threads take from.
///
/// Its state is one word, the *theoretical arrival time*: when the bucket will be full again. A time in the past means
/// that it is full; each token taken moves the time one interval on. It starts full.
#[derive(Debug)]
pub struct Bucket {
    law: Law,
    full_at: AtomicU64,
    /// The bucket that carries this one's debt on, once the law has changed.
    successor: OnceLock<Arc<Bucket>>,
}

/// A bucket had no token left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// When a token will be back, if nobody else takes it.
    pub retry_after: Duration,
    /// The law that refused.
    pub law: Law,
}

/// Takes one token from each bucket, or none of them when one is seen to be empty.
///
/// All are looked at before any is taken from, and nothing is ever given back: a late give-back would break the law.
/// So when another thread empties a later bucket between the look and the take, a token of an earlier one is lost.
///
/// # Errors
/// The refusal with the longest wait.
pub fn take_all<'a>(buckets: impl Iterator<Item = &'a Arc<Bucket>> + Clone, now: Nanos) -> Result<(), Exceeded> {
    let longest_wait =
        buckets.clone().filter_map(|bucket| bucket.peek(now).err()).max_by_key(|exceeded| exceeded.retry_after);
    match longest_wait {
        Some(exceeded) => Err(exceeded),
        None => buckets.into_iter().try_for_each(|bucket| bucket.take(now)),
    }
}

/// Stands in [`Bucket::full_at`] for "ask the successor". No bucket reaches it: [`Law::debt_limit`] is far below.
const RETIRED: u64 = u64::MAX;

impl Law {
    /// `count` requests per `per`, and `burst` at once.
    #[must_use]
    pub fn new(count: NonZeroU64, per: Duration, burst: NonZeroU32) -> Self {
        let interval = per.as_nanos().div_ceil(u128::from(count.get())).max(1);
        // A bucket that fills for centuries is as good as one that never fills; and the sums below stay in range.
        let longest = u64::MAX / 4 / u64::from(burst.get());
        Self { interval: u64::try_from(interval).unwrap_or(u64::MAX).min(longest), burst }
    }

    /// How many requests may come at once.
    #[must_use]
    pub fn burst(self) -> u32 {
        self.burst.get()
    }

    /// How long an empty bucket takes to fill.
    #[must_use]
    pub fn fills_in(self) -> Duration {
        Duration::from_nanos(self.debt_limit())
    }

    /// The debt of an empty bucket, in nanoseconds.
    fn debt_limit(self) -> u64 {
        self.interval * u64::from(self.burst.get())
    }

    /// How many tokens there are.
    pub(crate) fn tokens(self, full_at: u64, now: Nanos) -> u32 {
        let debt = full_at.saturating_sub(now.0);
        u32::try_from(self.debt_limit().saturating_sub(debt) / self.interval).unwrap_or(u32::MAX)
    }

    /// What the arrival time becomes when a token is taken, or how long there is none.
    pub(crate) fn admit(self, full_at: u64, now: Nanos) -> Result<u64, Exceeded> {
        let debt = full_at.saturating_sub(now.0) + self.interval;
        match debt.checked_sub(self.debt_limit()) {
            None | Some(0) => Ok(now.0 + debt),
            Some(wait) => Err(Exceeded { retry_after: Duration::from_nanos(wait), law: self }),
        }
    }

    /// A debt of `debt` nanoseconds under this law, in nanoseconds under `other`.
    pub(crate) fn debt_under(self, debt: u64, other: Law) -> u64 {
        let exact = (u128::from(debt) * u128::from(other.interval)).div_ceil(u128::from(self.interval));
        u64::try_from(exact).unwrap_or(u64::MAX).min(other.debt_limit())
    }
}

impl Bucket {
    /// A full bucket.
    #[must_use]
    pub fn new(law: Law) -> Arc<Self> {
        Arc::new(Self { law, full_at: AtomicU64::new(0), successor: OnceLock::new() })
    }

    /// Takes a token. Read the clock just before: a stale `now` can only refuse too much, never admit too much.
    ///
    /// # Errors
    /// There is none.
    pub fn take(self: &Arc<Self>, now: Nanos) -> Result<(), Exceeded> {
        let mut full_at = self.full_at.load(Ordering::Acquire);
        loop {
            if full_at == RETIRED {
                return self.current().take(now);
            }
            let next = self.law.admit(full_at, now)?;
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Looks whether there is a token, and leaves it.
    ///
    /// # Errors
    /// There is none.
    pub fn peek(self: &Arc<Self>, now: Nanos) -> Result<(), Exceeded> {
        let bucket = self.current();
        bucket.law.admit(bucket.full_at.load(Ordering::Acquire), now).map(drop)
    }

    /// How many tokens there are.
    #[must_use]
    pub fn left(self: &Arc<Self>, now: Nanos) -> u32 {
        let bucket = self.current();
        bucket.law.tokens(bucket.full_at.load(Ordering::Acquire), now)
    }

    /// Whether every token is back: such a bucket can be forgotten and made anew without forgetting a debt.
    #[must_use]
    pub fn is_full(self: &Arc<Self>, now: Nanos) -> bool {
        self.current().full_at.load(Ordering::Acquire) <= now.0
    }

    /// The law it keeps.
    #[must_use]
    pub fn law(&self) -> Law {
        self.law
    }

    /// The bucket that goes on under `law` with the debt of this one, counted in tokens. A debt larger than the new
    /// burst is an empty bucket.
    ///
    /// From here on whoever still holds this bucket takes from the new one, so no request is admitted twice over.
    #[must_use]
    pub fn under(self: &Arc<Self>, law: Law, now: Nanos) -> Arc<Self> {
        let bucket = self.current();
        if bucket.law == law {
            return Arc::clone(bucket);
        }
        let successor = Arc::clone(bucket.successor.get_or_init(|| Self::new(law)));
        let mut full_at = bucket.full_at.load(Ordering::Acquire);
        loop {
            let debt = bucket.law.debt_under(full_at.saturating_sub(now.0), law);
            successor.full_at.store(now.0 + debt, Ordering::Release);
            match bucket.full_at.compare_exchange_weak(full_at, RETIRED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return successor,
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Follows the chain of successors to the bucket in use.
    fn current(self: &Arc<Self>) -> &Arc<Self> {
        let mut bucket = self;
        while bucket.full_at.load(Ordering::Acquire) == RETIRED
            && let Some(successor) = bucket.successor.get()
        {
            bucket = successor;
        }
        bucket
    }
}

#[cfg(test)]
mod tests;

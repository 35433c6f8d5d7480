//! When it is worth looking at the signature of a request that is refused for its address: a good one is a sign that the
//! list of addresses is out of date.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gatepost_meter::Nanos;

/// Lets one request of a route be looked at now and then.
#[derive(Debug, Default)]
pub(crate) struct Doubts {
    /// When the next one may be looked at.
    look_at: AtomicU64,
    /// Whether one is being looked at.
    is_looking: AtomicBool,
    /// When the next warning may be written.
    warn_at: AtomicU64,
}

/// One request is being looked at, until this is dropped.
#[derive(Debug)]
pub(crate) struct Looking<'d>(&'d Doubts);

/// Between two looks, in nanoseconds.
const PAUSE: u64 = 1_000_000_000;

/// Between two warnings, in nanoseconds.
const WARNING_PAUSE: u64 = 60 * PAUSE;

impl Doubts {
    /// Whether a request may be looked at, as far as can be told without looking.
    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        self.look_at.load(Ordering::Relaxed) <= now.0
    }

    /// A request may be looked at: one at a time, and one a second. Never waits.
    pub(crate) fn look(&self, now: Nanos) -> Option<Looking<'_>> {
        if !self.is_due(now) || self.is_looking.swap(true, Ordering::Acquire) {
            return None;
        }
        let looking = Looking(self);
        passes(&self.look_at, now, PAUSE).then_some(looking)
    }

    /// Whether a warning may be written: one a minute.
    pub(crate) fn may_warn(&self, now: Nanos) -> bool {
        passes(&self.warn_at, now, WARNING_PAUSE)
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.is_looking.store(false, Ordering::Release);
    }
}

/// Whether it is time; the next time is a `pause` later.
fn passes(due: &AtomicU64, now: Nanos, pause: u64) -> bool {
    let at = due.load(Ordering::Relaxed);
    let next = now.0.saturating_add(pause);
    at <= now.0 && due.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_a_second_is_looked_at_and_never_two_at_once() {
        let doubts = Doubts::default();
        let looking = doubts.look(Nanos(0)).unwrap();
        assert!(doubts.look(Nanos(0)).is_none());
        assert!(doubts.look(Nanos(5 * PAUSE)).is_none());
        drop(looking);
        assert!(doubts.look(Nanos(PAUSE - 1)).is_none());
        assert!(doubts.look(Nanos(PAUSE)).is_some());
        assert!(doubts.look(Nanos(PAUSE)).is_none());
        assert!(doubts.look(Nanos(2 * PAUSE)).is_some());
    }

    #[test]
    fn a_warning_comes_once_a_minute() {
        let doubts = Doubts::default();
        assert!(doubts.may_warn(Nanos(0)));
        assert!(!doubts.may_warn(Nanos(WARNING_PAUSE - 1)));
        assert!(doubts.may_warn(Nanos(WARNING_PAUSE)));
    }
}

//! What is known of a target: what its probes found, and how the requests sent to it went.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use gatepost_config::model::Eject;
use gatepost_meter::Nanos;

use crate::clock::Clock;
use crate::upstream::Target;

/// Whether a target is sent requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetState {
    /// It is, and nobody probes it.
    Unchecked,
    /// Not as long as another one is fit: its probes have not told yet.
    Initial,
    /// It is: its probes were good.
    Healthy,
    /// Not as long as another one is fit: its probes failed.
    Unhealthy,
    /// Not as long as another one is fit, for a while: requests sent to it failed.
    Ejected,
}

/// What is known of a target. Read at each request, so in atomics; changed rarely, under a lock.
#[derive(Debug)]
pub(crate) struct Condition {
    /// What [`Balance::ClientHash`] knows the target by.
    ///
    /// [`Balance::ClientHash`]: gatepost_config::model::Balance::ClientHash
    pub(crate) seed: u64,
    /// A [`Health`].
    health: AtomicU8,
    /// When the pause of an ejected target is over. 0: it is not ejected.
    pause_ends: AtomicU64,
    /// Whether a request is finding out if the ejected target is back.
    on_trial: AtomicBool,
    /// Failed requests in a row.
    failures: AtomicU32,
    pub(crate) ejections: AtomicU64,
    past: Mutex<Past>,
}

#[derive(Debug)]
struct Past {
    health_since: SystemTime,
    ejected_since: SystemTime,
    /// Ejections with no answer in between.
    ejections_in_row: u32,
}

/// What the probes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Health {
    Unchecked,
    Initial,
    Healthy,
    Unhealthy,
}

/// The longest pause is so many times the first.
const LONGEST_PAUSE: u32 = 10;

impl Condition {
    pub(crate) fn new(seed: u64) -> Self {
        let now = SystemTime::now();
        Self {
            seed,
            health: AtomicU8::new(Health::Unchecked as u8),
            pause_ends: AtomicU64::new(0),
            on_trial: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            ejections: AtomicU64::new(0),
            past: Mutex::new(Past { health_since: now, ejected_since: now, ejections_in_row: 0 }),
        }
    }

    /// What users are told, and since when it is so.
    pub(crate) fn state(&self) -> (TargetState, SystemTime) {
        let past = self.past();
        let state = match self.health() {
            Health::Initial => TargetState::Initial,
            Health::Unhealthy => TargetState::Unhealthy,
            _ if self.pause_ends.load(Ordering::Relaxed) != 0 => return (TargetState::Ejected, past.ejected_since),
            Health::Healthy => TargetState::Healthy,
            Health::Unchecked => TargetState::Unchecked,
        };
        (state, past.health_since)
    }

    // === what the choice of a target asks ===

    pub(super) fn is_fit(&self, eject: Option<Eject>, clock: Clock) -> bool {
        if matches!(self.health(), Health::Initial | Health::Unhealthy) {
            return false;
        }
        if eject.is_none() {
            return true;
        }
        let ends = self.pause_ends.load(Ordering::Relaxed);
        ends == 0 || (!self.on_trial.load(Ordering::Relaxed) && ends <= clock.now().0)
    }

    pub(super) fn is_ejected(&self, eject: Option<Eject>) -> bool {
        eject.is_some() && self.pause_ends.load(Ordering::Relaxed) != 0
    }

    /// Takes the one place of a request on trial.
    pub(super) fn claim_trial(&self) -> bool {
        !self.on_trial.swap(true, Ordering::AcqRel)
    }

    pub(super) fn release_trial(&self) {
        self.on_trial.store(false, Ordering::Release);
    }

    // === what requests tell ===

    /// The target has answered in the ordinary way.
    pub(super) fn forget_failures(&self) {
        // Mostly there are none, and a look does not take the line from the other processors' caches.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// The target was not fit and has answered, requests or the probes that it had failed: an ejection is over.
    pub(super) fn restore(&self, target: &Target) {
        self.forget_failures();
        if self.pause_ends.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut past = self.past();
        past.ejections_in_row = 0;
        if self.pause_ends.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!(upstream = %target.upstream.name, target = %target.label, "target is back after an ejection");
        }
    }

    /// Targets of its upstream are not ejected any more.
    pub(super) fn pardon(&self) {
        self.failures.store(0, Ordering::Relaxed);
        self.pause_ends.store(0, Ordering::Relaxed);
        self.past().ejections_in_row = 0;
    }

    /// A request failed, which ejects the target if enough did in a row, or if it was `on_trial`.
    pub(super) fn note_failure(
        &self,
        target: &Target,
        eject: Eject,
        on_trial: bool,
        now: Nanos,
        why: &impl fmt::Display,
    ) {
        let mut past = self.past();
        let ejected = self.pause_ends.load(Ordering::Relaxed) != 0;
        if ejected && !on_trial {
            // Sent before the ejection, or because no target was fit.
            return;
        }
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if !ejected && failures < eject.after.get() {
            return;
        }
        let pause = pause(eject.pause, past.ejections_in_row);
        past.ejections_in_row = past.ejections_in_row.saturating_add(1);
        past.ejected_since = SystemTime::now();
        let nanos = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX);
        self.pause_ends.store(now.0.saturating_add(nanos).max(1), Ordering::Relaxed);
        self.ejections.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(
            upstream = %target.upstream.name,
            target = %target.label,
            ?pause,
            failures,
            reason = %why,
            "target ejected"
        );
    }

    // === what probes tell ===

    pub(super) fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Initial,
            2 => Health::Healthy,
            3 => Health::Unhealthy,
            _ => Health::Unchecked,
        }
    }

    pub(super) fn set_health(&self, health: Health) {
        let mut past = self.past();
        if self.health.swap(health as u8, Ordering::Relaxed) != health as u8 {
            past.health_since = SystemTime::now();
        }
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause after so many ejections in a row: each twice the one before, up to ten times the first.
fn pause(first: Duration, before: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(before).min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_in_a_row_is_twice_the_one_before_up_to_ten_times_the_first() {
        let pauses: Vec<u64> = (0..6).map(|before| pause(Duration::from_secs(10), before).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 100, 100]);
        assert_eq!(pause(Duration::from_secs(1), u32::MAX).as_secs(), 10);
    }
}

//! Upstreams: backends that do the same work, and which of them a request goes to.
//!
//! ```text
//! Upstream ── targets: Vec<Arc<Target>>      each with its Condition (health, ejection) and its requests under way
//!     │
//!     └─ visit ─► Visit                      one try at one target, and what it says of the target
//! ```
//!
//! A target is fit unless its probes say otherwise or it was ejected for failing requests. Requests go to fit targets
//! as long as there is one; when there is none they go to all, as if all were fit: probes that are wrong, or a fault
//! that all have in common, must not turn a sick upstream into a dead one.

mod budget;
mod condition;
mod probe;
mod wire;

pub(crate) use budget::Budget;
pub(crate) use condition::Condition;
pub use condition::TargetState;
pub(crate) use probe::{Check, Probers};
pub(crate) use wire::{ConnectError, Security, Wire};

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::SystemTime;

use gatepost_config::model::{Balance, Eject, HttpVersion};
use gatepost_meter::{Slot, Slots};
use gatepost_net::Destination;
use http::HeaderValue;
use http::uri::Scheme;

use crate::clock::Clock;

/// Backends that do the same work, as one configuration has them.
#[derive(Debug)]
pub(crate) struct Upstream {
    /// Never empty.
    targets: Vec<Arc<Target>>,
    balance: Balance,
    /// Absent too when there is one target: there would be nowhere else to go.
    eject: Option<Eject>,
    pub(crate) http: HttpVersion,
    pub(crate) common: Arc<Common>,
}

/// What all that use an upstream share, across workers and reloads.
#[derive(Debug)]
pub(crate) struct Common {
    /// Its name, or the URLs of its targets when it was written in place.
    pub(crate) name: Arc<str>,
    turn: AtomicUsize,
    pub(crate) budget: Budget,
    /// Requests sent to another target.
    pub(crate) retries: AtomicU64,
    /// Requests not sent to another target because too many had been.
    pub(crate) retries_refused: AtomicU64,
}

/// One backend.
#[derive(Debug)]
pub(crate) struct Target {
    /// Unique in this run of the gateway, the same as long as the destination is.
    pub(crate) id: u64,
    pub(crate) destination: Destination,
    pub(crate) security: Security,
    pub(crate) http: HttpVersion,
    /// What its own `Host` is.
    pub(crate) host: HeaderValue,
    /// What the log calls it: `host:port`.
    pub(crate) label: Arc<str>,
    /// Its URL, without a path.
    pub(crate) url: Arc<str>,
    pub(crate) upstream: Arc<Common>,
    pub(crate) condition: Condition,
    /// Requests under way, to the last byte of their answers.
    pub(crate) under_way: Arc<Slots>,
}

/// A target as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TargetReport {
    /// The upstream's name, or the URLs of its targets when it was written in place.
    pub upstream: Arc<str>,
    /// The target's URL, without a path.
    pub target: Arc<str>,
    /// Whether it is sent requests.
    pub state: TargetState,
    /// Since when.
    pub since: SystemTime,
    /// Requests under way at it.
    pub requests: usize,
}

/// One try at one target.
#[derive(Debug)]
pub(crate) struct Visit<'u> {
    pub(crate) target: &'u Target,
    /// Which of the upstream's targets that is.
    pub(crate) index: usize,
    footing: Footing,
    eject: Option<Eject>,
    under_way: Option<Slot>,
}

/// Why a target was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Footing {
    /// It is fit.
    Fit,
    /// It was ejected, its pause is over, and this is the one request that finds out whether it is back.
    Trial,
    /// No target is fit.
    Anyway,
}

impl Upstream {
    pub(crate) fn new(
        targets: Vec<Arc<Target>>,
        balance: Balance,
        eject: Option<Eject>,
        http: HttpVersion,
        common: Arc<Common>,
    ) -> Self {
        let eject = eject.filter(|_| targets.len() > 1);
        if eject.is_none() {
            targets.iter().for_each(|target| target.condition.pardon());
        }
        Self { targets, balance, eject, http, common }
    }

    /// Chooses the target of a request for this client, after those in `tried` (by index, in order) have failed it.
    ///
    /// Fit targets come first. Among them, one not tried yet; else any but the one that has just failed; else that one,
    /// if there is no other.
    pub(crate) fn visit(&self, client: IpAddr, tried: &[usize], clock: Clock) -> Visit<'_> {
        if let [only] = &*self.targets {
            return self.begin(only, 0, Footing::Fit);
        }
        // A retry takes no turn, or every other target would never be the first.
        let turn = &self.common.turn;
        let turn = if tried.is_empty() { turn.fetch_add(1, Ordering::Relaxed) } else { turn.load(Ordering::Relaxed) };
        for (fit, untried) in [(true, Untried::Always), (true, Untried::ButLast), (true, Untried::Never)]
            .into_iter()
            .chain([(false, Untried::Always), (false, Untried::ButLast), (false, Untried::Never)])
        {
            let among = |index: usize| {
                untried.allows(index, tried) && (!fit || self.targets[index].condition.is_fit(self.eject, clock))
            };
            while let Some(index) = self.pick(among, turn, client) {
                let target = &self.targets[index];
                if !fit {
                    return self.begin(target, index, Footing::Anyway);
                }
                if !target.condition.is_ejected(self.eject) {
                    return self.begin(target, index, Footing::Fit);
                }
                // Another request may have been faster; then the target is not fit any more.
                if target.condition.claim_trial() {
                    return self.begin(target, index, Footing::Trial);
                }
            }
        }
        let index = turn % self.targets.len();
        self.begin(&self.targets[index], index, Footing::Anyway)
    }

    /// Chooses among the targets that `among` says.
    fn pick(&self, among: impl Fn(usize) -> bool, turn: usize, client: IpAddr) -> Option<usize> {
        let count = self.targets.len();
        match self.balance {
            Balance::RoundRobin => {
                let candidates = (0..count).filter(|&index| among(index)).count();
                // One of them may cease to be between the two looks; then the first is as good.
                let nth = |nth: usize| (0..count).filter(|&index| among(index)).nth(nth);
                nth(turn.checked_rem(candidates)?).or_else(|| nth(0))
            }
            Balance::LeastRequests => {
                // Of equals the first: from another one on each time.
                let from_turn = (0..count).map(|place| turn.wrapping_add(place) % count);
                from_turn.filter(|&index| among(index)).min_by_key(|&index| self.targets[index].under_way.taken())
            }
            Balance::ClientHash => {
                let client = client_hash(client);
                let preference = |&index: &usize| mix(client ^ self.targets[index].condition.seed);
                (0..count).filter(|&index| among(index)).max_by_key(preference)
            }
        }
    }

    fn begin<'u>(&self, target: &'u Target, index: usize, footing: Footing) -> Visit<'u> {
        Visit { target, index, footing, eject: self.eject, under_way: target.under_way.enter(usize::MAX) }
    }
}

impl Common {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self {
            name,
            turn: AtomicUsize::new(0),
            budget: Budget::default(),
            retries: AtomicU64::new(0),
            retries_refused: AtomicU64::new(0),
        }
    }

    /// Whether a request that failed may be sent to another target.
    pub(crate) fn may_retry(&self, clock: Clock) -> bool {
        let may = self.budget.take(clock.now());
        let counter = if may { &self.retries } else { &self.retries_refused };
        counter.fetch_add(1, Ordering::Relaxed);
        may
    }
}

impl Target {
    /// The scheme of requests to it.
    pub(crate) fn scheme(&self) -> Scheme {
        match self.security {
            Security::Open => Scheme::HTTP,
            Security::Tls(_) | Security::Unusable => Scheme::HTTPS,
        }
    }

    /// As it is now.
    pub(crate) fn report(&self) -> TargetReport {
        let (state, since) = self.condition.state();
        TargetReport {
            upstream: Arc::clone(&self.upstream.name),
            target: Arc::clone(&self.url),
            state,
            since,
            requests: self.under_way.taken(),
        }
    }
}

impl Visit<'_> {
    /// The target has answered, whatever the status.
    pub(crate) fn answered(&mut self) {
        let condition = &self.target.condition;
        match self.footing {
            Footing::Fit => condition.forget_failures(),
            Footing::Trial | Footing::Anyway => condition.restore(self.target),
        }
        self.end_trial();
    }

    /// The target could not be reached, did not answer, or answered nonsense.
    pub(crate) fn failed(&mut self, clock: Clock, why: &impl fmt::Display) {
        if let Some(eject) = self.eject {
            let tried = self.footing == Footing::Trial;
            self.target.condition.note_failure(self.target, eject, tried, clock.now(), why);
        }
        // A trial has ended either way.
        self.end_trial();
    }

    /// Keeps the request among those under way at the target until this is dropped.
    pub(crate) fn stay(mut self) -> Option<Slot> {
        self.under_way.take()
    }

    fn end_trial(&mut self) {
        if self.footing == Footing::Trial {
            self.target.condition.release_trial();
            self.footing = Footing::Fit;
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        // Nothing was found out: the next request tries.
        self.end_trial();
    }
}

/// Which targets a retry keeps away from.
#[derive(Clone, Copy)]
enum Untried {
    Always,
    ButLast,
    Never,
}

impl Untried {
    fn allows(self, index: usize, tried: &[usize]) -> bool {
        match self {
            Self::Always => !tried.contains(&index),
            Self::ButLast => tried.last() != Some(&index),
            Self::Never => true,
        }
    }
}

/// What stands for a client when targets are chosen by it: an IPv4 address or an IPv6 /64, as in throttles: a client
/// that changes its address within its own network keeps its target.
fn client_hash(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(address) => mix(u64::from(address.to_bits())),
        IpAddr::V6(address) => mix((address.to_bits() >> 64) as u64),
    }
}

/// What stands for a target when targets are chosen by client: the same in every run (FNV-1a).
pub(crate) fn target_hash(url: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3);
    mix(url.bytes().fold(0xCBF2_9CE4_8422_2325, fold))
}

/// Spreads every bit over all (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_of_one_ipv6_network_are_one_client() {
        let hash = |address: &str| client_hash(address.parse().unwrap());
        assert_eq!(hash("2001:db8:1:2::1"), hash("2001:db8:1:2:ffff::9"));
        assert_ne!(hash("2001:db8:1:2::1"), hash("2001:db8:1:3::1"));
        assert_ne!(hash("192.0.2.1"), hash("192.0.2.2"));
    }

    #[test]
    fn a_target_is_the_same_to_clients_in_every_run() {
        assert_eq!(target_hash("http://10.0.0.1:8080"), target_hash("http://10.0.0.1:8080"));
        assert_eq!(target_hash(""), mix(0xCBF2_9CE4_8422_2325));
        assert_ne!(target_hash("http://10.0.0.1:8080"), target_hash("http://10.0.0.2:8080"));
    }
}

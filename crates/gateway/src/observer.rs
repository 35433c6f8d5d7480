//! A running gateway seen from outside: what is in force, what was refused, how full its meters are.
//!
//! Looks from any thread, and shares no lock with a worker but the counters'; nothing that it does takes a token, holds up
//! a request, or changes anything.

mod callers;

pub use self::callers::{AccountReport, CallerReport, CallerThrottle};

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::model::Model;

use crate::address_sets::AddressSetReport;
use crate::admission::{Meters, Times};
use crate::clock::Clock;
use crate::decisions::{Decision, DecisionFilter, DecisionPage};
use crate::explain::{ExplainError, Explanation, Gateway, Inquiry, explain_by, rate_text};
use crate::gateway::Shared;
use crate::snapshot::{Meter, NamedMeter, Parallel, Snapshot};
use crate::stats::Stats;
use crate::upstream::TargetReport;
use crate::wall::WallClock;

/// Looks at a running gateway. Cheap to clone; of use as long as the gateway runs.
#[derive(Clone)]
pub struct Observer {
    shared: Arc<Shared>,
    hurry: Arc<dyn Fn() + Send + Sync>,
}

/// The configuration that requests were judged by at one moment, and the meters beside it.
#[derive(Debug, Clone)]
pub struct InForce {
    snapshot: Arc<Snapshot>,
    clock: Clock,
    wall: WallClock,
}

/// A throttle, or a limit of requests under way, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterReport {
    /// The name of its API.
    pub api: Arc<str>,
    /// The key of its route; absent: it is the API's own.
    pub route: Option<Arc<str>>,
    /// How full it is.
    pub level: Level,
}

/// How full a meter is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// A bucket that everyone shares.
    Throttle {
        /// How fast tokens come back: `50/s`.
        rate: String,
        /// How many tokens it holds.
        burst: u32,
        /// How many are left.
        left: u32,
    },
    /// A table with a bucket for each client.
    ThrottleByClient {
        /// How fast tokens come back in each: `50/s`.
        rate: String,
        /// How many tokens each holds.
        burst: u32,
        /// Clients whose bucket is not full.
        in_debt: usize,
        /// Clients that can have a bucket of their own.
        slots: usize,
        /// Tokens taken so far from buckets that clients without a slot share. If it grows, there are too few slots.
        shared_takes: u64,
    },
    /// Requests under way.
    Parallel {
        /// How many may be.
        cap: usize,
        /// How many are.
        under_way: usize,
    },
}

impl Observer {
    pub(crate) fn new(shared: Arc<Shared>, hurry: impl Fn() + Send + Sync + 'static) -> Self {
        Self { shared, hurry: Arc::new(hurry) }
    }

    /// What is in force now.
    #[must_use]
    pub fn in_force(&self) -> InForce {
        let Shared { snapshot, clock, wall, .. } = &*self.shared;
        InForce { snapshot: snapshot.load_full(), clock: *clock, wall: wall.clone() }
    }

    /// Decisions on record. What was refused some milliseconds ago may not be there yet. Goes through all of them if need
    /// be, which takes some milliseconds: not for a thread that others wait for.
    #[must_use]
    pub fn decisions(&self, filter: &DecisionFilter) -> DecisionPage {
        self.shared.decisions.page(filter)
    }

    /// The decision with this id, if it is on record. As [`Observer::decisions`].
    #[must_use]
    pub fn decision(&self, id: &str) -> Option<Decision> {
        self.shared.decisions.open(id)
    }

    /// How many decisions are on record.
    #[must_use]
    pub fn decisions_kept(&self) -> usize {
        self.shared.decisions.count()
    }

    /// Has what was refused just now put on record soon.
    pub fn hurry(&self) {
        (self.hurry)();
    }

    /// The targets of all upstreams as they are now, by upstream and URL.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetReport> {
        let mut targets = self.shared.stats.targets();
        targets.sort_by(|one, other| (&one.upstream, &one.target).cmp(&(&other.upstream, &other.target)));
        targets
    }

    /// What is counted.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Observer").finish_non_exhaustive()
    }
}

impl InForce {
    /// The number of the snapshot, counted from 1 at start.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.snapshot.number
    }

    /// Since when it is in force.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.snapshot.since
    }

    /// What it was compiled from, but for keys, certificates and the admin token.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.snapshot.model
    }

    /// Says what would become of a request that came now: the meters are looked at, and nothing is taken.
    ///
    /// # Errors
    /// As of [`explain`](crate::explain()).
    pub fn explain(&self, inquiry: &Inquiry<'_>) -> Result<Explanation, ExplainError> {
        explain_by(&self.snapshot, &self.snapshot.model, inquiry, Meters::Observed(&self.times()), Gateway::Running)
    }

    fn times(&self) -> Times<'_> {
        Times { clock: self.clock, wall: self.wall.moment() }
    }

    /// How full the meters are, by API and route. Goes through the tables of clients: not for a thread that others wait
    /// for.
    pub fn meters(&self) -> impl ExactSizeIterator<Item = MeterReport> {
        let now = self.clock.now();
        self.snapshot.meters.iter().map(move |NamedMeter { api, route, meter }| {
            let level = match meter {
                Meter::Bucket(throttle, bucket) => Level::Throttle {
                    rate: rate_text(throttle.rate),
                    burst: throttle.burst.get(),
                    left: bucket.left(now),
                },
                Meter::Clients(throttle, table) => Level::ThrottleByClient {
                    rate: rate_text(throttle.rate),
                    burst: throttle.burst.get(),
                    in_debt: table.in_debt(now),
                    slots: table.slots(),
                    shared_takes: table.shared_takes(),
                },
                Meter::Parallel(Parallel { slots, cap }) => Level::Parallel { cap: *cap, under_way: slots.taken() },
            };
            MeterReport { api: Arc::clone(api), route: route.clone(), level }
        })
    }

    /// The address sets that are used, by name.
    #[must_use]
    pub fn address_sets(&self) -> Vec<AddressSetReport> {
        self.snapshot.address_sets()
    }
}

//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_meter::{Slot, take_all};

use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::snapshot::{Entry, Route};

/// Proof that a request was admitted. Only [`admit`] makes one, and no integration runs without it.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    /// Held until the answer has ended.
    _slot: Option<Slot>,
}

/// Which meters admission takes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meters {
    /// Those of the running gateway.
    Live(Clock),
    /// None: as if every bucket were full and nothing under way.
    Full,
}

/// Admits a request to `route`, the cheapest question first. Nothing is taken from a meter before everything else has
/// been passed, so a refused request costs nothing.
///
/// # Errors
/// The first reason to refuse.
pub(crate) fn admit(facts: &Facts<'_>, route: &Arc<Route>, meters: Meters) -> Result<Permit, Rejection> {
    enter(facts.client, &route.entry)?;
    if facts.length.is_some_and(|length| length > route.max_body) {
        return Err(Rejection::BodyTooLarge);
    }
    let slot = match meters {
        Meters::Live(clock) => take(route, clock)?,
        Meters::Full => None,
    };
    Ok(Permit { route: Arc::clone(route), _slot: slot })
}

fn enter(client: IpAddr, entry: &Entry) -> Result<(), Rejection> {
    match entry {
        Entry::Open => Ok(()),
        Entry::From { from, except } if from.contain(client) && !except.contain(client) => Ok(()),
        Entry::From { .. } => Err(Rejection::AddressNotListed),
    }
}

/// A slot first, because it can be given back: a request that finds `parallel` used up takes no token.
fn take(route: &Arc<Route>, clock: Clock) -> Result<Option<Slot>, Rejection> {
    let slot = match &route.parallel {
        Some(parallel) => Some(parallel.slots.enter(parallel.cap).ok_or(Rejection::Busy)?),
        None => None,
    };
    if !route.buckets.is_empty() {
        take_all(route.buckets.iter(), clock.now()).map_err(Rejection::Throttled)?;
    }
    Ok(slot)
}

impl Permit {
    /// The route that the request was admitted to.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

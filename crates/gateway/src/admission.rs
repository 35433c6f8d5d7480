//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::ThrottleBy;
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Slot, take_all};

use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::snapshot::{AddressRule, Entry, Listing, Parallel, Route};
use crate::trace::{Note, Trace};

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

/// Admits a request to `route`, the cheapest question first. Nothing that clients share is taken from a meter before
/// everything else has been passed: a refused request costs at most the client's own tokens.
///
/// # Errors
/// The first reason to refuse.
pub(crate) fn admit(
    facts: &Facts<'_>,
    route: &Arc<Route>,
    meters: Meters,
    trace: &mut impl Trace,
) -> Result<Permit, Rejection> {
    let rules = match &route.entry {
        Entry::Open => {
            trace.note(|| Note::Open);
            None
        }
        Entry::Rules(rules) => Some(rules),
    };
    if let Some(from) = rules.and_then(|rules| rules.from.as_ref()) {
        enter(facts.client, from, trace)?;
    }
    if let Meters::Live(clock) = meters {
        take_of_client(facts.client, &route.client_tables, clock, trace)?;
    }
    fit(facts.length, route.max_body, trace)?;
    let slot = match meters {
        Meters::Live(clock) => take(route, clock, trace)?,
        Meters::Full => None,
    };
    Ok(Permit { route: Arc::clone(route), _slot: slot })
}

fn enter(client: IpAddr, rule: &AddressRule, trace: &mut impl Trace) -> Result<(), Rejection> {
    let AddressRule { from, except } = rule;
    let listing = from.list(client);
    trace.note(|| Note::From { listed: listing.known() });
    match listing {
        Listing::Listed => {}
        Listing::NotListed => return Err(Rejection::AddressNotListed),
        Listing::Unknown(set) => return Err(Rejection::AddressesUnknown { set: Arc::clone(set.name()) }),
    }
    if except.is_empty() {
        return Ok(());
    }
    let listing = except.list(client);
    trace.note(|| Note::Except { listed: listing.known() });
    match listing {
        Listing::Listed => Err(Rejection::AddressNotListed),
        Listing::NotListed => Ok(()),
        Listing::Unknown(set) => Err(Rejection::AddressesUnknown { set: Arc::clone(set.name()) }),
    }
}

/// What a client may do to a route even with requests that are refused: so this is all that a refused one costs. None
/// is taken when one is seen to be missing.
fn take_of_client(
    client: IpAddr,
    tables: &[Arc<ClientTable>],
    clock: Clock,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    if tables.is_empty() {
        return Ok(());
    }
    let now = clock.now();
    for (index, table) in tables.iter().enumerate() {
        trace.note(|| Note::Bucket { by: ThrottleBy::Client, index, left: table.peek(client, now).tokens });
    }
    if tables.len() > 1 {
        let levels = tables.iter().map(|table| table.peek(client, now));
        if let Some(ClientLevel { retry_after, law, .. }) = levels.max_by_key(|level| level.retry_after)
            && !retry_after.is_zero()
        {
            return Err(Rejection::Throttled(Exceeded { retry_after, law }));
        }
    }
    tables.iter().try_for_each(|table| table.take(client, now)).map_err(Rejection::Throttled)
}

fn fit(length: Option<u64>, most: u64, trace: &mut impl Trace) -> Result<(), Rejection> {
    trace.note(|| Note::Length { told: length, most });
    if length.is_some_and(|length| length > most) { Err(Rejection::BodyTooLarge) } else { Ok(()) }
}

/// A slot first, because it can be given back: a request that finds `parallel` used up takes no token.
fn take(route: &Arc<Route>, clock: Clock, trace: &mut impl Trace) -> Result<Option<Slot>, Rejection> {
    let slot = match &route.parallel {
        Some(Parallel { slots, cap }) => {
            trace.note(|| Note::Parallel { under_way: slots.taken(), cap: *cap });
            Some(slots.enter(*cap).ok_or(Rejection::Busy)?)
        }
        None => None,
    };
    if !route.buckets.is_empty() {
        let now = clock.now();
        for (index, bucket) in route.buckets.iter().enumerate() {
            trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left: bucket.left(now) });
        }
        take_all(route.buckets.iter(), now).map_err(Rejection::Throttled)?;
    }
    Ok(slot)
}

impl Permit {
    /// The route that the request was admitted to.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

#[cfg(test)]
mod tests;

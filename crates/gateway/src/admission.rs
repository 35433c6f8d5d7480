//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use gatepost_config::model::ThrottleBy;
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Nanos, Slot, take_all};

use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::snapshot::{AddressRule, Entry, Parallel, Route};
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
    /// None: those of the running gateway are looked at, and found as a request would find them.
    Observed(Clock),
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
    match meters {
        Meters::Live(clock) => take_of_client(facts.client, &route.client_tables, clock, trace)?,
        Meters::Observed(clock) => look_at_client(facts.client, &route.client_tables, clock.now(), trace)?,
        Meters::Full => {}
    }
    fit(facts.length, route.max_body, trace)?;
    let slot = match meters {
        Meters::Live(clock) => take(route, clock, trace)?,
        Meters::Observed(clock) => look(route, clock, trace)?,
        Meters::Full => None,
    };
    Ok(Permit { route: Arc::clone(route), _slot: slot })
}

fn enter(client: IpAddr, rule: &AddressRule, trace: &mut impl Trace) -> Result<(), Rejection> {
    let AddressRule { from, except } = rule;
    let listed = from.contain(client);
    trace.note(|| Note::From { listed });
    if !listed {
        return Err(Rejection::AddressNotListed);
    }
    if !except.is_empty() {
        let listed = except.contain(client);
        trace.note(|| Note::Except { listed });
        if listed {
            return Err(Rejection::AddressNotListed);
        }
    }
    Ok(())
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
    if let [table] = tables {
        let taken = table.take(client, now);
        // What it says was there: looking first would cost as much again.
        trace.note(|| Note::Bucket { by: ThrottleBy::Client, index: 0, left: taken.map_or(0, |left| left + 1) });
        return taken.map(drop).map_err(Rejection::Throttled);
    }
    look_at_client(client, tables, now, trace)?;
    tables.iter().try_for_each(|table| table.take(client, now).map(drop)).map_err(Rejection::Throttled)
}

/// Whether the client has a token in every table; the longest wait, if not.
fn look_at_client(
    client: IpAddr,
    tables: &[Arc<ClientTable>],
    now: Nanos,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let mut longest_wait: Option<Exceeded> = None;
    for (table, index) in tables.iter().zip(0..) {
        let ClientLevel { tokens, retry_after, law, .. } = table.peek(client, now);
        trace.note(|| Note::Bucket { by: ThrottleBy::Client, index, left: tokens });
        if retry_after > longest_wait.map_or(Duration::ZERO, |exceeded| exceeded.retry_after) {
            longest_wait = Some(Exceeded { retry_after, law });
        }
    }
    longest_wait.map_or(Ok(()), |exceeded| Err(Rejection::Throttled(exceeded)))
}

fn fit(length: Option<u64>, most: u64, trace: &mut impl Trace) -> Result<(), Rejection> {
    trace.note(|| Note::Length { told: length });
    if length.is_some_and(|length| length > most) { Err(Rejection::BodyTooLarge) } else { Ok(()) }
}

/// A slot first, because it can be given back: a request that finds `parallel` used up takes no token.
fn take(route: &Arc<Route>, clock: Clock, trace: &mut impl Trace) -> Result<Option<Slot>, Rejection> {
    let slot = match &route.parallel {
        Some(Parallel { slots, cap }) => {
            let entered = slots.enter(*cap);
            // Told afterwards, as it was found: others come and go meanwhile.
            trace.note(|| Note::Parallel {
                under_way: match entered {
                    Some(_) => slots.taken().clamp(1, *cap) - 1,
                    None => slots.taken().max(*cap),
                },
            });
            Some(entered.ok_or(Rejection::Busy)?)
        }
        None => None,
    };
    if !route.buckets.is_empty() {
        let now = clock.now();
        let taken = take_all(route.buckets.iter(), now);
        for (bucket, index) in route.buckets.iter().zip(0..) {
            // A bucket that is empty at this `now` stays so: whatever comes between only takes more.
            let left = || bucket.left(now) + u32::from(taken.is_ok());
            trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left: left() });
        }
        taken.map_err(Rejection::Throttled)?;
    }
    Ok(slot)
}

/// What [`take`] would find, and nothing taken.
fn look(route: &Route, clock: Clock, trace: &mut impl Trace) -> Result<Option<Slot>, Rejection> {
    if let Some(Parallel { slots, cap }) = &route.parallel {
        let under_way = slots.taken();
        trace.note(|| Note::Parallel { under_way });
        if under_way >= *cap {
            return Err(Rejection::Busy);
        }
    }
    let now = clock.now();
    let mut longest_wait: Option<Exceeded> = None;
    for (bucket, index) in route.buckets.iter().zip(0..) {
        let wait = bucket.peek(now).err();
        let left = if wait.is_some() { 0 } else { bucket.left(now).max(1) };
        trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left });
        longest_wait = longest_wait.into_iter().chain(wait).max_by_key(|exceeded| exceeded.retry_after);
    }
    longest_wait.map_or(Ok(None), |exceeded| Err(Rejection::Throttled(exceeded)))
}

impl Permit {
    /// The route that the request was admitted to.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }
}

#[cfg(test)]
mod tests;

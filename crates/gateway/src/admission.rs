//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

mod policy;

pub(crate) use self::policy::RequestArn;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_config::model::ThrottleBy;
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Nanos, Slot, take_all};

use crate::caller::Caller;
use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::signature::{Claim, Delivery, Flaw, NotRemembered, Signed, Verified, Verifier};
use crate::snapshot::{AddressRule, CallerRule, Entry, Listing, Parallel, Route};
use crate::trace::{Note, Trace};

/// Proof that a request was admitted. Only this module makes one, and no integration runs without it.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    /// Whose request it is, if that is known.
    caller: Option<Arc<Caller>>,
    /// Held until the answer has ended.
    _slot: Option<Slot>,
    /// What is forgotten again if it does not arrive.
    delivery: Option<Box<Delivery>>,
}

/// A request that may enter if its body is signed as it claims.
#[derive(Debug)]
pub(crate) struct Candidate {
    route: Arc<Route>,
    /// Whose request it is, if that is known, or claimed to be.
    caller: Option<Arc<Caller>>,
    claim: Box<Claim>,
}

/// What becomes of a request that is not refused, as far as its head tells.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is let in.
    Permit(Permit),
    /// Its body decides.
    Candidate(Candidate),
}

/// Which meters admission takes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meters {
    /// Those of the running gateway.
    Live(Clock),
    /// None: those of the running gateway are looked at, and found as a request would find them.
    Observed(Clock),
    /// None: as if every bucket were full and nothing under way. Signatures are not asked for either.
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
) -> Result<Admission, Rejection> {
    // What API Gateway does not read it does not judge (developer guide, limits: request payload).
    let is_imitated = route.api.compat.is_some();
    if is_imitated {
        fit(facts.length, route.max_body, trace)?;
    }
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
    // A Deny comes before every throttle there (request order of REST APIs).
    let policies = rules.map(|rules| &rules.policies[..]).unwrap_or_default();
    if is_imitated && !policies.is_empty() {
        policy::allow(facts, route, policies, trace)?;
    }
    match meters {
        Meters::Live(clock) => take_of_client(facts.client, &route.client_tables, clock, trace)?,
        Meters::Observed(clock) => look_at_client(facts.client, &route.client_tables, clock.now(), trace)?,
        Meters::Full => {}
    }
    let caller = match rules.and_then(|rules| rules.callers.as_ref()) {
        Some(rule) => Some(identify(facts, rule, trace)?),
        None => None,
    };
    let claim = match (rules.and_then(|rules| rules.signed.as_deref()), meters) {
        (Some(signed), Meters::Live(_) | Meters::Observed(_)) => Some(claim(facts, signed, trace)?),
        (Some(_), Meters::Full) | (None, _) => None,
    };
    if !is_imitated && !policies.is_empty() {
        policy::allow(facts, route, policies, trace)?;
    }
    if !is_imitated {
        fit(facts.length, route.max_body, trace)?;
    }
    if let Some(claim) = claim {
        if let Meters::Live(clock) = meters {
            peek(route, caller.as_deref(), clock, trace)?;
        }
        return Ok(Admission::Candidate(Candidate { route: Arc::clone(route), caller, claim }));
    }
    let slot = meters.take(route, caller.as_deref(), trace)?;
    Ok(Admission::Permit(Permit { route: Arc::clone(route), caller, _slot: slot, delivery: None }))
}

impl Meters {
    /// Takes what everyone shares, or looks at it.
    fn take(
        self,
        route: &Arc<Route>,
        caller: Option<&Caller>,
        trace: &mut impl Trace,
    ) -> Result<Option<Slot>, Rejection> {
        match self {
            Self::Live(clock) => take(route, caller, clock, trace),
            Self::Observed(clock) => look(route, caller, clock, trace),
            Self::Full => Ok(None),
        }
    }
}

impl Candidate {
    /// The route that the request wants to enter.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What verifies the body.
    ///
    /// # Errors
    /// Never: only a route that asks for signatures has candidates.
    pub(crate) fn verifier(&self) -> Result<Verifier<'_>, Rejection> {
        let signed = self.route.entry.signed().ok_or(Rejection::Unsigned)?;
        Ok(Verifier::new(signed, &self.claim))
    }

    /// Lets the request in, now that its body is `verified`. From here on its delivery is remembered, if it is to be.
    ///
    /// # Errors
    /// It was let in before, or there is no room among those under way, or no token.
    pub(crate) fn take(self, verified: Verified, clock: Clock, trace: &mut impl Trace) -> Result<Permit, Rejection> {
        let delivery = verified.remember(clock.now()).map_err(|refused| match refused {
            NotRemembered::Replayed => Rejection::Replayed,
            NotRemembered::Full => Rejection::DeliveriesFull,
        })?;
        match take(&self.route, self.caller.as_deref(), clock, trace) {
            Ok(slot) => {
                let Self { route, caller, .. } = self;
                Ok(Permit { route, caller, _slot: slot, delivery: delivery.map(Box::new) })
            }
            Err(rejection) => {
                delivery.into_iter().for_each(Delivery::forget);
                Err(rejection)
            }
        }
    }

    /// What would become of it if its body were signed as it claims: for whoever asks why, and serves nothing.
    ///
    /// # Errors
    /// As of [`Candidate::take`].
    pub(crate) fn assume_verified(self, meters: Meters, trace: &mut impl Trace) -> Result<Permit, Rejection> {
        let slot = meters.take(&self.route, self.caller.as_deref(), trace)?;
        Ok(Permit { route: self.route, caller: self.caller, _slot: slot, delivery: None })
    }
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

/// Which caller it is from, as far as its head tells.
fn identify(_: &Facts<'_>, _: &CallerRule, _: &mut impl Trace) -> Result<Arc<Caller>, Rejection> {
    Err(Rejection::AddressNotListed)
}

/// Whether the request claims a signature that could be good.
fn claim(facts: &Facts<'_>, signed: &Signed, trace: &mut impl Trace) -> Result<Box<Claim>, Rejection> {
    let claim = signed.claim(facts.headers, SystemTime::now());
    trace.note(|| Note::Signed(claim.as_ref().err().copied()));
    claim.map(Box::new).map_err(|flaw| match flaw {
        Flaw::Missing => Rejection::Unsigned,
        Flaw::Twice | Flaw::Malformed | Flaw::TooOld | Flaw::TooNew | Flaw::Wrong => Rejection::BadSignature(flaw),
    })
}

fn fit(length: Option<u64>, most: u64, trace: &mut impl Trace) -> Result<(), Rejection> {
    trace.note(|| Note::Length { told: length });
    if length.is_some_and(|length| length > most) { Err(Rejection::BodyTooLarge) } else { Ok(()) }
}

/// Looks whether there is room and a token, before much is spent on a body.
fn peek(route: &Route, _caller: Option<&Caller>, clock: Clock, trace: &mut impl Trace) -> Result<(), Rejection> {
    if let Some(Parallel { slots, cap }) = &route.parallel
        && slots.taken() >= *cap
    {
        trace.note(|| Note::Parallel { under_way: *cap });
        return Err(Rejection::Busy);
    }
    if route.buckets.is_empty() {
        return Ok(());
    }
    let now = clock.now();
    route.buckets.iter().zip(0..).try_for_each(|(bucket, index)| {
        bucket.peek(now).map_err(|exceeded| {
            trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left: 0 });
            Rejection::Throttled(exceeded)
        })
    })
}

/// A slot first, because it can be given back: a request that finds `parallel` used up takes no token.
fn take(
    route: &Arc<Route>,
    _caller: Option<&Caller>,
    clock: Clock,
    trace: &mut impl Trace,
) -> Result<Option<Slot>, Rejection> {
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
fn look(
    route: &Route,
    _caller: Option<&Caller>,
    clock: Clock,
    trace: &mut impl Trace,
) -> Result<Option<Slot>, Rejection> {
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

    /// Whose request it is, if that is known.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
    }

    /// The delivery did not arrive: its sender may try again.
    pub(crate) fn forget_delivery(&mut self) {
        self.delivery.take().into_iter().for_each(|delivery| delivery.forget());
    }
}

#[cfg(test)]
mod tests;

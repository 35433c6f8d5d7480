//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

mod identity;
mod policy;
mod token;

pub(crate) use self::policy::RequestArn;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_config::model::{ProofKind, ThrottleBy};
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Nanos, Slot, take_all};

use self::identity::{Asking, Identity, be_here, let_in};
use self::policy::Later;
use crate::caller::{BodyVerifier, Caller, ProofKinds, Proven};
use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::{Assumed, Facts, Look};
use crate::signature::{Claim, Delivery, Flaw, NotRemembered, Signed, Verified};
use crate::snapshot::{AddressRule, CallerRule, Listing, Parallel, Route};
use crate::trace::{NoTrace, Note, Trace};

/// Proof that a request was admitted. Only this module makes one, and no integration runs without it.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    /// Whose request it is, if that is known.
    caller: Option<Arc<Caller>>,
    /// How that was proven.
    proofs: ProofKinds,
    /// Held until the answer has ended.
    _slot: Option<Slot>,
    /// What is forgotten again if it does not arrive.
    deliveries: Vec<Delivery>,
}

/// A request that may enter if its body is signed as it claims.
#[derive(Debug)]
pub(crate) struct Candidate {
    route: Arc<Route>,
    client: IpAddr,
    identity: Identity,
    /// Whether its body decides who it is from.
    is_claimed: bool,
    /// Why it is refused even then: who it is from is judged before that.
    held: Option<Rejection>,
    /// What policies are asked once it is known who it is from.
    later: Option<Box<Later>>,
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
    let rules = route.entry.rules();
    if rules.is_none() {
        trace.note(|| Note::Open);
    }
    if let Some(from) = rules.and_then(|rules| rules.from.as_ref()) {
        enter(facts.client, from, trace)?;
    }
    let is_asked = facts.assumed != Assumed::Somebody;
    let asking = rules.and_then(|rules| rules.callers.as_ref()).filter(|_| is_asked);
    let asking = asking.map(|rule| (rule, Asking::new(facts, route, rule)));
    let (mut identity, mut held) = (Identity::default(), None);
    let tokens = rules.and_then(|rules| rules.token.as_ref());
    if is_imitated {
        if let Some(tokens) = tokens {
            identity.shown = token::present(facts, tokens, meters, trace)?;
        }
        held = imitate(facts, route, asking.as_ref(), meters, &mut identity, trace)?;
    }
    match meters {
        // Who is refused anyway is so before every throttle.
        _ if held.is_some() || facts.look == Look::Again => {}
        Meters::Live(clock) => take_of_client(facts.client, &route.client_tables, clock, trace)?,
        Meters::Observed(clock) => look_at_client(facts.client, &route.client_tables, clock.now(), trace)?,
        Meters::Full => {}
    }
    if let (false, Some(tokens)) = (is_imitated, tokens) {
        identity.shown = token::present(facts, tokens, meters, trace)?;
    }
    if let (false, Some((rule, asking))) = (is_imitated, &asking) {
        asking.identify(&mut identity, trace)?;
        held = hold(list(rule, &identity, trace), meters, &identity)?;
    }
    match (rules.and_then(|rules| rules.signed.as_deref()), meters) {
        (Some(signed), Meters::Live(_) | Meters::Observed(_)) if held.is_none() => {
            identity.claims.delivery = Some(claim(facts, signed, trace)?);
        }
        (Some(_) | None, _) => {}
    }
    let mut later = None;
    if !is_imitated {
        if identity.claims.signers.is_empty() || identity.caller.is_some() {
            policy::allow(facts, route, identity.caller.as_ref(), trace)?;
        } else {
            later = Later::of(facts, route);
        }
        fit(facts.length, route.max_body, trace)?;
    }
    if !identity.claims.is_empty() && !matches!(meters, Meters::Full) {
        if let (Meters::Live(clock), None) = (meters, &held) {
            peek(route, identity.caller.as_deref(), clock, trace)?;
        }
        let is_claimed = !identity.is_proven();
        let (route, client) = (Arc::clone(route), facts.client);
        return Ok(Admission::Candidate(Candidate { route, client, identity, is_claimed, held, later }));
    }
    let slot = meters.take(route, identity.caller.as_deref(), trace)?;
    let Identity { caller, proofs, shown, .. } = identity;
    let proofs = proofs.and(shown);
    Ok(Admission::Permit(Permit { route: Arc::clone(route), caller, proofs, _slot: slot, deliveries: Vec::new() }))
}

/// What is asked before any throttle where AWS is imitated: who signed the request, then policies, then keys (request
/// order of REST APIs). What it is refused for although it may be signed, if its body decides that.
fn imitate(
    facts: &Facts<'_>,
    route: &Route,
    asking: Option<&(&CallerRule, Asking<'_, '_>)>,
    meters: Meters,
    identity: &mut Identity,
    trace: &mut impl Trace,
) -> Result<Option<Rejection>, Rejection> {
    if let Some((_, asking)) = asking {
        asking.sign_in(identity, trace)?;
    }
    let allowed = policy::allow(facts, route, identity.signed_in(), trace);
    let held = hold(allowed, meters, identity)?;
    let (None, Some((rule, asking))) = (&held, asking) else { return Ok(held) };
    let checked = asking.check_in(identity, trace);
    let listed = checked.and_then(|()| list(rule, identity, trace));
    hold(listed, meters, identity)
}

/// Whether the route lets in who it is from. Of who only claims to be somebody nothing is told yet.
fn list(rule: &CallerRule, identity: &Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
    match &identity.caller {
        Some(caller) if identity.is_proven() => let_in(rule, caller, identity.proofs, trace),
        Some(caller) => let_in(rule, caller, identity.proofs, &mut NoTrace),
        None => Ok(()),
    }
}

/// Refuses, unless it is not known yet who it is from: whether its credentials are good comes before what they are good
/// for.
fn hold(judged: Result<(), Rejection>, meters: Meters, identity: &Identity) -> Result<Option<Rejection>, Rejection> {
    match judged {
        Ok(()) => Ok(None),
        Err(rejection) if identity.is_proven() || matches!(meters, Meters::Full) => Err(rejection),
        Err(rejection) => Ok(Some(rejection)),
    }
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

    /// Why it is refused even if its body is signed as it claims.
    pub(crate) fn held(&self) -> Option<&Rejection> {
        self.held.as_ref()
    }

    /// What verifies the body. To be asked for once.
    pub(crate) fn verifier(&mut self) -> BodyVerifier<'_> {
        let Self { route, identity: Identity { caller, claims, .. }, .. } = self;
        claims.verifier(route.entry.signed(), caller.as_ref())
    }

    /// Lets the request in, now that what it claims is `proven`. From here on its delivery is remembered, if it is to be.
    ///
    /// # Errors
    /// It is from somebody who may not enter, or was let in before, or there is no room among those under way, or no
    /// token.
    pub(crate) fn take(mut self, proven: Proven, clock: Clock, trace: &mut impl Trace) -> Result<Permit, Rejection> {
        let Proven { delivery, signer } = proven;
        let (signer, signed) = signer.unzip();
        self.settle(signer, trace)?;
        let deliveries = remember(delivery.into_iter().chain(signed), clock.now())?;
        match take(&self.route, self.identity.caller.as_deref(), clock, trace) {
            Ok(slot) => Ok(self.permit(slot, deliveries)),
            Err(rejection) => {
                deliveries.into_iter().for_each(Delivery::forget);
                Err(rejection)
            }
        }
    }

    /// What would become of it if its body were signed as it claims: for whoever asks why, and serves nothing.
    ///
    /// # Errors
    /// As of [`Candidate::take`].
    pub(crate) fn assume_verified(mut self, meters: Meters, trace: &mut impl Trace) -> Result<Permit, Rejection> {
        let signer = self.identity.claims.signers.first().map(|signer| Arc::clone(&signer.caller));
        self.settle(signer, trace)?;
        let slot = meters.take(&self.route, self.identity.caller.as_deref(), trace)?;
        Ok(self.permit(slot, Vec::new()))
    }

    /// Judges what depends on who it is from, where only the body has told.
    fn settle(&mut self, signer: Option<Arc<Caller>>, trace: &mut impl Trace) -> Result<(), Rejection> {
        let Self { route, client, identity, is_claimed, held, later } = self;
        if let (None, Some(signer)) = (&identity.caller, signer) {
            be_here(&signer, ProofKind::Signed, *client, trace)?;
            identity.caller = Some(signer);
        }
        let caller = identity.caller.as_ref();
        let listed = match (route.entry.callers(), caller) {
            (Some(rule), Some(caller)) if *is_claimed => let_in(rule, caller, identity.proofs, trace),
            _ => Ok(()),
        };
        if let Some(held) = held.take() {
            return Err(held);
        }
        listed?;
        later.take().map_or(Ok(()), |later| policy::allow(&later.facts(), route, caller, trace))
    }

    fn permit(self, slot: Option<Slot>, deliveries: Vec<Delivery>) -> Permit {
        let Self { route, identity: Identity { caller, proofs, shown, .. }, .. } = self;
        Permit { route, caller, proofs: proofs.and(shown), _slot: slot, deliveries }
    }
}

/// Remembers all of them, or none.
fn remember(all: impl Iterator<Item = Verified>, now: Nanos) -> Result<Vec<Delivery>, Rejection> {
    let mut deliveries = Vec::new();
    for verified in all {
        match verified.remember(now) {
            Ok(delivery) => deliveries.extend(delivery),
            Err(refused) => {
                deliveries.into_iter().for_each(Delivery::forget);
                return Err(match refused {
                    NotRemembered::Replayed => Rejection::Replayed,
                    NotRemembered::Full => Rejection::DeliveriesFull,
                });
            }
        }
    }
    Ok(deliveries)
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

    /// The proofs that the request's headers may hold: those that were given, and keys wherever they are proofs.
    pub(crate) fn proofs(&self) -> ProofKinds {
        let keys = self.route.entry.callers().map_or(ProofKinds::NONE, |rule| rule.kinds.within(ProofKinds::KEYS));
        self.proofs.and(keys)
    }

    /// The delivery did not arrive: its sender may try again.
    pub(crate) fn forget_delivery(&mut self) {
        self.deliveries.drain(..).for_each(Delivery::forget);
    }
}

#[cfg(test)]
mod tests;

//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

mod identity;
mod policy;
mod shared;
mod token;

pub(crate) use self::policy::RequestArn;
pub(crate) use self::shared::{Entered, Entrant, PATIENCE, Parked};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_config::model::{ProofKind, ThrottleBy};
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Level, Nanos, UnixSeconds};

use self::identity::{Asking, Identity, be_here, let_in};
use self::policy::Later;
use self::shared::{Taken, count_refused, enter as enter_shared, look, peek};
use crate::caller::{BodyVerifier, Caller, ProofKinds, Proven, Spending};
use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::{Assumed, Facts};
use crate::signature::{Claim, Delivery, Flaw, NotRemembered, Signed, Verified};
use crate::snapshot::{AddressRule, CallerRule, Listing, Route};
use crate::trace::{NoTrace, Note, Trace};
use crate::wall::Moment;

/// Proof that a request was admitted. Only this module makes one, and no integration runs without it.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    /// How it was proven whose request it is.
    proofs: ProofKinds,
    /// Held until the answer has ended.
    taken: Taken,
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
    /// It waits for the ledger of a quota or a budget.
    Parked(Box<Parked>),
}

/// The clock that throttles go by, and the moment that all else is judged at.
#[derive(Debug)]
pub(crate) struct Times<'c> {
    pub(crate) clock: Clock,
    pub(crate) wall: Moment<'c>,
}

/// Which meters admission takes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meters<'c> {
    /// Those of the running gateway.
    Live(&'c Times<'c>),
    /// None: those of the running gateway are looked at, and found as a request would find them.
    Observed(&'c Times<'c>),
    /// None: as if every bucket were full and nothing under way. Signatures are not asked for either. The time is this
    /// machine's.
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
    meters: Meters<'_>,
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
    let asking = asking.map(|rule| (rule, Asking::new(facts, route, rule, meters)));
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
        _ if held.is_some() => {}
        Meters::Live(times) => take_of_client(facts, &route.client_tables, times.clock, trace)?,
        Meters::Observed(times) => look_at_client(facts, &route.client_tables, times.clock.now(), trace)?,
        Meters::Full => {}
    }
    if let (false, Some(tokens)) = (is_imitated, tokens) {
        identity.shown = token::present(facts, tokens, meters, trace)?;
    }
    if let (false, Some((_, asking))) = (is_imitated, &asking) {
        asking.identify(&mut identity, trace)?;
    }
    let rule = asking.as_ref().filter(|_| !is_imitated).map(|(rule, _)| *rule);
    let later = pass(facts, route, rule, meters, &mut identity, &mut held, trace).inspect_err(|_| {
        if let Meters::Live(times) = meters {
            count_refused(route, identity.known(), times);
        }
    })?;
    if !identity.claims.is_empty() && !matches!(meters, Meters::Full) {
        let is_claimed = !identity.is_proven();
        let (route, client) = (Arc::clone(route), facts.client);
        return Ok(Admission::Candidate(Candidate { route, client, identity, is_claimed, held, later }));
    }
    Ok(match meters.enter(route, identity.entrant(), trace)? {
        Entered::Permit(permit) => Admission::Permit(permit),
        Entered::Parked(parked) => Admission::Parked(parked),
    })
}

/// What is asked of a request once it is known who it is from, or claims to be: natively whether the route lets that one
/// in, then policies; and what its head tells of its body. What policies are asked later.
fn pass(
    facts: &Facts<'_>,
    route: &Arc<Route>,
    rule: Option<&CallerRule>,
    meters: Meters<'_>,
    identity: &mut Identity,
    held: &mut Option<Rejection>,
    trace: &mut impl Trace,
) -> Result<Option<Box<Later>>, Rejection> {
    if matches!(meters, Meters::Full)
        && let Some(doubt) = identity.doubt.take()
    {
        return Err(doubt.tell(trace));
    }
    if let Some(rule) = rule {
        *held = hold(list(rule, identity, trace), meters, identity)?;
    }
    match (route.entry.signed(), meters) {
        (Some(signed), Meters::Live(times) | Meters::Observed(times)) if held.is_none() => {
            identity.claims.delivery = Some(claim(facts, signed, times.wall.time(), trace)?);
        }
        (Some(_) | None, _) => {}
    }
    let mut later = None;
    if route.api.compat.is_none() {
        if identity.caller.is_none() && !identity.claims.signers.is_empty() {
            later = Later::of(facts, route);
        } else if held.is_none() && identity.doubt.is_none() {
            let allowed = policy::allow(facts, route, identity.caller.as_ref(), meters, trace);
            *held = hold(allowed, meters, identity)?;
        }
        fit(facts.length, route.max_body, trace)?;
    }
    if let (Meters::Live(times), None, false) = (meters, &held, identity.claims.is_empty()) {
        peek(route, identity.known(), times, trace)?;
    }
    Ok(later)
}

/// What is asked before any throttle where AWS is imitated: who signed the request, then policies, then keys (request
/// order of REST APIs). What it is refused for although it may be signed, if its body decides that.
fn imitate(
    facts: &Facts<'_>,
    route: &Route,
    asking: Option<&(&CallerRule, Asking<'_, '_>)>,
    meters: Meters<'_>,
    identity: &mut Identity,
    trace: &mut impl Trace,
) -> Result<Option<Rejection>, Rejection> {
    if let Some((_, asking)) = asking {
        asking.sign_in(identity, trace)?;
    }
    let allowed = policy::allow(facts, route, identity.signed_in(), meters, trace);
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
fn hold(
    judged: Result<(), Rejection>,
    meters: Meters<'_>,
    identity: &Identity,
) -> Result<Option<Rejection>, Rejection> {
    match judged {
        Ok(()) => Ok(None),
        Err(rejection) if identity.is_proven() || matches!(meters, Meters::Full) => Err(rejection),
        Err(rejection) => Ok(Some(rejection)),
    }
}

impl Meters<'_> {
    /// The time by the wall clock: of what is served or observed the same whenever it is asked for.
    fn time(self) -> SystemTime {
        match self {
            Self::Live(times) | Self::Observed(times) => times.wall.time(),
            Self::Full => SystemTime::now(),
        }
    }

    /// Takes what is shared, or looks at it.
    fn enter(self, route: &Arc<Route>, entrant: Entrant, trace: &mut impl Trace) -> Result<Entered, Rejection> {
        match self {
            Self::Live(times) => enter_shared(route, entrant, Vec::new(), times, trace),
            Self::Observed(times) => look(route, entrant, times, trace).map(Entered::Permit),
            Self::Full => Ok(Entered::Permit(Permit::without_meters(route, entrant))),
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
    pub(crate) fn take(
        mut self,
        proven: Proven,
        times: &Times<'_>,
        trace: &mut impl Trace,
    ) -> Result<Entered, Rejection> {
        let Proven { delivery, signer } = proven;
        let (signer, signed) = signer.unzip();
        let settled = self.settle(signer, Meters::Live(times), trace);
        let remembered = settled.and_then(|()| remember(delivery.into_iter().chain(signed), times.clock.now()));
        // By now it is known who it is from.
        let refused = |_: &Rejection| count_refused(&self.route, self.identity.caller.as_deref(), times);
        let deliveries = remembered.inspect_err(refused)?;
        enter_shared(&self.route, self.identity.entrant(), deliveries, times, trace)
    }

    /// Its body is not what it claims, or did not come. It counts as one of its caller's, if the head has proven that.
    pub(crate) fn refused(&self, times: &Times<'_>) {
        if !self.is_claimed {
            count_refused(&self.route, self.identity.caller.as_deref(), times);
        }
    }

    /// What would become of it if its body were signed as it claims: for whoever asks why, and serves nothing.
    ///
    /// # Errors
    /// As of [`Candidate::take`].
    pub(crate) fn assume_verified(mut self, meters: Meters<'_>, trace: &mut impl Trace) -> Result<Entered, Rejection> {
        let signer = self.identity.claims.signers.first().map(|signer| Arc::clone(&signer.caller));
        self.settle(signer, meters, trace)?;
        meters.enter(&self.route, self.identity.entrant(), trace)
    }

    /// Judges what depends on who it is from, where only the body has told.
    fn settle(
        &mut self,
        signer: Option<Arc<Caller>>,
        meters: Meters<'_>,
        trace: &mut impl Trace,
    ) -> Result<(), Rejection> {
        let Self { route, client, identity, is_claimed, held, later } = self;
        if let Some(doubt) = identity.doubt.take() {
            return Err(doubt.tell(trace));
        }
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
        later.take().map_or(Ok(()), |later| policy::allow(&later.facts(), route, caller, meters, trace))
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
    facts: &Facts<'_>,
    tables: &[Arc<ClientTable>],
    clock: Clock,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    if tables.is_empty() {
        return Ok(());
    }
    let now = clock.now();
    if let [table] = tables
        && facts.owes(table)
    {
        let taken = table.take(facts.client, now);
        // What it says was there: looking first would cost as much again.
        trace.note(|| Note::Bucket { by: ThrottleBy::Client, index: 0, left: taken.map_or(0, |left| left + 1) });
        return taken.map(drop).map_err(Rejection::Throttled);
    }
    look_at_client(facts, tables, now, trace)?;
    let mut owed = tables.iter().filter(|table| facts.owes(table));
    owed.try_for_each(|table| table.take(facts.client, now).map(drop)).map_err(Rejection::Throttled)
}

/// Whether the client has a token in every table; the longest wait, if not.
fn look_at_client(
    facts: &Facts<'_>,
    tables: &[Arc<ClientTable>],
    now: Nanos,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let mut longest_wait: Option<Exceeded> = None;
    for (table, index) in tables.iter().zip(0..).filter(|(table, _)| facts.owes(table)) {
        let ClientLevel { tokens, retry_after, law, .. } = table.peek(facts.client, now);
        trace.note(|| Note::Bucket { by: ThrottleBy::Client, index, left: tokens });
        if retry_after > longest_wait.map_or(Duration::ZERO, |exceeded| exceeded.retry_after) {
            longest_wait = Some(Exceeded { retry_after, law });
        }
    }
    longest_wait.map_or(Ok(()), |exceeded| Err(Rejection::Throttled(exceeded)))
}

/// Whether the request claims a signature that could be good.
fn claim(facts: &Facts<'_>, signed: &Signed, now: SystemTime, trace: &mut impl Trace) -> Result<Box<Claim>, Rejection> {
    let claim = signed.claim(facts.headers, now);
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

impl Permit {
    /// The route that the request was admitted to.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// What its caller's quota is after it, and when that was.
    pub(crate) fn level(&self) -> Option<(Level, UnixSeconds)> {
        self.taken.level
    }

    /// What pays for the bytes of the answer. It is taken once.
    pub(crate) fn take_spending(&mut self) -> Option<Box<Spending>> {
        self.taken.spending.take()
    }

    /// So many bytes of the answer went to the client, in all.
    pub(crate) fn sent(&self, bytes: u64) {
        self.taken.counting.iter().for_each(|counting| counting.sent(bytes));
    }

    /// For judging, where nothing is taken.
    fn without_meters(route: &Arc<Route>, entrant: Entrant) -> Self {
        Self { route: Arc::clone(route), proofs: entrant.proofs, taken: Taken::default(), deliveries: Vec::new() }
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

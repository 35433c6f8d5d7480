//! Whether a request may enter. One function, over the facts of the request, a route and the meters; whoever wants to
//! know why asks that same function.

mod policy;
mod shared;

pub(crate) use self::policy::RequestArn;
pub(crate) use self::shared::{Entered, Entrant, PATIENCE, Parked};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_config::model::ThrottleBy;
use gatepost_meter::{ClientLevel, ClientTable, Exceeded, Level, Nanos, UnixSeconds};

use self::shared::{Taken, count_refused, enter as enter_shared, look, peek};
use crate::caller::{Caller, Spending};
use crate::clock::Clock;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::signature::{Claim, Delivery, Flaw, NotRemembered, Signed, Verified, Verifier};
use crate::snapshot::{AddressRule, CallerRule, Entry, Listing, Route, Rules};
use crate::trace::{Note, Trace};
use crate::wall::WallClock;

/// Proof that a request was admitted. Only this module makes one, and no integration runs without it.
#[derive(Debug)]
pub(crate) struct Permit {
    route: Arc<Route>,
    /// Whose request it is, if that is known.
    caller: Option<Arc<Caller>>,
    /// Held until the answer has ended.
    taken: Taken,
    /// What is forgotten again if it does not arrive.
    delivery: Option<Box<Delivery>>,
}

/// A request that may enter if its body is signed as it claims.
#[derive(Debug)]
pub(crate) struct Candidate {
    route: Arc<Route>,
    /// Whose request it is, if that is known, or claimed to be.
    entrant: Entrant,
    claim: Box<Claim>,
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

/// The clocks that meters go by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times<'c> {
    pub(crate) clock: Clock,
    pub(crate) wall: &'c WallClock,
}

/// Which meters admission takes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meters<'c> {
    /// Those of the running gateway.
    Live(Times<'c>),
    /// None: those of the running gateway are looked at, and found as a request would find them.
    Observed(Times<'c>),
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
    meters: Meters<'_>,
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
        Meters::Live(Times { clock, .. }) => take_of_client(facts.client, &route.client_tables, clock, trace)?,
        Meters::Observed(Times { clock, .. }) => {
            look_at_client(facts.client, &route.client_tables, clock.now(), trace)?;
        }
        Meters::Full => {}
    }
    let entrant = match rules.and_then(|rules| rules.callers.as_ref()) {
        Some(rule) => identify(facts, rule, trace)?,
        None => Entrant::default(),
    };
    let claim = pass(facts, route, rules, meters, &entrant, trace).inspect_err(|_| {
        if let Meters::Live(times) = meters {
            count_refused(route, entrant.caller.as_deref(), times);
        }
    })?;
    match claim {
        Some(claim) => Ok(Admission::Candidate(Candidate { route: Arc::clone(route), entrant, claim })),
        None => Ok(match meters.enter(route, entrant, trace)? {
            Entered::Permit(permit) => Admission::Permit(permit),
            Entered::Parked(parked) => Admission::Parked(parked),
        }),
    }
}

/// What is asked of a request once it is known whose it is, as far as its head tells. The claim that its body must prove,
/// if it must.
fn pass(
    facts: &Facts<'_>,
    route: &Arc<Route>,
    rules: Option<&Rules>,
    meters: Meters<'_>,
    entrant: &Entrant,
    trace: &mut impl Trace,
) -> Result<Option<Box<Claim>>, Rejection> {
    let is_imitated = route.api.compat.is_some();
    let policies = rules.map(|rules| &rules.policies[..]).unwrap_or_default();
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
    if let (Some(_), Meters::Live(times)) = (&claim, meters) {
        peek(route, entrant.caller.as_deref(), times, trace)?;
    }
    Ok(claim)
}

impl Meters<'_> {
    /// Takes what is shared, or looks at it.
    fn enter(self, route: &Arc<Route>, entrant: Entrant, trace: &mut impl Trace) -> Result<Entered, Rejection> {
        match self {
            Self::Live(times) => enter_shared(route, entrant, None, times, trace),
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
    pub(crate) fn take(
        self,
        verified: Verified,
        times: Times<'_>,
        trace: &mut impl Trace,
    ) -> Result<Entered, Rejection> {
        let remembered = verified.remember(times.clock.now()).map_err(|refused| match refused {
            NotRemembered::Replayed => Rejection::Replayed,
            NotRemembered::Full => Rejection::DeliveriesFull,
        });
        let delivery = remembered.inspect_err(|_| self.refused(times))?;
        enter_shared(&self.route, self.entrant, delivery.map(Box::new), times, trace)
    }

    /// Its body is not what it claims, or did not come.
    pub(crate) fn refused(&self, times: Times<'_>) {
        count_refused(&self.route, self.entrant.caller.as_deref(), times);
    }

    /// What would become of it if its body were signed as it claims: for whoever asks why, and serves nothing.
    ///
    /// # Errors
    /// As of [`Candidate::take`].
    pub(crate) fn assume_verified(self, meters: Meters<'_>, trace: &mut impl Trace) -> Result<Entered, Rejection> {
        meters.enter(&self.route, self.entrant, trace)
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

/// Which caller it is from, as far as its head tells: by its API key alone.
fn identify(facts: &Facts<'_>, rule: &CallerRule, _: &mut impl Trace) -> Result<Entrant, Rejection> {
    use gatepost_config::model::KeyHash;
    let key = facts.headers.get("x-api-key").ok_or(Rejection::AddressNotListed)?;
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.as_bytes());
    let key = KeyHash(digest.as_ref().try_into().map_err(|_| Rejection::AddressNotListed)?);
    let caller = rule.known.all().iter().find(|caller| caller.written.keys.contains(&key));
    let caller = caller.ok_or(Rejection::AddressNotListed)?;
    match &rule.who {
        crate::snapshot::Who::Named(numbers) if !numbers.contains(&caller.number) => Err(Rejection::AddressNotListed),
        crate::snapshot::Who::Any | crate::snapshot::Who::Named(_) => {
            Ok(Entrant { caller: Some(Arc::clone(caller)), key: Some(key) })
        }
    }
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

impl Permit {
    /// The route that the request was admitted to.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Whose request it is, if that is known.
    pub(crate) fn caller(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref()
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
        Self { route: Arc::clone(route), caller: entrant.caller, taken: Taken::default(), delivery: None }
    }

    /// The delivery did not arrive: its sender may try again.
    pub(crate) fn forget_delivery(&mut self) {
        self.delivery.take().into_iter().for_each(|delivery| delivery.forget());
    }
}

#[cfg(test)]
mod tests;

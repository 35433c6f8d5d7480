//! What everybody shares, or a caller's requests do: places among those under way, tokens, and units of quotas and
//! budgets. Taken last, all of it or nothing.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gatepost_config::model::{KeyHash, ThrottleBy};
use gatepost_meter::{
    Bucket, Exceeded, Lacking, Level, Nanos, Period, Slot, Slots, Unavailable, UnixSeconds, Window, take_all,
};

use super::{Permit, Times};
use crate::caller::{
    Account, AtRoute, Books, Budget, Caller, Counter, PlanBucket, Prepaid, ProofKinds, Reserved, Spending, State,
    laws_at,
};
use crate::rejection::{Rejection, Used, Whose};
use crate::signature::Delivery;
use crate::snapshot::{Parallel, Route};
use crate::trace::{AccountOf, Found, Note, Trace};

/// Whose request it is, as far as that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entrant {
    /// Absent: nobody was asked who they are.
    pub(crate) caller: Option<Arc<Caller>>,
    /// How that was proven.
    pub(crate) proofs: ProofKinds,
    /// The API key that it came with.
    pub(crate) key: Option<KeyHash>,
}

/// What a request holds until its answer has ended, and what it is told.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) _slots: [Option<Slot>; 2],
    /// Of its caller's quota, after it.
    pub(super) level: Option<(Level, UnixSeconds)>,
    pub(super) spending: Option<Box<Spending>>,
    pub(super) counting: Option<Counting>,
}

/// Where the bytes of an answer are counted.
#[derive(Debug)]
pub(super) struct Counting {
    counter: Arc<Counter>,
    books: Arc<Books>,
    /// The day of the request.
    day: Window,
}

/// A request that finds nobody to tell whether there are units left. It waits for that, and then takes everything anew.
#[derive(Debug)]
pub(crate) struct Parked {
    route: Arc<Route>,
    entrant: Entrant,
    deliveries: Vec<Delivery>,
    lack: Lack,
}

/// What may enter, or waits.
#[derive(Debug)]
pub(crate) enum Entered {
    Permit(Permit),
    Parked(Box<Parked>),
}

/// Units that nobody can tell of yet.
#[derive(Debug)]
struct Lack {
    account: Arc<Account>,
    of: AccountOf,
    units: u64,
}

/// Everything was taken, or nothing, because of a lack of news.
enum Outcome {
    Taken(Taken),
    Lacking(Lack),
}

/// What a caller has at the route.
#[derive(Clone, Copy)]
struct Own<'m> {
    caller: &'m Caller,
    state: &'m State,
    at_route: &'m AtRoute,
}

/// How long a request waits for the ledger.
pub(crate) const PATIENCE: Duration = Duration::from_millis(50);

/// Takes everything, and lets the request in or makes it wait. `deliveries` are forgotten if it is refused.
pub(super) fn enter(
    route: &Arc<Route>,
    entrant: Entrant,
    deliveries: Vec<Delivery>,
    times: &Times<'_>,
    trace: &mut impl Trace,
) -> Result<Entered, Rejection> {
    match take(route, &entrant, times, trace) {
        Ok(Outcome::Taken(taken)) => {
            let route = Arc::clone(route);
            Ok(Entered::Permit(Permit { route, proofs: entrant.proofs, taken, deliveries }))
        }
        Ok(Outcome::Lacking(lack)) => {
            Ok(Entered::Parked(Box::new(Parked { route: Arc::clone(route), entrant, deliveries, lack })))
        }
        Err(rejection) => {
            deliveries.into_iter().for_each(Delivery::forget);
            count_refused(route, entrant.caller.as_deref(), times);
            Err(rejection)
        }
    }
}

/// Counts a refused request of a caller.
pub(super) fn count_refused(route: &Route, caller: Option<&Caller>, times: &Times<'_>) {
    if let (Some(caller), Some(met)) = (caller, &route.callers) {
        let day = Period::Day.at(times.wall.now());
        caller.meters.counter(met, times.clock).refused(day, &caller.meters.books().tally);
    }
}

fn take(route: &Route, entrant: &Entrant, times: &Times<'_>, trace: &mut impl Trace) -> Result<Outcome, Rejection> {
    match (entrant.caller.as_deref(), &route.callers) {
        (Some(caller), Some(met)) => caller.meters.at(met, times.clock, |state, at_route| {
            take_as(route, Some(Own { caller, state, at_route }), entrant.key, times, trace)
        }),
        _ => take_as(route, None, None, times, trace),
    }
}

/// Slots first, because they can be given back: a request that finds `parallel` used up takes no token. Then units, which
/// can be given back too. Tokens last: so their buckets are looked at before, and what they refuse takes no unit.
fn take_as(
    route: &Route,
    own: Option<Own<'_>>,
    key: Option<KeyHash>,
    times: &Times<'_>,
    trace: &mut impl Trace,
) -> Result<Outcome, Rejection> {
    let slots = Places::enter(route, own, trace)?;
    let buckets = route.buckets.iter().chain(own.iter().flat_map(|own| own.at_route.buckets.iter()));
    // Read once: nothing waits from here on, and a time that has passed meanwhile only refuses too much.
    let now = buckets.clone().next().map(|_| times.clock.now());
    let accounts = accounts(route, own);
    let wall = if own.is_some() || route.budget.is_some() { times.wall.now() } else { UnixSeconds(0) };
    let mut reserved: [Option<Reserved<'_>>; 3] = [None, None, None];
    if accounts.iter().any(Option::is_some) {
        if let Some(now) = now
            && let Some(exceeded) = longest_wait(buckets.clone(), now)
        {
            slots.tell(trace);
            tell_buckets(route, own, now, 0, trace);
            return Err(Rejection::Throttled(exceeded));
        }
        for (place, wanted) in reserved.iter_mut().zip(&accounts).filter_map(with_account) {
            let Wanted { account, least: units, of, .. } = wanted;
            match wanted.reserve(wall) {
                Ok(units) => *place = Some(units),
                Err(Lacking::Spent { window, limit }) => {
                    slots.tell(trace);
                    trace.note(|| Note::Account { of, found: Found::Spent });
                    return Err(spent(of, Used::new(limit, window, wall)));
                }
                Err(Lacking::Waiting) => {
                    return Ok(Outcome::Lacking(Lack { account: Arc::clone(account), of, units }));
                }
                Err(Lacking::Unavailable) => {
                    slots.tell(trace);
                    trace.note(|| Note::Account { of, found: Found::Unavailable });
                    return Err(Rejection::QuotaUnavailable);
                }
            }
        }
    }
    slots.tell(trace);
    for (units, Wanted { of, .. }) in reserved.iter().zip(&accounts).filter_map(with_units) {
        trace.note(|| Note::Account { of, found: Found::Left(units.level().left + units.units()) });
    }
    if let Some(now) = now {
        let taken = take_all(buckets, now);
        // A bucket that is empty at this `now` stays so: whatever comes between only takes more.
        tell_buckets(route, own, now, u32::from(taken.is_ok()), trace);
        taken.map_err(Rejection::Throttled)?;
    }
    let [quota, of_caller, of_route] = &reserved;
    let level = quota.as_ref().map(|units| (units.level(), wall));
    let spending = if of_caller.is_some() || of_route.is_some() {
        fn paid<'b>(budget: Option<&'b Budget>, units: &Option<Reserved<'_>>) -> Option<(&'b Budget, Prepaid)> {
            let (budget, units) = budget.zip(units.as_ref())?;
            Some((budget, budget.prepaid(units)))
        }
        let budgets =
            [paid(own.and_then(|own| own.state.budget.as_ref()), of_caller), paid(route.budget.as_ref(), of_route)];
        Spending::of(budgets, times.wall.clock())
    } else {
        None
    };
    reserved.into_iter().flatten().for_each(Reserved::keep);
    let counting = own.map(|own| Counting::of(own, key, wall));
    Ok(Outcome::Taken(Taken { _slots: slots.slots, level, spending, counting }))
}

/// What a request takes of an account, and whose it is.
#[derive(Clone, Copy)]
struct Wanted<'m> {
    account: &'m Arc<Account>,
    /// How many units, if there are so many.
    units: u64,
    /// With fewer it is refused.
    least: u64,
    of: AccountOf,
}

impl<'m> Wanted<'m> {
    fn one(account: &'m Arc<Account>, of: AccountOf) -> Self {
        Self { account, units: 1, least: 1, of }
    }

    fn money(budget: &'m Budget, of: AccountOf) -> Self {
        let Budget { account, .. } = budget;
        Self { account, units: budget.on_admission(), least: budget.least_on_admission(), of }
    }

    fn reserve(&self, now: UnixSeconds) -> Result<Reserved<'m>, Lacking> {
        match self.account.reserve(self.units, now) {
            Err(_) if self.least < self.units => self.account.reserve(self.least, now),
            reserved => reserved,
        }
    }
}

/// The caller's quota, its budget, that of the route.
fn accounts<'m>(route: &'m Route, own: Option<Own<'m>>) -> [Option<Wanted<'m>>; 3] {
    let [quota, budget] = own.map(|own| own_accounts(own.state, own.caller.number)).unwrap_or_default();
    [quota, budget, route.budget.as_ref().map(|of_route| Wanted::money(of_route, AccountOf::RouteBudget))]
}

fn own_accounts(state: &State, number: u32) -> [Option<Wanted<'_>>; 2] {
    let quota = state.quota.as_ref().map(|quota| Wanted::one(quota, AccountOf::Quota(number)));
    [quota, state.budget.as_ref().map(|budget| Wanted::money(budget, AccountOf::Budget(number)))]
}

fn with_account<'m, P>((place, wanted): (P, &Option<Wanted<'m>>)) -> Option<(P, Wanted<'m>)> {
    wanted.map(|wanted| (place, wanted))
}

fn with_units<'a, 'm>(
    (units, wanted): (&'a Option<Reserved<'m>>, &Option<Wanted<'m>>),
) -> Option<(&'a Reserved<'m>, Wanted<'m>)> {
    units.as_ref().zip(*wanted)
}

fn spent(of: AccountOf, used: Used) -> Rejection {
    match of {
        AccountOf::Quota(_) => Rejection::QuotaExceeded(used),
        AccountOf::Budget(_) => Rejection::BudgetSpent(Whose::Caller, used),
        AccountOf::RouteBudget => Rejection::BudgetSpent(Whose::Route, used),
    }
}

fn longest_wait<'a>(buckets: impl Iterator<Item = &'a Arc<Bucket>>, now: Nanos) -> Option<Exceeded> {
    buckets.filter_map(|bucket| bucket.peek(now).err()).max_by_key(|exceeded| exceeded.retry_after)
}

/// Notes how many tokens each bucket has, `more` than it has now.
fn tell_buckets(route: &Route, own: Option<Own<'_>>, now: Nanos, more: u32, trace: &mut impl Trace) {
    for (bucket, index) in route.buckets.iter().zip(0..) {
        trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left: bucket.left(now) + more });
    }
    let Some(own) = own else { return };
    let caller = own.caller.number;
    for (bucket, place) in own.at_route.buckets.iter().zip(0..) {
        trace.note(|| bucket_note(own.at_route.plan, caller, place, bucket.left(now) + more));
    }
}

/// Of the bucket in this place among those of a caller at a route.
fn bucket_note(plan: Option<PlanBucket>, caller: u32, place: u32, left: u32) -> Note {
    match plan {
        Some(whose) if place == 0 => Note::PlanBucket { caller, of_route: whose == PlanBucket::OfRoute, left },
        Some(_) => Note::Bucket { by: ThrottleBy::Caller, index: place - 1, left },
        None => Note::Bucket { by: ThrottleBy::Caller, index: place, left },
    }
}

/// Places among the requests under way: of the route, and of the caller.
struct Places {
    slots: [Option<Slot>; 2],
    /// What each was found to have under way.
    notes: [Option<Note>; 2],
}

impl Places {
    fn enter(route: &Route, own: Option<Own<'_>>, trace: &mut impl Trace) -> Result<Self, Rejection> {
        let mut places = Self { slots: [None, None], notes: [None, None] };
        if let Some(Parallel { slots, cap }) = &route.parallel {
            places.take(0, slots, *cap, |under_way| Note::Parallel { under_way }, trace)?;
        }
        if let Some(own) = own
            && let Some(cap) = own.caller.written.parallel
        {
            let caller = own.caller.number;
            let note = |under_way| Note::CallerParallel { caller, under_way };
            places.take(1, &own.state.slots, cap.get(), note, trace)?;
        }
        Ok(places)
    }

    fn take(
        &mut self,
        place: usize,
        slots: &Arc<Slots>,
        cap: usize,
        note: impl FnOnce(usize) -> Note,
        trace: &mut impl Trace,
    ) -> Result<(), Rejection> {
        let slot = slots.enter(cap);
        // Looked at afterwards: others come and go meanwhile.
        let taken = slots.taken();
        let Some(slot) = slot else {
            self.tell(trace);
            trace.note(|| note(taken.max(cap)));
            return Err(Rejection::Busy);
        };
        self.slots[place] = Some(slot);
        self.notes[place] = Some(note(taken.clamp(1, cap) - 1));
        Ok(())
    }

    fn tell(&self, trace: &mut impl Trace) {
        self.notes.iter().flatten().for_each(|note| trace.note(|| note.clone()));
    }
}

/// Looks whether there is room, a token and a unit, before much is spent on a body. Whoever is refused here is not counted
/// yet.
pub(super) fn peek(
    route: &Route,
    caller: Option<&Caller>,
    times: &Times<'_>,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    if let Some(Parallel { slots, cap }) = &route.parallel
        && slots.taken() >= *cap
    {
        trace.note(|| Note::Parallel { under_way: *cap });
        return Err(Rejection::Busy);
    }
    if !route.buckets.is_empty() {
        let now = times.clock.now();
        for (bucket, index) in route.buckets.iter().zip(0..) {
            if let Err(exceeded) = bucket.peek(now) {
                trace.note(|| Note::Bucket { by: ThrottleBy::Everyone, index, left: 0 });
                return Err(Rejection::Throttled(exceeded));
            }
        }
    }
    match (caller, &route.callers) {
        (Some(caller), Some(met)) => caller.meters.at(met, times.clock, |state, at_route| {
            let own = Own { caller, state, at_route };
            peek_own(own, times, trace)?;
            peek_accounts(accounts(route, Some(own)), times, trace)
        }),
        _ if route.budget.is_some() => peek_accounts(accounts(route, None), times, trace),
        _ => Ok(()),
    }
}

fn peek_own(own: Own<'_>, times: &Times<'_>, trace: &mut impl Trace) -> Result<(), Rejection> {
    let Own { caller, state, at_route } = own;
    if let Some(cap) = caller.written.parallel
        && state.slots.taken() >= cap.get()
    {
        trace.note(|| Note::CallerParallel { caller: caller.number, under_way: cap.get() });
        return Err(Rejection::Busy);
    }
    let now = times.clock.now();
    for (bucket, place) in at_route.buckets.iter().zip(0..) {
        if let Err(exceeded) = bucket.peek(now) {
            trace.note(|| bucket_note(at_route.plan, caller.number, place, 0));
            return Err(Rejection::Throttled(exceeded));
        }
    }
    Ok(())
}

fn peek_accounts(
    accounts: [Option<Wanted<'_>>; 3],
    times: &Times<'_>,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let wall = times.wall.now();
    for Wanted { account, least: units, of, .. } in accounts.into_iter().flatten() {
        if let Err(Lacking::Spent { window, limit }) = account.peek(units, wall) {
            trace.note(|| Note::Account { of, found: Found::Spent });
            return Err(spent(of, Used::new(limit, window, wall)));
        }
    }
    Ok(())
}

/// What taking would find, and nothing taken and nothing asked for.
pub(super) fn look(
    route: &Arc<Route>,
    entrant: Entrant,
    times: &Times<'_>,
    trace: &mut impl Trace,
) -> Result<Permit, Rejection> {
    if let Some(Parallel { slots, cap }) = &route.parallel {
        let under_way = slots.taken();
        trace.note(|| Note::Parallel { under_way });
        if under_way >= *cap {
            return Err(Rejection::Busy);
        }
    }
    let now = times.clock.now();
    let mut seen = Seen::default();
    for (bucket, index) in route.buckets.iter().zip(0..) {
        let left = seen.look(bucket, now);
        seen.notes.push(Note::Bucket { by: ThrottleBy::Everyone, index, left });
    }
    match &entrant.caller {
        Some(caller) => caller
            .meters
            .look(|state, written| look_at_caller(route, caller, state, written, times, &mut seen, trace))?,
        None => look_at_accounts(accounts(route, None), times, &mut seen),
    }
    seen.tell(trace)?;
    Ok(Permit::without_meters(route, entrant))
}

/// What is seen of meters: units before tokens, as they are taken.
#[derive(Default)]
struct Seen {
    accounts: Vec<Note>,
    notes: Vec<Note>,
    wait: Option<Exceeded>,
    spent: Option<Rejection>,
}

impl Seen {
    fn look(&mut self, bucket: &Arc<Bucket>, now: Nanos) -> u32 {
        let wait = bucket.peek(now).err();
        let left = if wait.is_some() { 0 } else { bucket.left(now).max(1) };
        self.wait = self.wait.into_iter().chain(wait).max_by_key(|exceeded| exceeded.retry_after);
        left
    }

    /// If both a throttle and a quota refuse, it is the throttle's answer that counts.
    fn tell(self, trace: &mut impl Trace) -> Result<(), Rejection> {
        if let Some(exceeded) = self.wait {
            self.notes.into_iter().for_each(|note| trace.note(|| note));
            return Err(Rejection::Throttled(exceeded));
        }
        self.accounts.into_iter().for_each(|note| trace.note(|| note));
        if let Some(rejection) = self.spent {
            return Err(rejection);
        }
        self.notes.into_iter().for_each(|note| trace.note(|| note));
        Ok(())
    }
}

fn look_at_caller(
    route: &Route,
    caller: &Caller,
    state: Option<&State>,
    written: &gatepost_config::model::Caller,
    times: &Times<'_>,
    seen: &mut Seen,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let number = caller.number;
    if let Some(cap) = caller.written.parallel {
        let under_way = state.map_or(0, |state| state.slots.taken());
        trace.note(|| Note::CallerParallel { caller: number, under_way });
        if under_way >= cap.get() {
            return Err(Rejection::Busy);
        }
    }
    let (plan, laws) = route.callers.as_ref().map(|met| laws_at(met, written)).unwrap_or_default();
    for ((name, law), place) in laws.into_iter().zip(0..) {
        let known = state.and_then(|state| state.bucket(&name));
        let left = known.map_or(law.burst(), |bucket| seen.look(bucket, times.clock.now()));
        seen.notes.push(bucket_note(plan, number, place, left));
    }
    match state {
        Some(state) => {
            let [quota, budget] = own_accounts(state, number);
            look_at_accounts([quota, budget, None], times, seen);
        }
        None => {
            let has_quota = written.plan.as_ref().is_some_and(|plan| plan.quota.is_some());
            let quota = has_quota.then_some(AccountOf::Quota(number));
            let budget = written.budget.is_some().then_some(AccountOf::Budget(number));
            let unused = quota.into_iter().chain(budget).map(|of| Note::Account { of, found: Found::Unused });
            seen.accounts.extend(unused);
        }
    }
    let [.., of_route] = accounts(route, None);
    look_at_accounts([None, None, of_route], times, seen);
    Ok(())
}

fn look_at_accounts(accounts: [Option<Wanted<'_>>; 3], times: &Times<'_>, seen: &mut Seen) {
    let wall = times.wall.now();
    for Wanted { account, least: units, of, .. } in accounts.into_iter().flatten() {
        let found = match account.peek(units, wall) {
            Ok(level) => Found::Left(level.left),
            Err(Lacking::Waiting) => Found::Unused,
            Err(Lacking::Unavailable) => Found::Unavailable,
            Err(Lacking::Spent { window, limit }) => {
                seen.spent.get_or_insert_with(|| spent(of, Used::new(limit, window, wall)));
                Found::Spent
            }
        };
        if found == Found::Unavailable {
            seen.spent.get_or_insert(Rejection::QuotaUnavailable);
        }
        seen.accounts.push(Note::Account { of, found });
        if seen.spent.is_some() {
            return;
        }
    }
}

impl Counting {
    fn of(own: Own<'_>, key: Option<KeyHash>, now: UnixSeconds) -> Self {
        let (counter, books) = (Arc::clone(&own.at_route.counter), Arc::clone(own.caller.meters.books()));
        let day = Period::Day.at(now);
        counter.admitted(now, day, key, &books.tally);
        Self { counter, books, day }
    }

    /// Counts bytes of the answer.
    pub(super) fn sent(&self, bytes: u64) {
        self.counter.sent(self.day, bytes, &self.books.tally);
    }
}

impl Parked {
    /// The route that it wants to enter.
    pub(crate) fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Ready when it is worth trying again.
    pub(crate) fn poll_ready(&self, now: UnixSeconds, cx: &mut Context<'_>) -> Poll<Result<(), Unavailable>> {
        self.lack.account.poll_ready(self.lack.units, now, cx)
    }

    /// Tries again to take everything.
    pub(crate) fn again(mut self, times: &Times<'_>, trace: &mut impl Trace) -> Result<Entered, Rejection> {
        let (entrant, deliveries) = (std::mem::take(&mut self.entrant), std::mem::take(&mut self.deliveries));
        enter(&self.route, entrant, deliveries, times, trace)
    }

    /// Nobody came to tell.
    pub(crate) fn give_up(self, times: &Times<'_>, trace: &mut impl Trace) -> Rejection {
        trace.note(|| Note::Account { of: self.lack.of, found: Found::Unavailable });
        count_refused(&self.route, self.entrant.caller.as_deref(), times);
        Rejection::QuotaUnavailable
    }
}

impl Drop for Parked {
    /// It did not arrive, so if it comes again that is no replay.
    fn drop(&mut self) {
        self.deliveries.drain(..).for_each(Delivery::forget);
    }
}

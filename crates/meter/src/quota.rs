use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::lease::{Lease, MOST_UNITS};
use crate::ledger::{Ask, Granted, Ledger, Unavailable};
use crate::window::{Period, UnixSeconds, Window};

/// What a quota promises: in each window of the calendar at most `limit` units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaLaw {
    /// How many.
    pub limit: NonZeroU64,
    /// In which windows.
    pub period: Period,
    /// Of what.
    pub unit: Unit,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Billionths of a currency.
    Billionths,
}

/// The units of one account, which any number of threads take from.
///
/// What it has from the ledger and nobody used yet is its lease, one atomic word. Units are taken from there, and while it
/// has some, taking waits for nothing. The ledger is asked for more ahead of time, one ask at a time, and has made durable
/// what it grants before any of it is used: so the account never gets more than its limit, by a crash, a loss of power or
/// a clock that is set back. What the lease had at a crash is lost to the account until the window ends; see
/// [`QuotaLaw::largest_grant`] for how much that can be.
///
/// Dropped without [`Quota::close`], it loses its lease as in a crash.
#[derive(Debug)]
pub struct Quota {
    account: Arc<str>,
    ledger: Arc<dyn Ledger>,
    lease: AtomicU64,
    /// How many units the account was granted in the lease's window, as last heard.
    granted: AtomicU64,
    /// The rest of the lease at which more is asked for.
    ask_at: AtomicU64,
    /// The most units the lease may have.
    largest_rest: AtomicU64,
    /// Whether an ask waits for its answer; written under the lock.
    asked: AtomicBool,
    // What the lock holds as `law`, for those who take without the lock. They need not be of one law: what is taken is of
    // the window that stands in the lease, and the ledger is asked by the law under the lock.
    limit: AtomicU64,
    period: AtomicU8,
    desk: Mutex<Desk>,
}

/// What is needed to ask the ledger.
#[derive(Debug)]
struct Desk {
    law: QuotaLaw,
    /// Units that came from the ledger since this run began, less those given back to it.
    received: u64,
    /// Whether the last ask failed, and none was made since.
    failed: bool,
    /// Whether units of the lease's window were given back to the ledger while an ask was under way, which may not know.
    gave_back: bool,
    closed: bool,
    /// Who waits for the answer.
    waiting: Vec<Waker>,
}

/// Units were taken, or could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// How many are left of the limit, as far as this process knows: after a take without those taken.
    pub left: u64,
    /// How many there are in a window.
    pub limit: u64,
    /// The window they count in.
    pub window: Window,
}

/// Why there are no units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lacking {
    /// So many are not to be had before the window ends, unless somebody gives some back or the law changes. It is
    /// durable that the account was granted its limit.
    Spent {
        /// The window without units.
        window: Window,
        /// How many there were.
        limit: u64,
    },
    /// Nobody knows yet: [`Quota::poll_ready`] tells when to try again.
    Waiting,
    /// The ledger could not be asked. The next take asks again.
    Unavailable,
}

/// The most requests of a grant.
const MOST_REQUESTS_GRANTED: u64 = 10_000;

/// How many may wait for the same answer; more are told at once that the ledger is unavailable.
const MOST_WAITING: usize = 4_096;

/// A clock that is read by several threads, or adjusted, may say a second less than another one said before. Then units
/// of the window that began meanwhile are taken, instead of going back to the old one and forth.
const CLOCK_LAG: i64 = 1;

/// How often one asks anew at a time, when others take what came.
const ROUNDS_AT_A_TIME: u32 = 4;

impl QuotaLaw {
    /// The most units that are outstanding at any time: granted, and neither used nor given back. So many are lost at
    /// most in a crash. A single request that needs more gets what it needs.
    #[must_use]
    pub fn largest_grant(self) -> u64 {
        let share = self.limit.get() / 200;
        match self.unit {
            Unit::Requests => share.clamp(1, MOST_REQUESTS_GRANTED),
            Unit::Billionths => share.clamp(1, MOST_UNITS),
        }
    }
}

impl Quota {
    /// The units of `account`, of which the ledger knows how many it was granted in earlier runs. There must be no other
    /// quota of the same account at a time, or each has a lease of its own.
    #[must_use]
    pub fn new(account: Arc<str>, law: QuotaLaw, ledger: Arc<dyn Ledger>) -> Arc<Self> {
        Arc::new(Self {
            account,
            ledger,
            lease: AtomicU64::new(Lease::NONE.word()),
            granted: AtomicU64::new(0),
            ask_at: AtomicU64::new(0),
            largest_rest: AtomicU64::new(0),
            asked: AtomicBool::new(false),
            limit: AtomicU64::new(law.limit.get()),
            period: AtomicU8::new(number_of(law.period)),
            desk: Mutex::new(Desk {
                law,
                received: 0,
                failed: false,
                gave_back: false,
                closed: false,
                waiting: Vec::new(),
            }),
        })
    }

    /// As the ledger names it.
    #[must_use]
    pub fn account(&self) -> &Arc<str> {
        &self.account
    }

    /// The law it keeps.
    #[must_use]
    pub fn law(&self) -> QuotaLaw {
        self.desk().law
    }

    /// Takes units, all of them or none. Without a lock while the lease has them; else the ledger is asked.
    ///
    /// They count in the window of [`Level`], which is that of `now`, or the one that began within a second after it.
    ///
    /// # Errors
    /// There are none, or not yet.
    pub fn take(self: &Arc<Self>, units: u64, now: UnixSeconds) -> Result<Level, Lacking> {
        match self.take_leased(units, now) {
            Err(Lacking::Waiting) => {
                self.ask(units, now).map_err(|Unavailable| Lacking::Unavailable)?;
                // The answer may have come already.
                self.take_leased(units, now)
            }
            other => other,
        }
    }

    /// Looks whether there are units; takes none, and asks for none.
    ///
    /// # Errors
    /// There are none, or it is not known: then it is [`Lacking::Waiting`], and a take would tell.
    pub fn peek(&self, units: u64, now: UnixSeconds) -> Result<Level, Lacking> {
        let lease = self.current();
        self.look(lease, units, now).map(|(_, window)| self.level(lease, window))
    }

    /// Gives back units that were taken and not used after all; `window` is that of their [`Level`].
    pub fn give_back(&self, units: u64, window: Window) {
        let fits = |word: u64| {
            let lease = Lease::from_word(word);
            let mine = lease.window() == Some(window)
                && self.granted.load(Ordering::Relaxed) <= self.limit.load(Ordering::Relaxed);
            let more =
                lease.plus(units).filter(|more| mine && more.rest() <= self.largest_rest.load(Ordering::Relaxed));
            more.map(Lease::word)
        };
        if units > 0 && self.lease.try_update(Ordering::AcqRel, Ordering::Acquire, fits).is_err() {
            self.hand_back(&mut self.desk(), units, window);
        }
    }

    /// Waits until taking so many units is worth a try: they are there, or it is known that they are spent.
    ///
    /// Asks the ledger if nobody did. One who no longer wants to know just stops asking.
    ///
    /// # Errors
    /// The ledger could not be asked, or too many wait already.
    pub fn poll_ready(
        self: &Arc<Self>,
        units: u64,
        now: UnixSeconds,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), Unavailable>> {
        // Others may take what came; then it asks again, but not for ever without letting others have the thread.
        for _ in 0..ROUNDS_AT_A_TIME {
            match self.peek(units, now) {
                Ok(_) | Err(Lacking::Spent { .. }) => return Poll::Ready(Ok(())),
                Err(Lacking::Unavailable) => return Poll::Ready(Err(Unavailable)),
                Err(Lacking::Waiting) => {}
            }
            {
                let mut desk = self.desk();
                if self.asked.load(Ordering::Relaxed) {
                    return desk.wait(context.waker());
                }
                if desk.failed {
                    return Poll::Ready(Err(Unavailable));
                }
            }
            if self.ask(units, now).is_err() {
                return Poll::Ready(Err(Unavailable));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Keeps another law from now on, by which everything counts that was granted in the window before.
    pub fn change_law(&self, law: QuotaLaw) {
        let mut desk = self.desk();
        if desk.law == law {
            return;
        }
        // The lease goes back, so that it is asked for again by the new law.
        let next = if desk.law.period == law.period { None } else { Some(Lease::NONE) };
        desk.law = law;
        self.limit.store(law.limit.get(), Ordering::Relaxed);
        self.period.store(number_of(law.period), Ordering::Relaxed);
        self.renew(&mut desk, next);
    }

    /// Gives the lease back to the ledger, as a clean stop does. From now on the quota is unavailable, and what is given
    /// back to it goes to the ledger.
    pub fn close(&self) {
        let mut desk = self.desk();
        desk.closed = true;
        self.renew(&mut desk, Some(Lease::NONE));
        let waiting = std::mem::take(&mut desk.waiting);
        drop(desk);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Takes units of the lease.
    fn take_leased(self: &Arc<Self>, units: u64, now: UnixSeconds) -> Result<Level, Lacking> {
        let mut lease = self.current();
        let (left, level) = loop {
            let (left, window) = self.look(lease, units, now)?;
            let level = self.level(left, window);
            match self.lease.compare_exchange_weak(lease.word(), left.word(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break (left, level),
                Err(changed) => lease = Lease::from_word(changed),
            }
        };
        let low = left.rest() <= self.ask_at.load(Ordering::Relaxed);
        if low && !left.is_last() && !self.asked.load(Ordering::Relaxed) {
            // For those who come later: if it fails, they ask again, and are told.
            let _ = self.ask(0, now);
        }
        Ok(level)
    }

    /// What would be left of the lease without these units, and of which window it is.
    fn look(&self, lease: Lease, units: u64, now: UnixSeconds) -> Result<(Lease, Window), Lacking> {
        let limit = self.limit.load(Ordering::Relaxed);
        let period = period_of(self.period.load(Ordering::Relaxed));
        let window = window_at(now, period, lease);
        if units > limit {
            return Err(Lacking::Spent { window, limit });
        }
        if units > MOST_UNITS {
            return Err(Lacking::Unavailable);
        }
        if lease.window() != Some(window) {
            return Err(Lacking::Waiting);
        }
        let left = lease.less(units).ok_or(match lease.is_last() {
            true => Lacking::Spent { window, limit },
            false => Lacking::Waiting,
        })?;
        Ok((left, window))
    }

    fn level(&self, lease: Lease, window: Window) -> Level {
        let limit = self.limit.load(Ordering::Relaxed);
        let granted = self.granted.load(Ordering::Relaxed);
        let left = limit.saturating_sub(granted).saturating_add(lease.rest()).min(limit);
        Level { left, limit, window }
    }

    /// Asks the ledger for what is lacking, unless an ask is under way. With no units needed it asks ahead.
    fn ask(self: &Arc<Self>, needed: u64, now: UnixSeconds) -> Result<(), Unavailable> {
        let ask = self.next_ask(&mut self.desk(), needed, now)?;
        if let Some(ask) = ask {
            self.ledger.ask(ask);
        }
        // It may have answered at once.
        if self.desk().failed { Err(Unavailable) } else { Ok(()) }
    }

    /// What to ask for next: nothing if an ask is under way, or if meanwhile there is enough.
    fn next_ask(self: &Arc<Self>, desk: &mut Desk, needed: u64, now: UnixSeconds) -> Result<Option<Ask>, Unavailable> {
        if desk.closed {
            return Err(Unavailable);
        }
        if self.asked.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let law = desk.law;
        let window = window_at(now, law.period, self.current());
        if self.current().window() != Some(window) {
            // What is left of the other window goes back, so that it is there if the clock is set back.
            self.renew(desk, Some(Lease::of(window).ok_or(Unavailable)?));
        }
        let lease = self.current();
        if lease.is_last() || lease.rest() >= needed.max(self.ask_at.load(Ordering::Relaxed) + 1) {
            return Ok(None);
        }
        let used = desk.received.saturating_sub(lease.rest());
        let outstanding = law.largest_grant().min(used.max(1)).max(needed).min(MOST_UNITS);
        let Some(want) = NonZeroU64::new(outstanding.saturating_sub(lease.rest())) else {
            self.ask_at.store(lease.rest() / 2, Ordering::Relaxed);
            return Ok(None);
        };
        (desk.failed, desk.gave_back) = (false, false);
        self.asked.store(true, Ordering::Relaxed);
        self.largest_rest.store(law.largest_grant().max(outstanding), Ordering::Relaxed);
        let quota = Arc::clone(self);
        let heard = move |answer| quota.heard(law, window, answer);
        Ok(Some(Ask::new(Arc::clone(&self.account), window, want, law.limit, heard)))
    }

    /// Takes the ledger's answer to an ask by this law.
    fn heard(&self, law: QuotaLaw, window: Window, answer: Result<Granted, Unavailable>) {
        let mut desk = self.desk();
        self.asked.store(false, Ordering::Relaxed);
        match answer {
            Ok(granted) => {
                desk.received = desk.received.saturating_add(granted.units);
                // After a reload, a change of the window or the end it is no longer what is needed.
                if desk.law == law && self.current().window() == Some(window) {
                    self.add(&mut desk, granted, window);
                } else {
                    self.hand_back(&mut desk, granted.units, window);
                }
            }
            Err(Unavailable) => {
                desk.failed = true;
                self.ask_at.store(self.current().rest() / 2, Ordering::Relaxed);
            }
        }
        let waiting = std::mem::take(&mut desk.waiting);
        drop(desk);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Puts a grant into the lease.
    fn add(&self, desk: &mut Desk, granted: Granted, window: Window) {
        self.granted.store(granted.total, Ordering::Relaxed);
        let last = granted.total >= desk.law.limit.get() && !desk.gave_back;
        let most = self.largest_rest.load(Ordering::Relaxed);
        let fitting = |lease: Lease| granted.units.min(most.saturating_sub(lease.rest()));
        let lease = self.update(|lease| lease.plus(fitting(lease)).unwrap_or(lease).last(last));
        self.ask_at.store((lease.rest() + fitting(lease)) / 2, Ordering::Relaxed);
        // Units came back while more were asked for.
        self.hand_back(desk, granted.units - fitting(lease), window);
    }

    /// Gives the rest of the lease back, and goes on with another one, or with that of the same window.
    fn renew(&self, desk: &mut Desk, next: Option<Lease>) {
        let old = self.update(|lease| next.unwrap_or(lease.without_units().last(false)));
        if next.is_some() {
            self.granted.store(0, Ordering::Relaxed);
        }
        if let Some(window) = old.window() {
            self.hand_back(desk, old.rest(), window);
        }
    }

    /// Gives units to the ledger, in the order in which asks hear of it: so under the lock.
    fn hand_back(&self, desk: &mut Desk, units: u64, window: Window) {
        if units == 0 {
            return;
        }
        desk.received = desk.received.saturating_sub(units);
        if self.current().window() == Some(window) {
            desk.gave_back = true;
            self.update(|lease| lease.last(false));
            let granted = self.granted.load(Ordering::Relaxed);
            self.granted.store(granted.saturating_sub(units), Ordering::Relaxed);
        }
        self.ledger.give_back(&self.account, window, units);
    }

    /// Changes the lease, and returns what it was.
    fn update(&self, change: impl Fn(Lease) -> Lease) -> Lease {
        Lease::from_word(
            self.lease.update(Ordering::AcqRel, Ordering::Acquire, |word| change(Lease::from_word(word)).word()),
        )
    }

    fn current(&self) -> Lease {
        Lease::from_word(self.lease.load(Ordering::Acquire))
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// Remembers who waits.
    fn wait(&mut self, waker: &Waker) -> Poll<Result<(), Unavailable>> {
        if self.waiting.last().is_some_and(|last| last.will_wake(waker)) {
            return Poll::Pending;
        }
        if self.waiting.len() == MOST_WAITING {
            return Poll::Ready(Err(Unavailable));
        }
        self.waiting.push(waker.clone());
        Poll::Pending
    }
}

/// The window that counts at a time by somebody's clock.
fn window_at(now: UnixSeconds, period: Period, lease: Lease) -> Window {
    let window = period.at(now);
    match lease.window() {
        Some(leased) if leased != window && leased == period.at(UnixSeconds(now.0.saturating_add(CLOCK_LAG))) => leased,
        _ => window,
    }
}

fn number_of(period: Period) -> u8 {
    period as u8
}

fn period_of(number: u8) -> Period {
    match number {
        0 => Period::Day,
        1 => Period::Week,
        _ => Period::Month,
    }
}

#[cfg(test)]
mod tests;

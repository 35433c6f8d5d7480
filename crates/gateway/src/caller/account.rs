//! Quotas and budgets: counted units in windows of the calendar, behind which a ledger stands that outlives the process.

use std::num::NonZeroU64;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use gatepost_config::model;
use gatepost_meter::{Lacking, Ledger, Level, Period, Quota, QuotaLaw, Unavailable, Unit, UnixSeconds, Window};

use crate::caller::Tally;

/// Where quotas, budgets and usage are written.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) tally: Tally,
}

/// A quota or a budget. Whoever is the last to let go of it gives back what it holds and did not use.
#[derive(Debug)]
pub(crate) struct Account(Arc<Quota>);

/// Units that were taken, and are given back unless they are kept.
#[derive(Debug)]
pub(crate) struct Reserved<'a> {
    account: &'a Account,
    units: u64,
    level: Level,
}

impl Books {
    pub(crate) fn new(ledger: Arc<dyn Ledger>) -> Arc<Self> {
        Arc::new(Self { ledger, tally: Tally::default() })
    }
}

impl Account {
    pub(crate) fn open(name: String, law: QuotaLaw, books: &Books) -> Arc<Self> {
        Arc::new(Self(Quota::new(name.into(), law, Arc::clone(&books.ledger))))
    }

    /// The account that somebody still holds, by this law from now on; else one is opened under this name and remembered.
    pub(crate) fn held_or_opened(
        known: &mut Weak<Self>,
        name: impl FnOnce() -> String,
        law: QuotaLaw,
        books: &Books,
    ) -> Arc<Self> {
        if let Some(account) = known.upgrade() {
            account.change_law(law);
            return account;
        }
        let account = Self::open(name(), law, books);
        *known = Arc::downgrade(&account);
        account
    }

    fn change_law(&self, law: QuotaLaw) {
        self.0.change_law(law);
    }

    /// Takes units, to be given back if not all else is well.
    pub(crate) fn reserve(&self, units: u64, now: UnixSeconds) -> Result<Reserved<'_>, Lacking> {
        self.take(units, now).map(|level| Reserved { account: self, units, level })
    }

    pub(crate) fn take(&self, units: u64, now: UnixSeconds) -> Result<Level, Lacking> {
        self.0.take(units, now)
    }

    pub(crate) fn give_back(&self, units: u64, window: Window) {
        if units > 0 {
            self.0.give_back(units, window);
        }
    }

    /// Whether units could be had, as far as is known here. Takes nothing, and asks for nothing.
    pub(crate) fn peek(&self, units: u64, now: UnixSeconds) -> Result<Level, Lacking> {
        self.0.peek(units, now)
    }

    /// Ready when it is worth trying again to take units.
    pub(crate) fn poll_ready(
        &self,
        units: u64,
        now: UnixSeconds,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Unavailable>> {
        self.0.poll_ready(units, now, cx)
    }

    /// Gives back what it holds and did not use.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.close();
    }
}

impl Reserved<'_> {
    /// What is left after it.
    pub(crate) fn level(&self) -> Level {
        self.level
    }

    /// How many.
    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// They are used.
    pub(crate) fn keep(mut self) {
        self.units = 0;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.account.give_back(self.units, self.level.window);
    }
}

/// The law of so many requests.
pub(crate) fn law_of_quota(quota: &model::Quota) -> QuotaLaw {
    QuotaLaw { limit: quota.limit, period: period(quota.per), unit: Unit::Requests }
}

/// The law of so much money.
pub(crate) fn law_of_budget(budget: &model::Budget) -> QuotaLaw {
    // A budget of nothing cannot be written; it would be spent by the smallest amount there is.
    let limit = NonZeroU64::new(budget.limit.0).unwrap_or(NonZeroU64::MIN);
    QuotaLaw { limit, period: period(budget.per), unit: Unit::Billionths }
}

fn period(period: model::Period) -> Period {
    match period {
        model::Period::Day => Period::Day,
        model::Period::Week => Period::Week,
        model::Period::Month => Period::Month,
    }
}

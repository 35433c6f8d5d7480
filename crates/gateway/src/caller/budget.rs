//! Budgets: what requests and the bytes of their answers cost, and that an answer goes on only as long as it is paid for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gatepost_config::model;
use gatepost_meter::{Lacking, Window};
use tokio::time::{Sleep, sleep};

use super::account::Account;
use crate::wall::WallClock;

/// A budget and what is paid from it, in billionths of its currency.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) account: Arc<Account>,
    /// What an admitted request costs.
    pub(crate) per_request: u64,
    /// What 10⁹ bytes of answers cost.
    per_gb: u64,
}

/// What pays for the bytes of one answer. What was paid ahead and not sent is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Spending {
    payers: [Option<Payer>; 2],
    wall: WallClock,
    /// Armed while a payer waits for its ledger.
    patience: Option<Pin<Box<Sleep>>>,
}

/// A budget, and what it has paid for.
#[derive(Debug)]
struct Payer {
    budget: Budget,
    /// Bytes that are paid and not sent yet, and when they were paid; never more than [`AHEAD`] after a piece was sent.
    ahead: u64,
    paid_in: Option<Window>,
}

/// A budget is gone, or nobody can say whether it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent;

/// Bytes that are paid for at a time.
pub(crate) const AHEAD: u64 = 64 * 1024;

/// How often one tries anew at a time.
const ROUNDS_AT_A_TIME: u32 = 4;

/// How long an answer waits for the ledger. Then it is cut.
const PATIENCE: Duration = Duration::from_secs(1);

impl Budget {
    pub(crate) fn new(account: Arc<Account>, written: &model::Budget) -> Self {
        Self { account, per_request: written.per_request.0, per_gb: written.per_gb.0 }
    }

    /// What so many bytes cost, rounded up.
    fn price(&self, bytes: u64) -> u64 {
        let exact = (u128::from(bytes) * u128::from(self.per_gb)).div_ceil(1_000_000_000);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }
}

impl Spending {
    /// From those of these budgets that bytes cost anything; nothing if none does.
    pub(crate) fn of(budgets: [Option<&Budget>; 2], wall: &WallClock) -> Option<Box<Self>> {
        let payers = budgets.map(|budget| {
            let budget = budget.filter(|budget| budget.per_gb > 0)?.clone();
            Some(Payer { budget, ahead: 0, paid_in: None })
        });
        let costs = payers.iter().any(Option::is_some);
        costs.then(|| Box::new(Self { payers, wall: wall.clone(), patience: None }))
    }

    /// Makes sure that the next `bytes` are paid for. Waits for a ledger, but not for long.
    pub(crate) fn poll_pay(&mut self, bytes: u64, cx: &mut Context<'_>) -> Poll<Result<(), Spent>> {
        for payer in self.payers.iter_mut().flatten() {
            let paid = payer.poll_pay(bytes, &self.wall, cx);
            if paid.is_ready() {
                ready!(paid)?;
                continue;
            }
            let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(PATIENCE)));
            ready!(patience.as_mut().poll(cx));
            return Poll::Ready(Err(Spent));
        }
        self.patience = None;
        Poll::Ready(Ok(()))
    }

    /// So many bytes went, which were paid for.
    pub(crate) fn sent(&mut self, bytes: u64) {
        for payer in self.payers.iter_mut().flatten() {
            payer.ahead = payer.ahead.saturating_sub(bytes);
        }
    }
}

impl Payer {
    fn poll_pay(&mut self, bytes: u64, wall: &WallClock, cx: &mut Context<'_>) -> Poll<Result<(), Spent>> {
        for _ in 0..ROUNDS_AT_A_TIME {
            let Some(missing) = bytes.checked_sub(self.ahead).filter(|missing| *missing > 0) else {
                return Poll::Ready(Ok(()));
            };
            match self.pay_ahead(missing, wall) {
                Ok(()) => {}
                Err(Lacking::Spent { .. }) => return Poll::Ready(Err(Spent)),
                Err(Lacking::Waiting | Lacking::Unavailable) => {
                    let units = self.budget.price(missing);
                    if ready!(self.budget.account.poll_ready(units, wall.now(), cx)).is_err() {
                        return Poll::Ready(Err(Spent));
                    }
                }
            }
        }
        // Others took what came. It is tried again, but not for ever without letting others have the thread.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// More than is missing, or just that: the last bytes that a budget pays for, or that are to be had before the ledger
    /// answers, are fewer than are paid ahead.
    fn pay_ahead(&mut self, missing: u64, wall: &WallClock) -> Result<(), Lacking> {
        match self.pay(missing.max(AHEAD), wall) {
            Err(_) if missing < AHEAD => self.pay(missing, wall),
            paid => paid,
        }
    }

    fn pay(&mut self, bytes: u64, wall: &WallClock) -> Result<(), Lacking> {
        let level = self.budget.account.take(self.budget.price(bytes), wall.now())?;
        if self.paid_in.is_some_and(|earlier| earlier != level.window) {
            // What was paid ahead in a window that is over is nobody's any more.
            self.ahead = 0;
        }
        self.ahead += bytes;
        self.paid_in = Some(level.window);
        Ok(())
    }
}

impl Drop for Payer {
    fn drop(&mut self) {
        if let Some(window) = self.paid_in {
            // Rounded down: what was sent has been paid for in full.
            let unsent = u128::from(self.ahead) * u128::from(self.budget.per_gb) / 1_000_000_000;
            self.budget.account.give_back(u64::try_from(unsent).unwrap_or(0), window);
        }
    }
}

#[cfg(test)]
mod tests;

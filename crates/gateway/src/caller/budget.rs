//! Budgets: what requests and the bytes of their answers cost, and that an answer goes on only as long as it is paid for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gatepost_config::model;
use gatepost_meter::{Lacking, Window};
use tokio::time::{Sleep, sleep};

use super::account::{Account, Reserved};
use crate::wall::WallClock;

/// A budget and what is paid from it, in billionths of its currency.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    pub(crate) account: Arc<Account>,
    /// What an admitted request costs.
    per_request: u64,
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

/// Bytes of an answer that are paid for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prepaid {
    bytes: u64,
    window: Window,
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

    /// What a request takes when it is let in: its own price, and that of the first bytes of its answer.
    pub(crate) fn on_admission(&self) -> u64 {
        self.per_request.saturating_add(self.price(AHEAD))
    }

    /// What there must be to let a request in: its own price, and that of one byte.
    pub(crate) fn least_on_admission(&self) -> u64 {
        self.per_request.saturating_add(self.price(1))
    }

    /// What a request took of it when it was let in pays for.
    pub(crate) fn prepaid(&self, reserved: &Reserved<'_>) -> Prepaid {
        let bytes = if reserved.units() == self.on_admission() { AHEAD } else { 1 };
        Prepaid { bytes, window: reserved.level().window }
    }

    /// What so many bytes cost, rounded up.
    fn price(&self, bytes: u64) -> u64 {
        let exact = (u128::from(bytes) * u128::from(self.per_gb)).div_ceil(1_000_000_000);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    /// How many bytes so much pays for.
    fn bytes_for(&self, units: u64) -> u64 {
        let exact = (u128::from(units) * 1_000_000_000).checked_div(u128::from(self.per_gb));
        exact.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(u64::MAX)
    }
}

impl Spending {
    /// From those of these budgets that bytes cost anything; nothing if none does.
    pub(crate) fn of(budgets: [Option<(&Budget, Prepaid)>; 2], wall: &WallClock) -> Option<Box<Self>> {
        let payers = budgets.map(|budget| {
            let (budget, Prepaid { bytes, window }) = budget.filter(|(budget, _)| budget.per_gb > 0)?;
            Some(Payer { budget: budget.clone(), ahead: bytes, paid_in: Some(window) })
        });
        let costs = payers.iter().any(Option::is_some);
        costs.then(|| Box::new(Self { payers, wall: wall.clone(), patience: None }))
    }

    /// Makes sure that the next `bytes` are paid for, or as many of them as a budget has left, at least one
    /// ([`Self::paid`]). Waits for a ledger, but not for long.
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

    /// How many bytes are paid for and not sent yet.
    pub(crate) fn paid(&self) -> u64 {
        self.payers.iter().flatten().map(|payer| payer.ahead).min().unwrap_or(u64::MAX)
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
            let piece = match self.pay_ahead(missing, wall) {
                Ok(()) => continue,
                Err(Lacking::Waiting | Lacking::Unavailable) => missing,
                Err(Lacking::Spent { .. }) => match self.left_for(missing, wall) {
                    Ok(0) if self.ahead > 0 => return Poll::Ready(Ok(())),
                    Ok(0) => return Poll::Ready(Err(Spent)),
                    Ok(rest) if self.pay(rest, wall).is_ok() => return Poll::Ready(Ok(())),
                    Ok(rest) => rest,
                    Err(_) => 0,
                },
            };
            let units = self.budget.price(piece);
            if ready!(self.budget.account.poll_ready(units, wall.now(), cx)).is_err() {
                return Poll::Ready(Err(Spent));
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

    /// How many of the missing bytes the rest of a budget pays for.
    fn left_for(&self, missing: u64, wall: &WallClock) -> Result<u64, Lacking> {
        match self.budget.account.take(0, wall.now()) {
            Ok(level) => Ok(self.budget.bytes_for(level.left).min(missing)),
            Err(Lacking::Spent { .. }) => Ok(0),
            Err(lacking) => Err(lacking),
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

use std::collections::VecDeque;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatepost_meter::Ask;

use crate::batch::Counts;
use crate::error::StoreError;

/// What waits for the thread that writes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asks: VecDeque<Ask>,
    counts: Counts,
    flushes: Vec<Flush>,
    phase: Phase,
    /// Why the last try failed; none if it did not.
    trouble: Option<Arc<StoreError>>,
}

/// Who wants to know what came of the next try.
pub(crate) type Flush = SyncSender<Result<(), Arc<StoreError>>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Phase {
    #[default]
    Open,
    /// It failed, and is not tried again at once.
    Pausing,
    /// What waits is still written; nothing more is taken.
    Closing,
    Closed,
}

/// What to do next.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) asks: Vec<Ask>,
    /// Of the counts, what comes back to those who ask; all, if nothing was left from before.
    pub(crate) counts: Counts,
    pub(crate) flushes: Vec<Flush>,
    /// Nobody asks any more.
    pub(crate) closing: bool,
}

/// How many asks wait at most; each account has one at a time.
const MOST_ASKS: usize = 65_536;

/// How many are granted at most in one transaction, so that the first does not wait for all.
const ASKS_AT_A_TIME: usize = 4_096;

impl Queue {
    /// Takes an ask, or hands it back if it cannot be granted now.
    pub(crate) fn ask(&self, ask: Ask) -> Result<(), Ask> {
        let mut state = self.state();
        if state.phase != Phase::Open || state.asks.len() >= MOST_ASKS {
            return Err(ask);
        }
        state.asks.push_back(ask);
        self.changed.notify_all();
        Ok(())
    }

    /// Adds to the counts; None if nothing is taken any more.
    pub(crate) fn count<T>(&self, add: impl FnOnce(&mut Counts) -> T) -> Option<T> {
        let mut state = self.state();
        if state.phase >= Phase::Closing {
            return None;
        }
        let added = add(&mut state.counts);
        self.changed.notify_all();
        Some(added)
    }

    /// Takes somebody who waits for the end of the next try; false if there is none any more.
    pub(crate) fn flush(&self, flush: Flush) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Closed {
            return false;
        }
        state.flushes.push(flush);
        self.changed.notify_all();
        true
    }

    /// Takes nothing more.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.phase = state.phase.max(Phase::Closing);
        self.changed.notify_all();
    }

    /// Why the last try failed; none if it did not.
    pub(crate) fn trouble(&self) -> Option<Arc<StoreError>> {
        self.state().trouble.clone()
    }

    /// Waits for something to do; none if the end has come. `left` says that counts are left from before: then newer ones
    /// stay here, where there is an end to how many are taken.
    pub(crate) fn next(&self, left: bool) -> Option<Work> {
        let idle = |state: &mut State| {
            let nothing = state.asks.is_empty() && state.counts.is_empty() && state.flushes.is_empty() && !left;
            nothing && state.phase < Phase::Closing
        };
        let mut state = self.changed.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        let asks = state.asks.len().min(ASKS_AT_A_TIME);
        let asks: Vec<_> = state.asks.drain(..asks).collect();
        let counts = if left { state.counts.take_returned(&asks) } else { std::mem::take(&mut state.counts) };
        // Those who flush wait for all that was there when they came.
        let flushes = if state.asks.is_empty() && !left { std::mem::take(&mut state.flushes) } else { Vec::new() };
        let nothing = asks.is_empty() && counts.is_empty() && flushes.is_empty() && !left;
        (!nothing).then_some(Work { asks, counts, flushes, closing: state.phase >= Phase::Closing })
    }

    /// Remembers what came of a try.
    pub(crate) fn set_trouble(&self, trouble: Option<Arc<StoreError>>) -> Option<Arc<StoreError>> {
        std::mem::replace(&mut self.state().trouble, trouble)
    }

    /// Lets time pass after a failure; asks are not taken meanwhile. False if the end has come. Of the failure hear all who
    /// flush.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Pausing;
        }
        // Those who came in the meantime hear it at once.
        let (asks, flushes) = (std::mem::take(&mut state.asks), std::mem::take(&mut state.flushes));
        let trouble = state.trouble.clone();
        drop(state);
        drop(asks);
        if let Some(trouble) = trouble {
            flushes.iter().for_each(|flush| drop(flush.send(Err(Arc::clone(&trouble)))));
        }
        let pausing = |state: &mut State| state.phase == Phase::Pausing;
        let (mut state, _) =
            self.changed.wait_timeout_while(self.state(), time, pausing).unwrap_or_else(PoisonError::into_inner);
        if state.phase == Phase::Pausing {
            state.phase = Phase::Open;
        }
        state.phase == Phase::Open
    }

    /// Ends it; whoever still waits hears that.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.phase = Phase::Closed;
        let left = (std::mem::take(&mut state.asks), std::mem::take(&mut state.flushes));
        drop(state);
        drop(left);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

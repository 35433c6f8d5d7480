use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::window::Window;

/// Where it is durable how many units each account was granted in each window.
///
/// What it promises: a grant is answered only when it would survive a loss of power, and the grants of an account in a
/// window, less what was given back, are never more than the limit of the ask that made the last of them.
pub trait Ledger: fmt::Debug + Send + Sync {
    /// Takes an ask, and answers it sometime, on any thread, also before it returns. It never waits for a disk: the
    /// threads that serve requests call it.
    fn ask(&self, ask: Ask);

    /// Takes back units that were granted to an account in a window and that nobody used. Asks that come later find them.
    /// It never waits for a disk, and answers no asks before it returns.
    fn give_back(&self, account: &Arc<str>, window: Window, units: u64);
}

/// Somebody asks for units. Dropped without an answer, it is answered that the ledger is unavailable.
pub struct Ask {
    account: Arc<str>,
    window: Window,
    want: NonZeroU64,
    limit: NonZeroU64,
    reply: Option<Reply>,
}

type Reply = Box<dyn FnOnce(Result<Granted, Unavailable>) + Send>;

/// An answer to an [`Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Granted {
    /// How many may now be used: as many as were wanted, or those that the limit leaves, or none.
    pub units: u64,
    /// How many the account was granted in the window by now, these included and those given back not.
    pub total: u64,
}

/// The ledger cannot be written to, so nothing can be granted; asking again later may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable;

impl Ask {
    /// Asks for `want` units for `account` in `window`, of which it may have `limit` in all; `reply` hears the answer.
    pub fn new(
        account: Arc<str>,
        window: Window,
        want: NonZeroU64,
        limit: NonZeroU64,
        reply: impl FnOnce(Result<Granted, Unavailable>) + Send + 'static,
    ) -> Self {
        Self { account, window, want, limit, reply: Some(Box::new(reply)) }
    }

    /// Whose units.
    #[must_use]
    pub fn account(&self) -> &Arc<str> {
        &self.account
    }

    /// When they are used.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// How many of them are granted, when so many were granted before.
    #[must_use]
    pub fn grant(&self, before: u64) -> Granted {
        let units = self.limit.get().saturating_sub(before).min(self.want.get());
        Granted { units, total: before.saturating_add(units) }
    }

    /// Answers, once the grant is durable. Hold no lock: whoever asked may ask again before this returns.
    pub fn answer(mut self, answer: Result<Granted, Unavailable>) {
        if let Some(reply) = self.reply.take() {
            reply(answer);
        }
    }
}

impl Drop for Ask {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            reply(Err(Unavailable));
        }
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Ask")
            .field("account", &self.account)
            .field("window", &self.window.to_string())
            .field("want", &self.want)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A ledger that survives nothing: for tests, and for judging requests that nobody sent.
#[derive(Debug, Default)]
pub struct MemoryLedger {
    state: Mutex<MemoryState>,
}

#[derive(Debug, Default)]
struct MemoryState {
    granted: HashMap<(Arc<str>, Window), u64>,
    mood: Mood,
    held: Vec<Ask>,
}

/// How a [`MemoryLedger`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mood {
    /// It answers at once.
    #[default]
    Ready,
    /// It answers at once that it is unavailable, as with a full disk.
    Failing,
    /// It keeps asks until its mood changes, as with a slow disk.
    Slow,
}

impl MemoryLedger {
    /// A ledger in which nothing was granted.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// How many units an account was granted in a window, less what it gave back.
    #[must_use]
    pub fn granted(&self, account: &str, window: Window) -> u64 {
        self.state().granted.get(&(Arc::from(account), window)).copied().unwrap_or(0)
    }

    /// Behaves like this from now on, and answers what it held.
    pub fn set_mood(&self, mood: Mood) {
        let held = {
            let mut state = self.state();
            state.mood = mood;
            std::mem::take(&mut state.held)
        };
        for ask in held {
            self.ask(ask);
        }
    }

    fn state(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger for MemoryLedger {
    fn ask(&self, ask: Ask) {
        let mut state = self.state();
        let answer = match state.mood {
            Mood::Ready => {
                let total = state.granted.entry((Arc::clone(&ask.account), ask.window)).or_default();
                let granted = ask.grant(*total);
                *total = granted.total;
                Ok(granted)
            }
            Mood::Failing => Err(Unavailable),
            Mood::Slow => {
                state.held.push(ask);
                return;
            }
        };
        drop(state);
        ask.answer(answer);
    }

    fn give_back(&self, account: &Arc<str>, window: Window, units: u64) {
        if let Some(total) = self.state().granted.get_mut(&(Arc::clone(account), window)) {
            *total = total.saturating_sub(units);
        }
    }
}

#[cfg(test)]
mod tests;

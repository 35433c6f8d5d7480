//! Callers: who is known, and what each has of limits that are its own.

mod account;
mod budget;
mod meters;
mod usage;

pub(crate) use self::account::{Account, Books, Reserved, law_of_budget, law_of_quota};
pub(crate) use self::budget::{AHEAD, Budget, Spending, Spent};
pub(crate) use self::meters::{AtRoute, CallerBucket, CallerMeters, CallerRoute, PlanBucket, State, laws_at};
pub(crate) use self::usage::{Counter, Tally};
pub use self::usage::{KeyUse, NoUsageSink, UsageBatch, UsageDelta, UsageSink};

use std::sync::Arc;

use gatepost_config::model;

use crate::snapshot::Addresses;

/// All who are known, as one snapshot knows them.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    /// By number: in the order of their names.
    all: Box<[Arc<Caller>]>,
}

/// Somebody who is known.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its place among those of the model.
    pub(crate) number: u32,
    /// As it was written.
    pub(crate) written: Arc<model::Caller>,
    /// Where its proofs are good from; absent: anywhere.
    pub(crate) from: Option<Addresses>,
    /// What it has of its limits, across reloads.
    pub(crate) meters: Arc<CallerMeters>,
}

impl Callers {
    pub(crate) fn new(all: Vec<Arc<Caller>>) -> Self {
        Self { all: all.into() }
    }

    /// All, by number.
    pub(crate) fn all(&self) -> &[Arc<Caller>] {
        &self.all
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        let place = self.all.binary_search_by(|caller| (*caller.written.name).cmp(name)).ok()?;
        self.all.get(place)
    }
}

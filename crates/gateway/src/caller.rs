//! Callers: who is known, and what each has of limits that are its own.

mod meters;

pub(crate) use self::meters::CallerMeters;

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

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        let place = self.all.binary_search_by(|caller| (*caller.written.name).cmp(name)).ok()?;
        self.all.get(place)
    }
}

//! What is told of the address sets that requests are judged by.

use std::sync::Arc;

use gatepost_prefix::{Extent, PrefixSet};
use gatepost_ranges::SetReport;

use crate::snapshot::Snapshot;

/// What is known of an address set.
#[derive(Debug, Clone)]
pub struct AddressSetReport {
    /// Its name; of a built-in set with the `@`.
    pub name: Arc<str>,
    /// How many networks it has, overlapping and neighbouring ones merged.
    pub networks: usize,
    /// How much they cover.
    pub extent: Extent,
    /// How it is kept fresh; absent: it is written in the configuration, or in a file beside it.
    pub fetched: Option<SetReport>,
}

impl Snapshot {
    /// Its address sets in the order of their names: those that are named, and the built-in ones.
    pub(crate) fn address_sets(&self) -> Vec<AddressSetReport> {
        let fixed = self.fixed_sets.iter().map(|(name, set)| AddressSetReport::of_fixed(name, set));
        let fetched = self.feeds.iter().map(|set| AddressSetReport::of_fetched(set.report()));
        let mut reports: Vec<_> = fixed.chain(fetched).collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }
}

impl AddressSetReport {
    fn of_fixed(name: &Arc<str>, set: &PrefixSet) -> Self {
        Self { name: Arc::clone(name), networks: set.len(), extent: set.extent(), fetched: None }
    }

    fn of_fetched(report: SetReport) -> Self {
        let SetReport { name, networks, extent, .. } = &report;
        Self { name: Arc::clone(name), networks: *networks, extent: *extent, fetched: Some(report) }
    }
}

//! The store of the state directory, as a gateway wants it: its ledger, and who it tells of usage.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use gatepost_gateway::{ApplyError, Surroundings, UsageBatch, UsageDelta, UsageSink};
use gatepost_store::{Day, KeyUse, NotRecorded, Store};

use crate::exit::Failure;

/// What a gateway counts durably. Closed when it is dropped, and so after the gateway.
#[derive(Debug)]
pub(crate) struct Books {
    store: Arc<Store>,
}

impl Books {
    /// Opens those of a state directory that is ours alone.
    pub(crate) fn open(state: &Path) -> Result<Self, Failure> {
        match Store::open(state) {
            Ok(store) => Ok(Self { store: Arc::new(store) }),
            Err(error) => Err(Failure::CannotRun(format!("cannot count quotas and usage: {error}"))),
        }
    }

    /// Those of this machine, with its disk.
    pub(crate) fn surroundings(&self) -> Result<Surroundings, ApplyError> {
        let usage = Arc::new(Telling(Arc::clone(&self.store)));
        Ok(Surroundings { ledger: Arc::clone(&self.store) as _, usage, ..Surroundings::system()? })
    }
}

impl Drop for Books {
    /// Others may hold the store for longer than there is something to write.
    fn drop(&mut self) {
        // What was asked for and came too late for its quota comes back meanwhile.
        if let Err(error) = self.store.flush() {
            tracing::error!("what callers used at last is lost: {error}");
        }
        self.store.close();
    }
}

#[derive(Debug)]
struct Telling(Arc<Store>);

impl UsageSink for Telling {
    fn record(&self, batch: UsageBatch) -> Result<(), Vec<UsageDelta>> {
        let UsageBatch { counts, keys } = batch;
        self.0.keys_used(keys.into_iter().map(|used| KeyUse { key: used.key.0, at: used.at }).collect());
        let written = counts.iter().map(|delta| {
            let UsageDelta { caller, api, route, day, admitted, refused, bytes_out } = delta;
            let (caller, api, route) = (Arc::clone(caller), Arc::clone(api), Arc::clone(route));
            let (day, admitted, refused, bytes_out) = (Day::at(day.starts()), *admitted, *refused, *bytes_out);
            gatepost_store::UsageDelta { caller, api, route, day, admitted, refused, bytes_out }
        });
        let Err(NotRecorded(refused)) = self.0.record(written.collect()) else { return Ok(()) };
        // Those that it took are told.
        let refused: HashSet<_> =
            refused.iter().map(|left| (&*left.caller, &*left.api, &*left.route, left.day)).collect();
        let is_refused = |delta: &&UsageDelta| {
            refused.contains(&(&*delta.caller, &*delta.api, &*delta.route, Day::at(delta.day.starts())))
        };
        Err(counts.iter().filter(is_refused).cloned().collect())
    }
}

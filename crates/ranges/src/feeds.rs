//! The fetched sets of a configuration, and which of them live on in the next one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gatepost_config::model::{AddressSet, AddressSource, Addresses, Feed, Model};

use crate::live::LiveSet;

/// The fetched sets that a configuration uses, by name.
#[derive(Debug, Clone, Default)]
pub struct Feeds {
    state: PathBuf,
    sets: HashMap<Arc<str>, Arc<LiveSet>>,
}

/// The sets that a configuration uses and that are fetched, of which copies may have to be read.
#[derive(Debug)]
pub struct Wanted {
    state: PathBuf,
    sets: Vec<(Arc<AddressSet>, Option<Arc<LiveSet>>)>,
}

impl Feeds {
    /// Those that `model` uses, with their last good copies, for somebody who asks: nothing is fetched or written.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        Self::new(&model.server.state).wanted(model).open()
    }

    /// None yet, of a gateway that keeps its state there.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { state: state.to_owned(), sets: HashMap::new() }
    }

    /// What `model` uses: the sets of the same name, URL and pick live on, whatever else of them has changed.
    #[must_use]
    pub fn wanted(&self, model: &Model) -> Wanted {
        let known = |set: &AddressSet| {
            let feed = feed_of(set)?;
            self.sets.get(&set.name).filter(|live| live.is_of(feed)).cloned()
        };
        let sets = fetched(model).into_iter().map(|set| (Arc::clone(set), known(set))).collect();
        Wanted { state: self.state.clone(), sets }
    }

    /// The set that is written as `set`, if it is one that is fetched. One that the configuration does not use where it
    /// is looked for counts as never loaded.
    #[must_use]
    pub fn get(&self, set: &AddressSet) -> Option<Arc<LiveSet>> {
        let feed = feed_of(set)?;
        let known = self.sets.get(&set.name).cloned();
        Some(known.unwrap_or_else(|| Arc::new(LiveSet::never_loaded(&self.state, &set.name, feed))))
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveSet>> {
        self.sets.values()
    }
}

impl Wanted {
    /// Reads the copies of those that are new, and has the others follow what was changed. Blocks on the disk.
    #[must_use]
    pub fn open(self) -> Feeds {
        let Self { state, sets } = self;
        let open = |(set, known): (Arc<AddressSet>, Option<Arc<LiveSet>>)| {
            let feed = feed_of(&set)?;
            let live = match known {
                Some(live) => {
                    live.adopt(feed);
                    live
                }
                None => Arc::new(LiveSet::open(&state, &set.name, feed)),
            };
            Some((Arc::clone(&set.name), live))
        };
        Feeds { sets: sets.into_iter().filter_map(open).collect(), state }
    }
}

fn feed_of(set: &AddressSet) -> Option<&Feed> {
    match &set.source {
        AddressSource::Fixed(_) => None,
        AddressSource::Fetched(feed) => Some(feed),
    }
}

/// The fetched sets that a model uses, each once.
fn fetched(model: &Model) -> Vec<&Arc<AddressSet>> {
    let senders = model.listeners.iter().filter_map(|listener| listener.behind.as_ref()).map(|behind| &behind.senders);
    let rules = model.apis.iter().flat_map(|api| &api.routes).filter_map(|route| route.entry.rules()?.from.as_ref());
    let entries = senders.chain(rules.flat_map(|rule| [&rule.from, &rule.except])).flatten();
    let sets = entries.filter_map(|entry| match &entry.addresses {
        Addresses::Set(set) => feed_of(set).map(|_| set),
        Addresses::Network(_) => None,
    });
    let mut seen = HashSet::new();
    sets.filter(|set| seen.insert(Arc::as_ptr(set))).collect()
}

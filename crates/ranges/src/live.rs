//! A fetched set as it is now: what requests are judged by, and what is known of it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use gatepost_config::model::{Feed, FeedUrl, Pick};
use gatepost_prefix::{Extent, PrefixSet};
use ipnet::IpNet;
use jiff::Timestamp;

use crate::copy::{self, Copy, Validators};
use crate::judge::{Bounds, Covered, Objection, judge};
use crate::read::read_list;

/// A set of addresses that is fetched. It has never been loaded, or it has a good copy, and never anything between: a
/// look-up sees the old copy or the new one whole.
#[derive(Debug)]
pub struct LiveSet {
    name: Arc<str>,
    url: FeedUrl,
    pick: Pick,
    /// Where its copy is kept.
    path: PathBuf,
    current: ArcSwapOption<PrefixSet>,
    schedule: Mutex<Schedule>,
    known: Mutex<Known>,
    /// Held while an answer is taken: one at a time.
    turn: Mutex<()>,
    fetches: [AtomicU64; Outcome::ALL.len()],
}

/// How a set is kept fresh: what of its feed may change while it lives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Schedule {
    pub(crate) every: Duration,
    max_age: Duration,
    bounds: Bounds,
}

/// What is known of a set besides its networks.
#[derive(Debug, Default)]
struct Known {
    /// When the copy in force came, and when it was last found to be what is published.
    copy: Option<Times>,
    validators: Validators,
    /// What the file on disk says about when the copy was confirmed; absent: there is no file of ours.
    kept: Option<Timestamp>,
    /// Why the last fetch brought nothing.
    error: Option<String>,
    /// Why the last list is held.
    held: Option<String>,
    /// Whether it has been said that the copy is stale.
    told_stale: bool,
}

#[derive(Debug, Clone, Copy)]
struct Times {
    fetched: Timestamp,
    confirmed: Timestamp,
}

/// What a fetch came to, for one set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Outcome {
    /// A list that took effect.
    Updated,
    /// The list is the one in force.
    Unchanged,
    /// A list that changes more than it may; the one in force stays.
    Held,
    /// What came is no list, or none that could be used.
    Refused,
    /// Nothing came.
    Failed,
}

/// The state of a fetched set: the gravest that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetState {
    /// There is no good copy yet: whoever depends on it is answered 503.
    NeverLoaded,
    /// The copy in force has not been confirmed for longer than `max_age`.
    Stale,
    /// The last list is held.
    Held,
    /// The last fetch brought nothing.
    Failing,
    /// All is well.
    Fresh,
}

/// What is known of a fetched set.
#[derive(Debug, Clone)]
pub struct SetReport {
    /// Its name.
    pub name: Arc<str>,
    /// Where its list is.
    pub url: String,
    /// How it is.
    pub state: SetState,
    /// How many networks it has, overlapping and neighbouring ones merged.
    pub networks: usize,
    /// How much they cover.
    pub extent: Extent,
    /// How long ago the copy in force came or was confirmed; absent: there is none.
    pub age: Option<Duration>,
    /// Whether that is longer ago than `max_age`.
    pub is_stale: bool,
    /// Why the last list is held, if it is.
    pub held: Option<String>,
    /// Why the last fetch brought nothing, if it did not.
    pub last_error: Option<String>,
    /// How many fetches came to what, in the order of [`Outcome::ALL`].
    pub fetches: [u64; Outcome::ALL.len()],
}

impl LiveSet {
    /// The set `name` without a copy. What is loaded will be kept below `state`, the state directory.
    #[must_use]
    pub fn never_loaded(state: &Path, name: &Arc<str>, feed: &Feed) -> Self {
        Self {
            name: Arc::clone(name),
            url: feed.url.clone(),
            pick: feed.pick.clone(),
            path: copy::path_of(state, name),
            current: ArcSwapOption::empty(),
            schedule: Mutex::new(Schedule::of(feed)),
            known: Mutex::default(),
            turn: Mutex::default(),
            fetches: Default::default(),
        }
    }

    /// The set `name` with its last good copy from below `state`, if there is one. Blocks on the disk.
    #[must_use]
    pub fn open(state: &Path, name: &Arc<str>, feed: &Feed) -> Self {
        let set = Self::never_loaded(state, name, feed);
        match copy::read(&set.path, name, feed) {
            Ok(None) => {}
            Ok(Some(copy)) => {
                let mut known = set.known();
                known.copy = Some(Times { fetched: copy.fetched, confirmed: copy.confirmed });
                known.validators = copy.validators;
                known.kept = Some(copy.confirmed);
                drop(known);
                set.current.store(Some(copy.set));
            }
            Err(error) => tracing::warn!("the copy {} is not used: {error}", set.path.display()),
        }
        set
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Where its list is.
    #[must_use]
    pub fn url(&self) -> &FeedUrl {
        &self.url
    }

    /// Whether it has the address; nothing if it was never loaded, and nobody knows.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<bool> {
        self.current.load().as_ref().map(|set| set.contains(address))
    }

    /// The network that has the address, after overlapping and neighbouring ones were merged.
    #[must_use]
    pub fn network_of(&self, address: IpAddr) -> Option<IpNet> {
        self.current.load().as_ref()?.network_of(address)
    }

    /// Every network that it has, after overlapping and neighbouring ones were merged; nothing if it was never loaded.
    #[must_use]
    pub fn networks(&self) -> Vec<IpNet> {
        self.current.load().as_ref().map(|set| set.networks().collect()).unwrap_or_default()
    }

    /// Whether it has a good copy.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.current.load().is_some()
    }

    /// How long ago the copy in force came or was confirmed; nothing if there is none.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.known().copy.map(|times| since(times.confirmed))
    }

    /// What is known of it.
    #[must_use]
    pub fn report(&self) -> SetReport {
        let schedule = self.schedule();
        let current = self.current.load_full();
        let known = self.known();
        let age = known.copy.map(|times| since(times.confirmed));
        let is_stale = age.is_some_and(|age| age > schedule.max_age);
        let state = if current.is_none() {
            SetState::NeverLoaded
        } else if is_stale {
            SetState::Stale
        } else if known.held.is_some() {
            SetState::Held
        } else if known.error.is_some() {
            SetState::Failing
        } else {
            SetState::Fresh
        };
        SetReport {
            name: Arc::clone(&self.name),
            url: self.url.to_string(),
            state,
            networks: current.as_ref().map_or(0, |set| set.len()),
            extent: current.as_ref().map(|set| set.extent()).unwrap_or_default(),
            age,
            is_stale,
            held: known.held.clone(),
            last_error: known.error.clone(),
            fetches: self.fetches.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }

    /// Whether it is the set that `feed` describes, whatever its schedule.
    pub(crate) fn is_of(&self, feed: &Feed) -> bool {
        self.url == feed.url && self.pick == feed.pick
    }

    /// Is kept fresh as `feed` says, from now on.
    pub(crate) fn adopt(&self, feed: &Feed) {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner) = Schedule::of(feed);
    }

    pub(crate) fn schedule(&self) -> Schedule {
        *self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the publisher knows the copy in force by.
    pub(crate) fn validators(&self) -> Option<Validators> {
        let known = self.known();
        known.copy.map(|_| known.validators.clone())
    }

    /// A fetch brought nothing.
    pub(crate) fn fail(&self, error: &str) -> Outcome {
        self.bring_nothing(Outcome::Failed, error)
    }

    /// The publisher says that the copy in force is what it publishes. Blocks on the disk.
    pub(crate) fn confirm(&self) -> Outcome {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let validators = self.known().validators.clone();
        self.keep(None, validators);
        self.count(Outcome::Unchanged)
    }

    /// Takes what was published, if it is a list and may be taken. Blocks on the disk, and for as long as a long list
    /// takes to read. `is_whole` says whether its end was told, so that none of it can be missing.
    pub(crate) fn take(&self, bytes: &[u8], is_whole: bool, validators: Validators) -> Outcome {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.pick == Pick::Lines && !is_whole {
            let error = "it came without its length, so that nobody could tell whether all of it came";
            return self.bring_nothing(Outcome::Refused, error);
        }
        let list: PrefixSet = match read_list(bytes, &self.pick) {
            Ok(networks) => networks.into_iter().collect(),
            Err(error) => return self.bring_nothing(Outcome::Refused, &error.to_string()),
        };
        let in_force = self.current.load_full();
        // Whoever removes the copy says that what comes next is to count as the first one.
        let is_first = self.known().kept.is_some() && was_deleted(&self.path);
        let before = in_force.as_deref().filter(|_| !is_first);
        match judge(&list, before, self.schedule().bounds) {
            Ok(()) if in_force.as_deref() == Some(&list) => {
                self.keep(None, validators);
                self.count(Outcome::Unchanged)
            }
            Ok(()) => {
                if is_first {
                    let (name, path) = (&self.name, self.path.display());
                    tracing::warn!("address set {name}: {path} was deleted, so the new list counts as the first one");
                }
                self.keep(Some(list), validators);
                self.count(Outcome::Updated)
            }
            Err(objection @ (Objection::TooWide(_) | Objection::TooMuch(_))) => {
                self.bring_nothing(Outcome::Refused, &objection.to_string())
            }
            Err(objection) => self.hold(&objection),
        }
    }

    /// Says once that the copy in force is stale, and once that it is no more.
    pub(crate) fn watch_age(&self) {
        let max_age = self.schedule().max_age;
        let mut known = self.known();
        let Some(age) = known.copy.map(|times| since(times.confirmed)) else { return };
        let is_stale = age > max_age;
        if is_stale && !known.told_stale {
            let (name, url) = (&self.name, &self.url);
            tracing::warn!("address set {name} is stale: {url} has not confirmed it for {age:.0?}; it still counts");
        }
        known.told_stale = is_stale;
    }

    fn bring_nothing(&self, outcome: Outcome, error: &str) -> Outcome {
        let mut known = self.known();
        if known.error.as_deref() != Some(error) {
            let (name, url) = (&self.name, &self.url);
            let so = if self.is_loaded() { "the copy in force stays" } else { "whoever depends on it is answered 503" };
            tracing::warn!("address set {name} cannot be had from {url}: {error}; {so}");
            known.error = Some(error.to_owned());
        }
        drop(known);
        self.count(outcome)
    }

    fn hold(&self, objection: &Objection) -> Outcome {
        let mut known = self.known();
        let why = objection.to_string();
        if known.held.as_ref() != Some(&why) {
            let (name, url, path) = (&self.name, &self.url, self.path.display());
            tracing::warn!(
                "address set {name}: the list at {url} is held, because {why}. The copy in force stays. If the new list \
                 is right, change that, or delete {path}: what is fetched next then counts as the first"
            );
            known.held = Some(why);
        }
        known.error = None;
        drop(known);
        self.count(Outcome::Held)
    }

    /// Puts a list in force, or the one that is there once more, and keeps a copy of it.
    fn keep(&self, list: Option<PrefixSet>, validators: Validators) {
        let now = Timestamp::now();
        let is_new = list.is_some();
        if let Some(list) = list {
            let list = Arc::new(list);
            let before = self.current.swap(Some(Arc::clone(&list))).unwrap_or_default();
            tracing::info!(
                "address set {} is updated: networks {}, before {}; it covers {}, before {}",
                self.name,
                list.len(),
                before.len(),
                covered(&list),
                covered(&before)
            );
        }
        let mut known = self.known();
        if known.error.take().is_some() && !is_new {
            tracing::info!("address set {} is confirmed again", self.name);
        }
        known.held = None;
        let fetched = known.copy.filter(|_| !is_new).map_or(now, |times| times.fetched);
        known.copy = Some(Times { fetched, confirmed: now });
        known.validators = validators;
        let kept = known.kept;
        drop(known);
        self.watch_age();
        // So much later than it really was may be read back after a restart.
        let negligible = self.schedule().max_age / 100;
        if is_new || kept.is_none_or(|kept| since(kept) > negligible) || !self.path.exists() {
            self.write(fetched, now);
        }
    }

    fn write(&self, fetched: Timestamp, confirmed: Timestamp) {
        let Some(set) = self.current.load_full() else { return };
        let validators = self.known().validators.clone();
        let copy = Copy { set, validators, fetched, confirmed };
        let written = copy::write(&self.path, &self.name, &self.url.to_string(), &self.pick, &copy);
        self.known().kept = match written {
            Ok(()) => Some(confirmed),
            Err(error) => {
                let (name, path) = (&self.name, self.path.display());
                tracing::warn!(
                    "address set {name}: no copy can be kept in {path}, so a restart would lose it: {error}"
                );
                None
            }
        };
    }

    fn count(&self, outcome: Outcome) -> Outcome {
        self.fetches[outcome as usize].fetch_add(1, Ordering::Relaxed);
        outcome
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Schedule {
    fn of(feed: &Feed) -> Self {
        let bounds = Bounds { shrink: feed.shrink, grow: feed.grow };
        Self { every: feed.every, max_age: feed.max_age, bounds }
    }
}

impl Outcome {
    /// All of them, in the order of their discriminants.
    pub const ALL: [Self; 5] = [Self::Updated, Self::Unchanged, Self::Held, Self::Refused, Self::Failed];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::Held => "held",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }

    /// Whether there is nothing to be tried again soon.
    pub(crate) fn is_settled(self) -> bool {
        matches!(self, Self::Updated | Self::Unchanged | Self::Held)
    }
}

impl SetState {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NeverLoaded => "never_loaded",
            Self::Stale => "stale",
            Self::Held => "held",
            Self::Failing => "failing",
            Self::Fresh => "fresh",
        }
    }
}

/// Whether somebody deleted that file, and not its directory too: of a disk that is not there nobody says anything.
fn was_deleted(path: &Path) -> bool {
    let is_gone = path.try_exists().is_ok_and(|exists| !exists);
    is_gone && path.parent().is_some_and(Path::is_dir)
}

/// What a set covers, for the log.
fn covered(set: &PrefixSet) -> String {
    let extent = set.extent();
    format!("{} and {}", Covered::four(extent), Covered::six(extent))
}

/// How long ago that was; no time at all if the clock was set back since.
fn since(then: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(then)).unwrap_or_default()
}

#[cfg(test)]
mod tests;

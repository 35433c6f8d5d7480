//! Keeping sets fresh: one task a URL, however many sets are picked from it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use gatepost_config::model::FeedUrl;
use gatepost_net::Resolver;
use gatepost_net::tls::ClientTls;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::copy::Validators;
use crate::fetch::{Answer, Document, FetchLimits, Fetcher, Source};
use crate::live::{LiveSet, Outcome, Schedule};

/// The lists that are kept fresh. It ends when it is dropped.
#[derive(Debug)]
pub struct Refreshers {
    fetcher: Fetcher,
    running: HashMap<FeedUrl, Refresher>,
}

/// One URL, and the sets that are picked from what is there.
#[derive(Debug)]
struct Refresher {
    members: Vec<Arc<LiveSet>>,
    schedules: Vec<Schedule>,
    wake: Arc<Notify>,
    task: JoinHandle<()>,
}

/// After a fetch that brought nothing the next one comes after a second, and then each time twice as late, but not
/// later than this, and never later than `every`.
const RETRY_MOST: Duration = Duration::from_secs(300);

impl Refreshers {
    /// None yet. Names are looked up by `resolver`, and publishers proven by `tls`, which speaks HTTP/1.1.
    #[must_use]
    pub fn new(resolver: Resolver, tls: ClientTls) -> Self {
        Self { fetcher: Fetcher::new(resolver, tls), running: HashMap::new() }
    }

    /// Keeps these sets fresh from now on, and no others, on the runtime that this is called on.
    ///
    /// A set that was never loaded is asked for at once, and so is one whose schedule has changed: what was held may be
    /// within bounds now.
    pub fn follow<'s>(&mut self, sets: impl IntoIterator<Item = &'s Arc<LiveSet>>) {
        let mut wanted: HashMap<&FeedUrl, Vec<Arc<LiveSet>>> = HashMap::new();
        for set in sets {
            wanted.entry(set.url()).or_default().push(Arc::clone(set));
        }
        self.running.retain(|url, _| wanted.contains_key(url));
        for (url, mut members) in wanted {
            members.sort_by(|one, other| one.name().cmp(other.name()));
            let schedules: Vec<Schedule> = members.iter().map(|set| set.schedule()).collect();
            if let Some(running) = self.running.get_mut(url)
                && running.is_of(&members)
            {
                if running.schedules != schedules {
                    running.schedules = schedules;
                    running.wake.notify_one();
                }
                continue;
            }
            // The old one must not have the last word.
            drop(self.running.remove(url));
            let wake = Arc::new(Notify::new());
            let keeping =
                keep(self.fetcher.clone(), Source::new(url, FetchLimits::LIST), members.clone(), Arc::clone(&wake));
            let task = tokio::spawn(keeping);
            self.running.insert(url.clone(), Refresher { members, schedules, wake, task });
        }
    }

    /// Asks for every list now.
    pub fn refresh(&self) {
        for refresher in self.running.values() {
            refresher.wake.notify_one();
        }
    }
}

impl Refresher {
    fn is_of(&self, members: &[Arc<LiveSet>]) -> bool {
        self.members.len() == members.len() && self.members.iter().zip(members).all(|(own, set)| Arc::ptr_eq(own, set))
    }
}

impl Drop for Refresher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(fetcher: Fetcher, source: Source, members: Vec<Arc<LiveSet>>, wake: Arc<Notify>) {
    let members: Arc<[Arc<LiveSet>]> = members.into();
    let mut due = Instant::now() + first_wait(&members);
    let mut failures = 0;
    for set in members.iter() {
        set.watch_age();
    }
    loop {
        tokio::select! {
            () = sleep_until(due) => {}
            () = wake.notified() => {}
        }
        let outcomes = round(&fetcher, &source, &members).await;
        let settled = !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.is_settled());
        failures = if settled { 0 } else { failures + 1 };
        for set in members.iter() {
            set.watch_age();
        }
        due = Instant::now() + next_fetch(every(&members), failures);
    }
}

/// One fetch, and what it came to for each set.
async fn round(fetcher: &Fetcher, source: &Source, members: &Arc<[Arc<LiveSet>]>) -> Vec<Outcome> {
    let known = common_validators(members);
    let answer = fetcher.fetch(source, known.as_ref()).await;
    let members = Arc::clone(members);
    let taking = alone(move || {
        let each = members.iter().map(|set| match &answer {
            Ok(Answer::NotModified) => set.confirm(),
            Ok(Answer::Document(Document { bytes, is_whole, validators, .. })) => {
                set.take(bytes, *is_whole, validators.clone())
            }
            Err(error) => set.fail(&error.to_string()),
        });
        each.collect()
    });
    taking.await.unwrap_or_default()
}

/// Runs `work`, which takes its time or waits for a disk, where it keeps no request waiting, and no other beside it in
/// this process: however many lists come at once, the memory that reading takes is that of one. Nothing if it panicked.
async fn alone<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    static TURN: Semaphore = Semaphore::const_new(1);
    let turn = TURN.acquire().await.ok()?;
    // The turn is over with the work, even if nobody waits for that any more.
    let working = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work()
    });
    working.await.ok()
}

/// The one version that all of them have, if they have. A set that holds a list back has the version before that.
fn common_validators(members: &[Arc<LiveSet>]) -> Option<Validators> {
    let first = members.first()?.validators()?;
    let alike = members.iter().all(|set| set.validators().as_ref() == Some(&first));
    (alike && first != Validators::default()).then_some(first)
}

fn every(members: &[Arc<LiveSet>]) -> Duration {
    members.iter().map(|set| set.schedule().every).min().unwrap_or(RETRY_MOST)
}

/// How long after a start the first fetch comes: at once, unless every set has a copy that is young enough.
fn first_wait(members: &[Arc<LiveSet>]) -> Duration {
    let every = every(members);
    let left = members.iter().map(|set| set.age().map_or(Duration::ZERO, |age| every.saturating_sub(age)));
    left.min().unwrap_or_default()
}

/// How long to wait for the next fetch after so many failures in a row: `every` after none, else a second, and each time
/// twice as long. A tenth at most sooner than that, so that not all gateways ask at the same moment.
#[must_use]
pub fn next_fetch(every: Duration, failures: u32) -> Duration {
    let most = match failures.checked_sub(1) {
        None => every,
        Some(again) => Duration::from_secs(1 << again.min(16)).min(RETRY_MOST).min(every),
    };
    most - up_to(most / 10)
}

/// Some time shorter than `most`.
fn up_to(most: Duration) -> Duration {
    // Seeded anew by the standard library each time: no worse than it must be here.
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn lists_are_read_one_after_the_other() {
        let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut readings = tokio::task::JoinSet::new();
        for _ in 0..16 {
            let (busy, most) = (Arc::clone(&busy), Arc::clone(&most));
            readings.spawn(alone(move || {
                most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                busy.fetch_sub(1, Ordering::SeqCst);
            }));
        }
        assert!(readings.join_all().await.into_iter().all(|done| done.is_some()));
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(alone(|| -> () { panic!("as it may") }).await, None);
        assert_eq!(alone(|| 1).await, Some(1), "the turn is over with a panic too");
    }

    #[test]
    fn the_next_fetch_is_never_later_than_every() {
        let every = Duration::from_secs(3_600);
        for failures in 0..100 {
            let waiting = next_fetch(every, failures);
            assert!(waiting <= every && waiting >= Duration::from_millis(900), "{failures}: {waiting:?}");
            assert!(failures == 0 || waiting <= RETRY_MOST, "{failures}: {waiting:?}");
        }
        assert!(next_fetch(every, 0) >= every * 9 / 10);
        assert!(next_fetch(Duration::from_secs(10), 30) <= Duration::from_secs(10));
    }
}

//! What names stand for, now: looked up in one place for all threads, and kept as long as the answer says.

mod ask;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{self, Handle};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use crate::resolver::ask::{Asker, Outcome};

/// Looks names up, for any number of threads and runtimes. Cheap to clone: all clones are one resolver.
///
/// It has one thread of its own, which asks, and ends with the last clone. A name is looked up when somebody first asks
/// for it, and from then on whenever its answer ends: only who asks first ever waits, at most [`LOOKUP_TIMEOUT`].
///
/// - An answer holds for its TTL, but for [`TTL_LEAST`] and not above [`TTL_MOST`]; that there is none, for
///   [`NEGATIVE_MOST`] at most. An answer from `/etc/hosts` holds for [`HOSTS_TTL`].
/// - While looking it up again fails, the old answer is used for [`STALE`] more; then the name fails. "There is no such
///   name" is an answer, not a failure, and counts at once.
/// - A name that nobody has asked for in [`IDLE`] is forgotten, and so is one that no [`Destination`] has any more.
///
/// `/etc/hosts` and `/etc/resolv.conf` are read anew when they have changed, which is looked at before each lookup;
/// `/etc/nsswitch.conf` is not read.
/// `localhost` and what is below it never leaves this machine (RFC 6761, 6.3). Nothing that could be taken for an
/// address is looked up, whatever its spelling (see [`ends_in_a_number`]).
///
/// [`Destination`]: crate::Destination
#[derive(Debug, Clone)]
pub struct Resolver(Arc<Inner>);

struct Inner {
    names: Mutex<HashMap<Box<str>, Weak<Entry>>>,
    asker: Arc<Asker>,
    keeping: Keeping,
    runtime: Handle,
    /// Dropped with the last clone, which ends the thread.
    _alive: oneshot::Sender<Infallible>,
}

/// Why a name has no address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResolveError {
    /// What some would take for an address is no name.
    #[error("this is no name but an address in an odd spelling; write it as four decimal numbers")]
    Numeric,
    /// No name at all.
    #[error("this is no name that can be looked up")]
    NotAName,
    /// The name does not exist, or has no address.
    #[error("the name has no address")]
    NoAddress,
    /// The name servers failed.
    #[error("the name servers failed: {0}")]
    Failed(Box<str>),
    /// The name servers did not answer.
    #[error("the name servers did not answer in time")]
    TimedOut,
}

/// The shortest time that an answer is kept.
pub const TTL_LEAST: Duration = Duration::from_secs(1);

/// The longest time that an answer is kept without being looked up again.
pub const TTL_MOST: Duration = Duration::from_secs(3600);

/// The longest time that a name counts as having no address without being looked up again.
pub const NEGATIVE_MOST: Duration = Duration::from_secs(30);

/// How long an answer from `/etc/hosts` is kept.
pub const HOSTS_TTL: Duration = Duration::from_secs(10);

/// How long an answer is used after its end, while looking it up again fails.
pub const STALE: Duration = Duration::from_secs(3600);

/// How long a name is kept up to date that nobody asks for.
pub const IDLE: Duration = Duration::from_secs(600);

/// How long one lookup may take, with all its repetitions.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses of one family that a name may have: of more, the lowest.
pub const MOST_ADDRESSES: usize = 32;

/// After a failed lookup the next one comes after a second, and then each time twice as late, but not later than this.
const RETRY_MOST: Duration = Duration::from_secs(10);

/// How long answers are kept in other ways than by their TTL.
#[derive(Debug, Clone, Copy)]
struct Keeping {
    stale: Duration,
    idle: Duration,
}

/// A name that somebody uses, and what is known of it.
pub(crate) struct Entry {
    name: Box<str>,
    known: watch::Sender<Known>,
    /// Another number whenever the set of addresses is another one.
    generation: AtomicU64,
    /// Where the next connection begins among the addresses.
    turn: AtomicUsize,
    /// Whether somebody has asked since this was last looked at.
    used: AtomicBool,
}

/// What is known of a name.
#[derive(Debug, Clone)]
enum Known {
    /// Nothing, and nobody has asked for it lately.
    Dormant,
    /// Nothing yet: the first lookup is under way.
    Asked,
    Addresses(Arc<Addresses>),
    Failed(ResolveError),
}

/// The addresses of a name, none of them IPv4-mapped.
#[derive(Debug)]
pub(crate) struct Addresses {
    v6: Vec<IpAddr>,
    v4: Vec<IpAddr>,
    generation: u64,
}

impl Resolver {
    /// One that asks whom this machine asks: `/etc/hosts`, then the name servers of `/etc/resolv.conf` with its search
    /// list.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn system() -> io::Result<Self> {
        Self::start(Asker::system(), Keeping::ORDINARY)
    }

    /// One that asks these name servers and reads no file. For tests.
    ///
    /// # Errors
    /// Its thread cannot be started.
    pub fn with_servers(servers: Vec<SocketAddr>) -> io::Result<Self> {
        Self::start(Asker::servers(servers), Keeping::ORDINARY)
    }

    fn start(asker: Asker, keeping: Keeping) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, over) = oneshot::channel::<Infallible>();
        thread::Builder::new().name("resolver".to_owned()).spawn(move || {
            // Only the other end's drop ends this.
            let _ = runtime.block_on(over);
            runtime.shutdown_background();
        })?;
        Ok(Self(Arc::new(Inner {
            names: Mutex::default(),
            asker: Arc::new(asker),
            keeping,
            runtime: handle,
            _alive: alive,
        })))
    }

    /// The addresses of `name` as they are known, or as they are found out.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let addresses = self.answer(&self.entry(name)).await?;
        Ok(addresses.in_turn(0).collect())
    }

    /// What is known of `name`: the same for all who ask, as long as one of them keeps it.
    pub(crate) fn entry(&self, name: &str) -> Arc<Entry> {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get(name).and_then(Weak::upgrade) {
            return known;
        }
        names.retain(|_, entry| entry.strong_count() > 0);
        let entry = Arc::new(Entry::new(name));
        names.insert(name.into(), Arc::downgrade(&entry));
        entry
    }

    /// The addresses of `entry`. Waits only if nothing is known of it.
    pub(crate) async fn answer(&self, entry: &Arc<Entry>) -> Result<Arc<Addresses>, ResolveError> {
        entry.mark_used();
        let mut updates = entry.known.subscribe();
        // Once more, because a name may be forgotten just when somebody asks for it again.
        for _ in 0..2 {
            self.begin(entry);
            let settled = updates.wait_for(|known| !matches!(known, Known::Asked));
            // A lookup has a deadline of its own; this is for a resolver that is no longer there.
            let Ok(Ok(known)) = timeout(LOOKUP_TIMEOUT * 2, settled).await else { break };
            match &*known {
                Known::Addresses(addresses) => return Ok(Arc::clone(addresses)),
                Known::Failed(error) => return Err(error.clone()),
                Known::Dormant | Known::Asked => {}
            }
        }
        Err(ResolveError::TimedOut)
    }

    /// Sees to it that somebody looks the name up, and that it is one only.
    fn begin(&self, entry: &Arc<Entry>) {
        if !matches!(*entry.known.borrow(), Known::Dormant) {
            return;
        }
        let first = entry.known.send_if_modified(|known| {
            let dormant = matches!(known, Known::Dormant);
            if dormant {
                *known = Known::Asked;
            }
            dormant
        });
        if first {
            let Inner { asker, keeping, .. } = &*self.0;
            self.0.runtime.spawn(keep(entry.name.clone(), Kept(Arc::downgrade(entry)), Arc::clone(asker), *keeping));
        }
    }
}

/// Whether some would take `host` for an IPv4 address in some spelling: its last label is all digits, or `0x` and
/// hexadecimal digits (the URL standard's "ends in a number"). `127.1`, `2130706433` and `0x7f.1` are; names are not.
#[must_use]
pub fn ends_in_a_number(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let last = host.rsplit('.').next().unwrap_or_default();
    let hexadecimal = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hexadecimal {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

impl Keeping {
    const ORDINARY: Self = Self { stale: STALE, idle: IDLE };
}

/// The name that is being kept up to date. However that ends, the next who asks begins anew.
struct Kept(Weak<Entry>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(entry) = self.0.upgrade() {
            entry.known.send_replace(Known::Dormant);
        }
    }
}

/// Keeps what is known of a name up to date, as long as somebody has it and now and then asks.
async fn keep(name: Box<str>, kept: Kept, asker: Arc<Asker>, keeping: Keeping) {
    let mut answers = Answers::default();
    let mut last_used = Instant::now();
    loop {
        let outcomes = asker.look_up(&name).await;
        let Some(entry) = kept.0.upgrade() else { return };
        let failed_before = answers.failures > 0;
        let due = answers.take(outcomes, keeping.stale);
        entry.publish(&answers);
        match &answers.failure {
            Some(error) if answers.failures > 0 && !failed_before => {
                tracing::warn!("cannot look up {name}: {error}; its old addresses, if it has any, are used for now");
            }
            _ if answers.failures == 0 && failed_before => tracing::info!("{name} can be looked up again"),
            Some(_) | None => {}
        }
        drop(entry);
        sleep_until(due).await;
        let Some(entry) = kept.0.upgrade() else { return };
        let now = Instant::now();
        if entry.used.swap(false, Ordering::Relaxed) {
            last_used = now;
        } else if now.duration_since(last_used) >= keeping.idle {
            return;
        }
    }
}

/// The last answer of each family: IPv6, IPv4.
#[derive(Debug, Default)]
struct Answers {
    families: [Option<Answer>; 2],
    failure: Option<ResolveError>,
    failures: u32,
}

/// The addresses of one family, or that there are none.
#[derive(Debug)]
struct Answer {
    addresses: Vec<IpAddr>,
    until: Instant,
}

impl Answers {
    /// Takes the outcomes of a lookup in; when the next one is due.
    ///
    /// A family whose lookup failed keeps its old answer, so that a name server which cannot do the one takes nothing
    /// from the other.
    fn take(&mut self, outcomes: [Outcome; 2], stale: Duration) -> Instant {
        let now = Instant::now();
        self.failure = None;
        let mut found_until = Vec::new();
        let mut nothing_until = Vec::new();
        let mut old_is_used = false;
        for (family, outcome) in self.families.iter_mut().zip(outcomes) {
            match outcome {
                Outcome::Found(addresses, until) => {
                    found_until.push(until);
                    *family = Some(Answer { addresses, until });
                }
                Outcome::Nothing(until) => {
                    nothing_until.push(until);
                    *family = Some(Answer { addresses: Vec::new(), until });
                }
                Outcome::Failed(error) => {
                    self.failure = Some(error);
                    let kept = family.take().filter(|answer| now < answer.until + stale);
                    old_is_used |= kept.as_ref().is_some_and(|answer| !answer.addresses.is_empty());
                    *family = kept;
                }
            }
        }
        let again = |failures: u32| now + (Duration::from_secs(1) * (1 << failures.min(8))).min(RETRY_MOST);
        // A family that always fails is no reason to ask more often for the other one.
        if self.failure.is_some() && (old_is_used || found_until.is_empty()) {
            self.failures += 1;
            return again(self.failures - 1);
        }
        self.failures = 0;
        found_until.into_iter().min().or(nothing_until.into_iter().min()).unwrap_or_else(|| again(0))
    }

    fn of(&self, family: usize) -> Vec<IpAddr> {
        self.families[family].as_ref().map(|answer| answer.addresses.clone()).unwrap_or_default()
    }
}

impl Entry {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            known: watch::Sender::new(Known::Dormant),
            generation: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            used: AtomicBool::new(false),
        }
    }

    /// The number of the set of addresses that the name stands for now.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether `address` is one that the name stands for now; if so, the number of the set that it is in.
    pub(crate) fn has(&self, address: IpAddr) -> Option<u64> {
        match &*self.known.borrow() {
            Known::Addresses(addresses) if addresses.contain(address) => Some(addresses.generation),
            Known::Addresses(_) | Known::Dormant | Known::Asked | Known::Failed(_) => None,
        }
    }

    /// Whose turn it is among the addresses.
    pub(crate) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn mark_used(&self) {
        // Read first: all threads read it, and hardly anybody has to write.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    fn publish(&self, answers: &Answers) {
        let (v6, v4) = (answers.of(0), answers.of(1));
        self.known.send_modify(|known| {
            let same = match known {
                Known::Addresses(old) => old.v6 == v6 && old.v4 == v4,
                Known::Dormant | Known::Asked | Known::Failed(_) => false,
            };
            if same {
                return;
            }
            let generation = self.generation.load(Ordering::Relaxed) + 1;
            *known = if v6.is_empty() && v4.is_empty() {
                Known::Failed(answers.failure.clone().unwrap_or(ResolveError::NoAddress))
            } else {
                Known::Addresses(Arc::new(Addresses { v6, v4, generation }))
            };
            self.generation.store(generation, Ordering::Release);
        });
    }
}

impl Addresses {
    /// The number of this set.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }

    /// All of them: each family beginning at this turn, one of each family in turn, IPv6 first (RFC 8305, 4).
    pub(crate) fn in_turn(&self, turn: usize) -> impl Iterator<Item = IpAddr> {
        let rotated = |family: &'_ [IpAddr]| -> Vec<IpAddr> {
            let (before, from) = family.split_at(turn % family.len().max(1));
            [from, before].concat()
        };
        let (v6, v4) = (rotated(&self.v6), rotated(&self.v4));
        (0..v6.len().max(v4.len())).flat_map(move |at| [v6.get(at).copied(), v4.get(at).copied()]).flatten()
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.v6.contains(&address) || self.v4.contains(&address)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Entry({})", self.name)
    }
}

//! The keys of one issuer as they are now, and who waits for them to change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::cache::{Cache, Digest};
use super::compact::Compact;
use super::jwks::KeySet;
use super::{Claims, TokenFlaw};

/// For how long keys are used that could not be asked for again. Then nobody knows any more what the issuer's keys are:
/// one that it has withdrawn must not be good for ever.
pub(crate) const KEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a request may wait for keys.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);

/// How often an issuer is asked at most because tokens name keys that it did not publish: anybody can make such tokens.
pub(super) const ASKED_AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// Requests that may wait for the keys of an issuer at once.
const MOST_WAITING: usize = 256;

/// The keys of an issuer, for all threads.
#[derive(Debug)]
pub(crate) struct Keyring {
    issuer: Arc<str>,
    loaded: ArcSwapOption<Loaded>,
    asking: watch::Sender<Asking>,
    /// Told when somebody wants to know better.
    pub(super) wanted: Notify,
    waiting: AtomicUsize,
}

/// What the issuer last published.
#[derive(Debug)]
struct Loaded {
    keys: Arc<Keys>,
    /// When it was.
    at: Instant,
}

/// Keys, and the tokens that they verified: who has new keys forgets those.
#[derive(Debug)]
struct Keys {
    set: KeySet,
    verified: Cache,
}

/// How the issuer is being asked.
#[derive(Debug, Clone, Copy, Default)]
struct Asking {
    is_under_way: bool,
    /// When it was last begun.
    begun: Option<Instant>,
    /// How often it has ended.
    ended: u64,
}

/// What came of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// The issuer was asked meanwhile: look again.
    Asked,
    /// It was asked a short while ago, too many wait already, or it took too long.
    No,
}

impl Keyring {
    /// Without keys yet.
    pub(crate) fn new(issuer: Arc<str>) -> Arc<Self> {
        Arc::new(Self {
            issuer,
            loaded: ArcSwapOption::empty(),
            asking: watch::Sender::default(),
            wanted: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Whose keys they are.
    pub(crate) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// What a token says that was verified before with the keys that are good now.
    pub(super) fn recall(&self, digest: &Digest) -> Option<Arc<Claims>> {
        in_use(&self.loaded.load())?.verified.get(digest)
    }

    /// Verifies a token that says to be of this issuer.
    ///
    /// # Errors
    /// It was signed with none of its keys, or nobody knows them.
    pub(super) fn verify(&self, token: Compact<'_>, digest: Digest) -> Result<Arc<Claims>, TokenFlaw> {
        let loaded = self.loaded.load();
        let keys = in_use(&loaded).ok_or(TokenFlaw::KeysUnknown)?;
        let Compact { algorithm, kid, claims, message, signature, .. } = token;
        keys.set.verify(&kid, algorithm, message.as_bytes(), &signature)?;
        let claims = Arc::new(claims);
        keys.verified.insert(digest, &claims);
        Ok(claims)
    }

    /// Whether it is worth waiting for it to be [refreshed](Self::refreshed).
    pub(crate) fn may_come_soon(&self) -> bool {
        let asking = self.asking.borrow();
        asking.is_under_way || asking.is_due()
    }

    /// Waits for [`PATIENCE`] at most until the issuer was asked again, for the sake of a token that names a key which
    /// is not known, or because none is. An issuer is asked for that once a minute at most; if it was, this is over at
    /// once. It may be awaited on any runtime.
    pub(crate) async fn refreshed(&self) -> Refreshed {
        let Some(_waiting) = self.wait() else { return Refreshed::No };
        let mut asking = self.asking.subscribe();
        let before = *asking.borrow_and_update();
        if !before.is_under_way {
            if !before.is_due() {
                return Refreshed::No;
            }
            self.wanted.notify_one();
        }
        let ended = asking.wait_for(|now| now.ended != before.ended);
        match timeout(PATIENCE, ended).await {
            Ok(Ok(_)) => Refreshed::Asked,
            Ok(Err(_)) | Err(_) => Refreshed::No,
        }
    }

    fn wait(&self) -> Option<Waiting<'_>> {
        let waiting = Waiting(&self.waiting);
        (self.waiting.fetch_add(1, Ordering::Relaxed) < MOST_WAITING).then_some(waiting)
    }

    /// Whether the issuer may be asked because somebody wants to know better.
    pub(super) fn is_due(&self) -> bool {
        self.asking.borrow().is_due()
    }

    pub(super) fn begin(&self) {
        self.asking.send_modify(|asking| {
            asking.is_under_way = true;
            asking.begun = Some(Instant::now());
        });
    }

    /// The issuer published these keys, or could not be asked. Whether they are others than before.
    pub(super) fn end(&self, published: Option<KeySet>) -> bool {
        let is_new = published.is_some_and(|set| self.load(set));
        self.asking.send_modify(|asking| {
            asking.is_under_way = false;
            asking.ended += 1;
        });
        is_new
    }

    fn load(&self, set: KeySet) -> bool {
        let before = self.loaded.load();
        let same = before.as_ref().map(|loaded| Arc::clone(&loaded.keys)).filter(|keys| keys.set == set);
        let is_new = same.is_none();
        let keys = same.unwrap_or_else(|| Arc::new(Keys { set, verified: Cache::default() }));
        self.loaded.store(Some(Arc::new(Loaded { keys, at: Instant::now() })));
        is_new
    }

    /// How old the keys are, if there are any.
    pub(super) fn age(&self) -> Option<Duration> {
        self.loaded.load().as_ref().map(|loaded| loaded.at.elapsed())
    }
}

/// The keys that are still used.
fn in_use(loaded: &Option<Arc<Loaded>>) -> Option<&Arc<Keys>> {
    loaded.as_ref().filter(|loaded| loaded.at.elapsed() < KEEP).map(|loaded| &loaded.keys)
}

impl Asking {
    fn is_due(&self) -> bool {
        !self.is_under_way && self.begun.is_none_or(|begun| begun.elapsed() >= ASKED_AT_MOST_EVERY)
    }
}

/// One that waits, until it is dropped.
struct Waiting<'k>(&'k AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! The gateway as a whole: its workers, the snapshot they serve by, and how both change and end.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use gatepost_config::model::{AccessLog, Listener, Model, ProofKind};
use gatepost_meter::{Ledger, MemoryLedger};
use gatepost_net::tls::{Alpn, ClientTls, Tickets, TlsError};
use gatepost_net::{BindError, Resolver, bind, ensure_free};
use gatepost_ranges::{Feeds, Refreshers, Wanted};
use thiserror::Error;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::access_log::{LogWriter, Sink};
use crate::address_sets::AddressSetReport;
use crate::admission::Times;
use crate::caller::{Books, NoUsageSink, UsageSink};
use crate::certificates::server_tls;
use crate::clock::Clock;
use crate::compile::Lasting;
use crate::decisions::Decisions;
use crate::observer::Observer;
use crate::snapshot::{ListenKey, Snapshot};
use crate::spool::{Budgets, Spool};
use crate::stats::{Stats, WorkerStats};
use crate::token::Issuers;
use crate::upstream::{Probers, TargetReport};
use crate::wall::WallClock;
use crate::worker::{Command, WorkerHandle};

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    lasting: Lasting,
    /// What sessions of TLS are resumed by, as long as the process lives.
    tickets: Tickets,
    workers: Vec<WorkerHandle>,
    probers: Probers,
    refreshers: Refreshers,
    usage: Arc<dyn UsageSink>,
    /// Tells usage once a second.
    telling: JoinHandle<()>,
    issuers: Issuers,
    /// The addresses listened on, and the address that the kernel made of each.
    listening: HashMap<ListenKey, SocketAddr>,
    access_log: AccessLog,
    /// Outlives the workers, whose last records it writes.
    log: LogWriter,
    /// Snapshots that a request may still look at. Freed from here, so that no worker stalls on it.
    retired: Vec<Arc<Snapshot>>,
}

/// What all threads of a gateway share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) decisions: Arc<Decisions>,
    pub(crate) clock: Clock,
    pub(crate) wall: WallClock,
    /// Where quotas, budgets and usage are written.
    pub(crate) books: Arc<Books>,
    pub(crate) resolver: Resolver,
    /// Where bodies wait that must be seen whole.
    pub(crate) spool: Arc<Spool>,
    pub(crate) id_seed: u64,
    /// All workers, for handing connections over. Set once all run.
    pub(crate) workers: OnceLock<Vec<(mpsc::Sender<Command>, Arc<WorkerStats>)>>,
    stopping: AtomicBool,
    /// Told whenever something ends while the gateway is stopping.
    quieter: Notify,
}

/// What a gateway finds around it, and its configuration does not say.
#[derive(Debug)]
pub struct Surroundings {
    /// Who looks up the names of backends, of those who publish address sets, and of issuers of tokens.
    pub resolver: Resolver,
    /// What proves those who publish address sets, and issuers of tokens: the public authorities.
    pub publishers: ClientTls,
    /// What bodies that are verified may take.
    pub budgets: Budgets,
    /// Where it is durable what quotas and budgets were granted.
    pub ledger: Arc<dyn Ledger>,
    /// Who is told what callers used.
    pub usage: Arc<dyn UsageSink>,
    /// The time of calendars.
    pub wall: WallClock,
}

/// A configuration could not be put in force. Nothing has changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The access log cannot be opened.
    #[error("cannot open the access log {}: {source}", path.display())]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// TLS cannot be spoken.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] TlsError),
    /// The authorities that an upstream's targets are checked against cannot be used.
    #[error("the `ca` of upstream {upstream} cannot be used: {source}")]
    Authorities {
        /// The upstream's name, or the URLs of its targets when it was written in place.
        upstream: Arc<str>,
        /// Why not.
        source: TlsError,
    },
    /// Bodies cannot be kept on disk until they are verified.
    #[error("cannot keep bodies in {}: {source}", path.display())]
    Spool {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

impl Surroundings {
    /// Those of this machine, but for its disk: quotas and budgets are counted in memory alone, and usage is told nobody.
    ///
    /// # Errors
    /// No thread can be started, or TLS cannot be spoken.
    pub fn system() -> Result<Self, ApplyError> {
        Ok(Self {
            resolver: Resolver::system().map_err(ApplyError::Thread)?,
            publishers: ClientTls::new(None, Alpn::Http1)?,
            budgets: Budgets::default(),
            ledger: MemoryLedger::new(),
            usage: Arc::new(NoUsageSink),
            wall: WallClock::System,
        })
    }
}

impl Gateway {
    /// Starts serving `model`. Health checks run on the runtime that this is called on.
    ///
    /// # Errors
    /// See [`ApplyError`]; then nothing is left running.
    pub async fn start(model: &Model) -> Result<Self, ApplyError> {
        Self::start_in(model, Surroundings::system()?).await
    }

    /// Starts serving `model` in other surroundings.
    ///
    /// # Errors
    /// As of [`Gateway::start`].
    pub async fn start_in(model: &Model, surroundings: Surroundings) -> Result<Self, ApplyError> {
        let Surroundings { resolver, publishers, budgets, ledger, usage, wall } = surroundings;
        let spool = Spool::new(model.server.state.join("spool"), budgets);
        prepare_spool(model, &spool)?;
        let stats = Arc::new(Stats::with(&spool));
        let clock = Clock::start();
        let sink = open_log(&model.log.access)?;
        let decisions = Arc::new(Decisions::default());
        let log = LogWriter::start(sink, Arc::clone(&stats), Arc::clone(&decisions)).map_err(ApplyError::Thread)?;
        let books = Books::new(ledger);
        let mut lasting = Lasting::new(Arc::clone(&books));
        let tickets = Tickets::new()?;
        let tls = server_tls(model, &tickets)?;
        lasting.prepare(model)?;
        let count = worker_count(model);
        let sockets = bind_all(model, &HashMap::new(), count)?;

        lasting.feeds = open_feeds(Feeds::new(&model.server.state).wanted(model)).await?;
        let first = Arc::new(Snapshot::compile(model, tls.as_ref(), &mut lasting, &stats, clock.now()));
        stats.snapshot.store(first.number, Ordering::Relaxed);
        decisions.follow(first.number, &first.model);
        let mut probers = Probers::new(resolver.clone());
        probers.follow(lasting.checks());
        let mut refreshers = Refreshers::new(resolver.clone(), publishers.clone());
        refreshers.follow(lasting.feeds.iter());
        let mut issuers = Issuers::new(resolver.clone(), publishers);
        issuers.follow(lasting.keyrings());
        let shared = Arc::new(Shared {
            snapshot: Arc::new(ArcSwap::new(first)),
            stats,
            decisions,
            clock,
            wall,
            books,
            resolver,
            spool,
            id_seed: id_seed(),
            workers: OnceLock::new(),
            stopping: AtomicBool::new(false),
            quieter: Notify::new(),
        });
        let start = |number| WorkerHandle::start(number, Arc::clone(&shared), log.sender());
        let workers = (0..count).map(start).collect::<io::Result<Vec<_>>>().map_err(ApplyError::Thread)?;
        let known = workers.iter().map(|worker| (worker.commands.clone(), Arc::clone(&worker.stats)));
        let _ = shared.workers.set(known.collect());

        let telling = tokio::spawn(tell_usage(Arc::clone(&shared.books), Arc::clone(&usage)));
        let mut gateway = Self {
            shared,
            lasting,
            tickets,
            workers,
            probers,
            refreshers,
            usage,
            telling,
            issuers,
            listening: HashMap::new(),
            access_log: model.log.access.clone(),
            log,
            retired: Vec::new(),
        };
        gateway.listen(sockets).await;
        Ok(gateway)
    }

    /// Puts `model` in force: the next request on any connection is served by it. Connections stay open, but on
    /// listeners that it no longer has. Meters keep their debt. `[server]` is not looked at.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub async fn apply(&mut self, model: &Model) -> Result<(), ApplyError> {
        let sockets = bind_all(model, &self.listening, self.workers.len()).inspect_err(|_| self.refused())?;
        let sink = open_log(&model.log.access).inspect_err(|_| self.refused())?;
        self.lasting.prepare(model).inspect_err(|_| self.refused())?;
        prepare_spool(model, &self.shared.spool).inspect_err(|_| self.refused())?;

        let tls = server_tls(model, &self.tickets).inspect_err(|_| self.refused())?;
        self.lasting.feeds = open_feeds(self.lasting.feeds.wanted(model)).await.inspect_err(|_| self.refused())?;
        let Shared { stats, clock, .. } = &*self.shared;
        let next = Arc::new(Snapshot::compile(model, tls.as_ref(), &mut self.lasting, stats, clock.now()));
        stats.snapshot.store(next.number, Ordering::Relaxed);
        // Before a request is judged by it.
        self.shared.decisions.follow(next.number, &next.model);
        stats.reloads_applied.fetch_add(1, Ordering::Relaxed);
        // Before a request meets them: a target that is to be probed is not fit until it was.
        self.probers.follow(self.lasting.checks());
        self.refreshers.follow(self.lasting.feeds.iter());
        self.issuers.follow(self.lasting.keyrings());
        self.log.switch(sink);
        self.access_log = model.log.access.clone();

        let wanted: HashSet<ListenKey> = model.listeners.iter().flat_map(ListenKey::of).collect();
        self.retired.push(self.shared.snapshot.swap(next));
        self.listen(sockets).await;
        self.unlisten(&wanted).await;
        self.tidy();
        Ok(())
    }

    /// Frees snapshots that nobody looks at any more; worth doing now and then.
    pub fn tidy(&mut self) {
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        self.lasting.tidy_callers(self.shared.clock.now());
        self.shared.decisions.tidy();
    }

    /// Counts a configuration that was refused before it came here.
    pub fn refused(&self) {
        self.shared.stats.reloads_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// The configured addresses, and the address that each really has.
    pub fn addresses(&self) -> impl Iterator<Item = (SocketAddr, SocketAddr)> {
        self.listening.iter().map(|(key, &actual)| (key.address, actual))
    }

    /// The addresses of one listener, as they really are.
    #[must_use]
    pub fn addresses_of(&self, listener: &Listener) -> Vec<SocketAddr> {
        ListenKey::of(listener).filter_map(|key| self.listening.get(&key).copied()).collect()
    }

    /// The targets of all upstreams as they are now, in no order.
    pub fn targets(&self) -> impl Iterator<Item = TargetReport> {
        self.lasting.targets().map(|target| target.report())
    }

    /// The address sets that it judges by, in the order of their names: those that are named, and the built-in ones.
    #[must_use]
    pub fn address_sets(&self) -> Vec<AddressSetReport> {
        self.shared.snapshot.load().address_sets()
    }

    /// Asks for the lists of all address sets that are fetched, now.
    pub fn refresh_address_sets(&self) {
        self.refreshers.refresh();
    }

    /// Whoever looks at it from outside.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(Arc::clone(&self.shared), self.log.hurry())
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// From now on answers ask clients to go elsewhere; new connections are still served.
    pub async fn leave(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.tell_all(|| Command::Leave).await;
    }

    /// Stops: no new connection, then the end of every request under way, then the end of idle connections. What is not
    /// over by `deadline` is cut: so many requests, roughly.
    pub async fn stop(self, deadline: Instant) -> usize {
        self.leave().await;
        for worker in &self.workers {
            let (done, stopped) = oneshot::channel();
            if worker.commands.send(Command::StopAccepting(done)).await.is_ok() {
                // A worker that dies instead has stopped accepting too.
                let _ = stopped.await;
            }
        }
        let in_time = self.wait_until(deadline, |stats| stats.exchanges.load(Ordering::Acquire) == 0).await;
        self.tell_all(|| Command::CloseIdle).await;
        if in_time {
            self.wait_until(deadline, |stats| stats.connections.load(Ordering::Acquire) == 0).await;
        }
        // Dropping the gateway tells the workers to quit.
        self.workers.iter().map(|worker| worker.stats.exchanges.load(Ordering::Acquire)).sum()
    }

    async fn listen(&mut self, sockets: Vec<Bound>) {
        for Bound { key, address, listeners } in sockets {
            self.listening.insert(key.clone(), address);
            for (worker, listener) in self.workers.iter().zip(listeners) {
                // A worker that is gone has said why.
                let _ = worker.commands.send(Command::Listen(key.clone(), listener)).await;
            }
        }
    }

    async fn unlisten(&mut self, wanted: &HashSet<ListenKey>) {
        let gone: Vec<ListenKey> = self.listening.keys().filter(|key| !wanted.contains(key)).cloned().collect();
        for key in gone {
            self.listening.remove(&key);
            self.tell_all(|| Command::Unlisten(key.clone())).await;
        }
    }

    async fn tell_all(&self, command: impl Fn() -> Command) {
        for worker in &self.workers {
            // A worker that is gone has said why.
            let _ = worker.commands.send(command()).await;
        }
    }

    /// Waits until `quiet` holds of every worker; whether it did by the deadline.
    async fn wait_until(&self, deadline: Instant, quiet: impl Fn(&WorkerStats) -> bool) -> bool {
        let all_quiet = async {
            loop {
                let mut told = std::pin::pin!(self.shared.quieter.notified());
                told.as_mut().enable();
                if self.workers.iter().all(|worker| quiet(&worker.stats)) {
                    return;
                }
                told.await;
            }
        };
        timeout_at(deadline, all_quiet).await.is_ok()
    }
}

impl Drop for Gateway {
    /// Whoever wants requests to be finished calls [`Gateway::stop`] first.
    fn drop(&mut self) {
        for worker in &self.workers {
            // A full queue is emptied in no time; a closed one belongs to a worker that is gone.
            while let Err(TrySendError::Full(_)) = worker.commands.try_send(Command::Quit) {
                thread::yield_now();
            }
        }
        for thread in self.workers.iter_mut().filter_map(|worker| worker.thread.take()) {
            // Only a panic makes this an error, and that has been printed.
            let _ = thread.join();
        }
        // No request is under way any more, so this is all.
        self.telling.abort();
        self.shared.books.tally.tell(&*self.usage);
        self.lasting.close_accounts();
    }
}

/// Tells once a second what callers used.
async fn tell_usage(books: Arc<Books>, usage: Arc<dyn UsageSink>) {
    let mut ticks = interval(TELL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        books.tally.tell(&*usage);
    }
}

/// How often usage is told: what a crash may lose of it.
const TELL: Duration = Duration::from_secs(1);

impl Shared {
    /// Now: to be asked for once a decision.
    pub(crate) fn times(&self) -> Times<'_> {
        Times { clock: self.clock, wall: self.wall.moment() }
    }

    /// Something ended: whoever waits for the end of everything looks again.
    pub(crate) fn tell_if_quiet(&self) {
        if self.stopping.load(Ordering::Acquire) {
            self.quieter.notify_waiters();
        }
    }
}

/// A new address, bound once for each worker.
struct Bound {
    key: ListenKey,
    address: SocketAddr,
    listeners: Vec<TcpListener>,
}

/// Binds what `model` listens on and `listening` lacks.
fn bind_all(
    model: &Model,
    listening: &HashMap<ListenKey, SocketAddr>,
    workers: usize,
) -> Result<Vec<Bound>, BindError> {
    let new: Vec<ListenKey> =
        model.listeners.iter().flat_map(ListenKey::of).filter(|key| !listening.contains_key(key)).collect();
    // Before any of them is bound: a wildcard address of ours may share its port with another one of ours.
    for key in &new {
        if !listening.values().any(|ours| ours.port() == key.address.port()) {
            ensure_free(key.address)?;
        }
    }
    new.into_iter().map(|key| bind_for(key, workers)).collect()
}

/// Each worker gets a socket of its own; the first one decides what port 0 is.
fn bind_for(key: ListenKey, workers: usize) -> Result<Bound, BindError> {
    let first = bind(key.address)?;
    let address = first.local_addr().map_err(|source| BindError { address: key.address, source })?;
    let rest = (1..workers).map(|_| bind(address));
    let listeners = std::iter::once(Ok(first)).chain(rest).collect::<Result<Vec<_>, _>>()?;
    Ok(Bound { key, address, listeners })
}

/// Makes sure that bodies can be kept, where some must be.
fn prepare_spool(model: &Model, spool: &Spool) -> Result<(), ApplyError> {
    let routes = model.apis.iter().flat_map(|api| &api.routes);
    let mut rules = routes.filter_map(|route| route.entry.rules());
    let sign = model.callers.iter().any(|caller| caller.has(ProofKind::SigV4) || caller.has(ProofKind::Signed));
    if !rules.any(|rules| rules.signed.is_some() || (rules.callers.is_some() && sign)) {
        return Ok(());
    }
    spool.prepare().map_err(|source| ApplyError::Spool { path: spool.directory().to_owned(), source })
}

/// Reads the copies of address sets off this thread: a long list must not keep a probe waiting.
async fn open_feeds(wanted: Wanted) -> Result<Feeds, ApplyError> {
    let opening = tokio::task::spawn_blocking(move || wanted.open());
    opening.await.map_err(|panicked| ApplyError::Thread(io::Error::other(panicked)))
}

fn open_log(log: &AccessLog) -> Result<Sink, ApplyError> {
    Sink::open(log).map_err(|source| {
        let path = match log {
            AccessLog::File(path) => path.clone(),
            AccessLog::Off | AccessLog::Stdout => "-".into(),
        };
        ApplyError::AccessLog { path, source }
    })
}

fn worker_count(model: &Model) -> usize {
    let cores = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
    model.server.workers.map_or_else(cores, NonZeroUsize::get)
}

/// Where the ids of requests begin: another place in every run.
fn id_seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    // The low bits of the time, moved up: a worker counts up from here without soon meeting another run's ids.
    (now.as_micros() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

//! A data-plane thread: its listeners, its connections, its pools. What it has it shares with nobody.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use gatepost_config::model::Limits;
use gatepost_meter::Slot;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{self, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::access_log::LogSender;
use crate::connection;
use crate::forward::pool::Pools;
use crate::gateway::Shared;
use crate::record::{Record, RequestId};
use crate::snapshot::{ListenKey, Listener, Snapshot};
use crate::stats::WorkerStats;

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Accept connections here.
    Listen(ListenKey, StdListener),
    /// Stop accepting here, serve what is open to the end of its request, and close it.
    Unlisten(ListenKey),
    /// Serve this connection, which another worker accepted on this listener.
    Adopt(ListenKey, Option<Arc<Listener>>, StdStream, SocketAddr),
    /// From now on answers close their connection.
    Leave,
    /// Stop accepting everywhere, once what the kernel holds has been taken; then tell.
    StopAccepting(oneshot::Sender<()>),
    /// Close what is idle.
    CloseIdle,
    /// Drop everything.
    Quit,
}

/// A worker as the rest of the gateway knows it.
#[derive(Debug)]
pub(crate) struct WorkerHandle {
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) stats: Arc<WorkerStats>,
    pub(crate) thread: Option<JoinHandle<()>>,
}

/// A data-plane thread's own state.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) snapshot: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    pub(crate) pools: Rc<Pools>,
    log: LogSender,
    stats: Arc<WorkerStats>,
    sites: RefCell<HashMap<ListenKey, Rc<Site>>>,
    /// The tasks that accept.
    accepting: RefCell<Vec<task::JoinHandle<()>>>,
    next_id: Cell<u64>,
    /// Whether what is still under way is being dropped.
    quitting: Cell<bool>,
}

/// A listening address on one worker, and the connections that came in there.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) key: ListenKey,
    /// The listener's name as the last snapshot had it.
    pub(crate) name: RefCell<Arc<str>>,
    pub(crate) limits: Cell<Limits>,
    stage: Cell<Stage>,
    /// The listener as the snapshot with this number has it.
    known: RefCell<Option<(u64, Arc<Listener>)>>,
    stop_accepting: Notify,
    members: RefCell<Members>,
}

/// How far a site is on its way out. Never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Open,
    /// Answers close their connection.
    Leaving,
    /// Idle connections are closed too.
    Closing,
}

/// How to wake the connections of a site.
#[derive(Debug, Default)]
struct Members {
    wakers: HashMap<u64, Option<Waker>>,
    next: u64,
}

/// A connection's place among the members of its site; left when dropped.
#[derive(Debug)]
pub(crate) struct Membership {
    site: Weak<Site>,
    number: u64,
}

/// A worker with so many connections more than the least loaded one hands new ones over.
const IMBALANCE: usize = 8;

/// How often a worker looks after itself: lets an old snapshot go, sweeps its pools, measures its lag.
const TICK: Duration = Duration::from_secs(1);

/// Connections that the kernel may hold when accepting stops; more than its queue has room for.
const MOST_WAITING: usize = 8192;

/// How long accepting pauses when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Commands that may wait. Only handed-over connections come in numbers, and those are kept when it is full.
const COMMANDS: usize = 1024;

impl WorkerHandle {
    /// Starts worker `number`.
    pub(crate) fn start(number: usize, shared: Arc<Shared>, log: LogSender) -> std::io::Result<Self> {
        let (commands, received) = mpsc::channel(COMMANDS);
        let stats = shared.stats.add_worker();
        let thread = {
            let stats = Arc::clone(&stats);
            let runtime = Builder::new_current_thread();
            thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn(move || run(runtime, number, shared, log, stats, received))?
        };
        Ok(Self { commands, stats, thread: Some(thread) })
    }
}

fn run(
    mut runtime: Builder,
    number: usize,
    shared: Arc<Shared>,
    log: LogSender,
    stats: Arc<WorkerStats>,
    commands: mpsc::Receiver<Command>,
) {
    let runtime = match runtime.enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => {
            // Its commands' receiver is dropped, which whoever sends the first command finds out.
            tracing::error!(%error, number, "a worker cannot start");
            return;
        }
    };
    let worker = Rc::new(Worker {
        snapshot: RefCell::new(Cache::new(Arc::clone(&shared.snapshot))),
        pools: Rc::default(),
        log,
        stats,
        sites: RefCell::default(),
        accepting: RefCell::default(),
        // Far apart, so that the ids of two workers never meet.
        next_id: Cell::new(shared.id_seed.wrapping_add((number as u64) << 48)),
        quitting: Cell::new(false),
        shared,
    });
    runtime.block_on(worker.obey(commands));
}

impl Worker {
    async fn obey(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        let _ticking = spawn_local(Rc::clone(&self).tick());
        while let Some(command) = commands.recv().await {
            match command {
                Command::Listen(key, listener) => self.listen(key, listener),
                Command::Unlisten(key) => {
                    if let Some(site) = self.sites.borrow_mut().remove(&key) {
                        site.stop_accepting.notify_one();
                        site.advance(Stage::Closing);
                    }
                }
                Command::Adopt(key, listener, stream, peer) => self.adopt(key, listener, stream, peer),
                Command::Leave => self.advance(Stage::Leaving),
                Command::StopAccepting(done) => {
                    for site in self.sites.borrow().values() {
                        site.stop_accepting.notify_one();
                    }
                    // When these have ended they have taken what was waiting.
                    for accepting in self.accepting.take() {
                        // Only a panic makes this an error, and that has been printed.
                        let _ = accepting.await;
                    }
                    let _ = done.send(());
                }
                Command::CloseIdle => self.advance(Stage::Closing),
                Command::Quit => return self.quitting.set(true),
            }
        }
    }

    fn advance(&self, stage: Stage) {
        for site in self.sites.borrow().values() {
            site.advance(stage);
        }
    }

    fn listen(self: &Rc<Self>, key: ListenKey, listener: StdListener) {
        match TcpListener::from_std(listener) {
            Ok(listener) => {
                let site = self.site(key);
                let mut accepting = self.accepting.borrow_mut();
                accepting.retain(|task| !task.is_finished());
                accepting.push(spawn_local(Rc::clone(self).accept(site, listener)));
            }
            Err(error) => tracing::error!(%error, "a listening socket cannot be used"),
        }
    }

    /// The site of `key`, made if it is new.
    fn site(&self, key: ListenKey) -> Rc<Site> {
        let mut sites = self.sites.borrow_mut();
        let made = sites.entry(key).or_insert_with_key(|key| Rc::new(Site::new(key.clone())));
        made.refresh(self.snapshot.borrow_mut().load());
        Rc::clone(made)
    }

    /// Accepts until told to stop, then takes what the kernel still holds: those clients have connected.
    async fn accept(self: Rc<Self>, site: Rc<Site>, listener: TcpListener) {
        loop {
            tokio::select! {
                biased;
                () = site.stop_accepting.notified() => break,
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => self.place(&site, stream, peer),
                    Err(error) => pause_after(&error).await,
                },
            }
        }
        // Asked directly: the runtime may not have heard yet of what the kernel holds.
        let Ok(listener) = listener.into_std() else { return };
        for (stream, peer) in std::iter::from_fn(|| listener.accept().ok()).take(MOST_WAITING) {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.place(&site, stream, peer);
            }
        }
    }

    /// Keeps an accepted connection, or hands it to a worker that has far fewer.
    fn place(self: &Rc<Self>, site: &Rc<Site>, stream: TcpStream, peer: SocketAddr) {
        // Of a listener that is going, the others may have let go already.
        let Some(other) = self.less_loaded().filter(|_| !site.is_leaving()) else {
            return self.serve(site, stream, peer);
        };
        let Ok(stream) = stream.into_std() else { return };
        if let Err(refused) = other.try_send(Command::Adopt(site.key.clone(), site.known(), stream, peer))
            && let Command::Adopt(_, _, stream, peer) = refused.into_inner()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            self.serve(site, stream, peer);
        }
    }

    fn less_loaded(&self) -> Option<&mpsc::Sender<Command>> {
        let workers = self.shared.workers.get()?;
        let mine = self.stats.connections.load(Ordering::Relaxed);
        let connections = |stats: &WorkerStats| stats.connections.load(Ordering::Relaxed);
        let (other, least) =
            workers.iter().map(|(commands, stats)| (commands, connections(stats))).min_by_key(|(_, count)| *count)?;
        (mine > least + IMBALANCE).then_some(other)
    }

    /// A handed-over connection may come before the command to listen where it came in, or after the one to stop.
    fn adopt(self: &Rc<Self>, key: ListenKey, listener: Option<Arc<Listener>>, stream: StdStream, peer: SocketAddr) {
        let known = self.sites.borrow().get(&key).cloned();
        let site = match known {
            Some(site) => site,
            None if self.snapshot.borrow_mut().load().listeners.contains_key(&key) => self.site(key),
            None => Rc::new(Site::departed(key, listener)),
        };
        if let Ok(stream) = TcpStream::from_std(stream) {
            self.serve(&site, stream, peer);
        }
    }

    fn serve(self: &Rc<Self>, site: &Rc<Site>, stream: TcpStream, peer: SocketAddr) {
        site.refresh(self.snapshot.borrow_mut().load());
        let Some(slot) = self.enter(site) else { return };
        if connection::prepare(&stream).is_err() {
            // The client is gone already.
            return;
        }
        let (worker, site) = (Rc::clone(self), Rc::clone(site));
        // Counted before its task first runs: a stop must not overlook it.
        let counted = Counted::new(self);
        spawn_local(async move {
            connection::serve(worker, site, stream, peer, slot).await;
            drop(counted);
        });
    }

    /// A place among the listener's connections, unless they are too many.
    fn enter(&self, site: &Site) -> Option<Slot> {
        let current = site.listener(self.snapshot.borrow_mut().load());
        // Whoever connected to a listener that was just removed is told so.
        let listener = current.or_else(|| site.known())?;
        let slot = listener.stats.connections.enter(listener.limits.connections);
        if slot.is_none() {
            listener.stats.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        slot
    }

    async fn tick(self: Rc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = ticks.tick().await;
            let lag = Instant::now().saturating_duration_since(due);
            self.stats.lag.store(u64::try_from(lag.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
            // An idle worker must not keep an old snapshot alive, nor what its listeners lead to.
            let mut cache = self.snapshot.borrow_mut();
            let snapshot = cache.load();
            self.sites.borrow().values().for_each(|site| drop(site.listener(snapshot)));
            drop(cache);
            self.pools.sweep(Instant::now());
        }
    }

    // === what requests need ===

    pub(crate) fn next_id(&self) -> RequestId {
        let id = self.next_id.get();
        self.next_id.set(id.wrapping_add(1));
        RequestId::of(id)
    }

    /// The number of the snapshot in force, as this worker knows it.
    pub(crate) fn snapshot_number(&self) -> u64 {
        self.snapshot.borrow_mut().load().number
    }

    pub(crate) fn is_quitting(&self) -> bool {
        self.quitting.get()
    }

    pub(crate) fn begin_exchange(&self) {
        self.stats.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_exchange(&self) {
        self.stats.exchanges.fetch_sub(1, Ordering::Relaxed);
        self.shared.tell_if_quiet();
    }

    /// Counts a request that has ended, and logs it.
    pub(crate) fn finish(&self, record: Box<Record>) {
        let stats = record.route.as_ref().map_or(&self.shared.stats.unrouted, |route| &route.stats);
        stats.count(&record);
        if let Some(route) = &record.route {
            route.api.durations.count(record.took);
        }
        self.log.send(record);
    }
}

/// One open connection of a worker, however it ends.
struct Counted {
    shared: Arc<Shared>,
    stats: Arc<WorkerStats>,
}

impl Counted {
    fn new(worker: &Worker) -> Self {
        worker.stats.connections.fetch_add(1, Ordering::Relaxed);
        Self { shared: Arc::clone(&worker.shared), stats: Arc::clone(&worker.stats) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.stats.connections.fetch_sub(1, Ordering::Relaxed);
        self.shared.tell_if_quiet();
    }
}

async fn pause_after(error: &std::io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    // A connection that was gone before it was accepted is no reason to pause; a lack of descriptors is.
    if error.kind() != std::io::ErrorKind::ConnectionAborted {
        sleep(ACCEPT_PAUSE).await;
    }
}

impl Site {
    fn new(key: ListenKey) -> Self {
        const UNTIL_REFRESHED: Limits = Limits {
            connections: 0,
            header_bytes: 8192,
            headers: 100,
            header_timeout: Duration::ZERO,
            idle_timeout: Duration::ZERO,
            body_timeout: Duration::ZERO,
            streams: 1,
        };
        Self {
            key,
            name: RefCell::new("".into()),
            limits: Cell::new(UNTIL_REFRESHED),
            stage: Cell::new(Stage::Open),
            known: RefCell::new(None),
            stop_accepting: Notify::new(),
            members: RefCell::default(),
        }
    }

    /// One that is closed already, but for whoever has connected there: they are told so.
    fn departed(key: ListenKey, listener: Option<Arc<Listener>>) -> Self {
        let site = Self::new(key);
        site.stage.set(Stage::Closing);
        if let Some(listener) = listener {
            site.limits.set(listener.limits);
            *site.name.borrow_mut() = Arc::clone(&listener.name);
            *site.known.borrow_mut() = Some((0, listener));
        }
        site
    }

    /// The listener in a snapshot, unless it has none for this address. Looked up once for each snapshot.
    pub(crate) fn listener(&self, snapshot: &Snapshot) -> Option<Arc<Listener>> {
        let mut known = self.known.borrow_mut();
        if known.as_ref().is_none_or(|(number, _)| *number != snapshot.number) {
            let listener = snapshot.listeners.get(&self.key)?;
            *known = Some((snapshot.number, Arc::clone(listener)));
        }
        known.as_ref().map(|(_, listener)| Arc::clone(listener))
    }

    /// The listener as the last snapshot that had it.
    pub(crate) fn known(&self) -> Option<Arc<Listener>> {
        self.known.borrow().as_ref().map(|(_, listener)| Arc::clone(listener))
    }

    /// Takes over the listener's properties, for connections from now on.
    fn refresh(&self, snapshot: &Snapshot) {
        if let Some(listener) = self.listener(snapshot) {
            self.limits.set(listener.limits);
            if *self.name.borrow() != listener.name {
                *self.name.borrow_mut() = Arc::clone(&listener.name);
            }
        }
    }

    /// Whether answers close their connection.
    pub(crate) fn is_leaving(&self) -> bool {
        self.stage.get() >= Stage::Leaving
    }

    /// Whether idle connections are to be closed.
    pub(crate) fn is_closing(&self) -> bool {
        self.stage.get() >= Stage::Closing
    }

    /// Ends when idle connections are to be closed. For the task of this member.
    pub(crate) async fn closing(&self, membership: &Membership) {
        poll_fn(|cx| {
            membership.keep(cx.waker().clone());
            if self.is_closing() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn advance(&self, stage: Stage) {
        self.stage.set(self.stage.get().max(stage));
        for waker in self.members.borrow().wakers.values().flatten() {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn join(self: &Rc<Self>) -> Membership {
        let mut members = self.members.borrow_mut();
        let number = members.next;
        members.next += 1;
        members.wakers.insert(number, None);
        Membership { site: Rc::downgrade(self), number }
    }
}

impl Membership {
    /// From now on this wakes the connection's task.
    pub(crate) fn keep(&self, waker: Waker) {
        if let Some(site) = self.site.upgrade() {
            site.members.borrow_mut().wakers.insert(self.number, Some(waker));
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(site) = self.site.upgrade() {
            site.members.borrow_mut().wakers.remove(&self.number);
        }
    }
}

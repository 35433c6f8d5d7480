//! `gatepost run`: starts the gateway, then supervises it from the control thread: signals, changed files, the end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gatepost_config::model::{Admin, Model, Server};
use gatepost_config::{Loaded, Report};
use gatepost_gateway::{ApplyError, Gateway};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::admin::{Desk, DiagnosticView, LastReload, ReloadEnd, ReloadWanted};
use crate::books::Books;
use crate::check::load_and_judge;
use crate::exit::Failure;
use crate::lock::StateLock;
use crate::usage::Stored;
use crate::watch::Watch;

/// A second signal within this time is an echo of the first.
const ECHO: Duration = Duration::from_millis(100);

/// What a process gets that writes beyond its limit of file sizes: a body that is kept, or the access log.
const SIGXFSZ: i32 = 25;

/// How often old snapshots are looked at, while nothing else happens.
const TIDY: Duration = Duration::from_secs(5);

/// What is kept of the mistakes of a configuration that was refused: so many, and their report in bytes.
const MOST_DIAGNOSTICS: usize = 1000;
const LONGEST_REPORT: usize = 256 * 1024;

/// Serves the file until told to stop.
pub(crate) fn run(file: &Path) -> Result<(), Failure> {
    let loaded = load_and_judge(file)?;
    supervise(loaded, Some(file.to_owned()), |_| {})
}

/// Serves a configuration until told to stop; with a `file`, reloads it when it changes. `ready` is told once all
/// addresses are listened on.
pub(crate) fn supervise(loaded: Loaded, file: Option<PathBuf>, ready: impl FnOnce(&Gateway)) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::CannotRun(format!("cannot start: {error}")))?;
    raise_descriptor_limit();
    let _lock = StateLock::take(&loaded.model.server.state)?;
    // Closed after the gateway, which gives back what it was granted.
    let books = Books::open(&loaded.model.server.state)?;
    runtime.block_on(async {
        let mut control = Control::start(&loaded, file, &books).await?;
        // Its texts can be large, and are not needed any more.
        drop(loaded);
        ready(&control.gateway);
        let urgent = control.serve().await;
        control.stop(urgent).await;
        Ok(())
    })
}

/// The control thread's view of a running gateway.
struct Control {
    gateway: Gateway,
    announced: HashSet<SocketAddr>,
    desk: Arc<Desk>,
    /// `[server]` as it is in force: what cannot change is as it was at the start.
    server: Server,
    file: Option<PathBuf>,
    watch: Watch,
    signals: Signals,
    /// Those who want a reload, by the admin API.
    wanted: mpsc::Receiver<ReloadWanted>,
}

struct Signals {
    /// Never looked at: with somebody to hear it, a file that may grow no more is an error and not the end.
    _file_size: Signal,
    reload: Signal,
    terminate: Signal,
    interrupt: Signal,
}

/// What the control thread wakes up for.
enum Event {
    Reload(&'static str),
    ReloadFor(ReloadWanted),
    Tidy,
    Terminate,
    Interrupt,
}

impl Control {
    async fn start(loaded: &Loaded, file: Option<PathBuf>, books: &Books) -> Result<Self, Failure> {
        let Loaded { model, files, .. } = loaded;
        let signals = Signals::new().map_err(|error| Failure::CannotRun(format!("cannot take signals: {error}")))?;
        let cannot_run = |error: ApplyError| Failure::CannotRun(error.to_string());
        let surroundings = books.surroundings().map_err(cannot_run)?;
        let gateway = Gateway::start_in(model, surroundings).await.map_err(cannot_run)?;
        let usage = Arc::new(Stored::at(&model.server.state));
        let (desk, wanted) = Desk::new(gateway.observer(), usage, file.clone(), model.server.admin_token.clone());
        let admin = desk.open(&model.server.admin).await.map_err(|error| {
            let hint = "; give `admin` under [server] another address, or \"off\"";
            let at = admin_text(&model.server.admin);
            Failure::CannotRun(format!("cannot open the admin listener at {at}: {error}{hint}"))
        })?;
        let mut watch = Watch::new();
        if file.is_some() {
            watch.set(files.clone());
        }
        let mut announced = HashSet::new();
        announce(model, &gateway, &mut announced);
        if let Some(admin) = admin {
            tracing::info!("admin on {admin}");
        }
        Ok(Self { gateway, announced, desk, server: model.server.clone(), file, watch, signals, wanted })
    }

    /// Serves and reloads until told to stop; whether that is urgent.
    async fn serve(&mut self) -> bool {
        loop {
            let event = tokio::select! {
                event = self.signals.next() => event,
                () = self.watch.changed() => Event::Reload("a file changed"),
                Some(wanted) = self.wanted.recv() => Event::ReloadFor(wanted),
                () = sleep(TIDY) => Event::Tidy,
            };
            match event {
                Event::Reload(why) => {
                    self.reload(why).await;
                }
                // Whoever has gone meanwhile wanted it all the same.
                Event::ReloadFor(wanted) => {
                    let _ = wanted.send(self.reload("the admin API").await);
                }
                Event::Tidy => self.gateway.tidy(),
                Event::Terminate => return false,
                Event::Interrupt => return true,
            }
        }
    }

    /// What came of it; nothing if there is no file.
    async fn reload(&mut self, why: &'static str) -> Option<ReloadEnd> {
        let file = self.file.clone()?;
        let end = self.reload_from(file, why).await;
        self.desk.reloaded(LastReload { at: SystemTime::now(), why, end: end.clone() });
        Some(end)
    }

    async fn reload_from(&mut self, file: PathBuf, why: &'static str) -> ReloadEnd {
        // Off this thread: a large file must not keep a probe waiting.
        let read = tokio::task::spawn_blocking(move || load_and_judge(&file)).await;
        match read {
            Ok(Ok(loaded)) => match self.apply(&loaded).await {
                Ok(()) => {
                    tracing::info!("reloaded: {why}");
                    ReloadEnd::Applied
                }
                Err(error) => {
                    self.watch.add(&loaded.files);
                    tracing::error!("not reloaded, nothing has changed: {error}");
                    ReloadEnd::Impossible(error.to_string())
                }
            },
            Ok(Err(report)) => self.refuse(&report),
            Err(panicked) => {
                tracing::error!(%panicked, "not reloaded, nothing has changed");
                ReloadEnd::Impossible("this is a mistake in gatepost, please report it".to_owned())
            }
        }
    }

    async fn apply(&mut self, loaded: &Loaded) -> Result<(), ApplyError> {
        let Loaded { model, files, .. } = loaded;
        self.gateway.apply(model).await?;
        announce(model, &self.gateway, &mut self.announced);
        self.watch.set(files.clone());
        if model.server.admin == self.server.admin {
            // Another address may need no token where the one in force does.
            self.desk.set_token(model.server.admin_token.clone());
        }
        self.server.drain = model.server.drain;
        for key in needs_restart(&self.server, &model.server) {
            tracing::warn!("`{key}` under [server] has changed; that needs a restart");
        }
        Ok(())
    }

    fn refuse(&mut self, report: &Report) -> ReloadEnd {
        self.gateway.refused();
        // What it names counts from now on; so does what the configuration in force was made from.
        self.watch.add(report.files());
        // Without colour: a log line's control characters are shown, not obeyed.
        let mut rendered = report.render(false);
        tracing::error!("not reloaded, nothing has changed:\n{rendered}");
        rendered.truncate(rendered.floor_char_boundary(LONGEST_REPORT));
        let diagnostics = report.diagnostics().iter().take(MOST_DIAGNOSTICS).map(DiagnosticView::of).collect();
        ReloadEnd::Mistaken { report: rendered, diagnostics }
    }

    /// First those who ask `/readyz` learn that it is over, while everything is still served; then the rest ends.
    async fn stop(mut self, urgent: bool) {
        let first = Instant::now();
        let deadline = first + self.server.drain;
        tracing::info!(
            "stopping: what is under way may take {:?} more; signal again to stop at once",
            self.server.drain
        );
        let Self { gateway, desk, signals, server, wanted, .. } = &mut self;
        desk.readiness.leave();
        // Whoever waits for a reload is told that there will be none.
        wanted.close();
        while wanted.try_recv().is_ok() {}
        gateway.leave().await;
        let grace = if urgent { Duration::ZERO } else { server.drain / 3 };
        let again = async {
            // A grace that ends early or late is over either way.
            let _ = timeout(grace, desk.readiness.until_known()).await;
        };
        tokio::select! {
            () = again => {}
            () = signals.stop_again(first) => return tracing::warn!("stopped at once"),
        }
        let Self { gateway, mut signals, .. } = self;
        tokio::select! {
            cut = gateway.stop(deadline) => match cut {
                0 => tracing::info!("stopped"),
                cut => tracing::warn!("stopped; `drain` was over, and {cut} requests were cut"),
            },
            () = signals.stop_again(first) => tracing::warn!("stopped at once"),
        }
    }
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            _file_size: signal(SignalKind::from_raw(SIGXFSZ))?,
            reload: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Event {
        tokio::select! {
            _ = self.reload.recv() => Event::Reload("SIGHUP"),
            _ = self.terminate.recv() => Event::Terminate,
            _ = self.interrupt.recv() => Event::Interrupt,
        }
    }

    /// Waits for a signal to stop that is not an echo of the one that came at `first`.
    async fn stop_again(&mut self, first: Instant) {
        loop {
            // Some supervisors send the first signal twice, to the process and to its group.
            let meant = matches!(self.next().await, Event::Terminate | Event::Interrupt) && first.elapsed() > ECHO;
            if meant {
                return;
            }
        }
    }
}

/// Says where it listens, but for what has been said.
fn announce(model: &Model, gateway: &Gateway, said: &mut HashSet<SocketAddr>) {
    let mut now = HashSet::new();
    for listener in &model.listeners {
        for address in gateway.addresses_of(listener) {
            now.insert(address);
            if !said.contains(&address) {
                let scheme = if listener.tls { "https" } else { "http" };
                tracing::info!("listening on {scheme}://{address} ({})", listener.name);
            }
        }
    }
    for gone in said.difference(&now) {
        tracing::info!("no longer listening on {gone}");
    }
    *said = now;
}

fn admin_text(admin: &Admin) -> String {
    match admin {
        Admin::Off => "nowhere".to_owned(),
        Admin::Tcp(address) => address.to_string(),
        Admin::Unix(path) => path.display().to_string(),
    }
}

/// The keys of `[server]` that differ and cannot be changed while running.
fn needs_restart(running: &Server, wanted: &Server) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if running.state != wanted.state {
        keys.push("state");
    }
    if running.workers != wanted.workers {
        keys.push("workers");
    }
    if running.admin != wanted.admin {
        keys.push("admin");
    }
    keys
}

/// A gateway needs a descriptor for every connection, at both ends; shells start programs with few.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

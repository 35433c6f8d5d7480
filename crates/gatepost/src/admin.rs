//! The admin listener: is it alive, is it ready, what has it counted; and the admin API.
//!
//! Served from the control thread, apart from the data plane: a slow scrape delays no request.

mod access;
mod api;
mod problem;
mod usage;
mod view;

pub(crate) use self::problem::Problem;
pub(crate) use self::view::DiagnosticView;

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gatepost_config::Secret;
use gatepost_config::model::Admin;
use gatepost_gateway::Observer;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::fs::Mode;
use rustix::process::umask;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use crate::admin::access::Via;
use crate::usage::UsageSource;
use crate::why::report::pretty;

/// What the admin listener answers from.
#[derive(Debug)]
pub(crate) struct Desk {
    observer: Observer,
    /// What callers used, as far as it was told.
    usage: Arc<dyn UsageSource>,
    /// The file that is reloaded, if there is one.
    file: Option<PathBuf>,
    last_reload: Mutex<Option<LastReload>>,
    /// Asks the control thread to reload.
    reloads: mpsc::Sender<ReloadWanted>,
    /// What `/metrics` and the API ask for. Health and readiness say one bit, and are open to whoever probes.
    token: RwLock<Option<Secret>>,
    pub(crate) readiness: Readiness,
    /// Connections at once: an operator, a scraper and some probes.
    room: Arc<Semaphore>,
}

/// Somebody who wants a reload, and how to tell what came of it; nothing if there is no file.
pub(crate) type ReloadWanted = oneshot::Sender<Option<ReloadEnd>>;

/// A reload that was tried.
#[derive(Debug, Clone)]
pub(crate) struct LastReload {
    pub(crate) at: SystemTime,
    /// What it was tried for.
    pub(crate) why: &'static str,
    pub(crate) end: ReloadEnd,
}

/// What came of a reload.
#[derive(Debug, Clone)]
pub(crate) enum ReloadEnd {
    /// It took effect.
    Applied,
    /// The configuration has mistakes.
    Mistaken { report: String, diagnostics: Vec<DiagnosticView> },
    /// It could not be put in force.
    Impossible(String),
}

/// Whether new requests are wanted, and whether anybody has asked.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    /// Times that somebody was told yes.
    yes: AtomicU32,
    /// Times that somebody was told no.
    no: AtomicU32,
    leaving: std::sync::atomic::AtomicBool,
    told: Notify,
}

/// How many probes must have heard "no" before a load balancer can be expected to have stopped sending.
const PROBES: u32 = 3;

/// Reloads that may be waited for at once.
const WAITING: usize = 8;

/// Connections to the admin listener at once.
const ROOM: usize = 64;

/// How long a connection may last: a scraper that keeps one open connects again.
const LIFE: Duration = Duration::from_secs(60);

/// How long a head may take; the admin listener has no other way to wait for a client.
const HEADER_TIMEOUT: Duration = Duration::from_secs(2);

impl Readiness {
    /// From now on the answer is no.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Waits until those who ask have heard "no" often enough to act on it. Where nobody has ever asked, nobody waits.
    pub(crate) async fn until_known(&self) {
        while self.yes.load(Ordering::Acquire) > 0 {
            let mut told = std::pin::pin!(self.told.notified());
            told.as_mut().enable();
            if self.no.load(Ordering::Acquire) >= PROBES {
                return;
            }
            told.await;
        }
    }

    fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    fn ask(&self) -> bool {
        let leaving = self.is_leaving();
        if leaving {
            self.no.fetch_add(1, Ordering::AcqRel);
            self.told.notify_waiters();
        } else {
            self.yes.store(1, Ordering::Release);
        }
        !leaving
    }
}

impl Desk {
    /// And where those who want a reload are heard.
    pub(crate) fn new(
        observer: Observer,
        usage: Arc<dyn UsageSource>,
        file: Option<PathBuf>,
        token: Option<Secret>,
    ) -> (Arc<Self>, mpsc::Receiver<ReloadWanted>) {
        let (reloads, wanted) = mpsc::channel(WAITING);
        let desk = Self {
            observer,
            usage,
            file,
            last_reload: Mutex::new(None),
            reloads,
            token: RwLock::new(token),
            readiness: Readiness::default(),
            room: Arc::new(Semaphore::new(ROOM)),
        };
        (Arc::new(desk), wanted)
    }

    /// Remembers a reload that was tried.
    pub(crate) fn reloaded(&self, reload: LastReload) {
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    fn last_reload(&self) -> Option<LastReload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks for this token from now on.
    pub(crate) fn set_token(&self, token: Option<Secret>) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Opens the listener and serves in the background. Answers where it listens.
    ///
    /// # Errors
    /// The address or path is taken or not permitted.
    pub(crate) async fn open(self: &Arc<Self>, admin: &Admin) -> io::Result<Option<String>> {
        match admin {
            Admin::Off => Ok(None),
            Admin::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let local = listener.local_addr()?;
                let desk = Arc::clone(self);
                tokio::spawn(async move { desk.serve(Via::Tcp, || async { Ok(listener.accept().await?.0) }).await });
                Ok(Some(format!("http://{local}")))
            }
            Admin::Unix(path) => {
                remove_stale(path).await?;
                // For its owner alone from the first moment. Nothing else makes a file meanwhile.
                let before = umask(Mode::from_raw_mode(0o177));
                let bound = UnixListener::bind(path);
                umask(before);
                let listener = bound?;
                let desk = Arc::clone(self);
                tokio::spawn(async move { desk.serve(Via::Unix, || async { Ok(listener.accept().await?.0) }).await });
                Ok(Some(format!("unix:{}", path.display())))
            }
        }
    }

    async fn serve<S, F>(self: Arc<Self>, via: Via, accept: impl Fn() -> F)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<S>>,
    {
        loop {
            // Whoever finds it full waits in the kernel's queue.
            let Ok(place) = Arc::clone(&self.room).acquire_owned().await else { return };
            let stream = match accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let desk = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(|request| async { Ok::<_, Infallible>(desk.answer(via, request).await) });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // Whoever does not read its answers must not keep a probe out for ever.
                match timeout(LIFE, connection).await {
                    Ok(Ok(())) | Err(_) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "an admin connection ended"),
                }
                drop(place);
            });
        }
    }

    async fn answer(self: &Arc<Self>, via: Via, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if api::has(request.uri().path()) {
            return match self.permits_api(via, &request) {
                Ok(()) => api::answer(self, request).await,
                Err(problem) => *problem,
            };
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/metrics" if self.permits(&request) => self.metrics(),
            "/metrics" => {
                let mut response = text(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong\n");
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            _ => text(StatusCode::NOT_FOUND, "not found; there are /healthz, /readyz, /metrics and /openapi.json\n"),
        }
    }

    /// Not while some requests could only be answered 503 for the lack of an address set; nor once it stops.
    fn ready(&self) -> Response<Full<Bytes>> {
        let lacking = self.observer.stats().unloaded_sets();
        if !lacking.is_empty() && !self.readiness.is_leaving() {
            let why = format!("never loaded: the address set {}\n", lacking.join(", "));
            return text(StatusCode::SERVICE_UNAVAILABLE, why);
        }
        if self.readiness.ask() {
            text(StatusCode::OK, "ready\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
        }
    }

    fn permits(&self, request: &Request<Incoming>) -> bool {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        access::shows(token.as_ref(), request.headers())
    }

    /// Whether the API may be asked, or what to answer instead.
    fn permits_api(&self, via: Via, request: &Request<Incoming>) -> Result<(), Box<Response<Full<Bytes>>>> {
        if !self.permits(request) {
            let mut response = Problem::new(StatusCode::UNAUTHORIZED, "the admin token is missing or wrong").answer();
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return Err(Box::new(response));
        }
        access::no_page(via, request.method(), request.headers()).map_err(|problem| Box::new(problem.answer()))
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        match self.observer.stats().exposition() {
            Ok(metrics) => {
                let mut response = text(StatusCode::OK, metrics);
                let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        }
    }
}

/// An answer of the API: not for the caches of whoever asks, and not to be taken for anything else.
fn json(status: StatusCode, value: &impl Serialize) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(pretty(value).into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Removes a socket that nobody answers on any more.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match UnixStream::connect(path).await {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && is_socket(path) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

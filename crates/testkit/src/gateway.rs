use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use gatepost_config::load_text;
use gatepost_config::model::{AccessLog, Listener, Model};
use gatepost_gateway::{
    AddressSetReport, ApplyError, Budgets, Decision, Gateway, Observer, Resolver, SetReport, Surroundings, TargetReport,
};
use gatepost_net::tls::{Alpn, ClientTls};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime;
use tokio::time::{Instant, sleep};

use crate::authority::Authority;
use crate::books::Books;
use crate::eventually::PATIENCE;
use crate::name_server::NameServer;

/// A whole gateway, started from the text of a configuration. Its access log goes to a file of its own.
///
/// Dropped, it stops at once, whatever is under way.
#[derive(Debug)]
pub struct TestGateway {
    /// There until it is stopped.
    gateway: Option<Gateway>,
    listeners: Vec<Listener>,
    directory: TempDir,
}

/// The threads of a gateway whose configuration names no number: enough for connections to land on different ones.
const WORKERS: usize = 2;

impl TestGateway {
    /// Starts serving the configuration in `text`, which listens on port 0.
    ///
    /// # Panics
    /// The configuration has an error, or cannot be served.
    pub async fn start(text: &str) -> Self {
        Self::start_with(text, |_| {}).await
    }

    /// Starts serving the configuration in `text`, where bodies that are verified may take no more than `budgets`.
    ///
    /// # Panics
    /// As of [`TestGateway::start`].
    pub async fn start_within(text: &str, budgets: Budgets) -> Self {
        Self::start_in(text, |_| {}, Surroundings { budgets, ..surroundings() }).await
    }

    /// Starts serving the configuration in `text`, with the names of backends looked up at `server`.
    ///
    /// # Panics
    /// As of [`TestGateway::start`].
    pub async fn start_asking(server: &NameServer, text: &str) -> Self {
        let resolver = Resolver::with_servers(vec![server.address()]).expect("a thread for the resolver");
        Self::start_in(text, |_| {}, Surroundings { resolver, ..surroundings() }).await
    }

    /// Starts serving the configuration in `text` once `change` has been made to what it means.
    ///
    /// # Panics
    /// The configuration has an error, or cannot be served.
    pub async fn start_with(text: &str, change: impl FnOnce(&mut Model)) -> Self {
        Self::start_in(text, change, surroundings()).await
    }

    /// Starts serving the configuration in `text`; who publishes address sets is believed if `authority` has vouched
    /// for it.
    ///
    /// # Panics
    /// The configuration has an error, or cannot be served.
    pub async fn start_believing(authority: &Authority, text: &str) -> Self {
        let publishers = ClientTls::new(Some(authority.root_pem().as_bytes()), Alpn::Http1).expect("authorities");
        Self::start_in(text, |_| {}, Surroundings { publishers, ..surroundings() }).await
    }

    /// Starts serving the configuration in `text` with these books: the ledger of quotas and budgets, who is told of usage,
    /// and the calendar.
    ///
    /// # Panics
    /// As of [`TestGateway::start`].
    pub async fn start_with_books(text: &str, books: &Books) -> Self {
        let Books { ledger, usage, .. } = books;
        let (ledger, usage, wall) = (Arc::clone(ledger) as _, Arc::clone(usage) as _, books.wall());
        Self::start_in(text, |_| {}, Surroundings { ledger, usage, wall, ..surroundings() }).await
    }

    async fn start_in(text: &str, change: impl FnOnce(&mut Model), surroundings: Surroundings) -> Self {
        let directory = TempDir::new().expect("a directory for the access log");
        let mut model = read(text, directory.path());
        change(&mut model);
        let gateway = Gateway::start_in(&model, surroundings).await.expect("the gateway starts");
        Self { gateway: Some(gateway), listeners: model.listeners, directory }
    }

    /// Puts the configuration in `text` in force.
    ///
    /// # Errors
    /// It cannot be served.
    ///
    /// # Panics
    /// It has an error.
    pub async fn apply(&mut self, text: &str) -> Result<(), ApplyError> {
        self.apply_with(text, |_| {}).await
    }

    /// Puts the configuration in `text` in force once `change` has been made to what it means.
    ///
    /// # Errors
    /// It cannot be served.
    ///
    /// # Panics
    /// It has an error.
    pub async fn apply_with(&mut self, text: &str, change: impl FnOnce(&mut Model)) -> Result<(), ApplyError> {
        let mut model = read(text, self.directory.path());
        change(&mut model);
        self.gateway.as_mut().expect("a running gateway").apply(&model).await?;
        self.listeners = model.listeners;
        Ok(())
    }

    /// Stops; what is not over within `drain` is cut.
    pub async fn stop(self, drain: Duration) {
        self.stop_and_read_log(drain).await;
    }

    /// The same, and then the lines of the access log.
    pub async fn stop_and_read_log(mut self, drain: Duration) -> Vec<Value> {
        let gateway = self.gateway.take().expect("a running gateway");
        // Joins threads at its end, which the runtime of the test must not wait for.
        let stopped = tokio::task::spawn_blocking(move || stop_on_own_runtime(gateway, drain)).await;
        stopped.expect("the gateway stops");
        self.log()
    }

    /// Asks clients to go elsewhere, as before a stop.
    pub async fn leave(&self) {
        self.gateway().leave().await;
    }

    /// The address of the listener `default`, or of the only one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let name = if self.listeners.len() == 1 { &*self.listeners[0].name } else { "default" };
        *self.addresses_of(name).first().expect("an address that is listened on")
    }

    /// The addresses of a listener.
    ///
    /// # Panics
    /// There is no listener of that name.
    #[must_use]
    pub fn addresses_of(&self, name: &str) -> Vec<SocketAddr> {
        let listener = self.listeners.iter().find(|listener| &*listener.name == name);
        self.gateway().addresses_of(listener.unwrap_or_else(|| panic!("no listener {name}")))
    }

    /// What it counts, as Prometheus reads it.
    #[must_use]
    pub fn metrics(&self) -> String {
        self.gateway().stats().exposition().expect("metrics are text")
    }

    /// The value of a metric: `gatepost_snapshot`, or `gatepost_requests_total{api="default",…}` in full. Absent: 0.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.metrics();
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().expect("a number"))
    }

    /// What is known of the target at this address.
    ///
    /// # Panics
    /// There is no such target.
    #[must_use]
    pub fn target(&self, address: SocketAddr) -> TargetReport {
        let at_it = |report: &TargetReport| report.target.ends_with(&format!("//{address}"));
        self.gateway().targets().find(at_it).unwrap_or_else(|| panic!("no target at {address}"))
    }

    /// What is known of its address sets.
    #[must_use]
    pub fn address_sets(&self) -> Vec<AddressSetReport> {
        self.gateway().address_sets()
    }

    /// What is known of an address set that is fetched.
    ///
    /// # Panics
    /// There is no such set.
    #[must_use]
    pub fn address_set(&self, name: &str) -> SetReport {
        let found = self.address_sets().into_iter().find(|set| *set.name == *name);
        found.and_then(|set| set.fetched).unwrap_or_else(|| panic!("no set {name} is fetched"))
    }

    /// The directory of its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.directory.path().join("gatepost-state")
    }

    /// Has the lists of all address sets asked for, now.
    pub fn refresh_address_sets(&self) {
        self.gateway().refresh_address_sets();
    }

    /// Why a request was refused, by the id in its answer.
    ///
    /// # Panics
    /// It is not on record, and will not be.
    pub async fn decision(&self, id: &str) -> Decision {
        let observer = self.gateway().observer();
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(decision) = observer.decision(id) {
                return decision;
            }
            assert!(Instant::now() < end, "no decision {id} is on record");
            observer.hurry();
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Whoever looks at it from outside.
    #[must_use]
    pub fn observer(&self) -> Observer {
        self.gateway().observer()
    }

    /// The lines of the access log so far.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        lines_of(&log_in(self.directory.path()))
    }

    /// Waits for lines of the access log that `enough` is content with, all of them since the start.
    ///
    /// # Panics
    /// It is not within `deadline`.
    pub async fn log_until(&self, enough: impl Fn(&[Value]) -> bool, deadline: Duration) -> Vec<Value> {
        let end = Instant::now() + deadline;
        loop {
            let lines = self.log();
            if enough(&lines) {
                return lines;
            }
            assert!(Instant::now() < end, "the access log lacks what is waited for: {lines:#?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("a running gateway")
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            // A runtime cannot be waited for inside another one, so this ends on a thread of its own.
            thread::spawn(move || stop_on_own_runtime(gateway, Duration::ZERO));
        }
    }
}

fn stop_on_own_runtime(gateway: Gateway, drain: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(gateway.stop(Instant::now() + drain));
}

fn read(text: &str, directory: &Path) -> Model {
    let loaded = load_text("test.toml", text, directory);
    let mut model = loaded.unwrap_or_else(|report| panic!("\n{}", report.render(false))).model;
    model.log.access = AccessLog::File(log_in(directory));
    model.server.workers = model.server.workers.or(std::num::NonZeroUsize::new(WORKERS));
    model
}

fn log_in(directory: &Path) -> PathBuf {
    directory.join("access.log")
}

fn lines_of(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    // A line without its end is still being written.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a line of the access log is JSON")).collect()
}

fn surroundings() -> Surroundings {
    Surroundings::system().expect("a thread for the resolver, and authorities")
}

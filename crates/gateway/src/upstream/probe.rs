//! Active health checks. They run on the control thread: a data plane that is busy must not look like sick targets.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gatepost_config::model::{self, HttpVersion};
use gatepost_net::Resolver;
use http::header::{ACCEPT, CONNECTION, HOST, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri, Version};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::rejection::with_causes;
use crate::upstream::condition::Health;
use crate::upstream::{ConnectError, Target};

/// A target that is to be probed, and how.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    pub(crate) target: Arc<Target>,
    pub(crate) health: model::Health,
}

/// The probes that run, by target.
#[derive(Debug)]
pub(crate) struct Probers {
    resolver: Resolver,
    running: HashMap<u64, Prober>,
}

/// The probes of one target. They end when it is dropped.
#[derive(Debug)]
struct Prober {
    check: Check,
    task: JoinHandle<()>,
}

/// What a probe found, if not what it should have.
#[derive(Debug, Error)]
enum Bad {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("no answer: {}", with_causes(.0))]
    Http(#[from] hyper::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("it answered {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the path is no request target: {0}")]
    Path(#[from] http::Error),
}

/// The probes of a target so far.
#[derive(Debug, Default)]
struct Tally {
    good_in_row: u32,
    bad_in_row: u32,
}

/// The head of an answer to a probe, at most, in bytes.
const HEAD: usize = 64 * 1024;

const AGENT: HeaderValue = HeaderValue::from_static(concat!("gatepost-health/", env!("CARGO_PKG_VERSION")));

impl Probers {
    /// None yet.
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, running: HashMap::new() }
    }

    /// Probes these targets from now on, and no others.
    ///
    /// Probes that are not changed go on. Changed ones begin anew: a target that was healthy stays so until it fails
    /// them, any other one becomes initial.
    pub(crate) fn follow(&mut self, checks: &[Check]) {
        let wanted: HashMap<u64, &Check> = checks.iter().map(|check| (check.target.id, check)).collect();
        self.running.retain(|id, prober| {
            let known = wanted.contains_key(id);
            if !known {
                prober.check.target.condition.set_health(Health::Unchecked);
            }
            known
        });
        for (id, check) in wanted {
            if self.running.get(&id).is_some_and(|prober| prober.check.health == check.health) {
                continue;
            }
            // The old ones must not have the last word.
            drop(self.running.remove(&id));
            if check.target.condition.health() != Health::Healthy {
                check.target.condition.set_health(Health::Initial);
            }
            let task = tokio::spawn(run(check.clone(), self.resolver.clone()));
            self.running.insert(id, Prober { check: check.clone(), task });
        }
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(check: Check, resolver: Resolver) {
    let Check { target, health } = &check;
    // Not all targets at the same moment.
    sleep(up_to(health.every / 8)).await;
    let mut ticks = interval(health.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = Tally::default();
    loop {
        ticks.tick().await;
        let found = timeout(health.timeout, probe(target, health, &resolver)).await;
        tally.count(&check, found.unwrap_or(Err(Bad::Timeout(health.timeout))));
    }
}

impl Tally {
    fn count(&mut self, Check { target, health }: &Check, found: Result<(), Bad>) {
        let condition = &target.condition;
        let before = condition.health();
        match found {
            Ok(()) => {
                self.bad_in_row = 0;
                self.good_in_row = self.good_in_row.saturating_add(1);
                let enough = before == Health::Initial || self.good_in_row >= health.healthy.get();
                if enough && before != Health::Healthy {
                    condition.set_health(Health::Healthy);
                    tracing::info!(upstream = %target.upstream.name, target = %target.label, "target healthy");
                    if before == Health::Unhealthy {
                        // Probes that saw it fail can tell that it is over; those that were good all the while cannot.
                        condition.restore(target);
                    }
                }
            }
            Err(bad) => {
                self.good_in_row = 0;
                self.bad_in_row = self.bad_in_row.saturating_add(1);
                if self.bad_in_row >= health.unhealthy.get() && before != Health::Unhealthy {
                    condition.set_health(Health::Unhealthy);
                    let (upstream, label) = (&target.upstream.name, &target.label);
                    tracing::warn!(%upstream, target = %label, reason = %bad, "target unhealthy");
                }
            }
        }
    }
}

/// One probe on a connection of its own. Only the status counts; redirects are not followed, the body is not read.
async fn probe(target: &Target, health: &model::Health, resolver: &Resolver) -> Result<(), Bad> {
    let request = request(target, health)?;
    let (wire, _) = target.connect(resolver).await?;
    let io = TokioIo::new(wire);
    let answer = match target.http {
        HttpVersion::One => {
            let (mut sender, driver) = http1::Builder::new().max_header_size(HEAD).handshake(io).await?;
            beside(driver, sender.send_request(request)).await?
        }
        HttpVersion::Two => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let (mut sender, driver) = builder.max_header_list_size(HEAD as u32).handshake(io).await?;
            beside(driver, sender.send_request(request)).await?
        }
    };
    let status = answer.status();
    let expected = health.codes.iter().any(|codes| codes.contains(&status.as_u16()));
    if expected { Ok(()) } else { Err(Bad::Status(status)) }
}

fn request(target: &Target, health: &model::Health) -> Result<Request<String>, http::Error> {
    let host = health.host.as_ref().unwrap_or(&target.host);
    let mut request = Request::get(&*health.path).header(USER_AGENT, AGENT).header(ACCEPT, "*/*");
    match target.http {
        HttpVersion::One => {
            request = request.header(HOST, host).header(CONNECTION, "close");
        }
        HttpVersion::Two => {
            let uri = Uri::builder().scheme(target.scheme()).authority(host.as_bytes());
            request = request.version(Version::HTTP_2).uri(uri.path_and_query(&*health.path).build()?);
        }
    }
    request.body(String::new())
}

/// The answer that comes on a connection while that is driven.
async fn beside<D: Future, A: Future>(driver: D, answer: A) -> A::Output {
    let (mut driver, mut answer) = (pin!(driver), pin!(answer));
    let mut driven = true;
    poll_fn(|cx| {
        // The connection may end with the answer that it brings.
        if driven && Pin::new(&mut driver).poll(cx).is_ready() {
            driven = false;
        }
        match answer.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(answer),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Some time shorter than `most`.
fn up_to(most: Duration) -> Duration {
    // Seeded anew by the standard library each time: no worse than it must be here.
    let random = RandomState::new().build_hasher().finish();
    most.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

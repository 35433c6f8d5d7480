//! What is counted, and how Prometheus reads it.
//!
//! Counters are plain atomics at the places that count, found once when a configuration is compiled and never looked up
//! by label on a request's way. They live outside the snapshot, under stable names, so a reload does not reset them.

mod address_sets;
mod upstreams;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatepost_meter::Slots;
use gatepost_ranges::LiveSet;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::record::{Ended, Record};
use crate::rejection::Reason;
use crate::spool::{Budget, Spool};
use crate::upstream::{Target, TargetReport};

/// What a route is counted under: its API's name and its key.
type RouteName = (Arc<str>, Arc<str>);

/// Everything that one gateway counts.
#[derive(Debug, Default)]
pub struct Stats {
    /// Requests that reached no route, and what was no request at all.
    pub(crate) unrouted: Arc<RouteStats>,
    routes: Mutex<HashMap<RouteName, Arc<RouteStats>>>,
    apis: Mutex<HashMap<Arc<str>, Arc<Durations>>>,
    listeners: Mutex<HashMap<Arc<str>, Arc<ListenerStats>>>,
    /// Lines of the access log that were not written because its queue was full.
    pub(crate) log_dropped: AtomicU64,
    /// Decisions about refused requests that are not on record because the queue was full.
    pub(crate) decisions_dropped: AtomicU64,
    /// Reloads that took effect.
    pub(crate) reloads_applied: AtomicU64,
    /// Reloads that were refused.
    pub(crate) reloads_refused: AtomicU64,
    /// The number of the snapshot in force.
    pub(crate) snapshot: AtomicU64,
    workers: Mutex<Vec<Arc<WorkerStats>>>,
    /// Of memory and of the disk, what bodies take that wait to be verified.
    spool: Option<[Arc<Budget>; 2]>,
    /// The targets of the model in force, which count for themselves.
    targets: Mutex<Vec<Arc<Target>>>,
    /// The address sets that the model in force has fetched, which count for themselves.
    sets: Mutex<Vec<Arc<LiveSet>>>,
}

/// What is counted of one route. What a served request counts stands first, in one line of the processor's cache: with
/// many routes, each line is fetched from memory.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(crate) struct RouteStats {
    admitted: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// 1xx to 5xx.
    classes: [AtomicU64; 5],
    /// By deadline, upstream, client and stop.
    cut: [AtomicU64; 5],
    reasons: ByReason,
}

/// A count for each reason.
#[derive(Debug)]
struct ByReason([AtomicU64; Reason::ALL.len()]);

impl Default for ByReason {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// How long the requests of one API took.
#[derive(Debug, Default)]
pub(crate) struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What is counted of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerStats {
    /// Its open connections.
    pub(crate) connections: Arc<Slots>,
    /// Connections turned away because too many were open.
    pub(crate) turned_away: AtomicU64,
}

/// What is known of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerStats {
    /// Its open connections.
    pub(crate) connections: AtomicUsize,
    /// Requests that it is serving.
    pub(crate) exchanges: AtomicUsize,
    /// How late its last tick came, in nanoseconds: what a ready task waits for its turn.
    pub(crate) lag: AtomicU64,
}

/// The upper bounds of the duration histogram, in milliseconds.
const BOUNDS: [u32; 14] = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000];

impl Stats {
    /// Of a gateway that keeps bodies here.
    pub(crate) fn with(spool: &Spool) -> Self {
        Self { spool: Some([Arc::clone(&spool.memory), Arc::clone(&spool.disk)]), ..Self::default() }
    }

    pub(crate) fn route(&self, api: &Arc<str>, key: &Arc<str>) -> Arc<RouteStats> {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(routes.entry((Arc::clone(api), Arc::clone(key))).or_default())
    }

    pub(crate) fn api(&self, name: &Arc<str>) -> Arc<Durations> {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(apis.entry(Arc::clone(name)).or_default())
    }

    pub(crate) fn listener(&self, name: &Arc<str>) -> Arc<ListenerStats> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(listeners.entry(Arc::clone(name)).or_default())
    }

    pub(crate) fn add_worker(&self) -> Arc<WorkerStats> {
        let worker = Arc::new(WorkerStats::default());
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&worker));
        worker
    }

    /// From now on these are the targets.
    pub(crate) fn follow<'t>(&self, targets: impl Iterator<Item = &'t Arc<Target>>) {
        *self.targets.lock().unwrap_or_else(PoisonError::into_inner) = targets.cloned().collect();
    }

    /// From now on these are the address sets that are fetched.
    pub(crate) fn follow_sets<'s>(&self, sets: impl Iterator<Item = &'s Arc<LiveSet>>) {
        *self.sets.lock().unwrap_or_else(PoisonError::into_inner) = sets.cloned().collect();
    }

    /// The address sets that have no good copy yet. While there is one, the gateway is not ready: whoever depends on it
    /// is answered 503.
    #[must_use]
    pub fn unloaded_sets(&self) -> Vec<Arc<str>> {
        let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        sets.iter().filter(|set| !set.is_loaded()).map(|set| Arc::clone(set.name())).collect()
    }

    /// Lets go of what nobody counts under any more: what neither the snapshot in force nor a request under way has, and
    /// so neither the one before, from which the last numbers may not have been read yet.
    pub(crate) fn forget(&self) {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.retain(|_, route| Arc::strong_count(route) > 1);
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        apis.retain(|_, api| Arc::strong_count(api) > 1);
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|_, listener| Arc::strong_count(listener) > 1 || listener.connections.taken() > 0);
    }

    /// How many decisions are not on record because the queue was full.
    #[must_use]
    pub fn decisions_dropped(&self) -> u64 {
        self.decisions_dropped.load(Ordering::Relaxed)
    }

    /// The targets of the model in force as they are now, in no order.
    pub(crate) fn targets(&self) -> Vec<TargetReport> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        targets.iter().map(|target| target.report()).collect()
    }

    /// All metrics in the text format of Prometheus.
    ///
    /// # Errors
    /// Only if formatting into a string fails.
    pub fn exposition(self: &Arc<Self>) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("gatepost");
        registry.register_collector(Box::new(Exposition(Arc::clone(self))));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

impl RouteStats {
    /// Counts a request that ended.
    pub(crate) fn count(&self, record: &Record) {
        match record.reason {
            Some(reason) => add(&self.reasons.0[reason as usize], 1),
            None => add(&self.admitted, 1),
        }
        match record.ended {
            Ended::Complete => {}
            Ended::Deadline => add(&self.cut[0], 1),
            Ended::Upstream => add(&self.cut[1], 1),
            Ended::Client => add(&self.cut[2], 1),
            Ended::Stop => add(&self.cut[3], 1),
            Ended::Idle => add(&self.cut[4], 1),
        }
        if let Some(status) = record.status {
            let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
            add(&self.classes[class], 1);
        }
        add(&self.bytes_in, record.bytes_in);
        add(&self.bytes_out, record.bytes_out);
    }
}

impl Durations {
    pub(crate) fn count(&self, duration: Duration) {
        let milliseconds = duration.as_millis();
        let bucket = BOUNDS.iter().position(|&bound| milliseconds < u128::from(bound)).unwrap_or(BOUNDS.len());
        add(&self.buckets[bucket], 1);
        add(&self.nanoseconds, u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    if amount > 0 {
        counter.fetch_add(amount, Ordering::Relaxed);
    }
}

/// How an answer can be cut, in the order of their counters.
const CUTS: [Ended; 5] = [Ended::Deadline, Ended::Upstream, Ended::Client, Ended::Stop, Ended::Idle];

/// Reads the counters when Prometheus asks.
#[derive(Debug)]
struct Exposition(Arc<Stats>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = &self.0;
        let routes = stats.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let nowhere: RouteName = ("".into(), "".into());
        let routes: Vec<_> = routes.iter().chain([(&nowhere, &stats.unrouted)]).collect();
        encode_requests(&mut encoder, &routes)?;
        encode_responses(&mut encoder, &routes)?;
        encode_cut(&mut encoder, &routes)?;
        encode_bytes(&mut encoder, &routes)?;
        encode_durations(&mut encoder, stats)?;
        encode_listeners(&mut encoder, stats)?;
        upstreams::encode(&mut encoder, &stats.targets.lock().unwrap_or_else(PoisonError::into_inner))?;
        encode_spool(&mut encoder, stats)?;
        address_sets::encode(&mut encoder, &stats.sets.lock().unwrap_or_else(PoisonError::into_inner))?;
        encode_workers(&mut encoder, stats)?;
        encode_process(&mut encoder, stats)
    }
}

type Routes<'a> = [(&'a RouteName, &'a Arc<RouteStats>)];

fn encode_requests(encoder: &mut DescriptorEncoder<'_>, routes: &Routes<'_>) -> fmt::Result {
    let help = "Requests by route; an empty reason is a request that was served";
    let mut family = encoder.encode_descriptor("requests", help, None, MetricType::Counter)?;
    for ((api, route), counts) in routes {
        let served = [("", &counts.admitted)];
        let reasons = Reason::ALL.iter().map(|reason| (reason.name(), &counts.reasons.0[*reason as usize]));
        for (reason, counter) in served.into_iter().chain(reasons) {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                let labels = [("api", &**api), ("route", &**route), ("reason", reason)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn encode_responses(encoder: &mut DescriptorEncoder<'_>, routes: &Routes<'_>) -> fmt::Result {
    const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
    let help = "Responses by route and class of status";
    let mut family = encoder.encode_descriptor("responses", help, None, MetricType::Counter)?;
    for ((api, route), counts) in routes {
        for (class, counter) in CLASSES.iter().zip(&counts.classes) {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                let labels = [("api", &**api), ("route", &**route), ("class", class)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn encode_cut(encoder: &mut DescriptorEncoder<'_>, routes: &Routes<'_>) -> fmt::Result {
    let help = "Answers cut before their last byte by route, and by what";
    let mut family = encoder.encode_descriptor("answers_cut", help, None, MetricType::Counter)?;
    for ((api, route), counts) in routes {
        for (ended, counter) in CUTS.iter().zip(&counts.cut) {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                let labels = [("api", &**api), ("route", &**route), ("by", ended.name())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn encode_bytes(encoder: &mut DescriptorEncoder<'_>, routes: &Routes<'_>) -> fmt::Result {
    let help = "Bytes of bodies by route and direction";
    let unit = Unit::Bytes;
    let mut family = encoder.encode_descriptor("body", help, Some(&unit), MetricType::Counter)?;
    for ((api, route), counts) in routes {
        for (direction, counter) in [("in", &counts.bytes_in), ("out", &counts.bytes_out)] {
            let count = counter.load(Ordering::Relaxed);
            if count > 0 {
                let labels = [("api", &**api), ("route", &**route), ("direction", direction)];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

fn encode_durations(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let apis = stats.apis.lock().unwrap_or_else(PoisonError::into_inner);
    let help = "From the head of a request to the last byte of its answer, by API";
    let unit = Unit::Seconds;
    let kind = MetricType::Histogram;
    let mut family = encoder.encode_descriptor("request_duration", help, Some(&unit), kind)?;
    for (api, durations) in apis.iter() {
        let bounds = BOUNDS.iter().map(|&bound| f64::from(bound) / 1000.0).chain([f64::INFINITY]);
        let counts = durations.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(durations.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        let labels = [("api", &**api)];
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

fn encode_listeners(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let listeners = stats.listeners.lock().unwrap_or_else(PoisonError::into_inner);
    let help = "Open connections by listener";
    let mut family = encoder.encode_descriptor("connections", help, None, MetricType::Gauge)?;
    for (name, listener) in listeners.iter() {
        let open = i64::try_from(listener.connections.taken()).unwrap_or(i64::MAX);
        ConstGauge::new(open).encode(family.encode_family(&[("listener", &**name)])?)?;
    }
    let help = "Connections turned away because the listener had too many open";
    let kind = MetricType::Counter;
    let mut family = encoder.encode_descriptor("connections_turned_away", help, None, kind)?;
    for (name, listener) in listeners.iter() {
        let count = listener.turned_away.load(Ordering::Relaxed);
        ConstCounter::new(count).encode(family.encode_family(&[("listener", &**name)])?)?;
    }
    Ok(())
}

fn encode_spool(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let Some([memory, disk]) = &stats.spool else { return Ok(()) };
    let help = "What bodies take that are kept until they are verified and sent on";
    let unit = Unit::Bytes;
    let mut family = encoder.encode_descriptor("spool", help, Some(&unit), MetricType::Gauge)?;
    for (place, budget) in [("memory", memory), ("disk", disk)] {
        let taken = i64::try_from(budget.taken()).unwrap_or(i64::MAX);
        ConstGauge::new(taken).encode(family.encode_family(&[("place", place)])?)?;
    }
    Ok(())
}

fn encode_workers(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let workers = stats.workers.lock().unwrap_or_else(PoisonError::into_inner);
    let help = "How late the last tick of a worker came";
    let unit = Unit::Seconds;
    let kind = MetricType::Gauge;
    let mut family = encoder.encode_descriptor("worker_lag", help, Some(&unit), kind)?;
    for (number, worker) in workers.iter().enumerate() {
        let lag = Duration::from_nanos(worker.lag.load(Ordering::Relaxed)).as_secs_f64();
        ConstGauge::new(lag).encode(family.encode_family(&[("worker", number.to_string())])?)?;
    }
    Ok(())
}

fn encode_process(encoder: &mut DescriptorEncoder<'_>, stats: &Stats) -> fmt::Result {
    let counters = [
        (
            "access_log_dropped",
            "Lines of the access log lost: its queue was full, or they could not be written",
            &stats.log_dropped,
        ),
        (
            "decisions_dropped",
            "Refused requests that are not on record: the queue to the thread that keeps them was full",
            &stats.decisions_dropped,
        ),
        ("reloads_applied", "Configurations that took effect after the first", &stats.reloads_applied),
        ("reloads_refused", "Changed configurations that were refused", &stats.reloads_refused),
    ];
    for (name, help, counter) in counters {
        let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    let snapshot = i64::try_from(stats.snapshot.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    let kind = MetricType::Gauge;
    let help = "The number of the configuration in force, counted from 1 at start";
    ConstGauge::new(snapshot).encode(encoder.encode_descriptor("snapshot", help, None, kind)?)
}

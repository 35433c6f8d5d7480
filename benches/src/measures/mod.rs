//! The measures, one a file, and the run under load that three of them share.

pub(crate) mod callers;
pub(crate) mod entry;
pub(crate) mod handshakes;
pub(crate) mod idle;
pub(crate) mod networks;
pub(crate) mod reload;
pub(crate) mod routes;
pub(crate) mod side_by_side;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::Outcome;
use crate::accounting::{self, Usage};
use crate::load::{Load, Verdict};
use crate::options::Options;
use crate::peers::Gateway;
use crate::report::{Samples, table, thousands};

/// Load before a run that is not counted: connections are opened, memory is touched.
const WARM_UP: u64 = 1;

#[derive(Clone, Copy)]
pub(crate) enum Measure {
    SideBySide,
    Handshakes,
    Routes,
    Networks,
    Entry,
    Callers,
    Idle,
    Reload,
}

impl Measure {
    pub(crate) const ALL: [Self; 8] = [
        Self::SideBySide,
        Self::Handshakes,
        Self::Routes,
        Self::Networks,
        Self::Entry,
        Self::Callers,
        Self::Idle,
        Self::Reload,
    ];

    /// Whether there is nothing to measure without Gatepost.
    pub(crate) fn needs_gatepost(self) -> bool {
        matches!(self, Self::Routes | Self::Networks | Self::Entry | Self::Callers | Self::Reload)
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SideBySide => "side-by-side",
            Self::Handshakes => "handshakes",
            Self::Routes => "routes",
            Self::Networks => "networks",
            Self::Entry => "entry",
            Self::Callers => "callers",
            Self::Idle => "idle",
            Self::Reload => "reload",
        })
    }
}

impl FromStr for Measure {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = |measure: &Self| measure.to_string() == name;
        Self::ALL.into_iter().find(named).ok_or_else(|| format!("no such measure: {name}"))
    }
}

/// What one run under load cost.
struct Cost {
    /// CPU time of the gateway a request, in microseconds.
    cpu: f64,
    requests_per_second: f64,
    /// In milliseconds, where it is known.
    p99: Option<f64>,
    /// The share of its CPU that the gateway used.
    busy: f64,
    /// Lines of access log a request. Less than one: it dropped some, and saved the work.
    logged: f64,
    /// Resident memory at the end, in bytes.
    resident: u64,
}

/// Loads a running gateway, checks what became of every request, and stops it.
fn under_load(options: &Options, gateway: Gateway, load: &Load, verdict: Verdict) -> Outcome<Cost> {
    let cpu = options.cpus.load;
    let group = gateway.group().leader();
    let warm_up = load.run(&gateway, WARM_UP, cpu)?;
    let before = Usage::of(group);
    let totals = load.run(&gateway, options.seconds, cpu)?;
    let used = Usage::of(group).since(&before);
    let resident = accounting::resident(group);
    for totals in [&warm_up, &totals] {
        totals.check(verdict).map_err(|error| gateway.group().complaint(&error.to_string()))?;
    }
    let logged = gateway.stop()? as f64;
    let requests = totals.requests as f64;
    Ok(Cost {
        cpu: micros(used) / requests,
        requests_per_second: requests / totals.time.as_secs_f64(),
        p99: totals.p99.map(|p99| micros(p99) / 1e3),
        busy: used.as_secs_f64() / totals.time.as_secs_f64(),
        // What was on its way when the load ended is not counted there, so this can exceed one by a hair.
        logged: logged / (requests + warm_up.requests as f64),
        resident,
    })
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn column<T>(costs: &[T], of: impl Fn(&T) -> f64) -> Samples {
    costs.iter().map(of).collect()
}

/// A table about one thing that grows: a row a size, ratios to the first.
fn by_size(title: &str, what: &str, sizes: &[usize], costs: &[Vec<Cost>]) -> String {
    let header = [
        what,
        "CPU µs/request",
        &format!("ratio to {}", sizes[0]),
        "requests/s",
        "p99 ms",
        "CPU busy",
        "logged",
        "memory MiB",
    ];
    let first = column(&costs[0], |cost| cost.cpu);
    let rows: Vec<Vec<String>> = sizes
        .iter()
        .zip(costs)
        .map(|(size, costs)| {
            let cpu = column(costs, |cost| cost.cpu);
            let mut row = vec![thousands(*size as f64), format!("{:.2}", cpu.median())];
            row.push(cpu.over(&first).spread(2));
            row.extend(effects(costs));
            row.push(format!("{:.1}", column(costs, |cost| mebibytes(cost.resident)).median()));
            row
        })
        .collect();
    table(title, &header, &rows)
}

/// The cells for requests/s, p99, CPU busy and logged.
fn effects(costs: &[Cost]) -> [String; 4] {
    let p99: Option<Samples> = costs.iter().map(|cost| cost.p99).collect();
    [
        thousands(column(costs, |cost| cost.requests_per_second).median()),
        p99.map_or_else(|| "–".to_owned(), |p99| format!("{:.2}", p99.median())),
        format!("{:.0} %", column(costs, |cost| cost.busy * 100.0).median()),
        format!("{:.1} %", column(costs, |cost| cost.logged * 100.0).median()),
    ]
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

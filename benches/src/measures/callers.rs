//! What it costs to know who calls, and to keep to how much they may: a key, a plan, a throttle and a quota.

use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};

use crate::Outcome;
use crate::addresses;
use crate::backend::{self, Backend};
use crate::client::Connection;
use crate::front::Front;
use crate::load::{CONNECTIONS, Load, Verdict};
use crate::measures::{Cost, column, effects, under_load};
use crate::options::Options;
use crate::peers::{Configured, Gateway, Job, Peer, RATE, gatepost, nginx};
use crate::process::Launch;
use crate::report::{progress, table};
use crate::scratch::Scratch;

const NETWORKS: usize = 1_000;
const PATH: &str = "/bench";
/// Open to everyone, for the first look whether a gateway is there.
const READY: &str = "/ready";
const KEY: &str = "x-api-key";

/// What is asked of a request, and by whom.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Door {
    /// Gatepost: nothing.
    Open,
    /// Gatepost: a key of one of so many callers, whose plan has a throttle and a quota.
    Caller(usize),
    /// The same, from a network of a list.
    CallerFrom(usize),
    /// nginx: a key of a map, from a network of a list, a bucket for each caller. It has no quotas.
    Nginx(usize),
}

impl Door {
    const ALL: [Self; 5] = [Self::Open, Self::Caller(10), Self::Caller(100_000), Self::CallerFrom(10), Self::Nginx(10)];

    fn name(self) -> String {
        match self {
            Self::Open => "open".to_owned(),
            Self::Caller(callers) => format!("key, plan, throttle, quota; {callers} callers"),
            Self::CallerFrom(callers) => format!("the same and `from` a list; {callers} callers"),
            Self::Nginx(callers) => format!("nginx: key map, geo, limit_req; {callers} callers"),
        }
    }

    fn callers(self) -> usize {
        match self {
            Self::Open => 0,
            Self::Caller(callers) | Self::CallerFrom(callers) | Self::Nginx(callers) => callers,
        }
    }
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let job = Job {
        networks: addresses::with_client(NETWORKS)?,
        backend: backend.port,
        clients: CONNECTIONS,
        front: Front::PLAIN,
    };
    let has_nginx = options.peers.contains(&Peer::Nginx);
    let doors: Vec<Door> = Door::ALL.into_iter().filter(|door| has_nginx || !matches!(door, Door::Nginx(_))).collect();
    let mut costs: Vec<Vec<Cost>> = doors.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (door, costs) in doors.iter().zip(&mut costs) {
            progress(&format!("callers, round {round}: {}", door.name()));
            let keys: Vec<String> = (0..door.callers()).map(key).collect();
            // Neither the first nor the last that is known.
            let used = key(door.callers() / 2);
            let gateway =
                Gateway::start(options, &Front::PLAIN, READY, Verdict::Admitted, backend::BODY, |directory, port| {
                    match door {
                        Door::Nginx(_) => {
                            nginx::with_keys(directory, port, &job, &nginx::Keys { good: &keys, ready: READY })
                        }
                        Door::Open | Door::Caller(_) | Door::CallerFrom(_) => {
                            launch(options, directory, port, &job, *door, &keys)
                        }
                    }
                })?;
            expect_refusal(&gateway, *door)?;
            let load = Load::with_header(PATH, (KEY, &used))?;
            costs.push(under_load(options, gateway, &load, Verdict::Admitted)?);
        }
    }
    Ok(report(&doors, &costs))
}

/// What is measured is a check that is made: a key that nobody has must not get in where keys count.
fn expect_refusal(gateway: &Gateway, door: Door) -> Outcome<()> {
    let reply = Connection::open(gateway.port, &Front::PLAIN)?.get_with(PATH, (KEY, &key(usize::MAX)))?;
    let expected = if door == Door::Open { 200 } else { 401 };
    if reply.status == expected { Ok(()) } else { Err(format!("{}: a wrong key got {reply:?}", door.name()).into()) }
}

/// As long as Gatepost makes them.
fn key(number: usize) -> String {
    format!("gp_{number:038}")
}

fn launch(
    options: &Options,
    directory: &Scratch,
    port: u16,
    job: &Job,
    door: Door,
    keys: &[String],
) -> Outcome<Configured> {
    directory.write("allowed.txt", &(job.networks.join("\n") + "\n"))?;
    let mut text = gatepost::preamble(port, None);
    let backend = job.backend;
    let rules = match door {
        Door::Open | Door::Nginx(_) => "open     = true",
        Door::Caller(_) => "callers  = \"any\"",
        Door::CallerFrom(_) => "callers  = \"any\"\nfrom     = [\"allowed\"]",
    };
    for (path, rules) in [(READY, "open     = true"), (PATH, rules)] {
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n[route.\"GET {path}\"]\n{rules}\nforward  = {{ to = \"http://127.0.0.1:{backend}\", timeout = \"30s\" }}\n"
        );
    }
    if !keys.is_empty() {
        let _ = write!(
            text,
            "\n[plan.bench]\nthrottle = {{ rate = \"{RATE}/s\", burst = {RATE} }}\n\
             quota    = {{ limit = 1_000_000_000_000, per = \"month\" }}\n"
        );
    }
    for (number, key) in keys.iter().enumerate() {
        let hash: String = digest(&SHA256, key.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let _ = write!(text, "\n[caller.c{number}]\nplan = \"bench\"\nkeys = [\"sha256:{hash}\"]\n");
    }
    let file = directory.write(gatepost::FILE, &text)?;
    let launch = Launch::new(&options.gatepost).arg("run").arg(file);
    Ok(Configured { launch, access_log: directory.path().join("access.log") })
}

fn report(doors: &[Door], costs: &[Vec<Cost>]) -> String {
    let header = ["who may enter", "CPU µs/request", "ratio to open", "requests/s", "p99 ms", "CPU busy", "logged"];
    let open = column(&costs[0], |cost| cost.cpu);
    let rows: Vec<Vec<String>> = doors
        .iter()
        .zip(costs)
        .map(|(door, costs)| {
            let cpu = column(costs, |cost| cost.cpu);
            let mut row = vec![door.name(), format!("{:.2}", cpu.median()), cpu.over(&open).spread(2)];
            row.extend(effects(costs));
            row
        })
        .collect();
    table("A request, and who calls", &header, &rows)
}

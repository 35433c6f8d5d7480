//! Memory that a connection holds while nothing happens on it: most of what a gateway in front of
//! browsers and connection pools keeps in memory.

use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::accounting::resident;
use crate::addresses;
use crate::backend::{self, Backend};
use crate::certificate::{Certificate, Key};
use crate::client::Connection;
use crate::front::Protocol;
use crate::load::Verdict;
use crate::measures::mebibytes;
use crate::options::Options;
use crate::peers::{Gateway, Job, Peer};
use crate::report::{Samples, progress, table, thousands};
use crate::surroundings::file_limit;

const NETWORKS: usize = 1_000;
/// Connections opened and closed before the first reading, so that what a gateway allocates once
/// is not taken for what it allocates for each.
const WARM_UP: usize = 10;
/// Time for a gateway to give back what it only needed for the requests.
const SETTLE: Duration = Duration::from_secs(2);

/// Memory in one round, in bytes.
struct Memory {
    before: u64,
    after: u64,
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let spare = 500;
    let limit = file_limit()?;
    if options.connections + spare > limit {
        return Err(format!(
            "{} connections need more open files than the {limit} allowed here; \
             raise the hard limit (ulimit -Hn) or give fewer --connections",
            options.connections
        )
        .into());
    }
    let backend = Backend::start(options.cpus.load)?;
    let certificate = Rc::new(Certificate::new(Key::Ecdsa)?);
    let mut tables = Vec::new();
    for protocol in &options.protocols {
        let job = Job {
            networks: addresses::with_client(NETWORKS)?,
            backend: backend.port,
            clients: options.connections + WARM_UP,
            front: protocol.front(&certificate),
        };
        let mut memory: Vec<Vec<Memory>> = options.peers.iter().map(|_| Vec::new()).collect();
        for round in 1..=options.rounds {
            for (peer, memory) in options.peers.iter().zip(&mut memory).filter(|(peer, _)| !peer.is_variant()) {
                progress(&format!("idle, round {round}: {protocol}: {peer}"));
                memory.push(one(options, *peer, &job)?);
            }
        }
        tables.push(report(options, *protocol, &memory));
    }
    Ok(tables.join("\n"))
}

fn one(options: &Options, peer: Peer, job: &Job) -> Outcome<Memory> {
    let gateway = peer.start(options, job, Verdict::Admitted)?;
    let group = gateway.group().leader();
    let open = |count: usize| -> Outcome<Vec<Connection>> { (0..count).map(|_| used_once(&gateway)).collect() };
    let opened = |count: usize| open(count).map_err(|error| gateway.group().complaint(&error.to_string()));
    drop(opened(WARM_UP)?);
    sleep(SETTLE);
    let before = resident(group);
    let mut connections = opened(options.connections)?;
    sleep(SETTLE);
    let after = resident(group);
    // They must all have been there until now.
    for connection in [0, options.connections - 1] {
        connections[connection].get("/bench")?;
    }
    drop(connections);
    gateway.stop()?;
    Ok(Memory { before, after })
}

/// A connection that has carried one request and waits for the next.
fn used_once(gateway: &Gateway) -> Outcome<Connection> {
    let mut connection = Connection::open(gateway.port, &gateway.front)?;
    let reply = connection.get("/bench")?;
    if reply.status == Verdict::Admitted.status() && reply.body == backend::BODY {
        Ok(connection)
    } else {
        Err(format!("not the backend's answer: {reply:?}").into())
    }
}

fn report(options: &Options, protocol: Protocol, memory: &[Vec<Memory>]) -> String {
    let connections = options.connections as f64;
    let title = format!("Memory of {} idle connections that were used once, {protocol}", thousands(connections));
    let header = ["gateway", "KiB/connection", "MiB before", "MiB with them"];
    let rows: Vec<Vec<String>> = options
        .peers
        .iter()
        .zip(memory)
        .filter(|(_, memory)| !memory.is_empty())
        .map(|(peer, memory)| {
            let of = |value: &dyn Fn(&Memory) -> f64| memory.iter().map(value).collect::<Samples>();
            let each = |m: &Memory| (m.after as f64 - m.before as f64) / 1024.0 / connections;
            vec![
                peer.to_string(),
                of(&each).spread(2),
                format!("{:.1}", of(&|m| mebibytes(m.before)).median()),
                format!("{:.1}", of(&|m| mebibytes(m.after)).median()),
            ]
        })
        .collect();
    table(&title, &header, &rows)
}

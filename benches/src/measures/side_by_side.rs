//! The same job, three gateways: what one request costs each, admitted and refused.

use crate::Outcome;
use crate::addresses;
use crate::backend::Backend;
use crate::load::{CONNECTIONS, Load, Verdict};
use crate::measures::{Cost, column, effects, under_load};
use crate::options::Options;
use crate::peers::{Job, Peer};
use crate::report::{progress, table};

const NETWORKS: usize = 1_000;

/// Rounds of A B C, A B C, …: what changes on the machine meanwhile meets all of them.
pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let load = Load::new(vec!["/bench".to_owned()])?;
    let mut admitted: Vec<Vec<Cost>> = options.peers.iter().map(|_| Vec::new()).collect();
    let mut refused: Vec<Vec<Cost>> = options.peers.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (index, peer) in options.peers.iter().enumerate() {
            for (verdict, costs) in [(Verdict::Admitted, &mut admitted), (Verdict::Refused, &mut refused)] {
                progress(&format!("side-by-side, round {round}: {peer}, {verdict}"));
                let networks = match verdict {
                    Verdict::Admitted => addresses::with_client(NETWORKS)?,
                    Verdict::Refused => addresses::without_client(NETWORKS)?,
                };
                let job = Job { networks, backend: backend.port, clients: CONNECTIONS };
                let gateway = peer.start(options, &job, verdict)?;
                costs[index].push(under_load(options, gateway, &load, verdict)?);
            }
        }
    }
    Ok([
        rows(options, "Side by side: a request that is admitted and forwarded", &admitted),
        rows(options, "Side by side: a request that is refused", &refused),
    ]
    .join("\n"))
}

fn rows(options: &Options, title: &str, costs: &[Vec<Cost>]) -> String {
    let header = ["gateway", "CPU µs/request", "ratio to nginx", "requests/s", "p99 ms", "CPU busy", "logged"];
    let nginx = options.peers.iter().position(|peer| *peer == Peer::Nginx);
    let nginx = nginx.map(|index| column(&costs[index], |cost| cost.cpu)).unwrap_or_default();
    let rows: Vec<Vec<String>> = options
        .peers
        .iter()
        .zip(costs)
        .map(|(peer, costs)| {
            let cpu = column(costs, |cost| cost.cpu);
            let mut row = vec![peer.to_string(), format!("{:.2}", cpu.median())];
            row.push(cpu.over(&nginx).spread(2));
            row.extend(effects(costs));
            row
        })
        .collect();
    table(title, &header, &rows)
}

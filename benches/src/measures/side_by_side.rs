//! The same job, several gateways: what one request costs each, admitted and refused, in every protocol.

use std::rc::Rc;

use crate::Outcome;
use crate::addresses;
use crate::backend::Backend;
use crate::certificate::{Certificate, Key};
use crate::front::Protocol;
use crate::load::{CONNECTIONS, Load, Verdict};
use crate::measures::{Cost, column, effects, under_load};
use crate::options::Options;
use crate::peers::{Job, Peer};
use crate::report::{progress, table};

const NETWORKS: usize = 1_000;

/// The costs of one protocol and verdict: one list a peer.
struct Table {
    protocol: Protocol,
    verdict: Verdict,
    costs: Vec<Vec<Cost>>,
}

/// Rounds of A B C, A B C, … for each protocol: what changes on the machine meanwhile meets all of them.
pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let load = Load::new(vec!["/bench".to_owned()])?;
    let certificate = Rc::new(Certificate::new(Key::Ecdsa)?);
    let mut tables: Vec<Table> =
        options.protocols.iter().flat_map(|protocol| Table::both(options, *protocol)).collect();
    for round in 1..=options.rounds {
        for Table { protocol, verdict, costs } in &mut tables {
            for (peer, costs) in options.peers.iter().zip(costs) {
                if peer.is_variant() && *protocol != Protocol::Http1 {
                    continue;
                }
                progress(&format!("side-by-side, round {round}: {protocol}, {verdict}: {peer}"));
                let networks = match verdict {
                    Verdict::Admitted => addresses::with_client(NETWORKS)?,
                    Verdict::Refused => addresses::without_client(NETWORKS)?,
                };
                let front = protocol.front(&certificate);
                let job = Job { networks, backend: backend.port, clients: CONNECTIONS, front };
                let gateway = peer.start(options, &job, *verdict)?;
                costs.push(under_load(options, gateway, &load, *verdict)?);
            }
        }
    }
    let tables: Vec<String> = tables.iter().map(|table| table.rows(options)).collect();
    Ok(tables.join("\n"))
}

impl Table {
    fn both(options: &Options, protocol: Protocol) -> [Self; 2] {
        let empty = || options.peers.iter().map(|_| Vec::new()).collect();
        [Verdict::Admitted, Verdict::Refused].map(|verdict| Self { protocol, verdict, costs: empty() })
    }

    fn rows(&self, options: &Options) -> String {
        let outcome = match self.verdict {
            Verdict::Admitted => "admitted and forwarded",
            Verdict::Refused => "refused",
        };
        let title = format!("Side by side: a request that is {outcome}, {}", self.protocol);
        let header = ["gateway", "CPU µs/request", "ratio to nginx", "requests/s", "p99 ms", "CPU busy", "logged"];
        let nginx = options.peers.iter().position(|peer| *peer == Peer::Nginx);
        let nginx = nginx.map(|index| column(&self.costs[index], |cost| cost.cpu)).unwrap_or_default();
        let rows: Vec<Vec<String>> = options
            .peers
            .iter()
            .zip(&self.costs)
            .filter(|(_, costs)| !costs.is_empty())
            .map(|(peer, costs)| {
                let cpu = column(costs, |cost| cost.cpu);
                let mut row = vec![peer.to_string(), format!("{:.2}", cpu.median())];
                row.push(cpu.over(&nginx).spread(2));
                row.extend(effects(costs));
                row
            })
            .collect();
        table(&title, &header, &rows)
    }
}

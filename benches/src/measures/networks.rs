//! Whether a request costs more when the allow list is longer.

use crate::Outcome;
use crate::addresses;
use crate::backend::Backend;
use crate::front::Front;
use crate::load::{CONNECTIONS, Load, Verdict};
use crate::measures::{Cost, by_size, under_load};
use crate::options::Options;
use crate::peers::{Job, Peer};
use crate::report::{progress, thousands};

const SIZES: [usize; 3] = [10, 1_000, 100_000];

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let load = Load::new(vec!["/bench".to_owned()])?;
    let mut costs: Vec<Vec<Cost>> = SIZES.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (size, costs) in SIZES.iter().zip(&mut costs) {
            progress(&format!("networks, round {round}: {}", thousands(*size as f64)));
            let networks = addresses::with_client(*size)?;
            let job = Job { networks, backend: backend.port, clients: CONNECTIONS, front: Front::PLAIN };
            let gateway = Peer::Gatepost.start(options, &job, Verdict::Admitted)?;
            costs.push(under_load(options, gateway, &load, Verdict::Admitted)?);
        }
    }
    Ok(by_size("A request and a long allow list", "networks", &SIZES, &costs))
}

//! Whether a request costs more when there are more routes it could have matched.

use crate::Outcome;
use crate::addresses;
use crate::backend::{self, Backend};
use crate::front::Front;
use crate::load::{CONNECTIONS, Load, Verdict};
use crate::measures::{Cost, by_size, under_load};
use crate::options::Options;
use crate::peers::{Gateway, Job, gatepost};
use crate::report::{progress, thousands};

const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// Distinct paths asked for in turn, whatever the size.
const PATHS: usize = 1_000;
const NETWORKS: usize = 1_000;

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let job = Job {
        networks: addresses::with_client(NETWORKS)?,
        backend: backend.port,
        clients: CONNECTIONS,
        front: Front::PLAIN,
    };
    let mut costs: Vec<Vec<Cost>> = SIZES.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (size, costs) in SIZES.iter().zip(&mut costs) {
            progress(&format!("routes, round {round}: {}", thousands(*size as f64)));
            let load = Load::new(paths(*size))?;
            let keys = keys(*size);
            let gateway = Gateway::start(
                options,
                &job.front,
                load.a_path(),
                Verdict::Admitted,
                backend::BODY,
                |directory, port| gatepost::launch(&options.gatepost, directory, port, &job, &keys),
            )?;
            costs.push(under_load(options, gateway, &load, Verdict::Admitted)?);
        }
    }
    Ok(by_size("A request among many routes", "routes", &SIZES, &costs))
}

/// Route keys: a third all static, a third with a parameter at the end, a third with one inside.
pub(crate) fn keys(size: usize) -> Vec<String> {
    (0..size)
        .map(|n| match n % 3 {
            0 => format!("GET /r/{n}/items/list"),
            1 => format!("GET /r/{n}/items/{{id}}"),
            _ => format!("GET /r/{n}/{{kind}}/items"),
        })
        .collect()
}

/// Paths that match, spread over the middle half of the routes. With few routes they differ in the
/// parameters only, so that every size is asked for about as many different paths.
fn paths(size: usize) -> Vec<String> {
    (0..PATHS)
        .map(|i| {
            let n = size / 4 + i * (size / 2) / PATHS;
            match n % 3 {
                0 => format!("/r/{n}/items/list"),
                1 => format!("/r/{n}/items/id-{i}"),
                _ => format!("/r/{n}/kind-{i}/items"),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_route() {
        for size in SIZES {
            let keys = keys(size);
            for path in paths(size) {
                let n: usize = path.split('/').nth(2).unwrap().parse().unwrap();
                let pattern = keys[n].strip_prefix("GET ").unwrap();
                assert!(
                    pattern
                        .split('/')
                        .zip(path.split('/'))
                        .all(|(pattern, segment)| pattern.starts_with('{') || pattern == segment),
                    "{path} does not match {pattern}"
                );
            }
        }
    }
}

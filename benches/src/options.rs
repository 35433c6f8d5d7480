//! The command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Outcome;
use crate::front::Protocol;
use crate::measures::Measure;
use crate::peers::Peer;
use crate::surroundings::Cpus;

pub(crate) const USAGE: &str = "\
Usage: cargo run --release --manifest-path benches/Cargo.toml -- [OPTIONS] [MEASURE...]

Measures (all of them when none is named):
  side-by-side   CPU a request, requests/s and p99 of each gateway, the same job, each protocol
  handshakes     TLS handshakes a second of CPU time, full and resumed, of each gateway
  routes         CPU a request with 10, 1,000 and 100,000 routes
  networks       CPU a request with 10, 1,000 and 100,000 networks on the allow list
  entry          CPU a request of 1 kB with a policy of 1,000 networks, a signature, both, or neither
  callers        CPU a request with a key, a plan, a throttle and a quota, among 10 and 100,000 callers, and in nginx
  idle           memory of an idle connection in each gateway, each protocol
  reload         time to start, and to change a configuration of 10,000 routes

Options:
  --gatepost PATH     the binary to measure [default: ../target/dist/gatepost, built if missing]
  --peers LIST        which gateways take part: gatepost, nginx, nginx-allow-deny, haproxy, envoy
                      [default: all but envoy]
  --envoy PATH        Envoy's program, for --peers …,envoy [default: envoy]
  --protocols LIST    of side-by-side and idle: http1, http1-tls, http2, http2-tls [default: all]
  --seconds N         length of one run under load [default: 4]
  --rounds N          how often everything is repeated [default: 3]
  --connections N     idle connections [default: 10000]
  --cpus GATEWAY,LOAD the CPU of the gateway and that of load and backend [default: the first two]
  --help              this text
";

/// What a run of the harness was asked to do.
pub(crate) struct Options {
    pub(crate) measures: Vec<Measure>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) gatepost: PathBuf,
    /// Whether a missing binary is built (true) or is an error (false: a path was given).
    pub(crate) build: bool,
    pub(crate) envoy: PathBuf,
    pub(crate) seconds: u64,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) cpus: Cpus,
}

impl Options {
    /// Reads the arguments after the program's name; `None` when only the usage was asked for.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Option<Self>> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/dist/gatepost");
        let mut options = Self {
            measures: Vec::new(),
            peers: Peer::USUAL.to_vec(),
            protocols: Protocol::ALL.to_vec(),
            gatepost: target,
            build: true,
            envoy: "envoy".into(),
            seconds: 4,
            rounds: 3,
            connections: 10_000,
            cpus: Cpus::first_two()?,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().map(String::as_str).ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--gatepost" => {
                    options.gatepost = value()?.into();
                    options.build = false;
                }
                "--peers" => options.peers = list(value()?)?,
                "--envoy" => options.envoy = value()?.into(),
                "--protocols" => options.protocols = list(value()?)?,
                "--seconds" => options.seconds = positive(argument, value()?)?,
                "--rounds" => options.rounds = positive(argument, value()?)?,
                "--connections" => options.connections = positive(argument, value()?)?,
                "--cpus" => options.cpus = value()?.parse()?,
                name => options.measures.push(name.parse()?),
            }
        }
        if options.measures.is_empty() {
            options.measures = Measure::ALL.to_vec();
        }
        Ok(Some(options))
    }
}

fn list<T: FromStr<Err = String> + PartialEq>(text: &str) -> Result<Vec<T>, String> {
    let mut listed = Vec::new();
    for name in text.split(',') {
        let item = name.parse()?;
        if listed.contains(&item) {
            return Err(format!("{name} is listed twice"));
        }
        listed.push(item);
    }
    Ok(listed)
}

fn positive<T: FromStr + Default + PartialOrd>(option: &str, text: &str) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(number) if number > T::default() => Ok(number),
        _ => Err(format!("{option} needs a number above zero, not {text:?}")),
    }
}

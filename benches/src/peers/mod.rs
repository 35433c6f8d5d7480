//! The gateways that are compared, each configured for the same job in its own best way.

pub(crate) mod envoy;
pub(crate) mod gatepost;
pub(crate) mod haproxy;
pub(crate) mod nginx;

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;
use crate::backend;
use crate::client::{Connection, Reply, free_port};
use crate::front::Front;
use crate::load::Verdict;
use crate::options::Options;
use crate::process::{Group, Launch};
use crate::scratch::Scratch;

/// The rate of every throttle, in requests a second, and its burst: work without effect.
pub(crate) const RATE: u32 = 1_000_000;
/// The body of every refusal: what Gatepost answers.
pub(crate) const FORBIDDEN: &str = "{\"message\":\"Forbidden\"}";

/// How long a gateway may take until it answers. One test has a hundred thousand routes.
const START: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Peer {
    Gatepost,
    /// With the list in a tree, by `geo`.
    Nginx,
    /// With the list as its access module has it, by `allow` and `deny`, and that module's own 403.
    NginxAccess,
    Haproxy,
    Envoy,
}

/// What a gateway has to do: admit clients on a list, throttle, log a JSON line a request, and
/// forward `GET /bench` to the backend over connections kept alive.
pub(crate) struct Job {
    pub(crate) networks: Vec<String>,
    pub(crate) backend: u16,
    /// Client connections it must be able to hold.
    pub(crate) clients: usize,
    /// How they come to it.
    pub(crate) front: Front,
}

impl Peer {
    const ALL: [Self; 5] = [Self::Gatepost, Self::Nginx, Self::NginxAccess, Self::Haproxy, Self::Envoy];
    /// Those that take part when nobody says which: what a distribution ships.
    pub(crate) const USUAL: [Self; 4] = [Self::Gatepost, Self::Nginx, Self::NginxAccess, Self::Haproxy];

    /// Whether it is another one with another allow list, which only matters to a request's cost.
    pub(crate) fn is_variant(self) -> bool {
        self == Self::NginxAccess
    }

    /// Whether its TLS has a key exchange that is to withstand quantum computers. OpenSSL has it from 3.5 on.
    pub(crate) fn has_post_quantum(self) -> bool {
        matches!(self, Self::Gatepost | Self::Envoy)
    }

    pub(crate) fn program(self, options: &Options) -> PathBuf {
        match self {
            Self::Gatepost => options.gatepost.clone(),
            Self::Nginx | Self::NginxAccess => "nginx".into(),
            Self::Haproxy => "haproxy".into(),
            Self::Envoy => options.envoy.clone(),
        }
    }

    pub(crate) fn version_argument(self) -> &'static str {
        match self {
            Self::Gatepost | Self::Envoy => "--version",
            Self::Nginx | Self::NginxAccess | Self::Haproxy => "-v",
        }
    }

    /// Starts the gateway and waits until it treats `GET /bench` as it should.
    pub(crate) fn start(self, options: &Options, job: &Job, verdict: Verdict) -> Outcome<Gateway> {
        let expected = match verdict {
            Verdict::Admitted => backend::BODY,
            Verdict::Refused => match self {
                Self::NginxAccess => nginx::FORBIDDEN_PAGE,
                Self::Envoy => envoy::FORBIDDEN,
                Self::Gatepost | Self::Nginx | Self::Haproxy => FORBIDDEN,
            },
        };
        Gateway::start(options, &job.front, "/bench", verdict, expected, |directory, port| match self {
            Self::Gatepost => gatepost::launch(&options.gatepost, directory, port, job, gatepost::BENCH),
            Self::Nginx => nginx::gateway(directory, port, job, nginx::List::Tree),
            Self::NginxAccess => nginx::gateway(directory, port, job, nginx::List::Walked),
            Self::Haproxy => haproxy::gateway(directory, port, job),
            Self::Envoy => envoy::gateway(&options.envoy, directory, port, job),
        })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gatepost => "Gatepost",
            Self::Nginx => "nginx",
            Self::NginxAccess => "nginx-allow-deny",
            Self::Haproxy => "HAProxy",
            Self::Envoy => "Envoy",
        })
    }
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = |peer: &Self| peer.to_string().eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named).ok_or_else(|| format!("no such gateway: {name}"))
    }
}

/// A gateway with its configuration: what to start, and where it writes its access log.
pub(crate) struct Configured {
    pub(crate) launch: Launch,
    pub(crate) access_log: PathBuf,
}

/// A running gateway.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    pub(crate) front: Front,
    /// From its start to its first right answer.
    pub(crate) ready_after: Duration,
    group: Group,
    access_log: PathBuf,
    // Last, so that it is removed when nobody writes to it any more.
    directory: Scratch,
}

impl Gateway {
    /// Starts what `configure` made of a directory and a port, on the gateway's CPU, and waits
    /// until `path` is answered as expected.
    pub(crate) fn start(
        options: &Options,
        front: &Front,
        path: &str,
        verdict: Verdict,
        body: &str,
        configure: impl FnOnce(&Scratch, u16) -> Outcome<Configured>,
    ) -> Outcome<Self> {
        let directory = Scratch::new()?;
        let port = free_port()?;
        let Configured { launch, access_log } = configure(&directory, port)?;
        let mut group = launch.start(options.cpus.gateway, directory.path())?;
        let expected = Reply { status: verdict.status(), body: body.to_owned() };
        loop {
            let reply = Connection::open(port, front).and_then(|mut connection| connection.get(path));
            let ready_after = group.age();
            if reply.as_ref().is_ok_and(|reply| *reply == expected) {
                return Ok(Self { port, front: front.clone(), ready_after, group, access_log, directory });
            }
            // An answer that is not the right one is given a little time, silence more.
            let limit = if reply.is_ok() { Duration::from_secs(5) } else { START };
            if ready_after > limit || group.ended()?.is_some() {
                let problem = format!("expected {expected:?} to GET {path}, got {reply:?}");
                return Err(group.complaint(&problem).into());
            }
            sleep(Duration::from_millis(1));
        }
    }

    /// The process group, for accounting.
    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn directory(&self) -> &Scratch {
        &self.directory
    }

    /// Stops the gateway and counts the lines of its access log.
    pub(crate) fn stop(self) -> Outcome<u64> {
        let Self { group, access_log, directory, .. } = self;
        group.stop()?;
        let lines = lines(&access_log)?;
        drop(directory);
        if lines == 0 { Err("the gateway wrote no access log".into()) } else { Ok(lines) }
    }
}

/// Counts lines without holding the file in memory: a run leaves a hundred megabytes of them.
fn lines(path: &Path) -> Outcome<u64> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut file = BufReader::new(file);
    let mut block = vec![0; 64 * 1024];
    let mut lines = 0;
    loop {
        match file.read(&mut block)? {
            0 => return Ok(lines),
            n => lines += block[..n].iter().filter(|byte| **byte == b'\n').count() as u64,
        }
    }
}

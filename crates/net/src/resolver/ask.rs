//! Asking: `/etc/hosts`, then the name servers, for both families at once.

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
    ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{
    HOSTS_TTL, LOOKUP_TIMEOUT, MOST_ADDRESSES, NEGATIVE_MOST, ResolveError, TTL_LEAST, TTL_MOST, ends_in_a_number,
};
use crate::fold;

/// What came of asking for one family.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Addresses, in order, and how long they hold.
    Found(Vec<IpAddr>, Instant),
    /// There are none, and how long that holds.
    Nothing(Instant),
    Failed(ResolveError),
}

/// Whom to ask.
pub(super) struct Asker {
    /// Absent: whom this machine asks.
    servers: Option<Vec<SocketAddr>>,
    setup: Mutex<Option<Arc<Setup>>>,
    asking: Semaphore,
}

/// Everything that lookups are made with, as the files said.
struct Setup {
    hosts: Hosts,
    dns: Option<TokioResolver>,
    /// What is appended to names, in this order.
    search: Vec<Name>,
    /// A name with fewer dots is first looked for below the search list.
    dots: usize,
    /// What the files were when they were read.
    stamps: [Stamp; 2],
}

/// What changes when a file does: its time, its length, its number. Nothing at all if there is none.
type Stamp = Option<(i64, i64, u64, u64)>;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// More of a file is not read, in bytes.
const MOST_OF_A_FILE: u64 = 8 * 1024 * 1024;

/// Names that are being asked for at once, at most: each has a socket a family and server.
const AT_ONCE: usize = 128;

/// Once one family has been found, how long the other one is waited for.
const OTHER_FAMILY: Duration = Duration::from_secs(1);

/// How long a name server has before it is asked once more. `timeout` in `/etc/resolv.conf` can only shorten it: our
/// own deadline has to have room for the second try.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// The families in the order of everything here, IPv6 first.
const FAMILIES: [RecordType; 2] = [RecordType::AAAA, RecordType::A];

impl Asker {
    pub(super) fn system() -> Self {
        Self::new(None)
    }

    pub(super) fn servers(servers: Vec<SocketAddr>) -> Self {
        Self::new(Some(servers))
    }

    fn new(servers: Option<Vec<SocketAddr>>) -> Self {
        Self { servers, setup: Mutex::default(), asking: Semaphore::new(AT_ONCE) }
    }

    /// The IPv6 and the IPv4 addresses of `name`, within [`LOOKUP_TIMEOUT`].
    pub(super) async fn look_up(&self, name: &str) -> [Outcome; 2] {
        if ends_in_a_number(name) {
            return failed(&ResolveError::Numeric);
        }
        let Some(parsed) = parse(name) else { return failed(&ResolveError::NotAName) };
        let setup = self.setup();
        if let Some(outcomes) = setup.at_hand(&parsed) {
            return outcomes;
        }
        let asked = timeout(LOOKUP_TIMEOUT, async {
            // Nobody closes it; without it more would be asked at once.
            let _place = self.asking.acquire().await;
            setup.ask_in_turn(&parsed, name.ends_with('.')).await
        });
        asked.await.unwrap_or_else(|_| failed(&ResolveError::TimedOut))
    }

    /// The setup as the files say now.
    fn setup(&self) -> Arc<Setup> {
        let mut setup = self.setup.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = if self.servers.is_none() { [stamp(HOSTS), stamp(RESOLV_CONF)] } else { [None, None] };
        match &*setup {
            Some(known) if known.stamps == stamps => Arc::clone(known),
            Some(_) | None => {
                let made = Arc::new(match &self.servers {
                    Some(servers) => Setup::of_servers(servers),
                    None => Setup::of_system(stamps),
                });
                *setup = Some(Arc::clone(&made));
                made
            }
        }
    }
}

impl Setup {
    fn of_system(stamps: [Stamp; 2]) -> Self {
        let mut hosts = Hosts::default();
        // What cannot be read names nobody; a line that cannot be read is passed over.
        let _ = hosts.read_hosts_conf(&*read(HOSTS));
        // resolv.conf(5): without a name server in it, the one on this machine.
        let (config, options) = parse_resolv_conf(read(RESOLV_CONF)).unwrap_or_else(|_| {
            let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
            (ResolverConfig::from_name_servers(vec![local]), ResolverOpts::default())
        });
        let search = config.domain().into_iter().chain(config.search()).cloned().collect();
        Self { hosts, search, dots: options.ndots, dns: dns(config, options), stamps }
    }

    fn of_servers(servers: &[SocketAddr]) -> Self {
        let servers = servers.iter().map(|server| {
            let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = server.port();
                connection
            });
            NameServerConfig::new(server.ip(), true, connections.into())
        });
        let config = ResolverConfig::from_name_servers(servers.collect());
        let dns = dns(config, ResolverOpts::default());
        Self { hosts: Hosts::default(), dns, search: Vec::new(), dots: 1, stamps: [None, None] }
    }

    /// What is known without asking anybody: what the file says, and where this machine is.
    fn at_hand(&self, name: &Name) -> Option<[Outcome; 2]> {
        let until = Instant::now() + HOSTS_TTL;
        let mut families = FAMILIES.map(|family| {
            let lookup = self.hosts.lookup_static_host(&Query::query(name.clone(), family))?;
            Some(lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect())
        });
        let is_localhost = name.iter().next_back().is_some_and(|label| label.eq_ignore_ascii_case(b"localhost"));
        if families.iter().all(Option::is_none) && is_localhost {
            families = [Some(vec![Ipv6Addr::LOCALHOST.into()]), Some(vec![Ipv4Addr::LOCALHOST.into()])];
        }
        if families.iter().all(Option::is_none) {
            return None;
        }
        // A name in the file is not asked for elsewhere, not even for the family that the file lacks.
        Some(families.map(|addresses| match addresses {
            Some(addresses) => Outcome::Found(tidy(addresses), until),
            None => Outcome::Nothing(until),
        }))
    }

    /// Asks for the name itself and for what it is below the search list, until one has an address. One that fails ends
    /// it: which host is meant must not depend on a name server's bad moment.
    async fn ask_in_turn(&self, name: &Name, is_whole: bool) -> [Outcome; 2] {
        let mut nothing_until: Option<Instant> = None;
        for candidate in self.candidates(name, is_whole) {
            match self.ask(&candidate).await {
                [Outcome::Nothing(v6), Outcome::Nothing(v4)] => {
                    let until = v6.min(v4);
                    nothing_until = Some(nothing_until.map_or(until, |earlier| earlier.min(until)));
                }
                outcomes => return outcomes,
            }
        }
        let until = nothing_until.unwrap_or_else(Instant::now);
        [Outcome::Nothing(until), Outcome::Nothing(until)]
    }

    fn candidates(&self, name: &Name, is_whole: bool) -> Vec<Name> {
        let mut candidates = vec![name.clone()];
        if !is_whole {
            let relative = |name: &Name| {
                let mut name = name.clone();
                name.set_fqdn(false);
                name
            };
            let below = self.search.iter().filter_map(|domain| relative(name).append_domain(domain).ok());
            let dots = usize::from(name.num_labels()).saturating_sub(1);
            let at = if dots >= self.dots { candidates.len() } else { 0 };
            candidates.splice(at..at, below);
        }
        candidates
    }

    /// Asks for both families.
    async fn ask(&self, name: &Name) -> [Outcome; 2] {
        let (mut v6, mut v4) = (pin!(self.ask_for(name, FAMILIES[0])), pin!(self.ask_for(name, FAMILIES[1])));
        tokio::select! {
            first = &mut v6 => {
                let second = after(&first, v4).await;
                [first, second]
            }
            first = &mut v4 => {
                let second = after(&first, v6).await;
                [second, first]
            }
        }
    }

    async fn ask_for(&self, name: &Name, family: RecordType) -> Outcome {
        let Some(dns) = &self.dns else {
            return Outcome::Failed(ResolveError::Failed("there is none".into()));
        };
        let kept = |until: Instant, most: Duration| {
            let now = Instant::now();
            until.clamp(now + TTL_LEAST, now + most)
        };
        match dns.lookup(name.clone(), family).await {
            Ok(lookup) => {
                let addresses = lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect();
                match tidy(addresses) {
                    none if none.is_empty() => Outcome::Nothing(kept(Instant::now(), NEGATIVE_MOST)),
                    some => Outcome::Found(some, kept(Instant::from_std(lookup.valid_until()), TTL_MOST)),
                }
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                let ttl = Duration::from_secs(none.negative_ttl.unwrap_or(0).into());
                Outcome::Nothing(kept(Instant::now() + ttl, NEGATIVE_MOST))
            }
            Err(NetError::Timeout) => Outcome::Failed(ResolveError::TimedOut),
            Err(error) => Outcome::Failed(ResolveError::Failed(error.to_string().into())),
        }
    }
}

/// What comes of the second family: not waited for too long once the first one is enough to connect.
async fn after(first: &Outcome, second: impl Future<Output = Outcome>) -> Outcome {
    match first {
        Outcome::Found(..) => timeout(OTHER_FAMILY, second).await.unwrap_or(Outcome::Failed(ResolveError::TimedOut)),
        Outcome::Nothing(_) | Outcome::Failed(_) => second.await,
    }
}

fn dns(config: ResolverConfig, mut options: ResolverOpts) -> Option<TokioResolver> {
    // What we keep, we keep ourselves; and the file of hosts we read ourselves.
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    // As resolv.conf(5) has it: in the order of the file.
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.timeout = options.timeout.min(SERVER_TIMEOUT);
    let builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    builder.build().ok()
}

/// A name as the labels it is written with: nothing is unescaped, nothing translated.
fn parse(name: &str) -> Option<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(is_label) {
        return None;
    }
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

/// In one form, each once, not too many, and in an order that does not change by itself.
fn tidy(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    for address in &mut addresses {
        *address = fold(*address);
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MOST_ADDRESSES);
    addresses
}

fn failed(error: &ResolveError) -> [Outcome; 2] {
    [Outcome::Failed(error.clone()), Outcome::Failed(error.clone())]
}

fn stamp(path: &str) -> Stamp {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.mtime(), metadata.mtime_nsec(), metadata.len(), metadata.ino()))
}

/// The beginning of a file, of nothing if it cannot be read.
fn read(path: &str) -> Vec<u8> {
    let mut text = Vec::new();
    if let Ok(file) = File::open(path) {
        // As far as it could be read.
        let _ = file.take(MOST_OF_A_FILE).read_to_end(&mut text);
    }
    text
}

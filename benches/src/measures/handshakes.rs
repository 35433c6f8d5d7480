//! What a TLS handshake costs each gateway, from the connection's first packet to its last. No request is made, so there
//! is nothing else in it.

use std::fmt;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::Outcome;
use crate::accounting::Usage;
use crate::addresses;
use crate::backend::Backend;
use crate::certificate::{Certificate, Key};
use crate::client::runtime;
use crate::client::tls::{self, Exchange, Offer, Version};
use crate::front::{Http, Protocol};
use crate::load::Verdict;
use crate::measures::{column, micros};
use crate::options::Options;
use crate::peers::{Gateway, Job, Peer};
use crate::report::{progress, table, thousands};

const NETWORKS: usize = 1_000;
/// Connections at any time, each followed by the next one when it has ended.
const CLIENTS: usize = 32;
/// Handshakes before a run that are not counted.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long one connection may take.
const LIMIT: Duration = Duration::from_secs(10);
const KEYS: [Key; 2] = [Key::Ecdsa, Key::Rsa];

/// A kind of handshake.
#[derive(Clone, Copy)]
struct Kind {
    key: Key,
    version: Version,
    exchange: Exchange,
    resumed: bool,
}

const KINDS: [Kind; 6] = [
    Kind { key: Key::Ecdsa, version: Version::Tls13, exchange: Exchange::X25519, resumed: false },
    Kind { key: Key::Ecdsa, version: Version::Tls13, exchange: Exchange::X25519, resumed: true },
    Kind { key: Key::Ecdsa, version: Version::Tls12, exchange: Exchange::X25519, resumed: false },
    Kind { key: Key::Ecdsa, version: Version::Tls12, exchange: Exchange::X25519, resumed: true },
    Kind { key: Key::Ecdsa, version: Version::Tls13, exchange: Exchange::PostQuantum, resumed: false },
    Kind { key: Key::Rsa, version: Version::Tls13, exchange: Exchange::X25519, resumed: false },
];

/// What one run of handshakes cost.
struct Cost {
    /// CPU time of the gateway a handshake, in microseconds.
    cpu: f64,
    handshakes_per_second: f64,
    /// The share of its CPU that the gateway used.
    busy: f64,
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let backend = Backend::start(options.cpus.load)?;
    let mut costs: Vec<Vec<Vec<Cost>>> =
        KINDS.iter().map(|_| options.peers.iter().map(|_| Vec::new()).collect()).collect();
    for key in KEYS {
        let certificate = Rc::new(Certificate::new(key)?);
        for round in 1..=options.rounds {
            for (index, peer) in options.peers.iter().enumerate().filter(|(_, peer)| !peer.is_variant()) {
                let job = Job {
                    networks: addresses::with_client(NETWORKS)?,
                    backend: backend.port,
                    clients: CLIENTS,
                    front: Protocol::Http1Tls.front(&certificate),
                };
                let gateway = peer.start(options, &job, Verdict::Admitted)?;
                for (kind, costs) in KINDS.iter().zip(&mut costs).filter(|(kind, _)| kind.is_for(*peer, key)) {
                    progress(&format!("handshakes, round {round}: {peer}, {kind}"));
                    let cost = measured(options, &gateway, *kind);
                    costs[index].push(cost.map_err(|error| gateway.group().complaint(&error.to_string()))?);
                }
                gateway.stop()?;
            }
        }
    }
    let tables: Vec<String> = KINDS.iter().zip(&costs).map(|(kind, costs)| rows(options, *kind, costs)).collect();
    Ok(tables.join("\n"))
}

impl Kind {
    /// Whether it is measured with this gateway while it has a certificate of this kind.
    fn is_for(self, peer: Peer, key: Key) -> bool {
        self.key == key && (self.exchange == Exchange::X25519 || peer.has_post_quantum())
    }

    /// What each client of such handshakes offers.
    fn offer(self) -> Offer {
        Offer { version: self.version, exchange: self.exchange, http: Http::One, resume: self.resumed }
    }

    fn expected(self) -> HandshakeKind {
        if self.resumed { HandshakeKind::Resumed } else { HandshakeKind::Full }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        };
        let length = if self.resumed { "resumed" } else { "full" };
        write!(f, "TLS {version}, {length}, {}, {:?}", self.key, self.exchange.group())
    }
}

fn measured(options: &Options, gateway: &Gateway, kind: Kind) -> Outcome<Cost> {
    let group = gateway.group().leader();
    let mut clients = (0..CLIENTS).map(|_| Client::new(gateway.port, kind)).collect::<Outcome<Vec<_>>>()?;
    let runtime = runtime()?;
    runtime.block_on(all(&mut clients, WARM_UP))?;
    let before = Usage::of(group);
    let began = Instant::now();
    let handshakes = runtime.block_on(all(&mut clients, Duration::from_secs(options.seconds)))? as f64;
    let elapsed = began.elapsed().as_secs_f64();
    let used = Usage::of(group).since(&before);
    Ok(Cost {
        cpu: micros(used) / handshakes,
        handshakes_per_second: handshakes / elapsed,
        busy: used.as_secs_f64() / elapsed,
    })
}

/// Lets all clients come again and again for some time, and counts how often they came.
async fn all(clients: &mut Vec<Client>, time: Duration) -> Outcome<u64> {
    let deadline = Instant::now() + time;
    let mut running = JoinSet::new();
    for client in clients.drain(..) {
        running.spawn(client.until(deadline));
    }
    let mut sum = 0;
    while let Some(ended) = running.join_next().await {
        let (client, count) = ended?.map_err(|problem| -> Box<dyn std::error::Error> { problem.into() })?;
        clients.push(client);
        sum += count;
    }
    Ok(sum)
}

/// One client, with its own tickets.
struct Client {
    port: u16,
    kind: Kind,
    config: Arc<ClientConfig>,
    /// Whether it has come before, and so may have a ticket.
    known: bool,
}

impl Client {
    fn new(port: u16, kind: Kind) -> Outcome<Self> {
        Ok(Self { port, kind, config: kind.offer().config()?, known: false })
    }

    /// Makes one connection after the other until it is time. Each must be of the expected kind.
    async fn until(mut self, deadline: Instant) -> Result<(Self, u64), String> {
        let mut count = 0;
        while Instant::now() < deadline {
            let happened = timeout(LIMIT, self.connect()).await.map_err(|_| format!("no end after {LIMIT:?}"))?;
            let happened = happened.map_err(|error| format!("{}: {error}", self.kind))?;
            let expected = if self.known { self.kind.expected() } else { HandshakeKind::Full };
            if happened != expected {
                return Err(format!("{}: {happened:?} after {count} that were as expected", self.kind));
            }
            self.known = true;
            count += 1;
        }
        Ok((self, count))
    }

    /// A handshake, and a farewell that the server answers by closing: by then it has done all it will ever do for this
    /// connection, and its tickets have come. It closes first, so that no port of ours stays in use.
    async fn connect(&self) -> Result<HandshakeKind, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        let host = tls::host().map_err(|error| error.to_string())?;
        let mut stream = TlsConnector::from(Arc::clone(&self.config)).connect(host, stream).await?;
        let happened = stream.get_ref().1.handshake_kind().ok_or("no handshake")?;
        // A resumed one of TLS 1.2 exchanges no keys.
        if let Some(group) = stream.get_ref().1.negotiated_key_exchange_group()
            && group.name() != self.kind.exchange.group()
        {
            return Err(format!("keys were exchanged with {:?}", group.name()).into());
        }
        stream.get_mut().1.send_close_notify();
        stream.flush().await?;
        match stream.read(&mut [0; 64]).await {
            Ok(0) => Ok(happened),
            // nginx does not say farewell itself to who has said it.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(happened),
            Ok(_) => Err("the server sent something unasked".into()),
            Err(error) => Err(error.into()),
        }
    }
}

fn rows(options: &Options, kind: Kind, costs: &[Vec<Cost>]) -> String {
    let header = ["gateway", "handshakes/CPU s", "ratio to nginx", "CPU µs/handshake", "handshakes/s", "CPU busy"];
    let nginx = options.peers.iter().position(|peer| *peer == Peer::Nginx);
    let nginx = nginx.map(|index| column(&costs[index], |cost| 1e6 / cost.cpu)).unwrap_or_default();
    let rows: Vec<Vec<String>> = options
        .peers
        .iter()
        .zip(costs)
        .filter(|(_, costs)| !costs.is_empty())
        .map(|(peer, costs)| {
            let each = column(costs, |cost| 1e6 / cost.cpu);
            vec![
                peer.to_string(),
                thousands(each.median()),
                each.over(&nginx).spread(2),
                format!("{:.1}", column(costs, |cost| cost.cpu).median()),
                thousands(column(costs, |cost| cost.handshakes_per_second).median()),
                format!("{:.0} %", column(costs, |cost| cost.busy * 100.0).median()),
            ]
        })
        .collect();
    table(&format!("Handshakes: {kind}"), &header, &rows)
}

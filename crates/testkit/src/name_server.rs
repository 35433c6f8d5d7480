use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::rdata::SOA;
use hickory_proto::rr::{Name, RData, Record, RecordType};

/// A DNS server that says what it is told to say. Names that it was not told of do not exist. An answer that is too long
/// for a datagram is had on TCP.
///
/// Runs on threads of its own, so that it answers whatever runtime the test is in.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    names: HashMap<String, Scripted>,
    asked: HashMap<(String, RecordType), usize>,
    silent: bool,
    over: bool,
}

#[derive(Debug)]
enum Scripted {
    /// The sets of addresses, one after another for each type that is asked for; the last one stays.
    Addresses { ttl: u32, sets: Vec<Vec<IpAddr>> },
    /// SERVFAIL.
    Failure,
    /// No answer to what is asked of this type.
    SilentFor(RecordType, u32, Vec<IpAddr>),
}

/// For how long a name that does not exist does not, in seconds.
const NEGATIVE_TTL: u32 = 1;

/// More than any query.
const PACKET: usize = 4096;

/// How long a client on TCP may take to ask.
const CONNECTION: Duration = Duration::from_secs(5);

/// How often a port for both sockets is looked for.
const TRIES: usize = 20;

impl NameServer {
    /// A name server on a port of loopback.
    #[must_use]
    pub fn start() -> Self {
        Self::at(SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// A name server at this address.
    ///
    /// # Panics
    /// The address is taken.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let (datagrams, connections) = bind(address);
        let address = datagrams.local_addr().expect("an address");
        let state = Arc::<Mutex<State>>::default();
        let threads = vec![
            {
                let state = Arc::clone(&state);
                thread::spawn(move || serve_datagrams(&datagrams, &state))
            },
            {
                let state = Arc::clone(&state);
                thread::spawn(move || serve_connections(&connections, &state))
            },
        ];
        Self { address, state, threads }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `name` has these addresses, for `ttl` seconds. None at all: it exists, but has none.
    pub fn set(&self, name: &str, ttl: u32, addresses: &[&str]) {
        self.set_in_turn(name, ttl, &[addresses]);
    }

    /// From now on each lookup of `name` is answered with another set of addresses; the last one stays.
    ///
    /// # Panics
    /// There is none, or they are no addresses.
    pub fn set_in_turn(&self, name: &str, ttl: u32, sets: &[&[&str]]) {
        assert!(!sets.is_empty(), "a set of addresses at least");
        let sets = sets.iter().map(|addresses| parse(addresses)).collect();
        self.script(name, Scripted::Addresses { ttl, sets });
    }

    /// From now on `name` has these IPv4 addresses, and nobody is told whether it has an IPv6 address.
    pub fn set_silent_for_v6(&self, name: &str, ttl: u32, addresses: &[&str]) {
        self.script(name, Scripted::SilentFor(RecordType::AAAA, ttl, parse(addresses)));
    }

    /// From now on `name` does not exist.
    pub fn remove(&self, name: &str) {
        self.state().names.remove(&canonical(name));
    }

    /// From now on lookups of `name` fail: SERVFAIL.
    pub fn fail(&self, name: &str) {
        self.script(name, Scripted::Failure);
    }

    /// From now on nobody gets an answer.
    pub fn fall_silent(&self) {
        self.state().silent = true;
    }

    /// From now on answers are given again.
    pub fn speak(&self) {
        self.state().silent = false;
    }

    /// How often it was asked for the IPv4 addresses of `name`, answered or not.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        self.state().asked.get(&(canonical(name), RecordType::A)).copied().unwrap_or_default()
    }

    /// All names that it was asked for, in alphabetical order.
    #[must_use]
    pub fn names_asked(&self) -> Vec<String> {
        let mut names: Vec<String> = self.state().asked.keys().map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    fn script(&self, name: &str, scripted: Scripted) {
        self.state().names.insert(canonical(name), scripted);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.state().over = true;
        // Wakes the threads, which then look.
        let woken = UdpSocket::bind((self.address.ip(), 0)).and_then(|socket| socket.send_to(b"over", self.address));
        if woken.is_ok() && TcpStream::connect(self.address).is_ok() {
            for thread in self.threads.drain(..) {
                let _ = thread.join();
            }
        }
    }
}

/// Both sockets, on one port.
fn bind(address: SocketAddr) -> (UdpSocket, TcpListener) {
    for _ in 0..TRIES {
        let datagrams = UdpSocket::bind(address).expect("an address for the name server");
        // Another program may have the port that the kernel chose for the other one.
        if let Ok(connections) = TcpListener::bind(datagrams.local_addr().expect("an address")) {
            return (datagrams, connections);
        }
    }
    panic!("no port for both UDP and TCP");
}

fn serve_datagrams(socket: &UdpSocket, state: &Mutex<State>) {
    let mut packet = [0; PACKET];
    while let Ok((length, client)) = socket.recv_from(&mut packet) {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.over {
            return;
        }
        let Ok(query) = Message::from_vec(&packet[..length]) else { continue };
        let most = usize::from(query.max_payload());
        if let Some(answer) = state.answer(query) {
            let mut bytes = answer.to_vec().expect("a message");
            if bytes.len() > most {
                bytes = answer.truncate().to_vec().expect("a message");
            }
            // A client that is gone has its reasons.
            let _ = socket.send_to(&bytes, client);
        }
    }
}

/// One after another: clients ask once, and are done.
fn serve_connections(listener: &TcpListener, state: &Mutex<State>) {
    while let Ok((client, _)) = listener.accept() {
        if state.lock().unwrap_or_else(PoisonError::into_inner).over {
            return;
        }
        // A client that is gone has its reasons.
        let _ = serve_connection(client, state);
    }
}

/// RFC 1035, 4.2.2: the length of each message stands before it.
fn serve_connection(mut client: TcpStream, state: &Mutex<State>) -> io::Result<()> {
    client.set_read_timeout(Some(CONNECTION))?;
    let mut length = [0; 2];
    client.read_exact(&mut length)?;
    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
    client.read_exact(&mut packet)?;
    let query = Message::from_vec(&packet).map_err(io::Error::other)?;
    let answer = state.lock().unwrap_or_else(PoisonError::into_inner).answer(query);
    let Some(answer) = answer else { return Ok(()) };
    let bytes = answer.to_vec().map_err(io::Error::other)?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    client.write_all(&[&length.to_be_bytes(), &bytes[..]].concat())
}

impl State {
    /// The answer to a message, unless there is to be none.
    fn answer(&mut self, message: Message) -> Option<Message> {
        let query = message.queries.first()?.clone();
        let name = canonical(&query.name().to_ascii());
        let asked = self.asked.entry((name.clone(), query.query_type())).or_default();
        let turn = *asked;
        *asked += 1;
        let mut answer = message.into_response();
        answer.metadata.recursion_available = true;
        let found = match self.names.get(&name) {
            _ if self.silent => return None,
            Some(Scripted::SilentFor(kind, _, _)) if *kind == query.query_type() => return None,
            Some(Scripted::SilentFor(_, ttl, addresses)) => records(&query, *ttl, addresses),
            Some(Scripted::Addresses { ttl, sets }) => records(&query, *ttl, &sets[turn.min(sets.len() - 1)]),
            Some(Scripted::Failure) => {
                answer.metadata.response_code = ResponseCode::ServFail;
                return Some(answer);
            }
            None => {
                answer.metadata.response_code = ResponseCode::NXDomain;
                Vec::new()
            }
        };
        if found.is_empty() {
            answer.add_authority(soa());
        }
        answer.add_answers(found);
        Some(answer)
    }
}

fn records(query: &Query, ttl: u32, addresses: &[IpAddr]) -> Vec<Record> {
    let type_of = |address: &IpAddr| if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    let asked_for = |address: &&IpAddr| type_of(address) == query.query_type();
    let record = |&address: &IpAddr| Record::from_rdata(query.name().clone(), ttl, RData::from(address));
    addresses.iter().filter(asked_for).map(record).collect()
}

/// For how long what is not is not (RFC 2308).
fn soa() -> Record {
    let root = Name::root();
    let soa = SOA::new(root.clone(), root.clone(), 1, 1, 1, 1, NEGATIVE_TTL);
    Record::from_rdata(root, NEGATIVE_TTL, RData::SOA(soa))
}

fn parse(addresses: &[&str]) -> Vec<IpAddr> {
    addresses.iter().map(|address| address.parse().unwrap_or_else(|_| panic!("{address} is no address"))).collect()
}

fn canonical(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

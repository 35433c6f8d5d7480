use std::fmt;
use std::io;
use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatepost_prefix::PrefixSet;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::resolver::Entry;
use crate::{AddressClass, ResolveError, Resolver, fold};

/// A backend: who it is, and where its address may lie.
#[derive(Debug)]
pub struct Destination {
    host: Host,
    port: u16,
    fence: Fence,
    /// What the resolver knows of the name, once it has been asked.
    entry: OnceLock<Arc<Entry>>,
}

/// The host of a [`Destination`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address that somebody wrote down.
    Address(IpAddr),
    /// A name.
    Name(Box<str>),
}

/// Where the address of a destination may lie.
#[derive(Debug)]
pub enum Fence {
    /// Anywhere in these networks, and nowhere else.
    Networks(Box<PrefixSet>),
    /// A literal address wherever somebody wrote it, but for link-local and metadata addresses, also where an IPv6
    /// address carries one; a name only at global addresses, because who serves the name chooses the address.
    Unstated,
}

/// A destination could not be connected to. No byte was sent.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The name has no address, or the resolver failed.
    #[error("cannot resolve {name}: {source}")]
    Resolve {
        /// The name.
        name: Box<str>,
        /// Why not.
        source: ResolveError,
    },
    /// The fence lets none of the addresses through.
    #[error("{host} is at {address}, {class}, which `networks` does not cover")]
    Fenced {
        /// The destination.
        host: Host,
        /// The first of its addresses.
        address: IpAddr,
        /// What kind of address that is.
        class: AddressClass,
    },
    /// Nobody there, or no way there.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A connection, and what it stands on.
#[derive(Debug)]
pub struct Dialled {
    /// The connection.
    pub stream: TcpStream,
    /// Whether it may be used again.
    pub lease: Lease,
}

/// What a connection that is kept stands on: that its address is still one of its destination's.
#[derive(Debug)]
pub struct Lease {
    address: SocketAddr,
    /// The name, and the number of the set of its addresses that this one was last found in. Absent for an address
    /// that somebody wrote down.
    name: Option<(Arc<Entry>, AtomicU64)>,
}

/// How long one address may take to answer before it counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one address has before the next one is tried beside it (RFC 8305, 5: the connection attempt delay).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);

impl Destination {
    /// The destination `host`:`port`, whose address may lie where `fence` says.
    #[must_use]
    pub fn new(host: Host, port: u16, fence: Fence) -> Self {
        Self { host, port, fence, entry: OnceLock::new() }
    }

    /// Who it is.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Connects. Every address is checked against the fence; those that it does not let through are never dialled, and
    /// what was checked is what is dialled.
    ///
    /// Of several addresses each connection begins with another one. A destination asks one resolver, the one that it
    /// was first given.
    ///
    /// # Errors
    /// See [`DialError`]. The caller bounds the whole by its own deadline; one address takes [`CONNECT_TIMEOUT`] at
    /// most.
    pub async fn connect(&self, resolver: &Resolver) -> Result<Dialled, DialError> {
        match &self.host {
            Host::Address(address) => {
                let permitted = self.permitted([*address].into_iter())?;
                let (stream, address) = first_of(permitted).await?;
                Ok(Dialled { stream, lease: Lease { address, name: None } })
            }
            Host::Name(name) => {
                let entry = self.entry.get_or_init(|| resolver.entry(name));
                let unresolved = |source| DialError::Resolve { name: name.clone(), source };
                let addresses = resolver.answer(entry).await.map_err(unresolved)?;
                let permitted = self.permitted(addresses.in_turn(entry.next_turn()))?;
                let (stream, address) = first_of(permitted).await?;
                let name = Some((Arc::clone(entry), AtomicU64::new(addresses.generation())));
                Ok(Dialled { stream, lease: Lease { address, name } })
            }
        }
    }

    /// Whether the fence lets `address` through.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        use AddressClass::{Global, LinkLocal, Metadata, Multicast, Unspecified};
        let class = AddressClass::of(address);
        if matches!(class, Unspecified | Multicast) {
            return false;
        }
        match (&self.fence, &self.host) {
            (Fence::Networks(networks), _) => networks.contains(address),
            (Fence::Unstated, Host::Address(_)) => {
                let carried = AddressClass::carried_by(address).map(|inner| AddressClass::of(inner.into()));
                ![Some(class), carried].into_iter().flatten().any(|class| matches!(class, LinkLocal | Metadata))
            }
            (Fence::Unstated, Host::Name(_)) => class == Global,
        }
    }

    /// Those of the addresses that the fence lets through.
    fn permitted(&self, addresses: impl Iterator<Item = IpAddr>) -> Result<Permitted, DialError> {
        let mut refused = None;
        let mut permitted = Vec::new();
        for address in addresses.map(fold) {
            if self.permits(address) {
                permitted.push(SocketAddr::new(address, self.port));
            } else {
                refused.get_or_insert(address);
            }
        }
        let mut permitted = permitted.into_iter();
        match (permitted.next(), refused) {
            (Some(first), _) => Ok(Permitted { first, others: permitted.collect() }),
            (None, Some(address)) => {
                let class = AddressClass::of(address);
                Err(DialError::Fenced { host: self.host.clone(), address, class })
            }
            (None, None) => {
                let name = self.host.to_string().into();
                Err(DialError::Resolve { name, source: ResolveError::NoAddress })
            }
        }
    }
}

/// The addresses that a fence lets through.
struct Permitted {
    first: SocketAddr,
    others: Vec<SocketAddr>,
}

impl Lease {
    /// The address at the other end.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether the destination still has this address. If not, what is under way on the connection may end, and nothing
    /// new may begin. Costs a read of an atomic, unless the name's addresses have just changed.
    #[must_use]
    pub fn is_current(&self) -> bool {
        let Some((entry, seen)) = &self.name else { return true };
        entry.mark_used();
        if entry.generation() == seen.load(Ordering::Relaxed) {
            return true;
        }
        let now = entry.has(self.address.ip());
        if let Some(generation) = now {
            seen.store(generation, Ordering::Relaxed);
        }
        now.is_some()
    }
}

/// Connects to the first of these that answers. The next one is tried when one has failed, or has not answered for
/// [`CONNECT_STAGGER`].
async fn first_of(Permitted { first, others }: Permitted) -> Result<(TcpStream, SocketAddr), DialError> {
    if others.is_empty() {
        return connect_to(first).await;
    }
    let mut waiting = iter::once(first).chain(others).fuse().peekable();
    let mut trying = JoinSet::new();
    let mut failure = DialError::Connect { address: first, source: io::ErrorKind::NotConnected.into() };
    loop {
        if let Some(address) = waiting.next() {
            trying.spawn(connect_to(address));
        }
        tokio::select! {
            tried = trying.join_next() => match tried {
                Some(Ok(Ok(connected))) => return Ok(connected),
                Some(Ok(Err(error))) => failure = error,
                // A panic, which has been printed.
                Some(Err(_)) => {}
                None => return Err(failure),
            },
            () = sleep(CONNECT_STAGGER), if waiting.peek().is_some() => {}
        }
    }
}

async fn connect_to(address: SocketAddr) -> Result<(TcpStream, SocketAddr), DialError> {
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok((stream, address)),
        Ok(Err(source)) => Err(DialError::Connect { address, source }),
        Err(_) => Err(DialError::Connect { address, source: io::ErrorKind::TimedOut.into() }),
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(out, "{address}"),
            Self::Name(name) => out.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(host: &str, networks: Option<&[&str]>) -> Destination {
        let fence = match networks {
            Some(networks) => {
                Fence::Networks(Box::new(networks.iter().map(|n| n.parse::<ipnet::IpNet>().unwrap()).collect()))
            }
            None => Fence::Unstated,
        };
        let host = match host.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(host.into()),
        };
        Destination::new(host, 1, fence)
    }

    #[test]
    fn a_literal_address_goes_where_it_was_written_but_not_to_the_link() {
        let permits = |host: &str| destination(host, None).permits(host.parse().unwrap());
        assert!(permits("127.0.0.1") && permits("10.0.0.1") && permits("8.8.8.8"));
        assert!(!permits("169.254.169.254") && !permits("fe80::1") && !permits("fd00:ec2::254"));
        // The same place, wrapped.
        assert!(!permits("::ffff:169.254.169.254") && !permits("64:ff9b::a9fe:a9fe") && !permits("2002:a9fe:a9fe::1"));
        assert!(!permits("::169.254.169.254") && !permits("64:ff9b:1::100.100.100.200"));
        // Nothing is there to connect to.
        assert!(!permits("0.0.0.0") && !permits("::") && !permits("224.0.0.1") && !permits("ff02::1"));
    }

    #[test]
    fn a_name_goes_to_global_addresses_only_unless_networks_say_otherwise() {
        let open = destination("app.example", None);
        let fenced = destination("app.example", Some(&["10.0.0.0/8"]));
        for (address, plain, in_networks) in [
            ("8.8.8.8", true, false),
            ("10.1.1.1", false, true),
            ("::ffff:10.1.1.1", false, true),
            ("127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("64:ff9b::a00:1", false, false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(open.permits(address), plain, "{address}");
            assert_eq!(fenced.permits(address), in_networks, "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_not_dialled_unless_networks_cover_it() {
        let resolver = Resolver::with_servers(Vec::new()).unwrap();
        for name in ["localhost", "localhost.", "LOCALHOST", "any.localhost"] {
            let error = destination(name, None).connect(&resolver).await.unwrap_err();
            assert!(matches!(error, DialError::Fenced { class: AddressClass::Loopback, .. }), "{name}: {error}");
        }

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut covered = destination("localhost", Some(&["127.0.0.0/8"]));
        covered.port = listener.local_addr().unwrap().port();
        let dialled = covered.connect(&resolver).await.expect("it listens");
        assert_eq!(dialled.lease.address(), listener.local_addr().unwrap());
        assert!(dialled.lease.is_current());
    }

    #[tokio::test]
    async fn an_address_in_an_odd_spelling_is_never_dialled() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let resolver = Resolver::with_servers(Vec::new()).unwrap();
        for name in ["127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0X7F.1", "0177.0.0.1", "0x", "x.0x7f", "1."] {
            let mut odd = destination("a.name", Some(&["127.0.0.0/8"]));
            odd.host = Host::Name(name.into());
            odd.port = listener.local_addr().unwrap().port();
            let error = odd.connect(&resolver).await.unwrap_err();
            assert!(matches!(error, DialError::Resolve { source: ResolveError::Numeric, .. }), "{name}: {error}");
        }
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_leads_to_the_next_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let others = (2..6).map(|last| SocketAddr::new(IpAddr::from([127, 0, 0, last]), address.port()));
        let mut addresses = others.chain([address]);
        let permitted = Permitted { first: addresses.next().unwrap(), others: addresses.collect() };
        assert_eq!(first_of(permitted).await.unwrap().1, address);

        drop(listener);
        let permitted = Permitted { first: address, others: vec![address] };
        assert!(matches!(first_of(permitted).await, Err(DialError::Connect { .. })));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_is_not_waited_for_alone() {
        // A queue that is full: whoever comes now gets no answer at all.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let mute = socket.local_addr().unwrap().as_socket().unwrap();
        let mut queued = Vec::new();
        while let Ok(Ok(one)) = timeout(Duration::from_secs(1), TcpStream::connect(mute)).await {
            queued.push(one);
        }

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connecting = first_of(Permitted { first: mute, others: vec![address] });
        let connected = timeout(CONNECT_TIMEOUT, connecting).await.expect("before the first address is given up");
        assert_eq!(connected.unwrap().1, address);
    }
}

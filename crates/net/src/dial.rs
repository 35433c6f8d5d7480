use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::{AddressClass, PrefixSet, fold};

/// A backend: who it is, and where its address may lie.
#[derive(Debug)]
pub struct Destination {
    /// An address, or a name that is looked up at each connection.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// Where the address may lie.
    pub fence: Fence,
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
    /// A literal address wherever somebody wrote it, but for link-local and metadata addresses; a name only at global
    /// addresses, because who serves the name chooses the address.
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
        source: io::Error,
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

/// How long one address may take to answer before it counts as unreachable.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl Destination {
    /// Connects. Every address is checked against the fence, and what was checked is what is dialled.
    ///
    /// # Errors
    /// See [`DialError`]. The caller bounds the whole by its own deadline; one address takes [`CONNECT_TIMEOUT`] at
    /// most.
    pub async fn connect(&self) -> Result<TcpStream, DialError> {
        let addresses = self.addresses().await?;
        // Gathered before anything is waited for: health checks connect from tasks that may change threads.
        let permitted: Vec<SocketAddr> =
            addresses.iter().copied().filter(|address| self.permits(address.ip())).collect();
        if let (true, Some(first)) = (permitted.is_empty(), addresses.first()) {
            let address = fold(first.ip());
            let class = AddressClass::of(address);
            return Err(DialError::Fenced { host: self.host.clone(), address, class });
        }
        let mut failure = self.no_address();
        for address in permitted {
            match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) => failure = DialError::Connect { address, source },
                Err(_) => failure = DialError::Connect { address, source: io::ErrorKind::TimedOut.into() },
            }
        }
        Err(failure)
    }

    /// Whether the fence lets `address` through.
    #[must_use]
    pub fn permits(&self, address: IpAddr) -> bool {
        use AddressClass::{Global, LinkLocal, Metadata};
        let class = AddressClass::of(address);
        match (&self.fence, &self.host) {
            (Fence::Networks(networks), _) => networks.contains(address),
            (Fence::Unstated, Host::Address(_)) => !matches!(class, LinkLocal | Metadata),
            (Fence::Unstated, Host::Name(_)) => class == Global,
        }
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, DialError> {
        match &self.host {
            Host::Address(address) => Ok(vec![SocketAddr::new(*address, self.port)]),
            Host::Name(name) => match lookup_host((&**name, self.port)).await {
                Ok(addresses) => Ok(addresses.collect()),
                Err(source) => Err(DialError::Resolve { name: name.clone(), source }),
            },
        }
    }

    fn no_address(&self) -> DialError {
        let source = io::Error::new(io::ErrorKind::NotFound, "no address");
        DialError::Resolve { name: self.host.to_string().into(), source }
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
        Destination { host, port: 1, fence }
    }

    #[test]
    fn a_literal_address_goes_where_it_was_written_but_not_to_the_link() {
        let permits = |host: &str| destination(host, None).permits(host.parse().unwrap());
        assert!(permits("127.0.0.1") && permits("10.0.0.1") && permits("8.8.8.8"));
        assert!(!permits("169.254.169.254") && !permits("fe80::1") && !permits("fd00:ec2::254"));
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
        let error = destination("localhost", None).connect().await.unwrap_err();
        assert!(matches!(error, DialError::Fenced { class: AddressClass::Loopback, .. }), "{error}");

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut covered = destination("localhost", Some(&["127.0.0.0/8"]));
        covered.port = listener.local_addr().unwrap().port();
        covered.connect().await.expect("it listens");
    }
}

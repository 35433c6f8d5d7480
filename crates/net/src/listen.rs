use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use thiserror::Error;
use tokio::net::TcpStream;

/// An address could not be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}{}", hint(source))]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// How many connections the kernel may hold for us before it turns new ones away.
const BACKLOG: i32 = 4096;

/// Listens on `address`, on a socket that does not block.
///
/// Called once for each thread that accepts: with `SO_REUSEPORT` the kernel spreads connections over the sockets. An
/// IPv6 address is IPv6 only. Port 0 picks a free port, which `local_addr` of the result tells.
///
/// # Errors
/// The address is taken by another program, not an address of this machine, or not permitted.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    open(address).map_err(|source| BindError { address, source })
}

/// Whether nobody listens on `address` yet, not even somebody who would share it: [`bind`] alone would not notice.
///
/// # Errors
/// The same as those of [`bind`].
pub fn ensure_free(address: SocketAddr) -> Result<(), BindError> {
    let alone = || socket(address)?.bind(&address.into());
    alone().map_err(|source| BindError { address, source })
}

/// Lets the kernel hold no more than about `bytes` of what was written and not yet sent.
///
/// # Errors
/// The socket is no longer one.
pub fn bound_unsent(stream: &TcpStream, bytes: u32) -> io::Result<()> {
    SockRef::from(stream).set_tcp_notsent_lowat(bytes)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of an earlier run that linger must not keep the address.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn hint(source: &io::Error) -> &'static str {
    if source.kind() == io::ErrorKind::PermissionDenied {
        " (a port below 1024 needs CAP_NET_BIND_SERVICE)"
    } else if source.kind() == io::ErrorKind::AddrNotAvailable {
        " (it is not an address of this machine)"
    } else if source.kind() == io::ErrorKind::AddrInUse {
        " (stop what listens there already, or choose another port)"
    } else {
        ""
    }
}

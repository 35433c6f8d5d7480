//! The network below the gateway: which addresses there are, which are let through, where we listen and where we dial.
//!
//! Knows nothing of HTTP but the two headers in which proxies tell of clients, and how it is named inside TLS. Keeps no
//! global. Only a [`Resolver`] has a thread, which ends with it.
//!
//! - [`fold`] and [`AddressClass`]: one form for an address, and what kind of place it is.
//! - [`ProxyHeader`]: what a proxy says of a connection before its first byte.
//! - [`find_client`]: who the client is, by the word of senders that are believed.
//! - [`bind`]: a listening socket that several threads, each with its own, share one address with.
//! - [`Resolver`]: what names stand for, for all threads, kept up to date in the background.
//! - [`Destination`]: a backend, the fence around it, and the one way to connect to it. A [`Lease`] tells whether a
//!   connection that was kept may be used again.
//! - [`tls`]: what makes a connection private, to clients and to backends.

#![forbid(unsafe_code)]

mod address;
mod client_chain;
mod dial;
mod listen;
mod proxy_header;
mod resolver;
pub mod tls;

pub use address::{AddressClass, fold};
pub use client_chain::{BelievedHeader, Client, HopSource, MOST_HOPS, Peer, Step, Stop, Unreadable, find_client};
pub use dial::{CONNECT_STAGGER, CONNECT_TIMEOUT, Destination, DialError, Dialled, Fence, Host, Lease};
pub use listen::{BindError, bind, bound_unsent, ensure_free};
pub use proxy_header::{ConnectionEnd, Progress, ProxyHeader, ProxyHeaderError};
pub use resolver::{
    HOSTS_TTL, IDLE, LOOKUP_TIMEOUT, MOST_ADDRESSES, NEGATIVE_MOST, ResolveError, Resolver, STALE, TTL_LEAST, TTL_MOST,
    ends_in_a_number,
};

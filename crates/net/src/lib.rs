//! The network below the gateway: which addresses there are, which are let through, where we listen and where we dial.
//!
//! Knows nothing of HTTP but the two headers in which proxies tell of clients, and how it is named inside TLS. Nothing
//! here spawns a task or keeps a global.
//!
//! - [`fold`] and [`AddressClass`]: one form for an address, and what kind of place it is.
//! - [`PrefixSet`]: whether an address lies in any of many networks.
//! - [`ProxyHeader`]: what a proxy says of a connection before its first byte.
//! - [`find_client`]: who the client is, by the word of senders that are believed.
//! - [`bind`]: a listening socket that several threads, each with its own, share one address with.
//! - [`Destination`]: a backend, the fence around it, and the one way to connect to it.
//! - [`tls`]: what makes a connection private, to clients and to backends.

#![forbid(unsafe_code)]

mod address;
mod client_chain;
mod dial;
mod listen;
mod prefix_set;
mod proxy_header;
pub mod tls;

pub use address::{AddressClass, fold};
pub use client_chain::{BelievedHeader, Client, HopSource, MOST_HOPS, Peer, Step, Stop, Unreadable, find_client};
pub use dial::{CONNECT_TIMEOUT, Destination, DialError, Fence, Host};
pub use listen::{BindError, bind, bound_unsent, ensure_free};
pub use prefix_set::PrefixSet;
pub use proxy_header::{ConnectionEnd, Progress, ProxyHeader, ProxyHeaderError};

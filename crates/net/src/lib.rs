//! The network below the gateway: which addresses there are, which are let through, where we listen and where we dial.
//!
//! Knows nothing of HTTP, and keeps no global. Only a [`Resolver`] has a thread, which ends with it.
//!
//! - [`fold`] and [`AddressClass`]: one form for an address, and what kind of place it is.
//! - [`PrefixSet`]: whether an address lies in any of many networks.
//! - [`bind`]: a listening socket that several threads, each with its own, share one address with.
//! - [`Resolver`]: what names stand for, for all threads, kept up to date in the background.
//! - [`Destination`]: a backend, the fence around it, and the one way to connect to it. A [`Lease`] tells whether a
//!   connection that was kept may be used again.

#![forbid(unsafe_code)]

mod address;
mod dial;
mod listen;
mod prefix_set;
mod resolver;

pub use address::{AddressClass, fold};
pub use dial::{CONNECT_STAGGER, CONNECT_TIMEOUT, Destination, DialError, Dialled, Fence, Host, Lease};
pub use listen::{BindError, bind, bound_unsent, ensure_free};
pub use prefix_set::PrefixSet;
pub use resolver::{
    HOSTS_TTL, IDLE, LOOKUP_TIMEOUT, MOST_ADDRESSES, NEGATIVE_MOST, ResolveError, Resolver, STALE, TTL_LEAST, TTL_MOST,
    ends_in_a_number,
};

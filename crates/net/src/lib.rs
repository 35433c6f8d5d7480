//! The network below the gateway: which addresses there are, which are let through, where we listen and where we dial.
//!
//! Knows nothing of HTTP but how it is named inside TLS. Nothing here spawns a task or keeps a global.
//!
//! - [`fold`] and [`AddressClass`]: one form for an address, and what kind of place it is.
//! - [`PrefixSet`]: whether an address lies in any of many networks.
//! - [`bind`]: a listening socket that several threads, each with its own, share one address with.
//! - [`Destination`]: a backend, the fence around it, and the one way to connect to it.
//! - [`tls`]: what makes a connection private, to clients and to backends.

#![forbid(unsafe_code)]

mod address;
mod dial;
mod listen;
mod prefix_set;
pub mod tls;

pub use address::{AddressClass, fold};
pub use dial::{CONNECT_TIMEOUT, Destination, DialError, Fence, Host};
pub use listen::{BindError, bind, bound_unsent, ensure_free};
pub use prefix_set::PrefixSet;

//! For tests only: gateways, scripted origins and raw clients on loopback.
//!
//! Nothing here imitates the gateway or leaves a socket out: a [`TestGateway`] is a whole gateway, an [`Origin`] a TCP
//! server that follows a [`Script`] byte by byte, an [`Http2Origin`] one that speaks HTTP/2, a [`TlsFront`] makes either
//! private, a [`NameServer`] is a DNS server, a [`TokenIssuer`] publishes the keys of its tokens, a [`Raw`] a client that sends exactly what it is given ([`http2_raw`] has one
//! for HTTP/2), a [`TlsClient`] one inside TLS, a [`Process`] the real program, and an [`Authority`] issues real
//! certificates. Ports are chosen by the kernel. What would leave loopback happens in a [`Namespace`]. Whatever waits does
//! so for a condition, with a deadline, and panics with what it saw instead.

#![forbid(unsafe_code)]

mod authority;
mod books;
mod eventually;
mod gateway;
mod http2_origin;
pub mod http2_raw;
mod name_server;
mod namespace;
mod origin;
mod process;
mod raw;
mod tls_client;
mod tls_front;
mod token_issuer;

pub use authority::{Authority, Issued};
pub use books::{Books, MemoryUsage};
pub use eventually::{PATIENCE, eventually};
pub use gateway::TestGateway;
pub use http2_origin::{Answer, Http2Origin, Http2Request};
pub use name_server::NameServer;
pub use namespace::{Namespace, Trap};
pub use origin::{Origin, Received, Script, pattern};
pub use process::Process;
pub use raw::{Raw, Response};
pub use serde_json::Value as Json;
pub use tls_client::{Secured, TlsClient};
pub use tls_front::TlsFront;
pub use token_issuer::{TokenIssuer, TokenKey};

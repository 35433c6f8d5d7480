//! For tests only: gateways, scripted origins and raw clients on loopback.
//!
//! Nothing here imitates the gateway or leaves a socket out: a [`TestGateway`] is a whole gateway, an [`Origin`] a TCP
//! server that follows a [`Script`] byte by byte, a [`Raw`] a client that sends exactly what it is given ([`http2_raw`]
//! has one for HTTP/2), and a [`Process`] the real program. Ports are chosen by the kernel. Whatever waits does so for a
//! condition, with a deadline, and panics with what it saw instead.

#![forbid(unsafe_code)]

mod eventually;
mod gateway;
pub mod http2_raw;
mod origin;
mod process;
mod raw;

pub use eventually::{PATIENCE, eventually};
pub use gateway::TestGateway;
pub use origin::{Origin, Received, Script, pattern};
pub use process::Process;
pub use raw::{Raw, Response};
pub use serde_json::Value as Json;

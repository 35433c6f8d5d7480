//! What the data plane promises, tried from outside: whole gateways, real sockets, scripted backends.
//!
//! One binary, because each would link the whole gateway again. Every test starts its own gateway and its own backends
//! on ports that the kernel chooses; none depends on another.

mod admission;
mod deadlines;
mod drain;
mod http2;
mod limits;
mod max_body;
mod one_form;
mod pools;
mod reload;
mod requests;
mod responses;
mod routing;
mod security;
mod setup;
mod streaming;
mod throttles;

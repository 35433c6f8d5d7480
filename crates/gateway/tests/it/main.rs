//! What the data plane promises, tried from outside: whole gateways, real sockets, scripted backends.
//!
//! One binary, because each would link the whole gateway again. Every test starts its own gateway and its own backends
//! on ports that the kernel chooses; none depends on another.

mod address_sets;
mod admission;
mod balance;
mod client_address;
mod conformance;
mod deadlines;
mod drain;
mod ejection;
mod health;
mod http2;
mod http2_backends;
mod https_backends;
mod https_redirect;
mod identity;
mod limited;
mod limits;
mod limits_of_callers;
mod matrix;
mod max_body;
mod names;
mod one_form;
mod policies;
mod pools;
mod proxy_protocol;
mod reload;
mod requests;
mod responses;
mod retries;
mod routing;
mod security;
mod setup;
mod signed;
mod streaming;
mod throttles;
mod tls;
mod tokens;
mod upgrades;

//! TLS on real sockets: certificates, handshakes with clients, and with backends.

mod backends;
mod certificates;
mod handshakes;
mod hosts;
mod sessions;
mod setup;
mod strangers;

//! The program as its users meet it: started, signalled, its files edited under it, and talked to over sockets.
//!
//! One binary, since each would be linked by itself. Ports are chosen by the kernel, everything happens on loopback, and
//! whatever waits does so for a condition.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod access_log;
mod address_sets;
mod admin;
mod admin_api;
mod broken;
mod callers_live;
mod cli;
mod decisions;
mod descriptors;
mod destinations;
mod diff_and_replay;
mod drain;
mod examples;
mod home;
mod keys;
mod policies;
mod quotas;
mod reload;
mod reload_edges;
mod reload_load;
mod reload_streams;
mod run;
mod signed;
mod simulate;
mod tls;
mod usage;
mod why;
mod why_agrees;
mod why_live;

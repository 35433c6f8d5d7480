//! Signatures as others make them, and ours as others do.

#![expect(clippy::unwrap_used, reason = "a test ends where something is wrong")]

mod bodies;
mod oracle;
mod refusals;
mod setup;
mod suite;
mod vectors;

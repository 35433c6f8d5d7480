//! Limits that hold.
//!
//! What it is: the arithmetic of throttles and concurrency caps, exact on one machine across threads. What it is not: a
//! clock or a store; time is passed in as nanoseconds since any fixed start ([`Nanos`]), and nothing here does I/O or
//! waits for anything but a lock held for nanoseconds.
//!
//! - [`Law`] is what a throttle promises: over any time `t`, at most `burst + rate × t` requests.
//! - [`Bucket`] keeps it: a token bucket held as its theoretical arrival time (GCRA).
//! - [`take_all`] takes one token from each of several buckets, or refuses before it takes any.
//! - [`ClientTable`] keeps a law for each client, in a table that never grows.
//! - [`Slots`] counts what is under way.

#![forbid(unsafe_code)]

mod bucket;
mod client_table;
mod slots;

pub use bucket::{Bucket, Exceeded, Law, Nanos, take_all};
pub use client_table::{ClientLevel, ClientTable};
pub use slots::{Slot, Slots};

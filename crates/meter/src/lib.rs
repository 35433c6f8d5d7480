//! Limits that hold.
//!
//! What it is: the arithmetic of throttles, quotas and concurrency caps, exact on one machine across threads. What it is
//! not: a clock or a store; time is passed in, as nanoseconds since any fixed start ([`Nanos`]) or by the calendar
//! ([`UnixSeconds`]), and nothing here does I/O or waits for anything but a lock held for nanoseconds.
//!
//! - [`Law`] is what a throttle promises: over any time `t`, at most `burst + rate × t` requests.
//! - [`Bucket`] keeps it: a token bucket held as its theoretical arrival time (GCRA).
//! - [`take_all`] takes one token from each of several buckets, or refuses before it takes any.
//! - [`ClientTable`] keeps a law for each client, in a table that never grows.
//! - [`Slots`] counts what is under way.
//! - [`Quota`] has so many units in each [`Window`] of the calendar, and never more: not over restarts either, because a
//!   [`Ledger`] makes durable what it grants before any of it is used.

#![forbid(unsafe_code)]

mod bucket;
mod client_table;
mod lease;
mod ledger;
mod quota;
mod slots;
mod window;

pub use bucket::{Bucket, Exceeded, Law, Nanos, take_all};
pub use client_table::{ClientLevel, ClientTable};
pub use ledger::{Ask, Granted, Ledger, MemoryLedger, Mood, Unavailable};
pub use quota::{Lacking, Level, Quota, QuotaLaw, Unit};
pub use slots::{Slot, Slots};
pub use window::{NoWindow, Period, UnixSeconds, Window};

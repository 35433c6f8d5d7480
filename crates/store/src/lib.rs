//! What survives a crash and a loss of power: what quotas were granted, what callers used, when keys were last used.
//!
//! One SQLite file, `gatepost.db` in the state directory, that anybody may look into with `sqlite3`. What it is not: it
//! decides about no request, and knows neither configuration nor routes but by name.
//!
//! ```text
//! Store        asks, what comes back, counts ─► queue ─► one thread ─► one transaction for all asks ─► COMMIT ─► answers
//!                                                       ─► another for some of the rest, and again
//! Reader       a connection of its own: reads beside the writer, also from another process
//! ```
//!
//! - [`Store`] writes. It is the [`Ledger`](gatepost_meter::Ledger) of quotas: a grant is answered after it was committed
//!   and synced. While the disk is full, read-only or gone, asks are answered at once that it is unavailable, and what
//!   else is to be written waits in memory; when the disk works again, so does the store.
//! - [`Reader`] reports: usage, grants, last uses.

#![forbid(unsafe_code)]

mod batch;
mod error;
mod queue;
mod reader;
mod rows;
mod schema;
mod store;
mod writer;

pub use error::StoreError;
pub use reader::Reader;
pub use rows::{Day, GrantRow, KeyUse, NoDay, UsageDelta, UsageFilter, UsagePlace, UsageRow};
pub use store::{NotRecorded, Store};

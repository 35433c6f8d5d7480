//! Lists of addresses that somebody publishes: read whole or not at all, judged against the copy in force, kept across
//! restarts, and asked for again and again.
//!
//! - [`read_list`]: from bytes to networks. [`judge()`]: whether they may take the place of those in force. Both pure.
//! - [`LiveSet`]: a set as it is now. Readers swap with it atomically; it is never empty and never half a list.
//! - [`Feeds`]: the fetched sets of a configuration, and which of them live on in the next one.
//! - [`Refreshers`]: what keeps them fresh, one fetch at a time a URL, on the runtime that it is called on.
//! - [`Fetcher`]: how a document is asked for, for whoever else keeps one fresh.
//!
//! What this crate is not: it decides about no request, and knows nothing of routes.

#![forbid(unsafe_code)]

mod copy;
mod feeds;
mod fetch;
mod judge;
mod live;
mod read;
mod refresh;
#[cfg(test)]
mod tests;

pub use copy::Validators;
pub use feeds::{Feeds, Wanted};
pub use fetch::{Answer, Document, FETCH_TIMEOUT, FetchError, FetchLimits, Fetcher, Source};
pub use judge::{Bounds, Covered, MOST_IPV4, MOST_IPV6, Objection, WIDEST_IPV4, WIDEST_IPV6, judge};
pub use live::{LiveSet, Outcome, SetReport, SetState};
pub use read::{MOST_BYTES, MOST_NETWORKS, ReadError, read_list};
pub use refresh::{Refreshers, next_fetch};

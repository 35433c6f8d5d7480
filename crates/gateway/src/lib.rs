//! The HTTP data plane.
//!
//! What it is: listeners, connections, and the way of a request from its head to the last byte of its answer: routing,
//! admission, integrations, pools of connections to backends, the access log and the counters. What it is not: the
//! configuration language (`gatepost-config`), and everything that is not on a request's way: signals, files that
//! change, the admin listener (`gatepost`).
//!
//! A [`Gateway`] runs one data-plane thread a core. Each has its own listening sockets and its own connections to
//! backends, so no request crosses threads. What a request is served by is an immutable snapshot, swapped whole by
//! [`Gateway::apply`]; what must outlive it (buckets, counters, targets) is held beside it.
//!
//! Read `pipeline.rs` first: it is the way of one request, top to bottom.

#![forbid(unsafe_code)]

mod access_log;
mod admission;
mod body;
mod certificates;
mod clock;
mod compile;
mod connection;
mod decision;
mod diff;
mod examples;
mod explain;
mod forward;
mod gateway;
mod host;
mod io;
mod judge;
mod log_line;
mod pipeline;
mod record;
mod rejection;
mod request;
mod router;
mod snapshot;
mod stats;
mod stream;
mod trace;
mod upstream;
mod worker;

pub use certificates::{doubtful_domains, unusable_certificates};
pub use diff::{Cause, Difference, ListenerChange, Networks, Request, RouteChange, Sides, Untold, VerdictChange, diff};
pub use examples::failed_examples;
pub use explain::{Check, ExplainError, Explanation, Inquiry, Rule, Step, Verdict, explain};
pub use gatepost_net::Resolver;
pub use gateway::{ApplyError, Gateway};
pub use judge::{Asked, Judge, Judged, Judgement, RouteName};
pub use rejection::Reason;
pub use stats::Stats;
pub use upstream::{TargetReport, TargetState};

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
mod address_sets;
mod admission;
mod body;
mod caller;
mod certificates;
mod clock;
mod compat;
mod compile;
mod connection;
mod decision;
mod decisions;
mod diff;
mod examples;
mod explain;
mod forward;
mod gateway;
mod host;
mod io;
mod judge;
mod log_line;
mod observer;
mod pipeline;
mod record;
mod rejection;
mod request;
mod router;
mod signature;
mod snapshot;
mod spool;
mod stats;
mod stream;
mod token;
mod trace;
mod upstream;
mod verification;
mod wall;
mod worker;

pub use address_sets::AddressSetReport;
pub use caller::{KeyUse, NoUsageSink, UsageBatch, UsageDelta, UsageSink};
pub use certificates::{doubtful_domains, unusable_certificates};
pub use decisions::{Decision, DecisionFilter, DecisionPage, DecisionSummary, MOST_DECISIONS, Unexplained};
pub use diff::{
    CallerChange, Cause, Difference, ListenerChange, Networks, PlanChange, Request, RouteChange, Sides, Untold,
    VerdictChange, diff,
};
pub use examples::{JudgedExamples, failed_examples, judge_examples};
pub use explain::{Check, ExplainError, Explanation, Inquiry, Rule, Step, Verdict, explain};
pub use gatepost_net::Resolver;
pub use gatepost_prefix::Extent;
pub use gatepost_ranges::{Outcome as FetchOutcome, SetReport, SetState};
pub use gateway::{ApplyError, Gateway, Surroundings};
pub use judge::{Asked, Judge, Judged, Judgement, RouteName};
pub use observer::{AccountReport, CallerReport, CallerThrottle, InForce, Level, MeterReport, Observer};
pub use rejection::Reason;
#[doc(hidden)]
pub use signature::claim_is_bounded;
pub use signature::doubtful_secrets;
pub use spool::Budgets;
pub use stats::Stats;
#[doc(hidden)]
pub use token::{keys_are_bounded, token_is_bounded};
pub use upstream::{TargetReport, TargetState};
pub use wall::WallClock;

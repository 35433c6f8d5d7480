//! What the way of a request tells of itself, for whoever asks why.
//!
//! Routing and admission say each thing that they decide as they decide it. Whoever serves requests listens to nothing
//! ([`NoTrace`]), and pays nothing for it.

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::ThrottleBy;
use gatepost_iam::{Decision, NearMiss};
use gatepost_net::{HopSource, Stop};
use http::StatusCode;

use crate::rejection::Malformed;
use crate::signature::Flaw;
use crate::snapshot::{HostMatch, Route};

/// Who listens.
pub(crate) trait Trace {
    /// Takes a note, or does not even make it.
    fn note(&mut self, note: impl FnOnce() -> Note);
}

/// Nobody.
#[derive(Debug)]
pub(crate) struct NoTrace;

impl Trace for NoTrace {
    #[inline]
    fn note(&mut self, _: impl FnOnce() -> Note) {}
}

impl Trace for Vec<Note> {
    fn note(&mut self, note: impl FnOnce() -> Note) {
        self.push(note());
    }
}

/// One thing that was decided. The last one is what a request was refused by, if it was.
#[derive(Debug)]
pub(crate) enum Note {
    /// A sender on the way to the client: the last one is the client.
    Sender { address: IpAddr, source: HopSource, believed: bool },
    /// Why the last one was.
    LastSender(Stop),
    /// The head means one thing only.
    Read { host: Arc<str>, path: Box<str> },
    /// It could be read in two ways.
    Malformed(Malformed),
    /// The listener only sends clients to `https`, with this status.
    ToHttps(StatusCode),
    /// This API was chosen.
    Api { name: Arc<str>, host: HostMatch<Box<str>> },
    /// None answers: of those for the host, the paths lie below none of these.
    NoApi { host: HostMatch<Box<str>>, bases: Vec<Arc<str>> },
    /// This route matches.
    Route(Arc<Route>),
    /// None of the API has the path.
    NoPath,
    /// These have the path, for other methods.
    NoMethod(Vec<Arc<Route>>),
    /// Everyone may enter.
    Open,
    /// Whether `from` lists the client; absent: nobody knows, for the lack of a set.
    From { listed: Option<bool> },
    /// Whether `except` lists it too; absent: nobody knows.
    Except { listed: Option<bool> },
    /// Nobody knows whether the last sender is believed, for the lack of this set.
    SenderUnknown { set: Arc<str> },
    /// What a policy says, the one with this index among those that apply; and what comes nearest to allowing it.
    Policy { index: usize, decision: Decision, near: Option<NearMiss> },
    /// What is wrong with the claim to a signature, as far as the head tells.
    Signed(Option<Flaw>),
    /// The length of the body, if it was told, and the longest that is let in.
    Length { told: Option<u64>, most: u64 },
    /// How many requests are under way, and how many may be.
    Parallel { under_way: usize, cap: usize },
    /// How many tokens a bucket has: the one with this index among those of its kind, the route's and then its API's.
    Bucket { by: ThrottleBy, index: usize, left: u32 },
}

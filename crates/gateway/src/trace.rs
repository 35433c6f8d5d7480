//! What the way of a request tells of itself, for whoever asks why.
//!
//! Routing and admission say each thing that they decide as they decide it. Every request is listened to: what a refused
//! one was refused by goes on record ([`Decisions`]). So notes are small and hold nothing that has to be allocated or
//! counted; what follows from the facts of the request and the model is left to whoever reads them.
//!
//! [`Decisions`]: crate::decisions::Decisions

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::{ProofKind, ThrottleBy};
use gatepost_iam::NearMiss;
use gatepost_net::{HopSource, Stop};
use http::StatusCode;
use smallvec::SmallVec;

use crate::caller::ProofKinds;
use crate::rejection::Malformed;
use crate::signature::Flaw;
use crate::snapshot::{HostMatch, RouteNumber};
use crate::token::TokenFlaw;

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

/// What was told of one request, in its order. There is room for all that is told of most of them; a long chain of
/// believed senders is allocated.
pub(crate) type Notes = SmallVec<[Note; 12]>;

impl Trace for Notes {
    #[inline]
    fn note(&mut self, note: impl FnOnce() -> Note) {
        self.push(note());
    }
}

/// Whoever is there listens.
impl<T: Trace> Trace for Option<&mut T> {
    #[inline]
    fn note(&mut self, note: impl FnOnce() -> Note) {
        if let Some(listener) = self {
            listener.note(note);
        }
    }
}

/// What a policy says, by the number of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// This one allows it.
    Allows(u32),
    /// This one denies it.
    Denies(u32),
    /// None speaks of it.
    Nothing,
    /// None speaks of it, and none has to: another policy allows it.
    Abstains,
}

/// Whose units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AccountOf {
    /// The quota of the caller in this place.
    Quota(u32),
    /// The budget of the caller in this place.
    Budget(u32),
    /// The budget of the route.
    RouteBudget,
}

/// What was found of an account's units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// So many are left, those that the request takes among them.
    Left(u64),
    /// Nobody has used any since the gateway started.
    Unused,
    /// Too few are left.
    Spent,
    /// Its ledger does not say.
    Unavailable,
}

/// One thing that was decided. The last one is what a request was refused by, if it was.
#[derive(Debug, Clone)]
pub(crate) enum Note {
    /// A sender on the way to the client: the last one is the client.
    Sender { address: IpAddr, source: HopSource, believed: bool },
    /// Why the last one was.
    LastSender(Stop),
    /// The head means one thing only.
    Read,
    /// It could be read in two ways.
    Malformed(Malformed),
    /// The host is none that the connection's certificate stands for.
    Misdirected,
    /// The listener only sends clients to `https`, with this status.
    ToHttps(StatusCode),
    /// The API in this place was chosen.
    Api { number: u32, host: HostMatch },
    /// None answers: the path lies below the base of none of those for the host.
    NoApi { host: HostMatch },
    /// This route matches.
    Route(RouteNumber),
    /// None of the API has the path.
    NoPath,
    /// Some have the path, for other methods.
    NoMethod,
    /// Everyone may enter.
    Open,
    /// Whether `from` lists the client; absent: nobody knows, for the lack of a set.
    From { listed: Option<bool> },
    /// Whether `except` lists it too; absent: nobody knows.
    Except { listed: Option<bool> },
    /// Nobody knows whether the last sender is believed, for the lack of this set.
    SenderUnknown { set: Arc<str> },
    /// Its ARN is longer than the imitated API authorizes.
    ArnTooLong,
    /// What a policy says, the one with this index among those that apply.
    Policy { index: u32, said: Said },
    /// What comes nearest to allowing what the last policy does not.
    NearMiss(Box<NearMiss>),
    /// A caller of another account needs a policy of the API, and there is none.
    PolicyLacking,
    /// What the policy of a caller says.
    CallerPolicy { caller: u32, said: Said },
    /// A proof is good, and stands for this caller.
    Proof { kind: ProofKind, caller: u32 },
    /// A proof is taken to be given by this caller.
    Assumed { kind: ProofKind, caller: u32 },
    /// A proof claims to stand for this caller: the body decides.
    Claimed { kind: ProofKind, caller: u32 },
    /// The body decides which of several callers has signed it.
    Signers,
    /// No proof is given, or not all that are asked for: it lacks these, or any of them.
    ProofMissing(ProofKinds),
    /// A proof is not good; the rejection tells why.
    BadProof(ProofKind),
    /// A proof stands for this caller, and another one for another.
    ProofsDisagree { kind: ProofKind, caller: u32 },
    /// Whether the proofs of a caller are good from where the client is; absent: nobody knows, for the lack of a set.
    CallerFrom { caller: u32, listed: Option<bool> },
    /// Who it is from, how that is proven, and whether the route lets that one in.
    Caller { caller: u32, proofs: ProofKinds, listed: bool },
    /// What is wrong with the token that the route asks for.
    Token(Option<TokenFlaw>),
    /// It is taken to be given.
    TokenAssumed,
    /// What is wrong with the claim to a signature, as far as the head tells.
    Signed(Option<Flaw>),
    /// The length of the body, if it was told: whether that is too long is the route's to say.
    Length { told: Option<u64> },
    /// How many requests of the route are under way.
    Parallel { under_way: usize },
    /// How many requests of the caller in this place are under way.
    CallerParallel { caller: u32, under_way: usize },
    /// How many tokens the bucket has that the plan of the caller in this place has for it: for this route, or for all.
    PlanBucket { caller: u32, of_route: bool, left: u32 },
    /// How many units are left of a quota or a budget.
    Account { of: AccountOf, found: Found },
    /// How many tokens a bucket has: the one with this index among those of its kind, the route's and then its API's.
    Bucket { by: ThrottleBy, index: u32, left: u32 },
}

//! The token that a route asks for, whoever it is from.

use gatepost_config::model::ProofKind;

use crate::admission::Meters;
use crate::caller::ProofKinds;
use crate::rejection::Rejection;
use crate::request::{Assumed, Facts};
use crate::token::{TokenFlaw, Tokens};
use crate::trace::{Note, Trace};

/// Judges the token of a request. What of its head is for this gateway alone.
///
/// # Errors
/// There is none, it is not good, or nobody knows.
pub(super) fn present(
    facts: &Facts<'_>,
    tokens: &Tokens,
    meters: Meters<'_>,
    trace: &mut impl Trace,
) -> Result<ProofKinds, Rejection> {
    if matches!(meters, Meters::Full) || facts.assumed == Assumed::Somebody {
        return Ok(ProofKinds::NONE);
    }
    let checked = tokens.check(facts.headers, meters.time());
    let flaw = checked.err();
    if flaw == Some(TokenFlaw::Missing) && facts.assumed != Assumed::Nobody {
        trace.note(|| Note::TokenAssumed);
        return Ok(ProofKinds::NONE);
    }
    trace.note(|| Note::Token(flaw));
    flaw.map_or(Ok(ProofKinds::of(ProofKind::Jwt)), |flaw| Err(Rejection::bad_token(flaw, tokens.rule())))
}

//! Reading a body to verify it: of a request that is let in by its signature, and now and then of one that is not let in
//! for its address.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout};

use crate::admission::{Candidate, Times};
use crate::body::{Exchange, RequestBody};
use crate::caller::Proven;
use crate::rejection::Rejection;
use crate::request::Facts;
use crate::signature::{Flaw, Signed, Verified, Verifier};
use crate::snapshot::{Action, Entry, Listing, Route};
use crate::spool::{Keeper, Kept};
use crate::stream::{BodyFailure, Stream};
use crate::wall::WallClock;

/// Reads the body of a candidate to its end, and keeps it if somebody is to have it. Nobody else has seen a byte of it
/// when this is over.
///
/// # Errors
/// It is too long or broken, does not come, cannot be kept, or is not what was signed.
pub(crate) async fn receive(
    candidate: &mut Candidate,
    mut body: RequestBody,
    exchange: &Exchange,
) -> Result<(Proven, Kept), Rejection> {
    let Stream { connection, progress } = &exchange.stream;
    let route = Arc::clone(candidate.route());
    let longest = body.length().unwrap_or(route.max_body);
    progress.end_by(Some(Instant::now() + connection.limits.body_timeout + Duration::from_secs(longest / SLOWEST)));
    body.limit(route.max_body);
    let mut verifier = candidate.verifier();
    let mut keeper = Keeper::new(Arc::clone(&connection.worker.shared.spool));
    let is_wanted = match route.action {
        Action::Forward(_) => true,
        Action::Respond(_) | Action::Redirect(_) => false,
    };
    let reading = async {
        while let Some(piece) = body.next().await {
            verifier.update(&piece);
            if is_wanted {
                keeper.keep(&piece).await?;
            }
        }
        match progress.body_failure() {
            Some(BodyFailure::TooLarge) => Err(Rejection::BodyTooLarge),
            Some(BodyFailure::Broken | BodyFailure::Lost) => Err(Rejection::BodyBroken),
            None => Ok(()),
        }
    };
    progress.unless_expired(pin!(reading)).await.map_err(|_| Rejection::BodyStalled)??;
    let proven = verifier.finish(connection.worker.shared.wall.time())?;
    let kept = progress.unless_expired(pin!(keeper.finish())).await.map_err(|_| Rejection::BodyStalled)??;
    progress.end_by(None);
    Ok((proven, kept))
}

/// Bytes a second that a body must come at, besides a first `body_timeout`: what waits to be verified takes room from
/// others, and strangers may send it.
const SLOWEST: u64 = 64 * 1024;

/// Tells the length of a body that is known by now.
pub(crate) fn tell_length(headers: &mut HeaderMap, length: u64) {
    let was_coded = headers.remove(TRANSFER_ENCODING).is_some();
    if length > 0 || was_coded || headers.contains_key(CONTENT_LENGTH) {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

/// Whether the signature of a request that is refused for its address is to be looked at: it claims one that could be
/// good, and its body is short and on its way.
pub(crate) fn is_doubtful(facts: &Facts<'_>, route: &Route, body: &RequestBody, times: &Times<'_>) -> bool {
    let Entry::Rules(rules) = &route.entry else { return false };
    let (Some(signed), Some(from)) = (&rules.signed, &rules.from) else { return false };
    facts.length.is_some_and(|length| length <= SHORT.min(route.max_body))
        // One that was taken out on purpose is no surprise.
        && matches!(from.from.list(facts.client), Listing::NotListed)
        // Asking for the body would tell the client that somebody looks.
        && !facts.headers.contains_key(EXPECT)
        && body.can_be_discarded()
        && signed.memory().doubts.is_due(times.clock.now())
        && signed.claim(facts.headers, times.wall.time()).is_ok()
}

/// The longest body of a stranger that is looked at, in bytes.
const SHORT: u64 = 1024 * 1024;

/// How long its body may take.
const SOON: Duration = Duration::from_secs(2);

/// Looks at the signature of a request that is refused for its address: one at a time of a route, and one a second. If it
/// is good, its sender is who it says, and it is the list that is wrong.
pub(crate) async fn look_again(route: &Route, parts: &Parts, body: RequestBody, exchange: &mut Exchange) -> Rejection {
    let shared = Arc::clone(&exchange.stream.connection.worker.shared);
    let now = shared.clock.now();
    let Some(signed) = route.entry.signed() else { return Rejection::AddressNotListed };
    let Some(_looking) = signed.memory().doubts.look(now) else { return Rejection::AddressNotListed };
    let progress = &exchange.stream.progress;
    let verifying = pin!(verify(signed, parts, body, &shared.wall));
    let outcome = timeout(SOON, progress.unless_expired(verifying)).await;
    if !matches!(outcome, Ok(Ok(Ok(_)))) {
        return Rejection::AddressNotListed;
    }
    if signed.memory().doubts.may_warn(now) {
        let client = exchange.client;
        tracing::warn!(route = &*route.key, %client, "a request with a good signature was refused for its address: \
                       the list in `from` may be out of date");
    }
    Rejection::SignedNotListed
}

/// Verifies a short body without keeping it.
async fn verify(signed: &Signed, parts: &Parts, mut body: RequestBody, wall: &WallClock) -> Result<Verified, Flaw> {
    let claim = signed.claim(&parts.headers, wall.time())?;
    let mut verifier = Verifier::new(signed, &claim);
    body.limit(SHORT);
    while let Some(piece) = body.next().await {
        verifier.update(&piece);
    }
    verifier.finish(wall.time())
}

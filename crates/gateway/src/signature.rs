//! Signatures of bodies: what a request claims (`claim.rs`), whether it is true, and which deliveries were let in before
//! (`deliveries.rs`).
//!
//! A body is verified as it streams, by one HMAC for each secret that is good. Nothing here does I/O.

mod claim;
mod deliveries;
mod doubts;

pub use claim::claim_is_bounded;
pub(crate) use claim::{Claim, Flaw};
pub(crate) use deliveries::{Deliveries, Delivery, DeliveryKey, NotRemembered};
pub(crate) use doubts::Doubts;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, SHA256, digest};
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use gatepost_config::model::{self, Model, Replay, Scheme};
use gatepost_meter::Nanos;
use http::HeaderMap;

/// How the bodies of a route are signed, ready to verify them.
#[derive(Debug)]
pub(crate) struct Signed {
    scheme: Scheme,
    keys: Box<[Key]>,
    tolerance: Duration,
    /// Whether a delivery that was let in before is refused.
    replay: Replay,
    memory: Arc<Memory>,
}

/// What a route remembers of its signed requests, across reloads.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) deliveries: Deliveries,
    pub(crate) doubts: Doubts,
}

/// HMAC-SHA-256.
pub(crate) type Tag = [u8; 32];

impl Signed {
    pub(crate) fn new(written: &model::Signed, memory: Arc<Memory>) -> Self {
        Self {
            scheme: written.scheme.clone(),
            keys: written.secrets.iter().map(|secret| Key::new(HMAC_SHA256, secret.reveal())).collect(),
            tolerance: written.tolerance,
            replay: written.replay,
            memory,
        }
    }

    /// What a request with these headers, that came at `now`, claims of its signature.
    ///
    /// # Errors
    /// It claims none, or none that could be true.
    pub(crate) fn claim(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claim, Flaw> {
        let claim = Claim::read(&self.scheme, headers)?;
        self.rest_of(&claim, now).map(|_| claim)
    }

    /// For how long from `now` the claim can be made: as long as its time is within the tolerance, if it has one.
    fn rest_of(&self, claim: &Claim, now: SystemTime) -> Result<Duration, Flaw> {
        let Some(signed_at) = claim.time else { return Ok(self.tolerance) };
        let (now, signed_at) = (now.duration_since(UNIX_EPOCH).unwrap_or_default(), Duration::from_secs(signed_at));
        if signed_at > now + self.tolerance {
            return Err(Flaw::TooNew);
        }
        (signed_at + self.tolerance).checked_sub(now).ok_or(Flaw::TooOld)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }
}

/// What is to be told of secrets that can be used: that one is so short that it might be guessed.
#[must_use]
pub fn doubtful_secrets(model: &Model) -> Vec<String> {
    let routes = model.apis.iter().flat_map(|api| &api.routes);
    let of_routes = routes.filter_map(|route| Some((&route.key, route.entry.rules()?.signed.as_deref()?)));
    let of_callers = model.callers.iter().filter_map(|caller| Some((&caller.name, caller.signed.as_deref()?)));
    of_routes
        .chain(of_callers)
        .flat_map(|(whose, signed)| signed.secrets.iter().map(move |secret| (whose, secret)))
        .filter(|(_, secret)| secret.reveal().len() < SHORT)
        .map(|(whose, secret)| {
            format!("the secret of `{whose}`, {secret}, is short: whoever sees a delivery can try to guess it")
        })
        .collect()
}

/// Fewer bytes than this can be guessed, if they are words (RFC 2104, 3, asks for twice as many).
const SHORT: usize = 16;

/// A body being verified.
pub(crate) struct Verifier<'s> {
    signed: &'s Signed,
    claim: &'s Claim,
    contexts: Vec<Context>,
    /// What is signed, where a delivery is known by that.
    content: Option<digest::Context>,
}

/// Proof that a body was signed with a secret that is good. Only [`Verifier::finish`] makes one.
#[derive(Debug)]
pub(crate) struct Verified {
    /// What the delivery is known by, where that matters.
    keys: Vec<DeliveryKey>,
    /// How long to remember it.
    rest: Duration,
    memory: Arc<Memory>,
}

impl<'s> Verifier<'s> {
    pub(crate) fn new(signed: &'s Signed, claim: &'s Claim) -> Self {
        let is_known_by_content = match signed.scheme {
            Scheme::Stripe | Scheme::Slack => signed.replay == Replay::Refuse,
            Scheme::StandardWebhooks | Scheme::Github | Scheme::HmacSha256 { .. } => false,
        };
        let contexts = signed.keys.iter().map(Context::with_key).collect();
        let content = is_known_by_content.then(|| digest::Context::new(&SHA256));
        let mut verifier = Self { signed, claim, contexts, content };
        verifier.update(&claim.before);
        verifier
    }

    /// Takes in the next piece of the body.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        for context in &mut self.contexts {
            context.update(piece);
        }
        if let Some(content) = &mut self.content {
            content.update(piece);
        }
    }

    /// The body has ended at `now`. Every signature is compared with every HMAC, in constant time.
    ///
    /// # Errors
    /// None is good; or its time is over by now, and it could have been let in and forgotten meanwhile.
    pub(crate) fn finish(self, now: SystemTime) -> Result<Verified, Flaw> {
        let Self { signed, claim, contexts, content } = self;
        let mut matched = None;
        for context in contexts {
            let mut tag = Tag::default();
            tag.copy_from_slice(context.sign().as_ref());
            for signature in &claim.signatures {
                if verify_slices_are_equal(signature, &tag).is_ok() {
                    matched = Some(tag);
                }
            }
        }
        let matched = matched.ok_or(Flaw::Wrong)?;
        let (keys, rest) = match signed.replay {
            Replay::Allow => (Vec::new(), Duration::ZERO),
            Replay::Refuse => (known_by(&signed.scheme, claim, matched, content), signed.rest_of(claim, now)?),
        };
        Ok(Verified { keys, rest, memory: Arc::clone(&signed.memory) })
    }
}

/// What a delivery is known by. Each is enough to refuse it.
///
/// - Standard Webhooks: its id, which is signed, and stays the same when the sender tries again.
/// - Stripe and Slack: what is signed, time included. Not by its signature: who has a delivery with the signatures of two
///   secrets could send it once with each.
/// - GitHub and HMAC in a header: the signature, and the id if it has one. Whoever has seen a delivery can write another id
///   beside it, so the id alone protects from nothing; and the same body signed with another secret is another delivery.
fn known_by(scheme: &Scheme, claim: &Claim, matched: Tag, content: Option<digest::Context>) -> Vec<DeliveryKey> {
    let id = claim.id.as_ref().map(|id| key_of(b'i', id.as_bytes()));
    match scheme {
        Scheme::StandardWebhooks => id.into_iter().collect(),
        Scheme::Stripe | Scheme::Slack => {
            content.map(|content| key_of(b'c', content.finish().as_ref())).into_iter().collect()
        }
        Scheme::Github | Scheme::HmacSha256 { .. } => {
            [Some(key_of(b't', &matched)), id].into_iter().flatten().collect()
        }
    }
}

fn key_of(kind: u8, bytes: &[u8]) -> DeliveryKey {
    let digest = digest(&SHA256, &[&[kind], bytes].concat());
    let mut key = DeliveryKey::default();
    let length = key.len();
    key.copy_from_slice(&digest.as_ref()[..length]);
    key
}

impl Verified {
    /// Remembers the delivery, unless there is nothing to remember: from now on it is refused.
    ///
    /// # Errors
    /// It was let in before; or so many others were that it cannot be remembered.
    pub(crate) fn remember(self, now: Nanos) -> Result<Option<Delivery>, NotRemembered> {
        /// Longer than any rounding of times.
        const MARGIN: Duration = Duration::from_secs(1);
        if self.keys.is_empty() {
            return Ok(None);
        }
        let lasts = u64::try_from((self.rest + MARGIN).as_nanos()).unwrap_or(u64::MAX);
        let until = Nanos(now.0.saturating_add(lasts));
        Delivery::remember(self.memory, self.keys, until, now).map(Some)
    }
}

#[cfg(test)]
mod tests;

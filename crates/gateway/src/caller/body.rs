//! What only the body of a request proves: signatures of the whole request, and of the body alone.

use std::sync::Arc;
use std::time::SystemTime;

use gatepost_config::model::ProofKind;
use gatepost_sigv4::BodyCheck;

use crate::caller::{Caller, CredentialFlaw};
use crate::rejection::Rejection;
use crate::signature::{Claim, Flaw, Signed, Verified, Verifier};

/// What is claimed of a body. Everything that is there must be true.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// Its signature by whoever the route believes.
    pub(crate) delivery: Option<Box<Claim>>,
    /// The signature of the whole request.
    pub(crate) sigv4: Option<Box<BodyCheck>>,
    /// Callers who may have signed it: one of them has. None: nobody claims to have.
    pub(crate) signers: Vec<Signer>,
}

/// Somebody who may have signed a body.
#[derive(Debug)]
pub(crate) struct Signer {
    pub(crate) caller: Arc<Caller>,
    pub(crate) claim: Claim,
}

impl Claims {
    /// Whether it is all known already.
    pub(crate) fn is_empty(&self) -> bool {
        self.delivery.is_none() && !self.decide_who()
    }

    /// Whether they tell who it is from.
    pub(crate) fn decide_who(&self) -> bool {
        self.sigv4.is_some() || !self.signers.is_empty()
    }

    /// What verifies them. `signed` is how the route wants bodies signed, `claimed` whose the request claims to be.
    pub(crate) fn verifier<'c>(
        &'c mut self,
        signed: Option<&'c Signed>,
        claimed: Option<&'c Arc<Caller>>,
    ) -> BodyVerifier<'c> {
        let Self { delivery, sigv4, signers } = self;
        let of_signer = |signer: &'c Signer| {
            let signed = signer.caller.signed.as_deref()?;
            Some((&signer.caller, Verifier::new(signed, &signer.claim)))
        };
        BodyVerifier {
            has_delivery: delivery.is_some(),
            delivery: signed.zip(delivery.as_deref()).map(|(signed, claim)| Verifier::new(signed, claim)),
            sigv4: sigv4.take(),
            has_signers: !signers.is_empty(),
            signers: signers.iter().filter_map(of_signer).collect(),
            claimed,
        }
    }
}

/// A body being verified.
pub(crate) struct BodyVerifier<'c> {
    has_delivery: bool,
    delivery: Option<Verifier<'c>>,
    sigv4: Option<Box<BodyCheck>>,
    has_signers: bool,
    signers: Vec<(&'c Arc<Caller>, Verifier<'c>)>,
    claimed: Option<&'c Arc<Caller>>,
}

/// Proof that everything that was claimed of a body is true. Only [`BodyVerifier::finish`] makes one.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) delivery: Option<Verified>,
    /// Who signed it.
    pub(crate) signer: Option<(Arc<Caller>, Verified)>,
}

impl BodyVerifier<'_> {
    /// Takes in the next piece of the body.
    pub(crate) fn update(&mut self, piece: &[u8]) {
        let signers = self.signers.iter_mut().map(|(_, verifier)| verifier);
        signers.chain(&mut self.delivery).for_each(|verifier| verifier.update(piece));
        if let Some(check) = &mut self.sigv4 {
            check.update(piece);
        }
    }

    /// The body has ended at `now`.
    ///
    /// # Errors
    /// Something that was claimed is not true: who it is from is told before all else.
    pub(crate) fn finish(self, now: SystemTime) -> Result<Proven, Rejection> {
        let Self { has_delivery, delivery, sigv4, has_signers, signers, claimed } = self;
        if let Some(check) = sigv4 {
            check.finish().map_err(|error| Rejection::bad_credentials(ProofKind::SigV4, error.into(), claimed))?;
        }
        let mut flaw = Flaw::Wrong;
        let mut found = None;
        for (caller, verifier) in signers {
            match verifier.finish(now) {
                Ok(verified) => found = found.or(Some((Arc::clone(caller), verified))),
                Err(other) => flaw = other,
            }
        }
        if has_signers && found.is_none() {
            return Err(Rejection::bad_credentials(ProofKind::Signed, CredentialFlaw::Signed(flaw), claimed));
        }
        let delivery = delivery.map(|verifier| verifier.finish(now).map_err(Rejection::BadSignature)).transpose()?;
        if has_delivery && delivery.is_none() {
            // Only a route that asks for signatures has claims to one.
            return Err(Rejection::Unsigned);
        }
        Ok(Proven { delivery, signer: found })
    }
}

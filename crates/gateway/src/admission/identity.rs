//! Who a request is from.
//!
//! A request gives proofs, each of which stands for a caller. Those count that some caller whom the route lets in could
//! give, or that the route asks for; all that are given must be good, and stand for one and the same. What the body must
//! still prove is only claimed until then (`caller/body.rs`).

use std::net::IpAddr;
use std::sync::Arc;

use gatepost_config::model::{KeyHash, ProofKind};
use gatepost_sigv4::SignatureError;

use super::Meters;
use super::shared::Entrant;
use crate::caller::proof::{Signature, given, key_owner, token_owner};
use crate::caller::{Caller, Claims, CredentialFlaw, ProofKinds, Signer};
use crate::rejection::Rejection;
use crate::request::{Assumed, Facts};
use crate::signature::Flaw;
use crate::snapshot::{CallerRule, Listing, Route};
use crate::token::TokenFlaw;
use crate::trace::{NoTrace, Note, Notes, Trace};

/// Who a request is from, as far as its head tells.
#[derive(Debug, Default)]
pub(super) struct Identity {
    /// Whose it is, or claims to be.
    pub(super) caller: Option<Arc<Caller>>,
    /// How that is proven, or is to be by the body.
    pub(super) proofs: ProofKinds,
    /// The API key that it came with.
    pub(super) key: Option<KeyHash>,
    /// What it has shown besides, and does not prove who it is.
    pub(super) shown: ProofKinds,
    /// What the body must prove.
    pub(super) claims: Claims,
    /// Why it is refused if the body proves that.
    pub(super) doubt: Option<Box<Doubt>>,
}

/// What is wrong with a proof that only the body completes. It is told when that is complete: somebody else may have
/// forged it.
#[derive(Debug)]
pub(super) struct Doubt {
    notes: Notes,
    rejection: Rejection,
}

impl Doubt {
    pub(super) fn tell(self, trace: &mut impl Trace) -> Rejection {
        self.notes.into_iter().for_each(|note| trace.note(|| note));
        self.rejection
    }
}

/// What is asked of a request to a route for callers.
pub(super) struct Asking<'a, 'r> {
    facts: &'a Facts<'r>,
    route: &'a Route,
    rule: &'a CallerRule,
    /// Whose time counts.
    meters: Meters<'a>,
    /// What its head gives.
    given: ProofKinds,
    /// Who is taken to call, and what that one is taken to give besides.
    assumed: Option<(&'a Arc<Caller>, ProofKinds)>,
}

impl Identity {
    /// Whether all of it is known, and nothing only claimed.
    pub(super) fn is_proven(&self) -> bool {
        !self.claims.decide_who()
    }

    /// Whose it is, if that is proven.
    pub(super) fn known(&self) -> Option<&Caller> {
        self.caller.as_deref().filter(|_| self.is_proven())
    }

    /// Whose it is, for meters.
    pub(super) fn entrant(self) -> Entrant {
        let Self { caller, proofs, shown, key, .. } = self;
        Entrant { caller, proofs: proofs.and(shown), key }
    }

    /// Who signed the request, or claims to have, as AWS knows callers.
    pub(super) fn signed_in(&self) -> Option<&Arc<Caller>> {
        self.caller.as_ref().filter(|_| self.proofs.has(ProofKind::SigV4))
    }

    /// One more proof. All must stand for one.
    fn agree(
        &mut self,
        caller: &Arc<Caller>,
        kind: ProofKind,
        client: IpAddr,
        trace: &mut impl Trace,
    ) -> Result<(), Rejection> {
        match &self.caller {
            Some(known) if known.number == caller.number => {}
            Some(_) => {
                trace.note(|| Note::ProofsDisagree { kind, caller: caller.number });
                return Err(Rejection::ProofsDisagree);
            }
            None => {
                be_here(caller, kind, client, trace)?;
                self.caller = Some(Arc::clone(caller));
            }
        }
        self.proofs = self.proofs.and(ProofKinds::of(kind));
        Ok(())
    }

    /// One more proof, which the body must complete.
    fn agree_in_time(&mut self, caller: &Arc<Caller>, kind: ProofKind, client: IpAddr, trace: &mut impl Trace) {
        let mut notes = Notes::new();
        match self.agree(caller, kind, client, &mut notes) {
            Ok(()) => notes.into_iter().for_each(|note| trace.note(|| note)),
            Err(rejection) => self.doubt = Some(Box::new(Doubt { notes, rejection })),
        }
    }
}

impl<'a, 'r> Asking<'a, 'r> {
    pub(super) fn new(facts: &'a Facts<'r>, route: &'a Route, rule: &'a CallerRule, meters: Meters<'a>) -> Self {
        let given = given(facts, rule.kinds);
        let assumed = match facts.assumed {
            Assumed::Nobody | Assumed::Somebody => None,
            Assumed::Caller(name) => rule.known.named(name).map(|caller| (caller, rule.proofs_of(caller))),
        };
        Self { facts, route, rule, meters, given, assumed }
    }

    /// Who it is from, by everything that its head gives.
    ///
    /// # Errors
    /// Something is missing, or not good, or stands for another.
    pub(super) fn identify(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        self.require(ProofKinds::ALL, trace)?;
        self.key(identity, trace)?;
        self.signature(identity, trace)?;
        if identity.doubt.is_some() {
            return Ok(());
        }
        self.token(identity, trace)?;
        self.assumption(identity, ProofKinds::ALL, trace)?;
        self.signers(identity, trace)?;
        self.conclude(identity, trace)
    }

    /// What comes before policies where AWS is imitated: who signed the request (`AWS_IAM`).
    ///
    /// # Errors
    /// As of [`Asking::identify`].
    pub(super) fn sign_in(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        self.require(ProofKinds::BY_AUTHORIZATION, trace)?;
        self.signature(identity, trace)?;
        self.token(identity, trace)?;
        self.assumption(identity, ProofKinds::BY_AUTHORIZATION, trace)
    }

    /// What comes after them: keys, and what else proves who it is.
    ///
    /// # Errors
    /// As of [`Asking::identify`]; or it is not one whom the route lets in.
    pub(super) fn check_in(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        self.require(ProofKinds::ALL, trace)?;
        self.key(identity, trace)?;
        self.assumption(identity, ProofKinds::ALL.without(ProofKinds::BY_AUTHORIZATION), trace)?;
        self.signers(identity, trace)?;
        self.conclude(identity, trace)
    }

    /// What was given may all have been no proof.
    fn conclude(&self, identity: &Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        let is_nobodys = identity.proofs.is_empty() && identity.doubt.is_none();
        if is_nobodys { Err(self.missing(self.rule.kinds, trace)) } else { Ok(()) }
    }

    /// Whether what is asked for is there, of these kinds. Whether the body is signed is not known here.
    fn require(&self, kinds: ProofKinds, trace: &mut impl Trace) -> Result<(), Rejection> {
        let there = self.given.and(self.assumed.map_or(ProofKinds::NONE, |(_, proofs)| proofs));
        let lacking = self.rule.asked().within(kinds).without(there).without(ProofKinds::of(ProofKind::Signed));
        let could_be = self.rule.kinds;
        let by_body_or_later = could_be.has(ProofKind::Signed) || could_be.within(kinds).is_empty();
        if !lacking.is_empty() {
            Err(self.missing(lacking, trace))
        } else if self.rule.proof.is_empty() && there.is_empty() && !by_body_or_later {
            Err(self.missing(could_be, trace))
        } else {
            Ok(())
        }
    }

    /// AWS reads the header `Authorization` before it finds that it is none for it.
    fn missing(&self, kinds: ProofKinds, trace: &mut impl Trace) -> Rejection {
        if self.route.api.compat.is_some() && kinds.has(ProofKind::SigV4) && !self.rule.kinds.has(ProofKind::Jwt) {
            match Signature::read(self.facts, &self.route.api.region, &self.rule.known, self.meters.time()) {
                Err(CredentialFlaw::SigV4(error)) if !matches!(*error, SignatureError::MissingToken) => {
                    return bad(ProofKind::SigV4, CredentialFlaw::SigV4(error), None, trace);
                }
                Ok(_) | Err(_) => {}
            }
        }
        trace.note(|| Note::ProofMissing(kinds));
        Rejection::CredentialsMissing { kinds }
    }

    fn key(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        if !self.given.has(ProofKind::Key) {
            return Ok(());
        }
        let found = key_owner(self.facts.headers, &self.rule.known);
        let (owner, key) = found.map_err(|flaw| bad(ProofKind::Key, flaw, None, trace))?;
        identity.agree(owner, ProofKind::Key, self.facts.client, trace)?;
        identity.key = Some(key);
        trace.note(|| Note::Proof { kind: ProofKind::Key, caller: owner.number });
        Ok(())
    }

    fn signature(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        const KIND: ProofKind = ProofKind::SigV4;
        if !self.given.has(KIND) {
            return Ok(());
        }
        let (facts, api) = (self.facts, &self.route.api);
        if api.compat.is_none() && facts.received.path.contains("//") {
            return Err(bad(KIND, CredentialFlaw::EmptySegment, None, trace));
        }
        let signature = Signature::read(facts, &api.region, &self.rule.known, self.meters.time());
        let signature = signature.map_err(|flaw| bad(KIND, flaw, None, trace))?;
        let caller = signature.caller;
        let check = signature.verify(facts.length).map_err(|flaw| {
            // Elsewhere even its access key is not known.
            let is_known = be_here(caller, KIND, facts.client, &mut NoTrace).is_ok();
            let flaw = if is_known { flaw } else { SignatureError::UnknownCredentials.into() };
            bad(KIND, flaw, Some(caller), trace)
        })?;
        match check {
            Some(check) => {
                identity.agree_in_time(caller, KIND, facts.client, trace);
                trace.note(|| Note::Claimed { kind: KIND, caller: caller.number });
                identity.claims.sigv4 = Some(Box::new(check));
            }
            None => {
                identity.agree(caller, KIND, facts.client, trace)?;
                trace.note(|| Note::Proof { kind: KIND, caller: caller.number });
            }
        }
        Ok(())
    }

    fn token(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        const KIND: ProofKind = ProofKind::Jwt;
        if !self.given.has(KIND) {
            return Ok(());
        }
        let owner = match token_owner(self.facts.headers, &self.rule.known, self.meters.time()) {
            Ok(owner) => owner,
            // It is good for the route, and nobody's.
            Err(_) if self.is_for_the_route() => return Ok(()),
            Err(CredentialFlaw::Token(TokenFlaw::KeysUnknown)) => {
                trace.note(|| Note::BadProof(KIND));
                let keyring = self.route.entry.keyring_for(self.facts.headers);
                let whose = keyring.map_or_else(|| "its issuer".into(), |keyring| Arc::clone(keyring.issuer()));
                return Err(Rejection::KeysUnknown { whose });
            }
            Err(flaw) => return Err(bad(KIND, flaw, None, trace)),
        };
        identity.agree(owner, KIND, self.facts.client, trace)?;
        trace.note(|| Note::Proof { kind: KIND, caller: owner.number });
        Ok(())
    }

    /// Whether a token is asked for whoever it is about, and not as a proof of that.
    fn is_for_the_route(&self) -> bool {
        let asks = self.route.entry.rules().is_some_and(|rules| rules.token.is_some());
        asks && !self.rule.asked().has(ProofKind::Jwt)
    }

    fn assumption(&self, identity: &mut Identity, kinds: ProofKinds, trace: &mut impl Trace) -> Result<(), Rejection> {
        let Some((caller, proofs)) = self.assumed else { return Ok(()) };
        for kind in ProofKind::ALL.into_iter().filter(|kind| proofs.within(kinds).has(*kind)) {
            let is_given = self.given.has(kind);
            identity.agree(caller, kind, self.facts.client, trace)?;
            if !is_given {
                trace.note(|| Note::Assumed { kind, caller: caller.number });
            }
        }
        Ok(())
    }

    /// Who may have signed the body.
    fn signers(&self, identity: &mut Identity, trace: &mut impl Trace) -> Result<(), Rejection> {
        const KIND: ProofKind = ProofKind::Signed;
        if !self.rule.kinds.has(KIND) || identity.proofs.has(KIND) {
            return Ok(());
        }
        let now = self.meters.time();
        let mut flaw = Flaw::Missing;
        let mut signers = Vec::new();
        for caller in self.rule.signers.iter().filter_map(|number| self.rule.known.numbered(*number)) {
            let Some(signed) = &caller.signed else { continue };
            match signed.claim(self.facts.headers, now) {
                Ok(claim) => signers.push(Signer { caller: Arc::clone(caller), claim }),
                Err(Flaw::Missing) => {}
                Err(other) => flaw = other,
            }
        }
        match (signers.is_empty(), flaw) {
            (true, Flaw::Missing) if self.rule.asked().has(KIND) => Err(self.missing(ProofKinds::of(KIND), trace)),
            (true, Flaw::Missing) if identity.proofs.is_empty() => Err(self.missing(self.rule.kinds, trace)),
            (true, Flaw::Missing) => Ok(()),
            (true, flaw) => Err(bad(KIND, CredentialFlaw::Signed(flaw), identity.caller.as_ref(), trace)),
            (false, _) => {
                Self::await_body(identity, signers, trace);
                Ok(())
            }
        }
    }

    /// Who is known by another proof is the only one who may have signed it.
    fn await_body(identity: &mut Identity, mut signers: Vec<Signer>, trace: &mut impl Trace) {
        const KIND: ProofKind = ProofKind::Signed;
        if let (Some(known), [other, ..]) = (&identity.caller, &signers[..]) {
            if signers.iter().any(|signer| signer.caller.number == known.number) {
                signers.retain(|signer| signer.caller.number == known.number);
            } else {
                let notes = Notes::from_iter([Note::ProofsDisagree { kind: KIND, caller: other.caller.number }]);
                identity.doubt = Some(Box::new(Doubt { notes, rejection: Rejection::ProofsDisagree }));
            }
        }
        trace.note(|| match &signers[..] {
            [only] => Note::Claimed { kind: KIND, caller: only.caller.number },
            _ => Note::Signers,
        });
        identity.proofs = identity.proofs.and(ProofKinds::of(KIND));
        identity.claims.signers = signers;
    }
}

/// Whether the route lets in who has proven to be this caller.
///
/// # Errors
/// It does not.
pub(super) fn let_in(
    rule: &CallerRule,
    caller: &Caller,
    proofs: ProofKinds,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let listed = rule.lets_in(caller);
    trace.note(|| Note::Caller { caller: caller.number, proofs, listed });
    if listed { Ok(()) } else { Err(Rejection::CallerNotListed { caller: Arc::clone(&caller.written.name) }) }
}

/// Whether the proofs of a caller are worth anything from where the client is.
///
/// # Errors
/// They are not, or nobody knows.
pub(super) fn be_here(
    caller: &Caller,
    kind: ProofKind,
    client: IpAddr,
    trace: &mut impl Trace,
) -> Result<(), Rejection> {
    let Some(from) = &caller.from else { return Ok(()) };
    let listing = from.list(client);
    trace.note(|| Note::CallerFrom { caller: caller.number, listed: listing.known() });
    match listing {
        Listing::Listed => Ok(()),
        Listing::NotListed => Err(Rejection::CallerElsewhere { caller: Arc::clone(&caller.written.name), kind }),
        Listing::Unknown(set) => Err(Rejection::AddressesUnknown { set: Arc::clone(set.name()) }),
    }
}

fn bad(kind: ProofKind, flaw: CredentialFlaw, claimed: Option<&Arc<Caller>>, trace: &mut impl Trace) -> Rejection {
    trace.note(|| Note::BadProof(kind));
    Rejection::bad_credentials(kind, flaw, claimed)
}

//! Callers: who is known, and what each has of limits that are its own.

mod access;
mod account;
mod body;
mod budget;
mod flaw;
mod kinds;
mod meters;
pub(crate) mod proof;
mod table;
mod usage;

pub(crate) use self::access::Access;
pub(crate) use self::account::{Account, Books, Reserved, law_of_budget, law_of_quota};
pub(crate) use self::body::{BodyVerifier, Claims, Proven, Signer};
pub(crate) use self::budget::{AHEAD, Budget, Prepaid, Spending, Spent};
pub(crate) use self::flaw::CredentialFlaw;
pub(crate) use self::kinds::ProofKinds;
pub(crate) use self::meters::{AtRoute, CallerBucket, CallerMeters, CallerRoute, PlanBucket, State, laws_at};
pub(crate) use self::usage::{Counter, Tally};
pub use self::usage::{KeyUse, NoUsageSink, UsageBatch, UsageDelta, UsageSink};

use std::sync::Arc;

use gatepost_config::model::{self, KeyHash, ProofKind, TokenRule, TokenSubject};

use crate::caller::table::{Table, check_of_hash, check_of_text};
use crate::signature::Signed;
use crate::snapshot::Addresses;
use crate::token::{Keyring, Verified};

/// All who are known, as one snapshot knows them. To find one of a million takes about as long as one of ten.
#[derive(Debug, Default)]
pub(crate) struct Callers {
    /// By number: in the order of their names.
    all: Box<[Arc<Caller>]>,
    /// Keys, and the numbers of those who have them. Beside each other, so that finding one looks at few places.
    keys: Box<[(KeyHash, u32)]>,
    /// Places among them.
    by_key: Table,
    /// The numbers of those who have them.
    by_access_key: Table,
    by_subject: Table,
    /// The keys of those who issue their tokens.
    pub(crate) keyrings: Arc<[Arc<Keyring>]>,
    /// How some of them prove who they are.
    pub(crate) kinds: ProofKinds,
    /// Those who sign bodies, by number, in order.
    pub(crate) signers: Arc<[u32]>,
    /// Whether some have a policy of their own.
    pub(crate) have_policies: bool,
}

/// Somebody who is known.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Its place among those of the model.
    pub(crate) number: u32,
    /// As it was written.
    pub(crate) written: Arc<model::Caller>,
    /// Where its proofs are good from; absent: anywhere.
    pub(crate) from: Option<Addresses>,
    /// Its access keys for Signature Version 4.
    pub(crate) access: Box<[Arc<Access>]>,
    /// How it signs bodies.
    pub(crate) signed: Option<Box<Signed>>,
    /// What it has of its limits, across reloads.
    pub(crate) meters: Arc<CallerMeters>,
}

impl Callers {
    /// They come in the order of their names, and that of their numbers.
    pub(crate) fn new(all: Vec<Arc<Caller>>, keyrings: Arc<[Arc<Keyring>]>) -> Self {
        let keys = all.iter().flat_map(|caller| caller.written.keys.iter().map(|key| (*key, caller.number)));
        let keys: Box<[(KeyHash, u32)]> = keys.collect();
        let mut by_key = Table::with_room_for(keys.len());
        (0..).zip(keys.iter()).for_each(|(place, (KeyHash(hash), _))| by_key.add(check_of_hash(hash), place));
        let mut by_access_key = Table::with_room_for(all.iter().map(|caller| caller.access.len()).sum());
        let mut by_subject = Table::with_room_for(all.iter().filter(|caller| caller.written.token.is_some()).count());
        let mut kinds = ProofKinds::NONE;
        for caller in &all {
            caller.access.iter().for_each(|access| by_access_key.add(check_of_text(access.id()), caller.number));
            caller.written.token.iter().for_each(|token| by_subject.add(check_of_text(&token.subject), caller.number));
            kinds = kinds.and(caller.kinds());
        }
        Self {
            keys,
            by_key,
            by_access_key,
            by_subject,
            keyrings,
            kinds,
            signers: all.iter().filter(|caller| caller.signed.is_some()).map(|caller| caller.number).collect(),
            have_policies: all.iter().any(|caller| caller.written.policy.is_some()),
            all: all.into(),
        }
    }

    /// All, by number.
    pub(crate) fn all(&self) -> &[Arc<Caller>] {
        &self.all
    }

    /// The one of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&Arc<Caller>> {
        let place = self.all.binary_search_by(|caller| (*caller.written.name).cmp(name)).ok()?;
        self.all.get(place)
    }

    /// The one with this number.
    pub(crate) fn numbered(&self, number: u32) -> Option<&Arc<Caller>> {
        self.all.get(number as usize)
    }

    /// The one with an API key of this SHA-256.
    pub(crate) fn with_key(&self, hash: &[u8; 32]) -> Option<&Arc<Caller>> {
        let at = |place: u32| self.keys.get(place as usize);
        let place = self.by_key.find(check_of_hash(hash), |place| at(place).is_some_and(|(key, _)| key.0 == *hash));
        self.numbered(at(place?)?.1)
    }

    /// The one with the access key of this id, and that.
    pub(crate) fn with_access_key(&self, id: &str) -> Option<(&Arc<Caller>, &Access)> {
        let find = |number| {
            let caller = self.numbered(number)?;
            caller.access.iter().find(|access| access.id() == id).map(|access| (caller, &**access))
        };
        find(self.by_access_key.find(check_of_text(id), |number| find(number).is_some())?)
    }
}

impl Callers {
    /// The one whom a token stands for, by its issuer and its subject, and which tokens are good of those.
    pub(crate) fn with_token(&self, verified: &Verified) -> Option<(&Arc<Caller>, &TokenRule)> {
        let subject = verified.claims.subject()?;
        let find = |number| {
            let caller = self.numbered(number)?;
            let TokenSubject { rule, subject: known } = caller.written.token.as_deref()?;
            (**known == *subject && rule.issuer == verified.issuer).then_some((caller, rule))
        };
        find(self.by_subject.find(check_of_text(subject), |number| find(number).is_some())?)
    }
}

impl Caller {
    /// How it can prove who it is.
    pub(crate) fn kinds(&self) -> ProofKinds {
        ProofKind::ALL.into_iter().filter(|kind| self.written.has(*kind)).collect()
    }
}

#[cfg(test)]
mod tests;

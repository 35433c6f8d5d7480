//! Who calls: callers, how they prove who they are, and how much they may call.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::Arc;

use gatepost_iam::Principal;

use crate::diagnostic::Place;
use crate::model::{AddressEntry, PolicyDocument, Signed, Throttle};
use crate::secret::Secret;

/// `[caller.…]`: somebody who is known.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Its name.
    pub name: Arc<str>,
    /// How much it may call; absent: as much as routes let it.
    pub plan: Option<Arc<Plan>>,
    /// Where its proofs are good from; absent: anywhere.
    pub from: Option<Box<[AddressEntry]>>,
    /// The hashes of its API keys.
    pub keys: Box<[KeyHash]>,
    /// Its access keys for Signature Version 4.
    pub access_keys: Box<[AccessKey]>,
    /// The tokens that stand for it.
    pub token: Option<Box<TokenSubject>>,
    /// How it signs bodies.
    pub signed: Option<Arc<Signed>>,
    /// What it may call, as IAM says it of an identity; absent: whatever routes let it.
    pub policy: Option<Arc<PolicyDocument>>,
    /// What policies call it.
    pub arn: CallerArn,
    /// How many of its requests may be under way at once.
    pub parallel: Option<NonZeroUsize>,
    /// What its requests may cost.
    pub budget: Option<Box<Budget>>,
    /// Where it was written.
    pub place: Place,
}

/// The SHA-256 of an API key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// An access key and its secret, for Signature Version 4.
#[derive(Debug, Clone, PartialEq)]
pub struct AccessKey {
    /// Its id: `AKIA…`, or `ASIA…` of temporary credentials. No two callers have the same.
    pub id: Box<str>,
    /// The secret access key.
    pub secret: Secret,
    /// The session token that must come with it; always there for `ASIA…`.
    pub token: Option<Secret>,
}

/// Tokens that stand for a caller: of an issuer, for an audience, about a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenSubject {
    /// Whose tokens, and for whom.
    pub rule: TokenRule,
    /// The claim `sub`.
    pub subject: Box<str>,
}

/// Which tokens are good: `jwt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TokenRule {
    /// The claim `iss`, to the byte: an `https` URL, or `http` of this machine. Its keys are looked up at
    /// `{issuer}/.well-known/openid-configuration`.
    pub issuer: Arc<str>,
    /// The claim `aud` (else `client_id`) must be or have one of these; never empty.
    pub audience: Box<[Box<str>]>,
    /// The claim `scope` or `scp` must have one of these; empty: any or none.
    pub scopes: Box<[Box<str>]>,
}

/// An ARN that policies know a caller by: of a user, a session of a role, a federated user, or the root of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerArn(Arc<str>);

/// `[plan.…]`: how much each of its callers may call.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Its name.
    pub name: Arc<str>,
    /// One bucket for each caller, for all routes that have none of their own here.
    pub throttle: Option<Throttle>,
    /// How many requests each caller has, over all routes.
    pub quota: Option<Quota>,
    /// Routes with a bucket of their own for each caller, instead of that of the plan.
    pub routes: Box<[PlanRoute]>,
    /// Where it was written.
    pub place: Place,
}

/// A route with a bucket of its own in a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRoute {
    /// The name of the API.
    pub api: Arc<str>,
    /// The key of the route.
    pub route: Arc<str>,
    /// What it promises.
    pub throttle: Throttle,
    /// Where it was written.
    pub place: Place,
}

/// So many requests in each window of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many.
    pub limit: NonZeroU64,
    /// In which windows.
    pub per: Period,
}

/// A window of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight to midnight.
    Day,
    /// From Monday's midnight to the next (ISO 8601).
    Week,
    /// From the midnight of its first day to that of the next one's.
    Month,
}

/// What requests may cost in each window of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// How much, never nothing.
    pub limit: Money,
    /// In which windows.
    pub per: Period,
    /// What an admitted request costs.
    pub per_request: Money,
    /// What 10⁹ bytes of answers cost.
    pub per_gb: Money,
    /// The currency, the same for all three: `USD`.
    pub currency: Box<str>,
    /// Where it was written.
    pub place: Place,
}

/// An amount, in billionths of its currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Money(pub u64);

/// `callers` and `proof` of a route: which callers may enter, and how they must prove who they are.
#[derive(Debug, Clone)]
pub struct CallerRule {
    /// Which.
    pub who: Who,
    /// What each must give; empty: any one proof.
    pub proof: Box<[ProofKind]>,
    /// Where `callers` was written.
    pub place: Place,
}

/// Which callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Whoever is known.
    Any,
    /// These, by name, sorted and never empty.
    Named(Box<[Arc<str>]>),
}

/// A way to prove who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProofKind {
    /// An API key.
    Key,
    /// AWS Signature Version 4.
    SigV4,
    /// A token of an issuer.
    Jwt,
    /// A signature of the body.
    Signed,
}

impl ProofKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Key, Self::SigV4, Self::Jwt, Self::Signed];

    /// As configuration and logs name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::SigV4 => "sigv4",
            Self::Jwt => "jwt",
            Self::Signed => "signed",
        }
    }
}

impl Period {
    /// As configuration and logs name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }
}

impl Caller {
    /// Whether it can prove who it is in this way.
    #[must_use]
    pub fn has(&self, kind: ProofKind) -> bool {
        match kind {
            ProofKind::Key => !self.keys.is_empty(),
            ProofKind::SigV4 => !self.access_keys.is_empty(),
            ProofKind::Jwt => self.token.is_some(),
            ProofKind::Signed => self.signed.is_some(),
        }
    }
}

impl CallerArn {
    /// Takes an ARN that names one caller.
    ///
    /// # Errors
    /// It names none, or more than one.
    pub fn new(text: &str) -> Result<Self, NoCallerArn> {
        match Principal::parse(text) {
            Ok(
                Principal::Root { .. }
                | Principal::User { .. }
                | Principal::RoleSession { .. }
                | Principal::FederatedUser { .. },
            ) => Ok(Self(text.into())),
            Ok(Principal::Anonymous | Principal::Service(_)) | Err(_) => Err(NoCallerArn),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Who that is to policies.
    #[must_use]
    pub fn principal(&self) -> Principal<'_> {
        // It was read like this when it was made.
        Principal::parse(&self.0).unwrap_or(Principal::Anonymous)
    }
}

/// A text is not the ARN of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no ARN of a user, of a role's session, of a federated user or of an account's root")]
pub struct NoCallerArn;

impl fmt::Display for KeyHash {
    /// `sha256:` and 64 hexadecimal digits, as configuration has it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Display for Money {
    /// Without more zeros than it needs: `10`, `0.0001`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if rest == 0 {
            return write!(out, "{whole}");
        }
        write!(out, "{whole}.{}", format!("{rest:09}").trim_end_matches('0'))
    }
}

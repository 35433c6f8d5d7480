//! What a token says (RFC 7519, 4.1), and whether that is what is asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use gatepost_config::model::TokenRule;
use serde::Deserialize;

use super::TokenFlaw;
use super::compact::there;

/// What a token says of itself, but not who has issued it. It was true when it was signed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Claims {
    /// `sub`: whom it is about.
    subject: Option<Box<str>>,
    /// `aud`, or `client_id`: whom it is for.
    audience: Box<[Box<str>]>,
    /// `scope` and `scp`: what it is good for.
    scopes: Box<[Box<str>]>,
    /// `exp`, in seconds since 1970.
    expires: f64,
    /// The later one of `nbf` and `iat`, if it has any.
    begins: f64,
}

/// As it is written. No member may come twice, and none may be `null`: what is there and not of its type is no claim.
#[derive(Deserialize)]
pub(super) struct Written {
    #[serde(default, deserialize_with = "there")]
    iss: Option<Box<str>>,
    #[serde(default, deserialize_with = "there")]
    sub: Option<Box<str>>,
    #[serde(default, deserialize_with = "there")]
    aud: Option<OneOrMore>,
    #[serde(default, deserialize_with = "there")]
    client_id: Option<Box<str>>,
    #[serde(default, deserialize_with = "there")]
    exp: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    iat: Option<f64>,
    #[serde(default, deserialize_with = "there")]
    scope: Option<Box<str>>,
    #[serde(default, deserialize_with = "there")]
    scp: Option<OneOrMore>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(Box<str>),
    More(Vec<Box<str>>),
}

impl Written {
    /// Who issued it, and what it says otherwise.
    ///
    /// # Errors
    /// It does not say who, or not when it is over.
    pub(super) fn into_claims(self) -> Result<(Box<str>, Claims), TokenFlaw> {
        let Self { iss, sub, aud, client_id, exp, nbf, iat, scope, scp } = self;
        let audience = match (aud, client_id) {
            (Some(OneOrMore::One(one)), _) => vec![one],
            (Some(OneOrMore::More(more)), _) => more,
            (None, client_id) => client_id.into_iter().collect(),
        };
        // Some issuers write `scp` as others write `scope`: a string with spaces.
        let scopes = match scp {
            Some(OneOrMore::More(more)) => more,
            Some(OneOrMore::One(one)) => words(&one).collect(),
            None => Vec::new(),
        };
        let scopes = scope.iter().flat_map(|scope| words(scope)).chain(scopes).collect();
        let claims = Claims {
            subject: sub,
            audience: audience.into(),
            scopes,
            expires: exp.ok_or(TokenFlaw::Malformed)?,
            begins: nbf.into_iter().chain(iat).fold(f64::NEG_INFINITY, f64::max),
        };
        Ok((iss.ok_or(TokenFlaw::Malformed)?, claims))
    }
}

fn words(text: &str) -> impl Iterator<Item = Box<str>> {
    text.split(' ').filter(|word| !word.is_empty()).map(Box::from)
}

impl Claims {
    /// Whom the token is about.
    pub(crate) fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }

    /// Whether a token that says this is good at `now` for a rule of its issuer.
    ///
    /// # Errors
    /// It is over, not good yet, for somebody else, or has no scope that is asked for: the first of these.
    pub(crate) fn satisfy(&self, rule: &TokenRule, now: SystemTime) -> Result<(), TokenFlaw> {
        self.is_good_at(now)?;
        if !self.is_for(rule) {
            return Err(TokenFlaw::WrongAudience);
        }
        let has_one = rule.scopes.iter().any(|scope| self.scopes.contains(scope));
        if rule.scopes.is_empty() || has_one { Ok(()) } else { Err(TokenFlaw::Scope) }
    }

    /// Whether it is for one of those that a rule names.
    pub(crate) fn is_for(&self, rule: &TokenRule) -> bool {
        self.audience.iter().any(|audience| rule.audience.contains(audience))
    }

    /// Whether its time has come, and is not over.
    ///
    /// # Errors
    /// [`TokenFlaw::Expired`], [`TokenFlaw::NotYet`].
    pub(crate) fn is_good_at(&self, now: SystemTime) -> Result<(), TokenFlaw> {
        // A clock before 1970 is wrong, and nothing is good by it: whatever began, began later.
        let now = now.duration_since(UNIX_EPOCH).map_err(|_| TokenFlaw::NotYet)?.as_secs_f64();
        if self.expires <= now {
            return Err(TokenFlaw::Expired);
        }
        if self.begins > now { Err(TokenFlaw::NotYet) } else { Ok(()) }
    }

    pub(super) fn expires(&self) -> f64 {
        self.expires
    }

    /// The room it takes, roughly, in bytes.
    pub(super) fn size(&self) -> usize {
        let texts = self.audience.iter().chain(&self.scopes).chain(&self.subject);
        size_of::<Self>() + texts.map(|text| size_of_val(text) + text.len()).sum::<usize>()
    }
}

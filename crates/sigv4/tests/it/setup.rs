//! Requests to take apart, and the one key that everybody signs with.

use gatepost_sigv4::{
    Credentials, Form, Known, PathForm, PayloadHash, Presented, Request, Rules, SecretKey, SessionToken,
    SignatureError, Signer,
};
use jiff::Timestamp;

pub(crate) const ACCESS_KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
pub(crate) const HOST: &str = "abcdef1234.execute-api.us-east-1.amazonaws.com";
pub(crate) const RULES: Rules<'static> = Rules {
    region: "us-east-1",
    service: "execute-api",
    path: PathForm::EscapedTwice,
    unsigned_payload: gatepost_sigv4::UnsignedPayload::Refuse,
    unsigned_amz_headers: gatepost_sigv4::UnsignedAmzHeaders::Accept,
};

/// 2026-01-15 12:00:00 UTC, when the vectors were signed, and so many seconds later.
pub(crate) fn noon_and(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_768_478_400 + seconds).unwrap()
}

pub(crate) fn secret() -> SecretKey {
    SecretKey::new(SECRET.to_owned())
}

pub(crate) fn credentials(token: Option<&str>) -> Credentials {
    Credentials {
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret: secret(),
        token: token.map(|token| SessionToken::new(token.to_owned())),
    }
}

pub(crate) fn signer(credentials: &Credentials) -> Signer<'_> {
    Signer { credentials, region: RULES.region, service: RULES.service, path: RULES.path }
}

/// A request that can be changed after it was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Sent {
    /// A request with a `Host`, `target` with its query.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Self { method: method.into(), path: path.into(), query: query.into(), headers: Vec::new(), body: Vec::new() }
            .with("Host", HOST)
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    /// With another value in place of that of `name`.
    pub(crate) fn with_instead(self, name: &str, value: &str) -> Self {
        self.without(name).with(name, value)
    }

    /// With `from` replaced in the value of `name`, where it must stand.
    pub(crate) fn replacing(mut self, name: &str, from: &str, to: &str) -> Self {
        let (_, value) = self.headers.iter_mut().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap();
        assert!(value.contains(from), "{value}");
        *value = value.replacen(from, to, 1);
        self
    }

    /// With `from` replaced in the query, where it must stand.
    pub(crate) fn replacing_in_query(mut self, from: &str, to: &str) -> Self {
        assert!(self.query.contains(from), "{}", self.query);
        self.query = self.query.replacen(from, to, 1);
        self
    }

    pub(crate) fn value(&self, name: &str) -> &str {
        &self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).unwrap().1
    }

    pub(crate) fn request(&self) -> Request<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        Request::new(&self.method, &self.path, &self.query, headers)
    }

    pub(crate) fn read(&self, rules: &Rules<'_>, now: Timestamp) -> Result<Presented, SignatureError> {
        Presented::read(&self.request(), rules, now)
    }

    /// Reads and verifies it as a server that knows the one key, and that `token` belongs to it.
    pub(crate) fn verify(
        &self,
        rules: &Rules<'_>,
        token: Option<&str>,
        now: Timestamp,
    ) -> Result<Form, SignatureError> {
        let presented = self.read(rules, now)?;
        if presented.access_key_id() != ACCESS_KEY_ID {
            return Err(SignatureError::UnknownCredentials);
        }
        let key = secret().signing_key(presented.scope().clone());
        let token = token.map(|token| SessionToken::new(token.to_owned()));
        let known = Known { key: &key, token: token.as_ref() };
        presented.verify(known, &PayloadHash::of(&self.body))?;
        Ok(presented.form())
    }
}

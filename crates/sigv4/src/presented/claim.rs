//! What a signature claims, from wherever it stands, and what is judged of that without a secret.

use super::{DEFAULT_EXPIRES, Form, LONGEST_EXPIRES, Rules, SKEW, UnsignedAmzHeaders, header_form, query_form};
use crate::canonical::{Parameters, SignedNames};
use crate::{AmzDate, Echo, Request, Scope, ScopeFault, SessionToken, SignatureError, TERMINATOR, TooEarly, TooLate};

/// The parts of a signature, present and not yet judged.
pub(super) struct Claim {
    pub(super) form: Form,
    pub(super) credential: String,
    pub(super) signed_headers: String,
    pub(super) signature: String,
    pub(super) date: DateText,
    /// `X-Amz-Expires`, which only the query has.
    pub(super) expires: Option<String>,
    pub(super) token: Option<SessionToken>,
}

/// A date, and where it is from.
pub(super) enum DateText {
    /// `X-Amz-Date`.
    Amz(String),
    /// The header `Date`, which may have the form of RFC 1123 as well.
    Http(String),
}

impl Claim {
    /// Finds the one form in which the request presents a signature.
    pub(super) fn find(request: &Request<'_>, parameters: &Parameters) -> Result<Self, SignatureError> {
        let authorization = request.header("authorization");
        match (authorization, parameters.get(query_form::ALGORITHM)) {
            (None, None) => Err(SignatureError::MissingToken),
            (Some(_), Some(_)) => Err(SignatureError::BothForms),
            (Some(authorization), None) => header_form::read(request, &authorization),
            (None, Some(algorithm)) => query_form::read(parameters, &algorithm),
        }
    }

    /// The names of the signed headers, if all are there that must be.
    pub(super) fn signed_names(
        &self,
        request: &Request<'_>,
        unsigned_amz_headers: UnsignedAmzHeaders,
    ) -> Result<SignedNames, SignatureError> {
        let signed = SignedNames::new(self.signed_headers.split(';')).map_err(SignatureError::TooLarge)?;
        if !signed.contains("host") && !signed.contains(":authority") {
            return Err(SignatureError::HostNotSigned);
        }
        if unsigned_amz_headers == UnsignedAmzHeaders::Refuse {
            for name in request.names().map(str::to_ascii_lowercase) {
                if name.starts_with("x-amz-") && !signed.contains(&name) {
                    return Err(SignatureError::AmzHeaderNotSigned(Echo::new(name.as_bytes())));
                }
            }
        }
        Ok(signed)
    }

    /// When it was made, and the last second in which it is accepted, if `now` is between.
    pub(super) fn judge_time(&self, now: AmzDate) -> Result<(AmzDate, AmzDate), SignatureError> {
        let date = self.date.read()?;
        let seconds = self.seconds()?;
        let valid_until = date.plus(i64::from(seconds));
        if valid_until < now {
            return Err(SignatureError::TooLate(TooLate { date, now, seconds }));
        }
        if date > now.plus(SKEW.as_secs()) {
            return Err(SignatureError::TooEarly(TooEarly { date, now }));
        }
        Ok((date, valid_until))
    }

    /// How many seconds it is good for.
    fn seconds(&self) -> Result<u32, SignatureError> {
        match (self.form, &self.expires) {
            (Form::Header, _) => Ok(SKEW.as_secs().unsigned_abs().try_into().unwrap_or(0)),
            (Form::Query, None) => Ok(DEFAULT_EXPIRES),
            (Form::Query, Some(text)) => {
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                let seconds = text.parse().ok().filter(|seconds| digits && (1..=LONGEST_EXPIRES).contains(seconds));
                seconds.ok_or(SignatureError::Expires)
            }
        }
    }

    /// Whose it claims to be, and its scope, if that is the one it must be.
    pub(super) fn judge_scope(&self, date: AmzDate, rules: &Rules<'_>) -> Result<(String, Scope), SignatureError> {
        let parts: Vec<&str> = self.credential.split('/').take(6).collect();
        let &[access_key_id, day, region, service, terminator] = parts.as_slice() else {
            return Err(SignatureError::Credential(Echo::new(self.credential.as_bytes())));
        };
        let echo = |text: &str| Echo::new(text.as_bytes());
        let fault = ScopeFault {
            region: (region != rules.region).then(|| echo(region)),
            service: (service != rules.service).then(|| rules.service.to_owned()),
            terminator: (terminator != TERMINATOR).then(|| echo(terminator)),
            day: (day != date.day()).then(|| (echo(day), date)),
        };
        if fault.is_none() {
            Ok((access_key_id.to_owned(), Scope::new(date, region, service)))
        } else {
            Err(SignatureError::Scope(Box::new(fault)))
        }
    }
}

impl DateText {
    fn read(&self) -> Result<AmzDate, SignatureError> {
        let (text, date) = match self {
            Self::Amz(text) => (text, AmzDate::parse(text)),
            Self::Http(text) => (text, AmzDate::parse(text).or_else(|| AmzDate::parse_rfc_1123(text))),
        };
        date.ok_or_else(|| SignatureError::Date(Echo::new(text.as_bytes())))
    }
}

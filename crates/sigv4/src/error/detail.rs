//! What the reasons hold, and the sentences that are made of it.

use std::fmt;

use crate::{AmzDate, TERMINATOR};

/// Something that the client sent, or that is made of it, which nobody else is told: `Debug` gives its length only.
#[derive(Clone, PartialEq, Eq)]
pub struct Echo(Box<str>);

impl Echo {
    pub(crate) fn new(text: &[u8]) -> Self {
        Self(String::from_utf8_lossy(text).into())
    }

    /// The text, for the client.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Echo({} bytes)", self.0.len())
    }
}

/// What an `Authorization` lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingFromHeader {
    pub(crate) credential: bool,
    pub(crate) signature: bool,
    pub(crate) signed_headers: bool,
    pub(crate) date: bool,
    pub(crate) authorization: Echo,
}

impl MissingFromHeader {
    pub(crate) fn message(&self) -> String {
        let mut sentences = Vec::new();
        for (missing, parameter) in
            [(self.credential, "Credential"), (self.signature, "Signature"), (self.signed_headers, "SignedHeaders")]
        {
            if missing {
                sentences.push(format!("Authorization header requires '{parameter}' parameter."));
            }
        }
        if self.date {
            let sentence = "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.";
            sentences.push(sentence.to_owned());
        }
        sentences.push(format!("Authorization={}", self.authorization.expose()));
        sentences.join(" ")
    }
}

/// What a signature in the query lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingFromQuery {
    pub(crate) credential: bool,
    pub(crate) signature: bool,
    pub(crate) signed_headers: bool,
    pub(crate) date: bool,
}

impl MissingFromQuery {
    pub(crate) fn message(self) -> String {
        let mut sentences = Vec::new();
        for (missing, parameter) in [
            (self.credential, "X-Amz-Credential"),
            (self.signature, "X-Amz-Signature"),
            (self.signed_headers, "X-Amz-SignedHeaders"),
            (self.date, "X-Amz-Date"),
        ] {
            if missing {
                sentences.push(format!("AWS query-string parameters must include '{parameter}'."));
            }
        }
        sentences.push("Re-examine the query-string parameters.".to_owned());
        sentences.join(" ")
    }
}

/// A signature that came too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLate {
    /// When it was made.
    pub date: AmzDate,
    /// When it came.
    pub now: AmzDate,
    /// How many seconds it was good for.
    pub seconds: u32,
}

impl TooLate {
    /// What `date` would have to be at least.
    pub(crate) fn limit(&self) -> AmzDate {
        self.now.plus(-i64::from(self.seconds))
    }

    /// In minutes as AWS has it, or in seconds where it is no whole number of minutes.
    pub(crate) fn message(&self) -> String {
        let Self { date, now, seconds } = self;
        let (amount, unit) = if seconds % 60 == 0 { (seconds / 60, "min") } else { (*seconds, "sec") };
        format!("Signature expired: {date} is now earlier than {} ({now} - {amount} {unit}.)", self.limit())
    }
}

/// A signature that came too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooEarly {
    /// When it was made.
    pub date: AmzDate,
    /// When it came.
    pub now: AmzDate,
}

impl TooEarly {
    pub(crate) fn message(&self) -> String {
        let Self { date, now } = self;
        let limit = now.plus(crate::SKEW.as_secs());
        let minutes = crate::SKEW.as_mins();
        format!("Signature not yet current: {date} is still later than {limit} ({now} + {minutes} min.)")
    }
}

/// What is wrong with a scope, as the client wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeFault {
    pub(crate) region: Option<Echo>,
    /// The service that it should have been.
    pub(crate) service: Option<String>,
    pub(crate) terminator: Option<Echo>,
    pub(crate) day: Option<(Echo, AmzDate)>,
}

impl ScopeFault {
    pub(crate) fn is_none(&self) -> bool {
        self.region.is_none() && self.service.is_none() && self.terminator.is_none() && self.day.is_none()
    }

    pub(crate) fn message(&self) -> String {
        let mut sentences = Vec::new();
        if let Some(region) = &self.region {
            sentences.push(format!("Credential should be scoped to a valid region, not '{}'.", region.expose()));
        }
        if let Some(service) = &self.service {
            sentences.push(format!("Credential should be scoped to correct service: '{service}'."));
        }
        if let Some(terminator) = &self.terminator {
            sentences.push(format!(
                "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
                terminator.expose()
            ));
        }
        if let Some((day, date)) = &self.day {
            sentences.push(format!(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
                 '{}' != '{}', from '{date}'.",
                day.expose(),
                date.day()
            ));
        }
        sentences.join(" ")
    }
}

/// What the signature should have been made of, as far as that is known. It tells the client nothing but what it sent;
/// the signature that was expected is nowhere in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    pub(crate) expected: Option<Expected>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    pub(crate) canonical_request: Echo,
    pub(crate) string_to_sign: Echo,
}

impl Mismatch {
    /// The sentence alone, for services that do not give the rest.
    pub const SHORT: &str = "The request signature we calculated does not match the signature you provided. Check your \
        AWS Secret Access Key and signing method. Consult the service documentation for details.";

    /// The canonical request, as it should have been.
    #[must_use]
    pub fn canonical_request(&self) -> Option<&Echo> {
        self.expected.as_ref().map(|expected| &expected.canonical_request)
    }

    /// The string to sign, as it should have been.
    #[must_use]
    pub fn string_to_sign(&self) -> Option<&Echo> {
        self.expected.as_ref().map(|expected| &expected.string_to_sign)
    }

    pub(crate) fn message(&self) -> String {
        let Some(expected) = &self.expected else { return Self::SHORT.to_owned() };
        format!(
            "{}\n\nThe Canonical String for this request should have been\n'{}'\n\n\
             The String-to-Sign should have been\n'{}'\n",
            Self::SHORT,
            expected.canonical_request.expose(),
            expected.string_to_sign.expose()
        )
    }
}

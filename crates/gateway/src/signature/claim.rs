//! What the head of a request claims of its signature, in the words of each scheme.
//!
//! - GitHub: docs.github.com, "Validating webhook deliveries".
//! - Stripe: docs.stripe.com/webhooks, "Verify webhook signatures manually".
//! - Slack: docs.slack.dev, "Verifying requests from Slack".
//! - Standard Webhooks: github.com/standard-webhooks/standard-webhooks, `spec/standard-webhooks.md`, 1.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gatepost_config::model::{Scheme, TextFormat};
use http::{HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::signature::Tag;

/// What a request claims of its signature.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The signatures, of which one must be right: at least one.
    pub(super) signatures: Vec<Tag>,
    /// What is signed before the body.
    pub(super) before: Vec<u8>,
    /// When it was signed, in seconds since 1970, if that is signed too.
    pub(super) time: Option<u64>,
    /// What the sender calls the delivery.
    pub(super) id: Option<HeaderValue>,
}

/// What is wrong with a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Flaw {
    /// A header of the signature is not there.
    #[error("its header is missing")]
    Missing,
    /// A header of the signature is there twice.
    #[error("one of its headers came twice")]
    Twice,
    /// A header cannot be read.
    #[error("one of its headers is malformed")]
    Malformed,
    /// It was signed longer ago than `tolerance`.
    #[error("it was signed longer ago than `tolerance`")]
    TooOld,
    /// It was signed further in the future than `tolerance`.
    #[error("its time lies further in the future than `tolerance`")]
    TooNew,
    /// The body is not what was signed, or not with a secret that is good.
    #[error("no secret makes this signature of this body")]
    Wrong,
}

/// Bytes of a header, at most: room for the signatures of a dozen secrets.
const LONGEST: usize = 2048;
/// Bytes of an id, at most.
const LONGEST_ID: usize = 256;
/// Signatures, at most: senders have two while a secret is rotated.
const MOST_SIGNATURES: usize = 16;
/// Digits of a time, at most: enough for thirty thousand years.
const LONGEST_TIME: usize = 12;

impl Claim {
    /// Reads the claim.
    ///
    /// # Errors
    /// There is none, or none that could be true.
    pub(crate) fn read(scheme: &Scheme, headers: &HeaderMap) -> Result<Self, Flaw> {
        match scheme {
            Scheme::Github => Self::github(headers),
            Scheme::Stripe => Self::stripe(headers),
            Scheme::Slack => Self::slack(headers),
            Scheme::StandardWebhooks => Self::standard_webhooks(headers),
            Scheme::HmacSha256 { header, format, prefix, id } => {
                let signature = single(headers, header)?.as_bytes();
                let text = signature.strip_prefix(prefix.as_bytes()).ok_or(Flaw::Malformed)?;
                let id = id.as_ref().map_or(Ok(None), |id| delivery_id(headers, id))?;
                Ok(Self { signatures: vec![tag(text, *format)?], before: Vec::new(), time: None, id })
            }
        }
    }

    /// `X-Hub-Signature-256: sha256=HEX`, of the body alone.
    fn github(headers: &HeaderMap) -> Result<Self, Flaw> {
        const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
        const DELIVERY: HeaderName = HeaderName::from_static("x-github-delivery");
        let text = single(headers, &SIGNATURE)?.as_bytes().strip_prefix(b"sha256=").ok_or(Flaw::Malformed)?;
        let id = delivery_id(headers, &DELIVERY)?;
        Ok(Self { signatures: vec![tag(text, TextFormat::Hex)?], before: Vec::new(), time: None, id })
    }

    /// `Stripe-Signature: t=TIME,v1=HEX[,v1=HEX…]`, of `TIME.BODY`. Other versions are for others.
    fn stripe(headers: &HeaderMap) -> Result<Self, Flaw> {
        const SIGNATURE: HeaderName = HeaderName::from_static("stripe-signature");
        let (mut signatures, mut time) = (Vec::new(), None);
        for part in single(headers, &SIGNATURE)?.as_bytes().split(|byte| *byte == b',') {
            let equals = part.iter().position(|byte| *byte == b'=').ok_or(Flaw::Malformed)?;
            match (part[..equals].trim_ascii(), part[equals + 1..].trim_ascii()) {
                (b"t", _) if time.is_some() => return Err(Flaw::Malformed),
                (b"t", text) => time = Some(text),
                (b"v1", text) => add(&mut signatures, tag(text, TextFormat::Hex)?)?,
                _ => {}
            }
        }
        let (text, time) = read_time(time.ok_or(Flaw::Malformed)?)?;
        Self { signatures, before: [text, b"."].concat(), time: Some(time), id: None }.with_some()
    }

    /// `X-Slack-Signature: v0=HEX`, of `v0:TIME:BODY`, and `X-Slack-Request-Timestamp: TIME`.
    fn slack(headers: &HeaderMap) -> Result<Self, Flaw> {
        const SIGNATURE: HeaderName = HeaderName::from_static("x-slack-signature");
        const TIME: HeaderName = HeaderName::from_static("x-slack-request-timestamp");
        let text = single(headers, &SIGNATURE)?.as_bytes().strip_prefix(b"v0=").ok_or(Flaw::Malformed)?;
        let signatures = vec![tag(text, TextFormat::Hex)?];
        let (text, time) = read_time(single(headers, &TIME)?.as_bytes())?;
        Ok(Self { signatures, before: [b"v0:", text, b":"].concat(), time: Some(time), id: None })
    }

    /// `webhook-id: ID`, `webhook-timestamp: TIME`, `webhook-signature: v1,BASE64[ v1,BASE64…]`, of `ID.TIME.BODY`.
    fn standard_webhooks(headers: &HeaderMap) -> Result<Self, Flaw> {
        const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
        const TIME: HeaderName = HeaderName::from_static("webhook-timestamp");
        const ID: HeaderName = HeaderName::from_static("webhook-id");
        let mut signatures = Vec::new();
        for part in single(headers, &SIGNATURE)?.as_bytes().split(|byte| *byte == b' ').filter(|part| !part.is_empty())
        {
            let comma = part.iter().position(|byte| *byte == b',').ok_or(Flaw::Malformed)?;
            if &part[..comma] == b"v1" {
                add(&mut signatures, tag(&part[comma + 1..], TextFormat::Base64)?)?;
            }
        }
        let (text, time) = read_time(single(headers, &TIME)?.as_bytes())?;
        let id = delivery_id(headers, &ID)?.ok_or(Flaw::Missing)?;
        // Or one id with its time could be read as another id and another time.
        if id.as_bytes().contains(&b'.') {
            return Err(Flaw::Malformed);
        }
        let before = [id.as_bytes(), b".", text, b"."].concat();
        Self { signatures, before, time: Some(time), id: Some(id) }.with_some()
    }

    /// A claim with at least one signature that is for us.
    fn with_some(self) -> Result<Self, Flaw> {
        if self.signatures.is_empty() { Err(Flaw::Malformed) } else { Ok(self) }
    }
}

/// The one header of a name, not too long to be looked at.
fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h HeaderValue, Flaw> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(Flaw::Missing),
        (Some(_), Some(_)) => Err(Flaw::Twice),
        (Some(value), None) if value.len() > LONGEST => Err(Flaw::Malformed),
        (Some(value), None) => Ok(value),
    }
}

/// The header with a delivery's id, if it is there.
fn delivery_id(headers: &HeaderMap, name: &HeaderName) -> Result<Option<HeaderValue>, Flaw> {
    match single(headers, name) {
        Ok(id) if id.is_empty() || id.len() > LONGEST_ID => Err(Flaw::Malformed),
        Ok(id) => Ok(Some(id.clone())),
        Err(Flaw::Missing) => Ok(None),
        Err(flaw) => Err(flaw),
    }
}

fn add(signatures: &mut Vec<Tag>, tag: Tag) -> Result<(), Flaw> {
    if signatures.len() == MOST_SIGNATURES {
        return Err(Flaw::Malformed);
    }
    signatures.push(tag);
    Ok(())
}

/// A time in seconds, and how it was written: that is what was signed.
fn read_time(text: &[u8]) -> Result<(&[u8], u64), Flaw> {
    let digits = str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let digits = digits.filter(|digits| digits.len() <= LONGEST_TIME).ok_or(Flaw::Malformed)?;
    Ok((text, digits.parse().map_err(|_| Flaw::Malformed)?))
}

fn tag(text: &[u8], format: TextFormat) -> Result<Tag, Flaw> {
    match format {
        TextFormat::Hex => hex(text),
        TextFormat::Base64 => base64(text),
    }
    .ok_or(Flaw::Malformed)
}

fn hex(text: &[u8]) -> Option<Tag> {
    let mut tag = Tag::default();
    if text.len() != 2 * tag.len() {
        return None;
    }
    for (byte, digits) in tag.iter_mut().zip(text.chunks_exact(2)) {
        let digit = |place: usize| (digits[place] as char).to_digit(16);
        *byte = u8::try_from(digit(0)? << 4 | digit(1)?).ok()?;
    }
    Some(tag)
}

fn base64(text: &[u8]) -> Option<Tag> {
    /// What 32 bytes are in base64, padded.
    const LENGTH: usize = 44;
    let mut bytes = [0; 33];
    let length = (text.len() == LENGTH).then(|| STANDARD.decode_slice(text, &mut bytes).ok())??;
    bytes[..length].try_into().ok()
}

/// Reads headers as a scheme does, for its fuzz target: whether what was read keeps to its bounds.
#[doc(hidden)]
#[must_use]
pub fn claim_is_bounded(scheme: &Scheme, headers: &HeaderMap) -> bool {
    match Claim::read(scheme, headers) {
        Err(_) => true,
        Ok(Claim { signatures, before, time, id }) => {
            (1..=MOST_SIGNATURES).contains(&signatures.len())
                && before.len() <= LONGEST_ID + LONGEST_TIME + 4
                && time.is_none_or(|time| time < 10_u64.pow(12))
                && id.is_none_or(|id| (1..=LONGEST_ID).contains(&id.len()))
        }
    }
}

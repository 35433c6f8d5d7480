//! `signed`: how bodies are signed, and with which secrets.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderName;

use crate::collections::OneOrMany;
use crate::decode::{Field, Given, listed};
use crate::file::{HmacSha256Table, SignedTable};
use crate::model::{Replay, Scheme, Signed, TextFormat};
use crate::reading::Reading;
use crate::resolve::secret::secret;
use crate::secret::Secret;
use crate::source::Span;
use crate::text::{FieldName, SecretReference, quoted};
use crate::value;

/// How bodies are signed, as it is written under the key at `key`.
pub(super) fn signed(written: &value::Signed, key: Span, reading: &mut Reading) -> Option<Arc<Signed>> {
    let table = &written.0;
    let kind = single_kind(table, key, reading)?;
    let (scheme, secrets) = match kind {
        Kind::Named(scheme, references) => {
            let secrets = secrets(references, &scheme, reading);
            (scheme, secrets?)
        }
        Kind::Hmac(hmac_table) => hmac(hmac_table, replay(&table.replay)?, reading)?,
    };
    let replay = replay(&table.replay)?;
    let tolerance = tolerance(table, &scheme, replay, reading)?;
    Some(Arc::new(Signed { scheme, secrets, tolerance, replay, place: reading.place(key) }))
}

/// More than anybody rotates at once: each costs a pass over every body.
pub(super) const MOST_SECRETS: usize = 8;

const DEFAULT_TOLERANCE: Duration = Duration::from_secs(5 * 60);
const LONGEST_TOLERANCE: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST_TOLERANCE: Duration = Duration::from_secs(1);

/// A way to sign, as it was written.
enum Kind<'t> {
    Named(Scheme, &'t OneOrMany<SecretReference>),
    Hmac(&'t HmacSha256Table),
}

/// The one scheme that is written; reports none, and others.
fn single_kind<'t>(table: &'t SignedTable, key: Span, reading: &mut Reading) -> Option<Kind<'t>> {
    const NAMES: [&str; 5] = ["github", "stripe", "slack", "standard-webhooks", "hmac-sha256"];
    let named = [
        (&table.github, Scheme::Github),
        (&table.stripe, Scheme::Stripe),
        (&table.slack, Scheme::Slack),
        (&table.standard_webhooks, Scheme::StandardWebhooks),
    ];
    let is_broken = named.iter().any(|(field, _)| matches!(field, Field::Broken))
        || matches!(table.hmac_sha256, Field::Broken)
        || !table.unknown.is_empty();
    let named = named
        .into_iter()
        .filter_map(|(field, scheme)| field.given().map(|given| (given.key, Kind::Named(scheme, &given.value))));
    let hmac = table.hmac_sha256.given().map(|given| (given.key, Kind::Hmac(&given.value.0)));
    let mut kinds: Vec<(Span, Kind<'t>)> = named.chain(hmac).collect();
    kinds.sort_by_key(|(key, _)| key.range().start);
    let mut kinds = kinds.into_iter();
    let Some((first, kind)) = kinds.next() else {
        if !is_broken {
            let error = reading.error(key, "`signed` does not say how a body is signed");
            reading.report(error.with_help(format!("give it one of {}", listed(&NAMES))));
        }
        return None;
    };
    let mut is_single = true;
    for (other, _) in kinds {
        is_single = false;
        let place = reading.place(first);
        let error = reading.error(other, "a body is signed in one way, and this is another");
        let error = error.with_related(&place, "the first one");
        reading.report(error.with_help("give each sender a route of its own"));
    }
    (is_single && !is_broken).then_some(kind)
}

fn secrets(references: &OneOrMany<SecretReference>, scheme: &Scheme, reading: &mut Reading) -> Option<Vec<Secret>> {
    let list = &references.0;
    if let Some(extra) = list.items.get(MOST_SECRETS) {
        let error = reading.error(extra.span, format!("these are more than {MOST_SECRETS} secrets"));
        reading.report(error.with_help("each is tried on every body; remove those that are no longer used"));
        return None;
    }
    let mut known: Vec<(Span, Secret)> = Vec::new();
    let mut is_whole = !list.broken;
    for item in &list.items {
        let given = Given { value: item.value.clone(), span: item.span, key: item.span };
        let key = secret(&given, reading).and_then(|secret| as_key(secret, scheme, item.span, reading));
        let Some(key) = key else {
            is_whole = false;
            continue;
        };
        if let Some((first, _)) = known.iter().find(|(_, other)| *other == key) {
            let place = reading.place(*first);
            let error = reading.error(item.span, "this secret is the same as another one of the list");
            let error = error.with_related(&place, "the other one");
            reading.report(error.with_help("while a secret is rotated, the list has the old one and the new one"));
            is_whole = false;
        }
        known.push((item.span, key));
    }
    is_whole.then(|| known.into_iter().map(|(_, key)| key).collect())
}

/// What a body is signed with: the secret as it is, or what it decodes to.
fn as_key(secret: Secret, scheme: &Scheme, span: Span, reading: &mut Reading) -> Option<Secret> {
    /// As senders write it, padded or not.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if *scheme != Scheme::StandardWebhooks {
        return Some(secret);
    }
    let encoded = secret.reveal().strip_prefix(b"whsec_").unwrap_or(secret.reveal());
    match BASE64.decode(encoded) {
        Ok(key) if !key.is_empty() => Some(Secret::new(secret.source(), &key)),
        Ok(_) | Err(_) => {
            let message = format!("the secret in {} is no base64 after `whsec_`", quoted(secret.source()));
            let help = "the secrets of Standard Webhooks are `whsec_` and the key in base64";
            reading.report(reading.error(span, message).with_help(help));
            None
        }
    }
}

fn hmac(table: &HmacSha256Table, replay: Replay, reading: &mut Reading) -> Option<(Scheme, Vec<Secret>)> {
    let signature_header = header(&table.header, reading);
    let id = match &table.id {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(given) => {
            if replay == Replay::Allow {
                let error = reading.error(given.key, "nobody asks for the id of a delivery here");
                reading.report(error.with_help("add `replay = \"refuse\"` beside `hmac-sha256`, or remove it"));
            }
            header(&table.id, reading).map(Some)
        }
    };
    let format = match &table.format {
        Field::Absent => Some(TextFormat::Hex),
        Field::Broken => None,
        Field::Given(format) => Some(format.value.0),
    };
    let prefix = match &table.prefix {
        Field::Absent => Some(Box::default()),
        Field::Broken => None,
        // Its type lets no control characters in, and others than ASCII are as good as any.
        Field::Given(prefix) => Some(String::from_utf8_lossy(prefix.value.0.as_bytes()).into()),
    };
    let any = Scheme::HmacSha256 { header: signature_header?, format: format?, prefix: prefix?, id: id? };
    let secrets = secrets(table.secret.value()?, &any, reading)?;
    Some((any, secrets))
}

/// A header that says something of a delivery, and not of how it travels.
fn header(field: &Field<FieldName>, reading: &mut Reading) -> Option<HeaderName> {
    let Given { value: FieldName(name), span, .. } = field.given()?;
    let about = match name.as_str() {
        "content-length" | "transfer-encoding" | "trailer" | "te" | "expect" => "how long a message is",
        "connection" | "keep-alive" | "proxy-connection" | "upgrade" => "one connection",
        "host" => "where a request goes",
        _ => return Some(name.clone()),
    };
    let error = reading.error(*span, format!("`{name}` is about {about}, and carries nothing else"));
    reading.report(error.with_help("name the header that the sender writes for you"));
    None
}

fn replay(field: &Field<crate::choice::Replay>) -> Option<Replay> {
    match field {
        Field::Absent => Some(Replay::Allow),
        Field::Broken => None,
        Field::Given(replay) => Some(replay.value.0),
    }
}

fn tolerance(table: &SignedTable, scheme: &Scheme, replay: Replay, reading: &mut Reading) -> Option<Duration> {
    let given = match &table.tolerance {
        Field::Absent => return Some(DEFAULT_TOLERANCE),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    let signs_a_time = match scheme {
        Scheme::Stripe | Scheme::Slack | Scheme::StandardWebhooks => true,
        Scheme::Github | Scheme::HmacSha256 { .. } => false,
    };
    if !signs_a_time && replay == Replay::Allow {
        let error = reading.error(given.key, "`tolerance` means nothing here: the sender signs no time");
        let help = "remove it; with `replay = \"refuse\"` it says how long a delivery is remembered";
        reading.report(error.with_help(help));
        return None;
    }
    let tolerance = given.value.0;
    if !(SHORTEST_TOLERANCE..=LONGEST_TOLERANCE).contains(&tolerance) {
        let error = reading.error(given.span, "a `tolerance` is between `1s` and `1d`");
        reading.report(error.with_help("senders and libraries use `5m`"));
        return None;
    }
    Some(tolerance)
}

//! `aws-sigv4`, which AWS's own Rust clients sign with: what it signs verifies, what is changed after it does not, and
//! we sign in the same way.

use std::time::Duration;

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use gatepost_sigv4::{BodyToSign, Form, PathForm, PayloadHash, Rules, Signer};
use jiff::SignedDuration;
use proptest::prelude::*;

use crate::setup::{ACCESS_KEY_ID, RULES, SECRET, Sent, credentials, noon_and};

const SECONDS: u32 = 600;

/// What there is to choose when signing.
#[derive(Debug, Clone, Copy)]
struct Choice {
    form: Form,
    path: PathForm,
    declares: bool,
    token: Option<&'static str>,
}

impl Choice {
    fn rules(self) -> Rules<'static> {
        Rules { path: self.path, ..RULES }
    }

    fn settings(self) -> SigningSettings {
        let mut settings = SigningSettings::default();
        if self.form == Form::Query {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(SECONDS.into()));
        }
        if self.declares {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if self.path == PathForm::AsSent {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        settings
    }
}

/// As AWS's client sends it.
fn signed_by_aws(request: &Sent, choice: Choice) -> Sent {
    let identity = AwsCredentials::new(ACCESS_KEY_ID, SECRET, choice.token.map(str::to_owned), None, "test").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(RULES.region)
        .name(RULES.service)
        .time(noon_and(0).into())
        .settings(choice.settings())
        .build()
        .unwrap()
        .into();
    let url = format!("https://{}{}?{}", request.value("host"), request.path, request.query);
    let headers = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let signable = SignableRequest::new(&request.method, url, headers, SignableBody::Bytes(&request.body)).unwrap();
    let (added, _) = sign(signable, &parameters).unwrap().into_parts();
    let signed = added.headers().fold(request.clone(), |sent, (name, value)| sent.with(name, value));
    with_parameters(signed, added.params().iter().map(|(name, value)| (*name, &**value)))
}

fn with_parameters<'p>(mut request: Sent, parameters: impl Iterator<Item = (&'p str, &'p str)>) -> Sent {
    for (name, value) in parameters {
        if !request.query.is_empty() {
            request.query.push('&');
        }
        request.query += &format!("{name}={}", value.replace('/', "%2F").replace(';', "%3B").replace('=', "%3D"));
    }
    request
}

/// As we send it.
fn signed_by_us(request: &Sent, choice: Choice) -> Sent {
    let credentials = credentials(choice.token);
    let signer = Signer { credentials: &credentials, region: RULES.region, service: RULES.service, path: choice.path };
    let hash = PayloadHash::of(&request.body);
    let body = if choice.declares { BodyToSign::Declared(hash) } else { BodyToSign::Hashed(hash) };
    match choice.form {
        Form::Header => {
            let added = signer.sign(&request.request(), body, noon_and(0)).unwrap();
            added.iter().fold(request.clone(), |sent, (name, value)| sent.with(name, value))
        }
        Form::Query => {
            let expires = SignedDuration::from_secs(SECONDS.into());
            let query = signer.presign(&request.request(), body, expires, noon_and(0)).unwrap();
            Sent { query: query.to_string(), ..request.clone() }
        }
    }
}

/// In any order.
fn sorted(mut request: Sent) -> Sent {
    request.headers.sort();
    let mut pairs: Vec<&str> = request.query.split('&').collect();
    pairs.sort_unstable();
    request.query = pairs.join("&");
    request
}

fn path() -> impl Strategy<Value = String> {
    let segment =
        prop_oneof!["[a-zA-Z0-9._~-]{0,4}", "(%[0-9A-F]{2}|[a-z]){1,3}", "[!$&'()*,;=:@]{1,3}", Just("..".to_owned())];
    prop::collection::vec(segment, 1..6).prop_map(|segments| format!("/{}", segments.join("/"))).prop_filter(
        "a path above the root",
        |path| {
            let mut depth = 0_i32;
            path.split('/').all(|segment| {
                depth += match segment {
                    "" | "." => 0,
                    ".." => -1,
                    _ => 1,
                };
                depth >= 0
            })
        },
    )
}

/// Without `+`, which that crate takes for a space before it signs, and escapes of nothing but UTF-8.
fn query() -> impl Strategy<Value = String> {
    let text = || {
        prop_oneof!["[a-zA-Z0-9._~-]{0,4}", "(%[0-7][0-9a-fA-F]|[a-z]){0,3}", "(%C3%A9|%e1%88%b4|[!$'()*,;:@/?]){1,3}"]
    };
    let pair = (text(), prop::option::of(text())).prop_map(|(name, value)| match value {
        Some(value) => format!("{name}={value}"),
        None => name,
    });
    prop::collection::vec(pair, 0..5).prop_map(|pairs| pairs.join("&"))
}

fn request() -> impl Strategy<Value = Sent> {
    let value = prop_oneof!["[ -~]{0,12}", "[ab ]{0,8}"];
    let headers = prop::collection::vec(("x-[a-c]", value), 0..5);
    let body = prop::collection::vec(any::<u8>(), 0..20);
    let ignored = prop::option::of(Just(("User-Agent".to_owned(), "test/1".to_owned())));
    (prop::sample::select(vec!["GET", "POST", "DELETE"]), path(), query(), headers, body, ignored).prop_map(
        |(method, path, query, headers, body, ignored)| {
            let mut sent = Sent::new(method, "/");
            sent.headers.extend(headers);
            sent.headers.extend(ignored);
            Sent { path, query, body, ..sent }
        },
    )
}

fn choice() -> impl Strategy<Value = Choice> {
    (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(header, twice, declares, token)| Choice {
        form: if header { Form::Header } else { Form::Query },
        path: if twice { PathForm::EscapedTwice } else { PathForm::AsSent },
        declares: declares && header,
        token: token.then_some("session/token=="),
    })
}

/// A request in which every letter and every digit means something.
fn plain_request() -> impl Strategy<Value = Sent> {
    let word = || "[a-z0-9]{1,6}";
    let (path, query) = ((word(), word()), (word(), word(), word()));
    (path, query, word(), prop::collection::vec(any::<u8>(), 0..8)).prop_map(|(path, query, value, body)| Sent {
        body,
        ..Sent::new("POST", &format!("/{}/{}/?{}={}&{}", path.0, path.1, query.0, query.1, query.2)).with("x-a", &value)
    })
}

/// With another letter or digit at some place of everything that was sent but names of headers; in the body, with a bit
/// flipped.
fn tampered(request: &Sent, place: usize) -> Sent {
    let mut changed = request.clone();
    let mut parts = vec![&mut changed.method, &mut changed.path, &mut changed.query];
    parts.extend(changed.headers.iter_mut().map(|(_, value)| value));
    let places = |text: &str| text.bytes().filter(u8::is_ascii_alphanumeric).count();
    let mut place = place % (parts.iter().map(|part| places(part)).sum::<usize>() + changed.body.len() * 8);
    for part in parts {
        if place >= places(part) {
            place -= places(part);
            continue;
        }
        let (at, old) = part.char_indices().filter(|(_, char)| char.is_ascii_alphanumeric()).nth(place).unwrap();
        let new = if old.eq_ignore_ascii_case(&'q') { "z" } else { "q" };
        part.replace_range(at..=at, new);
        return changed;
    }
    changed.body[place / 8] ^= 1 << (place % 8);
    changed
}

proptest! {
    #[test]
    fn what_aws_signs_verifies_and_we_sign_the_same(request in request(), choice in choice()) {
        let theirs = signed_by_aws(&request, choice);
        prop_assert_eq!(theirs.verify(&choice.rules(), choice.token, noon_and(0)), Ok(choice.form));
        let ours = signed_by_us(&request, choice);
        prop_assert_eq!(ours.verify(&choice.rules(), choice.token, noon_and(0)), Ok(choice.form));
        prop_assert_eq!(sorted(ours), sorted(theirs));
    }

    #[test]
    fn what_is_changed_after_aws_signed_it_is_refused(
        request in plain_request(),
        choice in choice(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 20),
    ) {
        let signed = signed_by_aws(&request, choice);
        prop_assert_eq!(signed.verify(&choice.rules(), choice.token, noon_and(0)), Ok(choice.form));
        for place in places {
            let changed = tampered(&signed, place.index(10_000));
            prop_assert!(changed.verify(&choice.rules(), choice.token, noon_and(0)).is_err(), "{:?}", changed);
        }
    }
}

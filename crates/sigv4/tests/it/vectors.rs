//! Requests to `execute-api` with signatures that were computed by hand, and that botocore makes as well.

use gatepost_sigv4::{BodyToSign, Form, PayloadHash, SignatureError};
use jiff::SignedDuration;

use crate::setup::{ACCESS_KEY_ID, RULES, Sent, credentials, noon_and, signer};

struct Vector {
    request: Sent,
    token: Option<&'static str>,
    signed_headers: &'static str,
    canonical_sha256: &'static str,
    signature: &'static str,
}

const TOKEN: &str = "SESSIONTOKENEXAMPLE";

fn header_vectors() -> [Vector; 5] {
    [
        Vector {
            request: Sent::new("GET", "/prod/pets"),
            token: None,
            signed_headers: "host;x-amz-date",
            canonical_sha256: "d6c75b8cc81586e8eee988c68211720d421c6c3e3510eb9d90643f124ba75bf1",
            signature: "141e96c00044f78e3b815c57157247edd090c95b5e89595bf243d81b7ea2b73a",
        },
        Vector {
            request: Sent::new("GET", "/prod/pets?b=2&a=x%20y&a=1&c="),
            token: None,
            signed_headers: "host;x-amz-date",
            canonical_sha256: "b8140620d595ad6fe25543e78002f99576ce7fb99a4e7da81ec53cb4d2cbc095",
            signature: "e799e06c508aee6b58d6d05756f71d14df328aa4812b1ade14b6fa1a63aeb39d",
        },
        Vector {
            request: Sent {
                body: b"{\"a\":1}".to_vec(),
                ..Sent::new("POST", "/prod/forward").with("Content-Type", "application/json")
            },
            token: None,
            signed_headers: "content-type;host;x-amz-date",
            canonical_sha256: "5751f4b228388e016c704d555ec63b912f6b8f224978f9b942f664aeeed031df",
            signature: "5718872fa9028908d5a9085d6e821a7070abc7bfeb01cd93d12015ab0a4f7038",
        },
        Vector {
            request: Sent::new("GET", "/prod/a%20b/c%2Fd"),
            token: None,
            signed_headers: "host;x-amz-date",
            canonical_sha256: "7ff1ca2b874c10056d1bf5df912e2e8be0aba0912d4212a1e0ed6d11b2548f0b",
            signature: "92d90b7962a398cf2fdb2f00345e6a14550457edb9abd3f8beb62d57d1e4c22c",
        },
        Vector {
            request: Sent::new("GET", "/prod/pets"),
            token: Some(TOKEN),
            signed_headers: "host;x-amz-date;x-amz-security-token",
            canonical_sha256: "7397fb775ef402e5556ff2269a0604a069277e190176e16340bc881d820e35b7",
            signature: "f5eb6112142f02c90d024b72b8bd31374e4a6258dfdcbb932ad4b9bf22ae5834",
        },
    ]
}

/// The request as a client of AWS sends it.
fn signed(vector: &Vector) -> Sent {
    let Vector { signed_headers, signature, .. } = vector;
    let scope = "20260115/us-east-1/execute-api/aws4_request";
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/{scope}, SignedHeaders={signed_headers}, Signature={signature}"
    );
    let request = vector.request.clone().with("X-Amz-Date", "20260115T120000Z").with("Authorization", &authorization);
    match vector.token {
        Some(token) => request.with("X-Amz-Security-Token", token),
        None => request,
    }
}

/// The first vector, for whoever breaks it.
pub(crate) fn plain() -> Sent {
    signed(&header_vectors()[0])
}

const PRESIGNED: &str = "limit=5&X-Amz-Algorithm=AWS4-HMAC-SHA256\
    &X-Amz-Credential=AKIDEXAMPLE%2F20260115%2Fus-east-1%2Fexecute-api%2Faws4_request&X-Amz-Date=20260115T120000Z\
    &X-Amz-Expires=300&X-Amz-SignedHeaders=host\
    &X-Amz-Signature=94be0b0c0411acc83f6764de21974d97547856ac97e69f88e27eb78203f3cf85";

/// The presigned vector.
pub(crate) fn presigned() -> Sent {
    Sent::new("GET", &format!("/prod/pets?{PRESIGNED}"))
}

/// The canonical request and its hash, as whoever signed wrongly is told them.
fn expected(request: &Sent, token: Option<&str>) -> (String, String) {
    let Err(SignatureError::Mismatch(mismatch)) = request.verify(&RULES, token, noon_and(0)) else {
        panic!("a wrong signature was accepted")
    };
    let to_sign = mismatch.string_to_sign().unwrap().expose();
    (mismatch.canonical_request().unwrap().expose().to_owned(), to_sign.lines().last().unwrap().to_owned())
}

#[test]
fn the_vectors_verify() {
    for vector in header_vectors() {
        let request = signed(&vector);
        assert_eq!(request.verify(&RULES, vector.token, noon_and(0)), Ok(Form::Header), "{request:?}");
        let wrong = request.replacing("Authorization", "Signature=", "Signature=x");
        assert_eq!(expected(&wrong, vector.token).1, vector.canonical_sha256, "{wrong:?}");
    }
    assert_eq!(presigned().verify(&RULES, None, noon_and(0)), Ok(Form::Query));
    let (canonical, hash) = expected(&presigned().replacing_in_query("Signature=94", "Signature=95"), None);
    assert_eq!(hash, "bddeb2869b10dcbb36cd607d73aca5a6f0cd69b4667cd0811a62ade605f70386");
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIDEXAMPLE%2F20260115%2Fus-east-1%2Fexecute-api%2Faws4_request&X-Amz-Date=20260115T120000Z\
        &X-Amz-Expires=300&X-Amz-SignedHeaders=host&limit=5";
    assert_eq!(canonical.lines().nth(2), Some(query));
}

#[test]
fn we_sign_the_vectors_in_the_same_way() {
    for vector in header_vectors() {
        let credentials = credentials(vector.token);
        let body = BodyToSign::Hashed(PayloadHash::of(&vector.request.body));
        let added = signer(&credentials).sign(&vector.request.request(), body, noon_and(0)).unwrap();
        let mut ours: Vec<(String, &str)> = added.iter().map(|(name, value)| (name.to_owned(), value)).collect();
        ours.sort();
        let theirs = signed(&vector);
        let theirs = ["Authorization", "X-Amz-Date", "X-Amz-Security-Token"].into_iter().filter_map(|name| {
            theirs
                .headers
                .iter()
                .find(|(other, _)| other == name)
                .map(|(name, value)| (name.to_lowercase(), value.as_str()))
        });
        assert!(ours.into_iter().eq(theirs));
    }
    let credentials = credentials(None);
    let query = signer(&credentials).presign(
        &Sent::new("GET", "/prod/pets?limit=5").request(),
        BodyToSign::Hashed(PayloadHash::EMPTY),
        SignedDuration::from_secs(300),
        noon_and(0),
    );
    assert_eq!(*query.unwrap(), PRESIGNED);
}

#[test]
fn what_means_the_same_verifies() {
    let parts = |authorization: &str| authorization.split_once(' ').unwrap().1.split(", ").map(str::to_owned).collect();
    let parts: Vec<String> = parts(plain().value("authorization"));
    let [credential, signed_headers, signature] = parts.as_slice() else { panic!() };
    for authorization in [
        format!("AWS4-HMAC-SHA256 {credential},{signed_headers},{signature}"),
        format!("AWS4-HMAC-SHA256   {signature} ,  {credential}, {signed_headers} "),
        format!("AWS4-HMAC-SHA256 Signature=wrong, {credential}, {signed_headers}, {signature}"),
        format!("AWS4-HMAC-SHA256 {credential}, {signed_headers}, {signature}, Later=1"),
        format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=X-Amz-Date;Host, {signature}"),
    ] {
        let request = plain().with_instead("Authorization", &authorization);
        assert_eq!(request.verify(&RULES, None, noon_and(0)), Ok(Form::Header), "{authorization}");
    }
    let date = "Thu, 15 Jan 2026 12:00:00 GMT";
    for (name, request) in [
        ("another header", plain().with("X-Foo", "anything")),
        ("a date besides", plain().with("Date", "yesterday")),
        ("a header that CloudFront adds", plain().with("X-Amz-Cf-Id", "anything")),
        ("a known hash of the body", plain().with("X-Amz-Content-Sha256", &PayloadHash::EMPTY.to_string())),
    ] {
        assert!(request.verify(&RULES, None, noon_and(0)).is_ok(), "{name}");
    }
    // Only what the signature covers decides whether it is right, and a Date in the form of HTTP is the same moment.
    let wrong = plain().without("X-Amz-Date").with("Date", date).replacing("Authorization", ";x-amz-date", ";date");
    let (canonical, _) = expected(&wrong, None);
    assert!(canonical.contains(&format!("date:{date}\n")), "{canonical}");
    // Spaces in a row were signed as one.
    let credentials = credentials(None);
    let once = Sent::new("GET", "/").with("X-Words", "a b c");
    let added =
        signer(&credentials).sign(&once.request(), BodyToSign::Hashed(PayloadHash::EMPTY), noon_and(0)).unwrap();
    let twice = once.with_instead("X-Words", " a  b   c ");
    let twice = added.iter().fold(twice, |request, (name, value)| request.with(name, value));
    assert_eq!(twice.verify(&RULES, None, noon_and(0)), Ok(Form::Header));
}

#[test]
fn the_authority_of_http_2_stands_for_the_host() {
    let sent = plain();
    let request = sent.clone().without("Host");
    let authority = sent.value("host");
    let presented =
        gatepost_sigv4::Presented::read(&request.request().with_authority(authority), &RULES, noon_and(0)).unwrap();
    let key = crate::setup::secret().signing_key(presented.scope().clone());
    let known = gatepost_sigv4::Known { key: &key, token: None };
    assert_eq!(presented.verify(known, &PayloadHash::EMPTY), Ok(()));
}

#[test]
fn a_signature_lives_from_15_minutes_before_its_date_until_15_minutes_after_or_as_long_as_the_url_says() {
    for (request, seconds, lives) in [
        (plain(), -901, false),
        (plain(), -900, true),
        (plain(), 900, true),
        (plain(), 901, false),
        (presigned(), -901, false),
        (presigned(), -900, true),
        (presigned(), 300, true),
        (presigned(), 301, false),
    ] {
        assert_eq!(request.verify(&RULES, None, noon_and(seconds)).is_ok(), lives, "{seconds}");
    }
    let until = |request: Sent| request.read(&RULES, noon_and(0)).unwrap().valid_until().to_string();
    assert_eq!(until(plain()), "20260115T121500Z");
    assert_eq!(until(presigned()), "20260115T120500Z");
    assert_eq!(until(presigned().replacing_in_query("&X-Amz-Expires=300", "")), "20260115T121500Z");
    assert_eq!(until(presigned().replacing_in_query("=300", "=604800")), "20260122T120000Z");
}

//! Everything that is refused, and what the client is told.

use gatepost_sigv4::{
    Bound, GatewayResponse, MOST_BYTES, MOST_HEADERS, MOST_PARAMETERS, MOST_SIGNED_HEADERS, Rules, SignatureError,
    UnsignedAmzHeaders,
};

use crate::setup::{RULES, Sent, noon_and};
use crate::vectors::{plain, presigned};

const INCOMPLETE: &str = "IncompleteSignatureException";
const INVALID: &str = "InvalidSignatureException";
const MISSING: &str = "MissingAuthenticationTokenException";

fn refusal(request: &Sent, seconds: i64) -> SignatureError {
    request.verify(&RULES, None, noon_and(seconds)).expect_err(&format!("{request:?}"))
}

/// Each request is refused with 403, this type and this message.
fn assert_refused<const COUNT: usize>(table: [(Sent, &str, &str); COUNT]) {
    for (request, error_type, message) in table {
        let error = refusal(&request, 0);
        assert_eq!(error.message().as_deref(), Some(message), "{request:?}");
        assert_eq!((error.status(), error.error_type()), (403, Some(error_type)), "{request:?}");
    }
}

fn with_authorization(value: &str) -> Sent {
    plain().with_instead("Authorization", value)
}

#[test]
fn requests_without_a_signature() {
    let missing = "Missing Authentication Token";
    assert_refused([
        (plain().without("Authorization"), MISSING, missing),
        (presigned().replacing_in_query("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), MISSING, missing),
        (presigned().replacing_in_query("X-Amz-Algorithm", "x-amz-algorithm"), MISSING, missing),
    ]);
    assert_eq!(format!("{{\"message\":\"{missing}\"}}").len(), 42);
    assert_eq!(SignatureError::MissingToken.gateway_response(), GatewayResponse::MissingAuthenticationToken);
}

#[test]
fn requests_with_two_signatures() {
    let both = "Found both 'X-Amz-Algorithm' as a query-string param and 'Authorization' as HTTP header.";
    let twice = plain().value("authorization").to_owned();
    assert_refused([
        (presigned().with("Authorization", "Bearer xyz"), INVALID, both),
        (plain().with("Authorization", &twice), INCOMPLETE, "Found more than one 'Authorization' HTTP header."),
    ]);
}

#[test]
fn authorizations_of_another_kind() {
    let not_key_value = |hash: &str| {
        format!(
            "Invalid key=value pair (missing equal-sign) in Authorization header \
             (hashed with SHA-256 and encoded with Base64): '{hash}'."
        )
    };
    assert_refused([
        (with_authorization("Basic dTpw=="), INCOMPLETE, "Unsupported AWS 'algorithm': 'Basic'."),
        (
            plain().replacing("Authorization", "HMAC-SHA256", "ECDSA-P256-SHA256"),
            INCOMPLETE,
            "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'.",
        ),
        (with_authorization("Bearer xyz"), INCOMPLETE, &not_key_value("zyc3Ntxgrok+f83ynVWygiLlbsRSBgJKn5TLWxgJTvs=")),
        (
            with_authorization("AWS4-HMAC-SHA256 foo"),
            INCOMPLETE,
            &not_key_value("GEe0jYMop3hfLqaHcOeatHZcZs5r/XN5eRv/BF+BCvo="),
        ),
    ]);
}

#[test]
fn authorizations_that_lack_parts() {
    let whole = plain();
    let value = whole.value("authorization").to_owned();
    let credential = "Credential=AKIDEXAMPLE/20260115/us-east-1/execute-api/aws4_request, ";
    let all = "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. \
        Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a \
        'X-Amz-Date' or a 'Date' header. Authorization=AWS4-HMAC-SHA256";
    let one = format!(
        "Authorization header requires 'Credential' parameter. Authorization={}",
        value.replace(credential, "")
    );
    let date = format!(
        "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. Authorization={value}"
    );
    let lower = format!(
        "Authorization header requires 'Signature' parameter. Authorization={}",
        value.replace("Signature=", "signature=")
    );
    assert_refused([
        (with_authorization("AWS4-HMAC-SHA256").without("X-Amz-Date"), INCOMPLETE, all),
        (plain().replacing("Authorization", credential, ""), INCOMPLETE, &one),
        (plain().without("X-Amz-Date"), INCOMPLETE, &date),
        (plain().replacing("Authorization", "Signature=", "signature="), INCOMPLETE, &lower),
    ]);
}

#[test]
fn presigned_urls_that_lack_parts() {
    let alone = Sent::new("GET", "/?X-Amz-Algorithm=AWS4-HMAC-SHA256");
    let all = "AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include \
        'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters \
        must include 'X-Amz-Date'. Re-examine the query-string parameters.";
    let one = "AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters.";
    assert_refused([
        (alone, INCOMPLETE, all),
        (
            presigned().replacing_in_query("X-Amz-Date", "X-Amz-Day").with("X-Amz-Date", "20260115T120000Z"),
            INCOMPLETE,
            one,
        ),
    ]);
    let expires = "'X-Amz-Expires' must be a number of seconds from 1 to 604800.";
    for value in ["", "0", "-1", "+300", "604801", "99999999999999999999", "5m", "%20300"] {
        let request = presigned().replacing_in_query("Expires=300", &format!("Expires={value}"));
        assert_refused([(request, INCOMPLETE, expires)]);
    }
}

#[test]
fn headers_that_must_be_signed() {
    let host = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
    assert_refused([
        (plain().replacing("Authorization", "host;x-amz-date", "x-amz-date"), INVALID, host),
        (plain().replacing("Authorization", "host;x-amz-date", ""), INVALID, host),
        (presigned().replacing_in_query("SignedHeaders=host", "SignedHeaders="), INVALID, host),
    ]);
    let strict = Rules { unsigned_amz_headers: UnsignedAmzHeaders::Refuse, ..RULES };
    assert!(plain().with("X-Amzn-Trace-Id", "Root=1").verify(&strict, None, noon_and(0)).is_ok());
    let error = plain().with("X-Amz-Target", "a").verify(&strict, None, noon_and(0)).unwrap_err();
    let message = "'x-amz-target' must be a 'SignedHeader' in the AWS Authorization.";
    assert_eq!(error.message().as_deref(), Some(message));
}

#[test]
fn dates_in_another_form() {
    let message = |got: &str| {
        format!("Date must be in ISO-8601 'basic format'. Got '{got}'. See http://en.wikipedia.org/wiki/ISO_8601")
    };
    let http = "Thu, 15 Jan 2026 12:00:00 GMT";
    assert_refused([
        (plain().with_instead("X-Amz-Date", "2026-01-15"), INCOMPLETE, &message("2026-01-15")),
        (plain().with_instead("X-Amz-Date", http), INCOMPLETE, &message(http)),
        (plain().without("X-Amz-Date").with("Date", "today"), INCOMPLETE, &message("today")),
        (plain().with("X-Amz-Date", "20260115T120000Z"), INCOMPLETE, &message("20260115T120000Z,20260115T120000Z")),
        (presigned().replacing_in_query("120000Z", "12"), INCOMPLETE, &message("20260115T12")),
    ]);
}

#[test]
fn signatures_of_another_time() {
    for (request, seconds, message) in [
        (
            plain(),
            16 * 60,
            "Signature expired: 20260115T120000Z is now earlier than 20260115T120100Z (20260115T121600Z - 15 min.)",
        ),
        (
            plain(),
            -16 * 60,
            "Signature not yet current: 20260115T120000Z is still later than 20260115T115900Z (20260115T114400Z + 15 min.)",
        ),
        (
            presigned(),
            301,
            "Signature expired: 20260115T120000Z is now earlier than 20260115T120001Z (20260115T120501Z - 5 min.)",
        ),
        (
            presigned().replacing_in_query("=300", "=90"),
            91,
            "Signature expired: 20260115T120000Z is now earlier than 20260115T120001Z (20260115T120131Z - 90 sec.)",
        ),
    ] {
        let error = refusal(&request, seconds);
        assert_eq!(error.message().as_deref(), Some(message));
        assert_eq!((error.status(), error.error_type()), (403, Some(INVALID)));
        assert_eq!(error.gateway_response(), GatewayResponse::InvalidSignature);
    }
}

#[test]
fn credentials_of_another_form_or_scope() {
    let five = |got: &str| {
        format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{got}'"
        )
    };
    let scope = "20260115/us-east-1/execute-api/aws4_request";
    let scoped = |other: &str| plain().replacing("Authorization", scope, other);
    assert_refused([
        (scoped("20260115/us-east-1/execute-api"), INCOMPLETE, &five("AKIDEXAMPLE/20260115/us-east-1/execute-api")),
        (scoped(&format!("{scope}/")), INCOMPLETE, &five(&format!("AKIDEXAMPLE/{scope}/"))),
        (plain().replacing("Authorization", &format!("AKIDEXAMPLE/{scope}"), ""), INCOMPLETE, &five("")),
        (
            scoped("20260115/us-west-2/execute-api/aws4_request"),
            INVALID,
            "Credential should be scoped to a valid region, not 'us-west-2'.",
        ),
        (
            scoped("20260115/us-east-1/lambda/aws4_request"),
            INVALID,
            "Credential should be scoped to correct service: 'execute-api'.",
        ),
        (
            scoped("20260114/eu-west-1/s3/aws5_request"),
            INVALID,
            "Credential should be scoped to a valid region, not 'eu-west-1'. Credential should be scoped to correct service: \
             'execute-api'. Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. Date in \
             Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260114' != '20260115', from \
             '20260115T120000Z'.",
        ),
    ]);
}

#[test]
fn unknown_keys_and_ended_sessions() {
    assert_refused([(
        plain().replacing("Authorization", "AKIDEXAMPLE", "AKIDOTHER"),
        "UnrecognizedClientException",
        "The security token included in the request is invalid.",
    )]);
    let ended = SignatureError::ExpiredToken;
    assert_eq!(ended.message().as_deref(), Some("The security token included in the request is expired"));
    assert_eq!((ended.status(), ended.error_type()), (403, Some("ExpiredTokenException")));
    assert_eq!(ended.gateway_response(), GatewayResponse::ExpiredToken);
}

#[test]
fn signatures_of_another_request_are_told_what_should_have_been_signed_and_not_the_signature() {
    let message = "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
        Access Key and signing method. Consult the service documentation for details.\n\n\
        The Canonical String for this request should have been\n\
        'GET\n/prod/pets\nadded=\nhost:abcdef1234.execute-api.us-east-1.amazonaws.com\nx-amz-date:20260115T120000Z\n\n\
        host;x-amz-date\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'\n\n\
        The String-to-Sign should have been\n\
        'AWS4-HMAC-SHA256\n20260115T120000Z\n20260115/us-east-1/execute-api/aws4_request\n";
    let error = refusal(&Sent { query: "added".to_owned(), ..plain() }, 0);
    let told = error.message().unwrap().into_owned();
    assert!(told.starts_with(message) && told.ends_with("'\n"), "{told}");
    assert_eq!(told.len(), message.len() + 64 + 2, "a hash, and no more");

    for request in [
        plain().replacing("Authorization", "=141e96c0", "=041e96c0"),
        plain().replacing("Authorization", "=141e96c0", "=141E96c0"),
        plain().replacing("Authorization", "=141e96c0", "=41e96c0"),
        plain().replacing("Authorization", "=141e96c0", "="),
        plain().replacing("Authorization", "host;x-amz-date", "host"),
        plain().replacing("Authorization", "host;x-amz-date", "host;x-absent;x-amz-date"),
        plain().with_instead("Host", "other.example.com"),
        plain().with_instead("X-Amz-Date", "20260115T120001Z"),
        plain().with("Host", "other.example.com"),
        Sent { method: "POST".to_owned(), ..plain() },
        Sent { path: "/prod/pet".to_owned(), ..plain() },
        Sent { path: "/prod/pets/".to_owned(), ..plain() },
        Sent { path: "/prod/%70ets".to_owned(), ..plain() },
        Sent { body: b"changed".to_vec(), ..plain() },
        Sent { query: "X-Amz-Signature=1".to_owned(), ..plain() },
        Sent { query: presigned().query + "&X-Amz-Signature=1", ..presigned() },
        presigned().replacing_in_query("limit=5", "limit=6"),
        presigned().replacing_in_query("X-Amz-Expires=300", "X-Amz-Expires=301"),
        presigned().replacing_in_query("X-Amz-Expires=300", "X-Amz-Expires=300&X-Amz-Expires=300"),
        Sent { body: b"changed".to_vec(), ..presigned() },
    ] {
        let error = refusal(&request, 0);
        assert!(matches!(error, SignatureError::Mismatch(_)), "{request:?}: {error:?}");
        assert_eq!((error.status(), error.error_type()), (403, Some(INVALID)));
    }
}

#[test]
fn paths_and_queries_without_a_canonical_form() {
    for path in ["prod/pets", "/prod/%zz", "/.."] {
        let error = refusal(&Sent { path: path.to_owned(), ..plain() }, 0);
        assert_eq!((error.status(), error.error_type(), error.message()), (400, None, None), "{path}");
    }
    let query = |query: &str| Sent { query: query.to_owned(), ..plain() };
    assert_refused([
        (query("a=%4"), "MalformedQueryString", "Incomplete trailing escape % sequence"),
        (query("a=%xy"), "MalformedQueryString", "Illegal hex character in escape % pattern: %xy"),
    ]);
}

/// How a fault is mended, and what the request is refused for then.
type Step = (fn(Sent) -> Sent, fn(&SignatureError) -> bool);

/// Each request has its fault and all that come later; faults are mended one after the other.
#[test]
fn the_first_fault_in_the_order_of_aws_wins() {
    let steps: [Step; 11] = [
        (|sent| sent, |error| matches!(error, SignatureError::Path(_))),
        (|sent| Sent { path: "/prod/pets".into(), ..sent }, |error| matches!(error, SignatureError::Query(_))),
        (
            |sent| Sent { query: "X-Amz-Algorithm=AWS4-HMAC-SHA256".into(), ..sent },
            |error| matches!(error, SignatureError::BothForms),
        ),
        (|sent| Sent { query: "added=1".into(), ..sent }, |error| matches!(error, SignatureError::Algorithm(_))),
        (
            |sent| sent.replacing("authorization", "AWS5", "AWS4"),
            |error| matches!(error, SignatureError::NotKeyValue(_)),
        ),
        (
            |sent| sent.replacing("authorization", ", foo", ""),
            |error| matches!(error, SignatureError::IncompleteHeader(_)),
        ),
        (
            |sent| sent.replacing("authorization", "Signed=", "SignedHeaders="),
            |error| matches!(error, SignatureError::HostNotSigned),
        ),
        (
            |sent| sent.replacing("authorization", "=x-amz-date", "=host;x-amz-date"),
            |error| matches!(error, SignatureError::Date(_)),
        ),
        (
            |sent| sent.with_instead("X-Amz-Date", "20250115T120000Z"),
            |error| matches!(error, SignatureError::TooLate(_)),
        ),
        (
            |sent| sent.with_instead("X-Amz-Date", "20260115T120000Z"),
            |error| matches!(error, SignatureError::Credential(_)),
        ),
        (
            |sent| sent.replacing("authorization", "us-west-2/", "us-west-2/execute-api/"),
            |error| matches!(error, SignatureError::Scope(_)),
        ),
    ];
    let mut sent = Sent { path: "/..".into(), query: "a=%".into(), ..plain() }
        .with_instead("X-Amz-Date", "noon")
        .replacing("authorization", "AWS4", "AWS5")
        .replacing("authorization", "AKIDEXAMPLE/20260115/us-east-1/execute-api", "AKIDOTHER/20260115/us-west-2")
        .replacing("authorization", "SignedHeaders=host;", "Signed=")
        .replacing("authorization", ", Signature", ", foo, Signature");
    for (mend, is_expected) in steps {
        sent = mend(sent);
        let error = refusal(&sent, 0);
        assert!(is_expected(&error), "{error:?} for {sent:?}");
    }
    let sent = sent.replacing("authorization", "us-west-2", "us-east-1");
    assert_eq!(refusal(&sent, 0), SignatureError::UnknownCredentials);
    let sent = sent.replacing("authorization", "AKIDOTHER", "AKIDEXAMPLE");
    assert!(matches!(refusal(&sent, 0), SignatureError::Mismatch(_)));
    assert!(Sent { query: String::new(), ..sent }.verify(&RULES, None, noon_and(0)).is_ok());
}

#[test]
fn heads_beyond_any_bound() {
    let many = |count: usize, part: &str| vec![part; count].join("&");
    let names: Vec<String> = (0..=MOST_SIGNED_HEADERS).map(|number| format!("x{number}")).collect();
    for (request, bound) in [
        (Sent { path: "/".repeat(MOST_BYTES), ..plain() }, Bound::Bytes),
        (Sent { query: many(MOST_PARAMETERS + 1, "a"), ..plain() }, Bound::Parameters),
        ((0..MOST_HEADERS).fold(plain(), |sent, _| sent.with("a", "b")), Bound::Headers),
        (plain().replacing("Authorization", "host;", &format!("host;{};", names.join(";"))), Bound::SignedHeaders),
    ] {
        let error = refusal(&request, 0);
        assert_eq!(error, SignatureError::TooLarge(bound));
        assert_eq!((error.status(), error.error_type()), (403, Some(INCOMPLETE)));
    }
}

use gatepost_config::model::TextFormat;
use http::{HeaderName, HeaderValue};

use super::*;

const NOW: u64 = 1_700_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn signed(scheme: Scheme, secrets: &[&[u8]]) -> Signed {
    let tolerance = Duration::from_secs(300);
    let keys = secrets.iter().map(|secret| Key::new(HMAC_SHA256, secret)).collect();
    Signed { scheme, keys, tolerance, replay: Replay::Refuse, memory: Arc::default() }
}

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(field) {
        headers.append(name, value);
    }
    headers
}

/// Whether the body verifies, fed in pieces.
fn verifies(signed: &Signed, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<bool, Flaw> {
    let claim = signed.claim(headers, now)?;
    let mut verifier = Verifier::new(signed, &claim);
    body.chunks(3).for_each(|piece| verifier.update(piece));
    match verifier.finish(now) {
        Ok(_) => Ok(true),
        Err(Flaw::Wrong) => Ok(false),
        Err(flaw) => Err(flaw),
    }
}

fn hex_hmac(secret: &[u8], parts: &[&[u8]]) -> String {
    let tag = aws_lc_rs::hmac::sign(&Key::new(HMAC_SHA256, secret), &parts.concat());
    tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_example_that_github_documents_verifies() {
    let signed = signed(Scheme::Github, &[b"It's a Secret to Everybody"]);
    let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    for value in [format!("sha256={hex}"), format!("sha256={}", hex.to_uppercase())] {
        let headers = headers(&[("x-hub-signature-256", &value)]);
        assert_eq!(verifies(&signed, &headers, b"Hello, World!", now()), Ok(true));
        assert_eq!(verifies(&signed, &headers, b"Hello, World?", now()), Ok(false));
        assert_eq!(verifies(&signed, &headers, b"", now()), Ok(false));
    }
}

#[test]
fn the_example_that_slack_documents_verifies() {
    let signed = signed(Scheme::Slack, &[b"8f742231b10e8888abcd99yyyzzz85a5"]);
    let headers = headers(&[
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    ]);
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&\
                 channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&\
                 response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&\
                 trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let then = UNIX_EPOCH + Duration::from_secs(1_531_420_618);
    assert_eq!(verifies(&signed, &headers, body, then), Ok(true));
    assert_eq!(verifies(&signed, &headers, body, now()), Err(Flaw::TooOld));
}

#[test]
fn what_the_library_of_standard_webhooks_signs_verifies() {
    use base64::Engine as _;
    let secret = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let key = base64::engine::general_purpose::STANDARD.decode(secret).unwrap();
    let signed = signed(Scheme::StandardWebhooks, &[&key]);
    let oracle = standardwebhooks::Webhook::new(secret).unwrap();
    for body in ["", "{}", "{\"test\": 2432232314}", &"long ".repeat(50_000)] {
        let signature = oracle.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", NOW.cast_signed(), body.as_bytes()).unwrap();
        let time = NOW.to_string();
        let fields = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", time.as_str()),
            ("webhook-signature", &signature),
        ];
        assert_eq!(verifies(&signed, &headers(&fields), body.as_bytes(), now()), Ok(true));
        let others = format!("v1a,hnO3f9T8Ytu9 v1,{} v2,x {signature}", "A".repeat(43) + "=");
        let fields = [fields[0], fields[1], ("webhook-signature", &others)];
        assert_eq!(verifies(&signed, &headers(&fields), body.as_bytes(), now()), Ok(true));
        let fields = [("webhook-id", "msg_other"), fields[1], fields[2]];
        assert_eq!(verifies(&signed, &headers(&fields), body.as_bytes(), now()), Ok(false));
    }
}

#[test]
fn the_vector_of_standard_webhooks_verifies() {
    use base64::Engine as _;
    let key = base64::engine::general_purpose::STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let headers = headers(&[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]);
    let then = UNIX_EPOCH + Duration::from_secs(1_614_265_330);
    let signed = signed(Scheme::StandardWebhooks, &[&key]);
    assert_eq!(verifies(&signed, &headers, b"{\"test\": 2432232314}", then), Ok(true));
}

#[test]
fn of_several_secrets_and_several_signatures_one_pair_is_enough() {
    let (old, new, other) = (b"the old secret".as_slice(), b"the new secret".as_slice(), b"of another".as_slice());
    let by = |secret: &[u8]| hex_hmac(secret, &[format!("{NOW}.").as_bytes(), b"body"]);
    let header = |value: String| headers(&[("stripe-signature", &value)]);
    let both = signed(Scheme::Stripe, &[old, new]);
    for (value, good) in [
        (format!("t={NOW},v1={}", by(old)), true),
        (format!("t={NOW},v1={}", by(new)), true),
        (format!("t={NOW},v1={}", by(other)), false),
        (format!("t={NOW},v1={},v1={}", by(other), by(new)), true),
        (format!("v0={},v1={}, t={NOW}", by(other), by(old)), true),
        // A version that is not ours proves nothing.
        (format!("t={NOW},v0={},v1={}", by(old), by(other)), false),
    ] {
        assert_eq!(verifies(&both, &header(value.clone()), b"body", now()), Ok(good), "{value}");
    }
    // The time is signed.
    let moved = format!("t={},v1={}", NOW + 1, by(old));
    assert_eq!(verifies(&both, &header(moved), b"body", now()), Ok(false));
}

#[test]
fn a_header_of_any_name_holds_hex_or_base64_behind_a_prefix() {
    use base64::Engine as _;
    let secret = b"a secret";
    let scheme = |format, prefix: &str| Scheme::HmacSha256 {
        header: HeaderName::from_static("x-shop-hmac"),
        format,
        prefix: prefix.into(),
        id: None,
    };
    let hex = hex_hmac(secret, &[b"body"]);
    let tag = aws_lc_rs::hmac::sign(&Key::new(HMAC_SHA256, secret), b"body");
    let base64 = base64::engine::general_purpose::STANDARD.encode(tag.as_ref());
    for (format, prefix, value, expected) in [
        (TextFormat::Hex, "", hex.clone(), Ok(true)),
        (TextFormat::Hex, "sha256=", format!("sha256={hex}"), Ok(true)),
        (TextFormat::Hex, "sha256=", hex.clone(), Err(Flaw::Malformed)),
        (TextFormat::Hex, "", base64.clone(), Err(Flaw::Malformed)),
        (TextFormat::Base64, "", base64.clone(), Ok(true)),
        (TextFormat::Base64, "v1:", format!("v1:{base64}"), Ok(true)),
        (TextFormat::Base64, "", hex, Err(Flaw::Malformed)),
    ] {
        let signed = signed(scheme(format, prefix), &[secret]);
        assert_eq!(verifies(&signed, &headers(&[("x-shop-hmac", &value)]), b"body", now()), expected, "{value}");
    }
}

#[test]
fn a_time_may_lie_as_far_from_now_as_the_tolerance_and_no_further() {
    let signed = signed(Scheme::Stripe, &[b"a secret"]);
    for (time, expected) in [
        (NOW, Ok(true)),
        (NOW - 300, Ok(true)),
        (NOW - 301, Err(Flaw::TooOld)),
        (NOW + 300, Ok(true)),
        (NOW + 301, Err(Flaw::TooNew)),
        (0, Err(Flaw::TooOld)),
        (999_999_999_999, Err(Flaw::TooNew)),
    ] {
        let value = format!("t={time},v1={}", hex_hmac(b"a secret", &[format!("{time}.").as_bytes(), b"body"]));
        let headers = headers(&[("stripe-signature", &value)]);
        assert_eq!(verifies(&signed, &headers, b"body", now()), expected, "{time}");
    }
}

#[test]
fn a_claim_that_cannot_be_read_is_none() {
    let hex = "a".repeat(64);
    let github = signed(Scheme::Github, &[b"a secret"]);
    let claims = |signed: &Signed, fields: &[(&'static str, &str)]| signed.claim(&headers(fields), now()).unwrap_err();
    assert_eq!(claims(&github, &[]), Flaw::Missing);
    // SHA-1 is not what is asked for.
    assert_eq!(claims(&github, &[("x-hub-signature", "sha1=7d38cdd689735b008b3c702edd92eea23791c5f6")]), Flaw::Missing);
    for value in
        ["", "sha256=", &hex, &format!("sha1={hex}"), &format!("sha256={}", &hex[1..]), &format!("sha256={hex}a")]
    {
        assert_eq!(claims(&github, &[("x-hub-signature-256", value)]), Flaw::Malformed, "{value}");
    }
    assert_eq!(claims(&github, &[("x-hub-signature-256", &format!("sha256={}", "g".repeat(64)))]), Flaw::Malformed);
    let good = format!("sha256={hex}");
    assert_eq!(claims(&github, &[("x-hub-signature-256", &good), ("x-hub-signature-256", &good)]), Flaw::Twice);
    let ids = [("x-hub-signature-256", good.as_str()), ("x-github-delivery", "1"), ("x-github-delivery", "2")];
    assert_eq!(claims(&github, &ids), Flaw::Twice);
    let long = "a".repeat(257);
    assert_eq!(claims(&github, &[ids[0], ("x-github-delivery", &long)]), Flaw::Malformed);

    let stripe = signed(Scheme::Stripe, &[b"a secret"]);
    let many = format!("t={NOW}{}", format!(",v1={hex}").repeat(17));
    for value in [
        "t=1",
        &format!("v1={hex}"),
        &format!("t=,v1={hex}"),
        &format!("t=-1,v1={hex}"),
        &format!("t=+1,v1={hex}"),
        &format!("t=1.5,v1={hex}"),
        &format!("t={NOW},t={NOW},v1={hex}"),
        &format!("t={NOW},v0={hex}"),
        &format!("t={NOW},v1=abc"),
        &format!("t={NOW};v1={hex}"),
        "t=99999999999999999999,v1=",
        &many,
        &format!("t={NOW},v1={hex},x={}", "a".repeat(3000)),
    ] {
        assert_eq!(claims(&stripe, &[("stripe-signature", value)]), Flaw::Malformed, "{value}");
    }

    let slack = signed(Scheme::Slack, &[b"a secret"]);
    assert_eq!(claims(&slack, &[("x-slack-signature", &format!("v0={hex}"))]), Flaw::Missing);
    assert_eq!(claims(&slack, &[("x-slack-request-timestamp", "1700000000")]), Flaw::Missing);

    let standard = signed(Scheme::StandardWebhooks, &[b"a secret"]);
    let signature = ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    let time = ("webhook-timestamp", "1700000000");
    assert_eq!(claims(&standard, &[signature, time]), Flaw::Missing);
    assert_eq!(claims(&standard, &[signature, ("webhook-id", "msg")]), Flaw::Missing);
    // Or `a` at `1` of `2.body` could be shown as `a.1` at `2` of `body`.
    assert_eq!(claims(&standard, &[signature, time, ("webhook-id", "msg.1")]), Flaw::Malformed);
    for value in ["", "v1", "v1,", "v1a,AAAA", "v1,AAAA", "v1,*0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="] {
        let fields = [("webhook-id", "msg"), time, ("webhook-signature", value)];
        assert_eq!(claims(&standard, &fields), Flaw::Malformed, "{value}");
    }
}

fn verified(signed: &Signed, fields: &[(&'static str, &str)], body: &[u8]) -> Verified {
    let claim = signed.claim(&headers(fields), now()).unwrap();
    let mut verifier = Verifier::new(signed, &claim);
    verifier.update(body);
    verifier.finish(now()).unwrap()
}

#[test]
fn a_delivery_is_known_by_what_a_thief_cannot_change() {
    let github = signed(Scheme::Github, &[b"one", b"other"]);
    let by = |secret: &[u8]| format!("sha256={}", hex_hmac(secret, &[b"body"]));
    let keys = |signature: &str, id: &str| {
        verified(&github, &[("x-hub-signature-256", signature), ("x-github-delivery", id)], b"body").keys
    };
    let (mine, theirs) = (keys(&by(b"one"), "1"), keys(&by(b"one"), "2"));
    assert_eq!(mine[0], theirs[0], "another id makes no other delivery");
    assert_ne!(mine[1], theirs[1]);
    assert_ne!(keys(&by(b"other"), "1")[0], mine[0], "another hook with another secret is another delivery");

    // Signed twice, sent once with each: one delivery.
    let stripe = signed(Scheme::Stripe, &[b"one", b"other"]);
    let by = |secret: &[u8]| hex_hmac(secret, &[format!("{NOW}.").as_bytes(), b"body"]);
    let keys =
        |secret: &[u8]| verified(&stripe, &[("stripe-signature", &format!("t={NOW},v1={}", by(secret)))], b"body").keys;
    assert_eq!(keys(b"one"), keys(b"other"));
}

#[test]
fn a_body_that_ends_when_its_delivery_may_have_been_forgotten_is_refused() {
    let stripe = signed(Scheme::Stripe, &[b"a secret"]);
    let value = format!("t={NOW},v1={}", hex_hmac(b"a secret", &[format!("{NOW}.").as_bytes(), b"body"]));
    let claim = stripe.claim(&headers(&[("stripe-signature", &value)]), now()).unwrap();
    for (later, expected) in [(300, None), (301, Some(Flaw::TooOld))] {
        let mut verifier = Verifier::new(&stripe, &claim);
        verifier.update(b"body");
        assert_eq!(verifier.finish(now() + Duration::from_secs(later)).err(), expected);
    }
}

#[test]
fn a_delivery_is_remembered_as_long_as_its_time_is_good() {
    let stripe = signed(Scheme::Stripe, &[b"a secret"]);
    for (time, rest) in [(NOW - 300, 0), (NOW, 300), (NOW + 300, 600)] {
        let value = format!("t={time},v1={}", "a".repeat(64));
        let claim = stripe.claim(&headers(&[("stripe-signature", &value)]), now()).unwrap();
        assert_eq!(stripe.rest_of(&claim, now()), Ok(Duration::from_secs(rest)));
    }
}

//! Every scheme: what is good, and what is not.

use gatepost_testkit::{Origin, Raw, Script};

use super::*;
use crate::setup::{SOON, refusal};

const BODY: &[u8] = b"{\"action\":\"opened\",\"count\":1}";

#[tokio::test]
async fn a_body_that_is_signed_reaches_the_backend_as_it_came() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let fields = by_github(SECRET, BODY);
    assert_eq!(send(&gateway, plain(&fields, BODY)).await.text(), "thanks");
    let received = origin.last();
    assert_eq!((received.body.as_slice(), received.complete), (BODY, true));
    assert_eq!(received.header("x-hub-signature-256"), Some(fields[0].1.as_str()));
    assert_eq!(received.header("content-length"), Some("29"));

    // Of a known length by now, however it came.
    assert_eq!(send(&gateway, chunked(&fields, BODY)).await.status, 200);
    let received = origin.last();
    assert_eq!((received.body.as_slice(), received.complete), (BODY, true));
    assert_eq!((received.header("content-length"), received.header("transfer-encoding")), (Some("29"), None));

    assert_eq!(send_http2(&gateway, &fields, BODY).await, (200, b"thanks".to_vec()));
    assert_eq!(origin.last().body, BODY);
    assert_eq!(kept(&gateway, "memory"), 0.0);
}

#[tokio::test]
async fn a_body_that_is_not_what_was_signed_is_401_and_no_backend_hears_of_it() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let other = by_github("another secret", BODY);
    let forged = by_github(SECRET, b"{\"action\":\"closed\",\"count\":1}");
    for request in [plain(&other, BODY), chunked(&other, BODY), plain(&forged, BODY), plain(&forged, b"")] {
        let response = send(&gateway, request).await;
        assert_eq!((response.status, &*response.text()), (401, r#"{"message":"Unauthorized"}"#));
        assert_eq!(response.header("www-authenticate"), Some("Signature realm=\"gatepost\""));
        assert!(response.header("x-gatepost-decision").is_some());
    }
    assert_eq!(send_http2(&gateway, &other, BODY).await.0, 401);
    assert_eq!(origin.accepted(), 0);
    let line = refusal(&gateway, "signature_bad").await;
    assert_eq!(line["detail"], "no secret makes this signature of this body");
    assert!(!line.to_string().contains(&other[0].1[7..]), "{line}");
    let counted = "gatepost_requests_total{api=\"default\",route=\"$default\",reason=\"signature_bad\"}";
    assert_eq!(gateway.metric(counted), 5.0);
}

#[tokio::test]
async fn a_request_without_a_signature_is_401_and_its_body_is_not_asked_for() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.send(format!("{}expect: 100-continue\r\ncontent-length: 29\r\n\r\n", head(&Vec::new()))).await;
    assert_eq!(client.response().await.status, 401);
    refusal(&gateway, "signature_missing").await;

    let good = by_github(SECRET, BODY).remove(0);
    let malformed = ("x-hub-signature-256", good.1.replace("sha256=", "sha1="));
    for (fields, detail) in [
        (vec![good.clone(), good.clone()], "one of its headers came twice"),
        (vec![malformed], "one of its headers is malformed"),
    ] {
        let mut client = Raw::connect(gateway.address()).await;
        client.send(format!("{}expect: 100-continue\r\ncontent-length: 29\r\n\r\n", head(&fields))).await;
        assert_eq!(client.response().await.status, 401);
        gateway.log_until(|lines| lines.iter().any(|line| line["detail"] == detail), SOON).await;
    }
    assert_eq!(origin.accepted(), 0);
}

#[tokio::test]
async fn a_client_that_waits_to_be_asked_is_asked_for_a_body_that_may_be_good() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, GITHUB).await;
    let mut client = Raw::connect(gateway.address()).await;
    let head = head(&by_github(SECRET, BODY));
    client.send(format!("{head}expect: 100-continue\r\ncontent-length: 29\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 100);
    assert_eq!(origin.accepted(), 0);
    client.send(BODY).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(origin.last().body, BODY);
}

/// Signs a body.
type Signer<'s> = &'s dyn Fn(&[u8]) -> Fields;

#[tokio::test]
async fn every_scheme_lets_in_what_it_signed_and_nothing_else() {
    let hmac_of = |body: &[u8]| -> Fields {
        vec![("x-shop-signature", format!("v1:{}", STANDARD.encode(hmac(SECRET.as_bytes(), &[body]))))]
    };
    let hmac_entry = "signed.hmac-sha256 = { secret = $secret, header = \"X-Shop-Signature\", format = \"base64\", \
                      prefix = \"v1:\" }";
    let cases: [(&str, Signer<'_>); 5] = [
        (GITHUB, &|body| by_github(SECRET, body)),
        ("signed = { stripe = $secret }", &|body| by_stripe(SECRET, now(), body)),
        ("signed = { slack = $secret }", &|body| by_slack(SECRET, now(), body)),
        ("signed = { standard-webhooks = $standard }", &|body| by_standard("msg_1", now(), body)),
        (hmac_entry, &hmac_of),
    ];
    let origin = Origin::start(Script::ok("thanks")).await;
    for (entry, fields) in cases {
        let gateway = start(&origin, entry).await;
        for body in [BODY, b""] {
            assert_eq!(send(&gateway, plain(&fields(body), body)).await.status, 200, "{entry}");
            assert_eq!(send(&gateway, chunked(&fields(body), body)).await.status, 200, "{entry}");
            assert_eq!(send_http2(&gateway, &fields(body), body).await.0, 200, "{entry}");
            let seen = origin.count();
            assert_eq!(send(&gateway, plain(&fields(b"another"), body)).await.status, 401, "{entry}");
            assert_eq!(send(&gateway, plain(&Vec::new(), body)).await.status, 401, "{entry}");
            assert_eq!(origin.count(), seen);
        }
    }
}

#[tokio::test]
async fn a_delivery_is_good_as_long_as_the_tolerance_says() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, "signed = { stripe = $secret, tolerance = \"1h\" }").await;
    for (time, status) in [(now() - 3500, 200), (now() + 3500, 200), (now() - 3700, 401), (now() + 3700, 401)] {
        assert_eq!(send(&gateway, plain(&by_stripe(SECRET, time, BODY), BODY)).await.status, status, "{time}");
    }
    assert_eq!(refusal(&gateway, "signature_bad").await["detail"], "it was signed longer ago than `tolerance`");
}

#[tokio::test]
async fn while_a_secret_is_rotated_the_old_one_and_the_new_one_are_good() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let mut gateway = start(&origin, GITHUB).await;
    let statuses = async |gateway: &TestGateway| {
        let mut statuses = Vec::new();
        for secret in [SECRET, NEXT] {
            statuses.push(send(gateway, plain(&by_github(secret, BODY), BODY)).await.status);
        }
        statuses
    };
    assert_eq!(statuses(&gateway).await, [200, 401]);
    gateway.apply(&configuration(&origin, "signed = { github = [$secret, $next] }")).await.unwrap();
    assert_eq!(statuses(&gateway).await, [200, 200]);
    gateway.apply(&configuration(&origin, "signed = { github = $next }")).await.unwrap();
    assert_eq!(statuses(&gateway).await, [401, 200]);
}

#[tokio::test]
async fn the_address_and_the_signature_must_both_be_good() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, &format!("from = [\"127.0.0.1\"]\n{GITHUB}")).await;
    let signed = plain(&by_github(SECRET, BODY), BODY);
    assert_eq!(send(&gateway, signed.clone()).await.status, 200);
    assert_eq!(send(&gateway, plain(&Vec::new(), BODY)).await.status, 401);
    let mut stranger = Raw::connect_from([127, 0, 0, 2].into(), gateway.address()).await;
    stranger.send(signed).await;
    assert_eq!(stranger.response().await.status, 403);
    assert_eq!(origin.count(), 1);
}

#[tokio::test]
async fn a_body_that_is_not_good_takes_no_token_of_the_route() {
    let origin = Origin::start(Script::ok("thanks")).await;
    let gateway = start(&origin, &format!("{GITHUB}\nthrottle = {{ rate = \"1/d\", burst = 1 }}")).await;
    for _ in 0..3 {
        assert_eq!(send(&gateway, plain(&by_github(NEXT, BODY), BODY)).await.status, 401);
    }
    assert_eq!(send(&gateway, plain(&by_github(SECRET, BODY), BODY)).await.status, 200);
    // And when there is none left, no body is read.
    let mut client = Raw::connect(gateway.address()).await;
    let head = head(&by_github(SECRET, BODY));
    client.send(format!("{head}expect: 100-continue\r\ncontent-length: 29\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 429);
}

#[tokio::test]
async fn what_the_gateway_answers_itself_asks_for_a_signature_too() {
    let secrets = Secrets::new();
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[route.\"POST /hook\"]\n{}\nrespond = {{ body = \"thanks\" }}\n",
        secrets.named_in(GITHUB)
    );
    let gateway = TestGateway::start(&text).await;
    assert_eq!(send(&gateway, plain(&by_github(SECRET, BODY), BODY)).await.text(), "thanks");
    assert_eq!(send(&gateway, plain(&by_github(NEXT, BODY), BODY)).await.status, 401);
}

//! The test suite of AWS's own signer.

use gatepost_sigv4::{
    BodyToSign, Credentials, Form, PathForm, PayloadHash, Rules, SessionToken, SignatureError, Signer,
};
use jiff::{SignedDuration, Timestamp};

use crate::setup::{ACCESS_KEY_ID, Sent, secret};

struct Case {
    name: &'static str,
    path: PathForm,
    in_header: Sent,
    in_query: Sent,
}

fn cases() -> Vec<Case> {
    let text = include_str!("../vectors/aws-c-auth.txt");
    let case = |text: &'static str| {
        let (title, requests) = text.split_once('\n').unwrap();
        let (name, form) = title.split_once(' ').unwrap();
        let path = if form == "normalized" { PathForm::EscapedTwice } else { PathForm::AsSent };
        let (in_header, in_query) = requests.split_once("\n--\n").unwrap();
        Case { name, path, in_header: parse(in_header), in_query: parse(in_query) }
    };
    text.split("\n== ").skip(1).map(case).collect()
}

/// The suite's requests are older than the rule that a line of the header is one line, and hold bytes that should have
/// been escaped.
fn parse(text: &str) -> Sent {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let mut sent = Sent {
        headers: Vec::new(),
        body: body.trim_end().into(),
        ..Sent::new(method, rest.trim_end_matches(" HTTP/1.1"))
    };
    for line in lines.filter(|line| !line.is_empty()) {
        match line.split_once(':') {
            Some((name, value)) if !line.starts_with(' ') => sent = sent.with(name, value),
            _ => sent.headers.last_mut().unwrap().1 += &format!("\r\n{line}"),
        }
    }
    sent
}

fn rules(path: PathForm) -> Rules<'static> {
    Rules { service: "service", path, ..Rules::execute_api("us-east-1") }
}

fn noon() -> Timestamp {
    "2015-08-30T12:36:00Z".parse().unwrap()
}

/// The token of a request, wherever it stands.
fn token(sent: &Sent) -> Option<String> {
    let presented = sent.read(&rules(PathForm::AsSent), noon()).unwrap();
    presented.token().map(|token| token.expose().to_owned())
}

#[test]
fn every_case_of_the_suite_verifies() {
    let cases = cases();
    assert_eq!(cases.len(), 38);
    for Case { name, path, in_header, in_query } in cases {
        let rules = rules(path);
        assert_eq!(in_header.verify(&rules, token(&in_header).as_deref(), noon()), Ok(Form::Header), "{name}");
        let by_query = in_query.verify(&rules, token(&in_query).as_deref(), noon());
        if name == "post-sts-header-after" {
            // The token was added after signing. This service does not have that, and a parameter is signed or wrong.
            assert!(matches!(by_query, Err(SignatureError::Mismatch(_))), "{name}");
        } else {
            assert_eq!(by_query, Ok(Form::Query), "{name}");
        }
    }
}

#[test]
fn every_case_of_the_suite_is_signed_in_the_same_way() {
    for Case { name, path, in_header, in_query } in
        cases().into_iter().filter(|case| case.name != "post-sts-header-after")
    {
        let token = token(&in_header).map(SessionToken::new);
        let credentials = Credentials { access_key_id: ACCESS_KEY_ID.to_owned(), secret: secret(), token };
        let signer = Signer { credentials: &credentials, region: "us-east-1", service: "service", path };
        let hash = PayloadHash::of(&in_header.body);
        let declares = in_header.headers.iter().any(|(name, _)| name == "x-amz-content-sha256");
        let body = if declares { BodyToSign::Declared(hash) } else { BodyToSign::Hashed(hash) };

        let added = ["Authorization", "X-Amz-Date", "X-Amz-Security-Token", "X-Amz-Content-Sha256"];
        let plain = added.into_iter().fold(in_header.clone(), Sent::without);
        let ours = signer.sign(&plain.request(), body, noon()).unwrap();
        let authorization = ours.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        assert_eq!(authorization, in_header.value("authorization"), "{name}");

        let kept: Vec<&str> = in_query.query.split('&').filter(|pair| !pair.starts_with("X-Amz-")).collect();
        let plain = Sent { query: kept.join("&"), ..in_query.clone() };
        let ours = signer.presign(&plain.request(), body, SignedDuration::from_hours(1), noon()).unwrap();
        let sorted = |query: &str| {
            let mut pairs: Vec<String> = query.split('&').map(str::to_owned).filter(|pair| !pair.is_empty()).collect();
            pairs.sort();
            pairs
        };
        assert_eq!(sorted(&ours), sorted(&in_query.query), "{name}");
    }
}

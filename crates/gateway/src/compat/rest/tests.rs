use std::sync::Arc;

use gatepost_config::model::PolicyDocument;
use gatepost_iam::{ApiArn, Policy};

use super::*;

const ARN: &str = "arn:aws:execute-api:us-east-2:********1977:abc123/prod/GET/a";

fn denial(statement: Option<usize>) -> Denial {
    let text = r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}"#;
    let model = gatepost_config::load_text(
        "gatepost.toml",
        "[route.\"GET /\"]\nopen = true\nrespond = {}",
        std::path::Path::new(""),
    );
    let document = PolicyDocument {
        policy: Policy::resource(text, &ApiArn::new("aws", "us-east-2", "111122221977", "abc123")).unwrap(),
        statements: Vec::new(),
        doubts: Vec::new(),
        file: "policy.json".into(),
        place: model.unwrap().model.apis[0].place.clone(),
    };
    Denial::By { document: Arc::new(document), statement, user: None }
}

#[test]
fn a_denial_names_the_resource_and_whether_it_was_explicit() {
    const BEFORE: &str =
        "{\"Message\":\"User: anonymous is not authorized to perform: execute-api:Invoke on resource: ";
    for (statement, suffix) in [(Some(0), " with an explicit deny"), (None, "")] {
        let words = Words::denied(&denial(statement), ARN);
        assert_eq!(words.body, format!("{BEFORE}{ARN}{suffix}\"}}"));
        assert_eq!((words.status.as_u16(), words.kind), (403, Some("AccessDeniedException")));
    }
}

#[test]
fn bodies_are_as_long_as_those_that_were_captured() {
    for (rejection, status, kind, length) in [
        (Rejection::AddressNotListed, 403, Some("ForbiddenException"), 23),
        (Rejection::NoRoute, 403, Some("MissingAuthenticationTokenException"), 42),
        (Rejection::UpstreamTimeout, 504, Some("InternalServerErrorException"), 41),
        (Rejection::BadUpstream(BadUpstream::Framing), 502, Some("InternalServerErrorException"), 36),
        (Rejection::Dial(ConnectError::NoAuthorities), 502, Some("InternalServerErrorException"), 36),
        (Rejection::BodyTooLarge, 413, None, 44),
    ] {
        let words = Words::of(&rejection, 10_485_760);
        let found = (words.status.as_u16(), words.kind, words.body.len());
        assert_eq!(found, (status, kind, length), "{rejection}: {:?}", words.body);
    }
    assert_eq!(Words::unreachable().body.len(), 56);
}

#[test]
fn what_a_client_wrote_stays_a_string() {
    for text in ["", "a/b", "\"a\\", "\n\u{1}", "caf\u{e9}"] {
        let read: String = serde_json::from_str(&json(text)).unwrap();
        assert_eq!(read, text);
    }
}

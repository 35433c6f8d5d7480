//! Documents that are no policies, and what is said of them.

use std::fmt::Write;

use gatepost_iam::Policy;

use crate::support::{api, statement};

/// What is said of documents, with the place that is meant.
fn complaints(documents: &[String], read: impl Fn(&str) -> Result<Policy, gatepost_iam::PolicyError>) -> String {
    let mut said = String::new();
    for document in documents {
        let error = read(document).expect_err(document);
        for problem in error.problems() {
            let meant: String = document[problem.at()].chars().take(60).collect();
            let _ = writeln!(said, "{meant}\n    {}\n    {}", problem.message(), problem.help());
        }
        let _ = writeln!(said);
    }
    said
}

fn of_statements(elements: &[&str]) -> Vec<String> {
    let document = |elements: &&str| format!(r#"{{"Version": "2012-10-17", "Statement": {}}}"#, statement(elements));
    elements.iter().map(document).collect()
}

#[test]
fn what_is_no_document() {
    let documents = [
        "",
        "[]",
        "{",
        "{} x",
        "{}",
        "{\"Version\": 2012, \"Statement\": []}",
        "{\"Statement\": 7}",
        "{\"Version\": \"2012-10-18\", \"Statement\": [], \"statement\": [], \"Comment\": \"\"}",
        "{\"Version\": \"2012-10-17\", \"Version\": \"2012-10-17\"}",
        "{\"Statement\": {}}",
        "{\"Statement\": {\"Effect\": \"allow\", \"Efect\": 1, \"Principal\": \"*\", \"NotPrincipal\": \"*\", \
         \"Action\": [], \"Resource\": [1, \"x\"]}}",
        "{\"Statement\": {\"Effect\": \"Allow\", \"Effect\": \"Deny\"}}",
        "{\"Statement\": {\"Sid\": \"\\ud800\"}}",
    ];
    let twice = [statement(r#""Sid": "A""#), statement(r#""Sid": "A""#)].join(", ");
    let documents: Vec<String> =
        documents.into_iter().map(str::to_owned).chain([format!(r#"{{"Statement": [{twice}]}}"#)]).collect();
    insta::assert_snapshot!(complaints(&documents, |text| Policy::resource(text, &api())));
}

#[test]
fn what_is_no_statement() {
    let documents = of_statements(&[
        r#""Principal": "arn:aws:iam::123456789012:root""#,
        r#""Principal": {}"#,
        r#""Principal": {"AWS": []}"#,
        r#""Principal": {"Aws": "*"}"#,
        r#""Principal": {"AWS": ["bob", "arn:aws:iam::123456789012:user/*", "arn:aws:iam::*:root"]}"#,
        r#""Principal": {"AWS": "arn:aws:iam::123456789012:group/x"}"#,
        r#""Principal": {"Service": "*"}"#,
        r#""Action": ["invoke", "*:Invoke", "execute-api:", "execute-api:In voke"]"#,
        r#""Resource": ["pets", "execute-api:prod/*", "arn:aws:execute-api:*", "arn:aws:*:::x", "arn:aws:s3:::"]"#,
        r#""Resource": "arn:aws:execute-api:us-east-1:${aws:PrincipalAccount}:*""#,
        r#""Resource": "execute-api:/${aws:username""#,
        r#""Resource": "execute-api:/${}""#,
        r#""Sid": "A", "Condition": []"#,
        r#""Sid": "A", "Condition": {"IPAddress": {"aws:SourceIp": "192.0.2.1"}}"#,
        r#""Condition": {"ForEachValue:StringEquals": {"a": "b"}, "NullIfExists": {"a": "true"}}"#,
        r#""Condition": {"StringEquals": {}}"#,
        r#""Condition": {"StringEquals": "x"}"#,
        r#""Condition": {"StringEquals": {"a": []}}"#,
        r#""Condition": {"StringEquals": {"a": null}}"#,
        r#""Condition": {"StringEquals": {"aws:SourceIp": "a", "aws:sourceip": "b"}}"#,
        r#""Condition": {"StringEquals": {"a": "${b, c}"}}"#,
        r#""Condition": {"NumericEquals": {"a": ["1", "one", true]}}"#,
        r#""Condition": {"DateEquals": {"a": "tomorrow"}}"#,
        r#""Condition": {"Bool": {"a": "yes"}}"#,
        r#""Condition": {"Null": {"a": "maybe"}}"#,
        r#""Condition": {"BinaryEquals": {"a": "!"}}"#,
        r#""Condition": {"IpAddress": {"aws:SourceIp": ["10.0.0.0/33", "10.0.0/8", "", "${aws:SourceIp}", "1.2.3.4/+8"]}}"#,
    ]);
    insta::assert_snapshot!(complaints(&documents, |text| Policy::resource(text, &api())));
}

#[test]
fn what_is_no_identity_policy() {
    let documents = [
        of_statements(&[r#""Sid": "not this""#]),
        vec![
            r#"{"Id": "x", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "execute-api:/*"}}"#.to_owned(),
        ],
    ];
    insta::assert_snapshot!(complaints(&documents.concat(), Policy::identity));
}

#[test]
fn problems_know_their_lines() {
    let text = "{\n  \"Statement\": [\n    { \"Effect\": \"Allow\" },\n    { \"é\": 1, \"Effect\": \"Nope\" }\n  ]\n}";
    let error = Policy::identity(text).unwrap_err();
    let places: Vec<_> = error.problems().map(|problem| (problem.line(), problem.column())).collect();
    assert_eq!(places, [(3, 5), (3, 5), (4, 5), (4, 5), (4, 7), (4, 25)]);
    assert_eq!(&text[error.at().unwrap()], "{ \"Effect\": \"Allow\" }");
    assert!(error.to_string().starts_with("line 3, column 5: statement 0: `Action` is missing; write"), "{error}");
}

#[test]
fn no_more_than_twenty_problems_are_told() {
    let statements = vec!["{}"; 100].join(",");
    let error = Policy::identity(&format!(r#"{{"Statement": [{statements}]}}"#)).unwrap_err();
    assert_eq!(error.problems().count(), 20);
}

#[test]
fn what_stands_in_a_policy_and_means_nothing() {
    let text = format!(
        r#"{{"Id": "x", "Version": "2008-10-17", "Statement": [{}]}}"#,
        statement(r#""Sid": "", "Condition": {}"#)
    );
    let policy = Policy::resource(&text, &api()).unwrap();
    assert_eq!(policy.statements()[0].name().to_string(), "0");
}

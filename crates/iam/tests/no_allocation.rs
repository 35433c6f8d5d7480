//! A decision allocates nothing, whatever the policy asks. A binary of its own: everything it allocates is counted.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use allocation_counter::measure;
use gatepost_iam::{ApiArn, Context, Decision, Key, Policy, Principal, Request, Resource, Value, Values};

struct Facts;

const PATHS: [Value<'static>; 2] = [Value::Text("o-1/r-1/"), Value::Text("o-1/r-2/")];

impl Context for Facts {
    fn value(&self, key: &Key) -> Values<'_> {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_768_478_400);
        match key {
            Key::SourceIp => Values::One(Value::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)))),
            Key::CurrentTime => Values::One(Value::Time(now)),
            Key::EpochTime => Values::One(Value::Number(1_768_478_400)),
            Key::SecureTransport => Values::One(Value::Bool(true)),
            Key::UserName => Values::One(Value::Text("bob")),
            Key::Referer => Values::One(Value::Text("no number, no date, no address")),
            Key::PrincipalArn => Values::One(Value::Text("arn:aws:iam::123456789012:user/bob")),
            Key::PrincipalOrgPaths => Values::Many(&PATHS),
            Key::VpcSourceIp
            | Key::SourceVpc
            | Key::SourceVpce
            | Key::UserAgent
            | Key::SourceArn
            | Key::PrincipalAccount
            | Key::PrincipalType
            | Key::PrincipalOrgId
            | Key::PrincipalTag(_)
            | Key::UserId
            | Key::TokenIssueTime
            | Key::MultiFactorAuthPresent
            | Key::MultiFactorAuthAge
            | Key::Other(_) => Values::Absent,
        }
    }
}

/// Every operator holds, so that each is evaluated, with values of every type.
const CONDITION: &str = r#"{
    "StringEquals": {"aws:username": "${aws:username}", "aws:SourceIp": "192.0.2.7"},
    "StringNotEquals": {"aws:Referer": ["${aws:CurrentTime}", "${aws:userid, 'x'}"]},
    "StringEqualsIgnoreCase": {"aws:username": "BOB"},
    "StringLike": {"aws:CurrentTime": "2026-*", "aws:EpochTime": "17*", "aws:SourceIp": "192.0.2.*"},
    "StringNotLike": {"aws:username": "${aws:SourceIp}*"},
    "NumericLessThan": {"aws:EpochTime": 9999999999.5, "aws:CurrentTime": 9999999999},
    "NumericNotEquals": {"aws:EpochTime": 7},
    "DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00+01:00", "aws:EpochTime": "2026-01-01"},
    "DateNotEquals": {"aws:CurrentTime": "2026-01-01"},
    "Bool": {"aws:SecureTransport": "true"},
    "BinaryEquals": {"aws:username": "Ym9i"},
    "IpAddress": {"aws:SourceIp": ["192.0.2.0/28", "198.51.100.0/24", "2001:db8::/32"]},
    "NotIpAddress": {"aws:SourceIp": "198.51.100.0/24"},
    "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:user/${aws:username}"},
    "ArnNotEquals": {"aws:PrincipalArn": "arn:aws:iam::*:role/*"},
    "Null": {"aws:userid": "true", "aws:username": "false"},
    "ForAllValues:StringLike": {"aws:PrincipalOrgPaths": "o-1/*"},
    "ForAnyValue:StringEqualsIfExists": {"aws:PrincipalOrgPaths": ["o-1/r-2/", "o-9/"], "aws:PrincipalTag/team": "x"}
}"#;

/// All but the last hold under a Deny, with values that cannot be read.
const UNREADABLE: &str = r#"{
    "NumericNotEquals": {"aws:Referer": 7, "aws:SourceIp": 7},
    "DateNotEquals": {"aws:Referer": "2026-01-01"},
    "NotIpAddress": {"aws:Referer": "0.0.0.0/0"},
    "ArnNotEquals": {"aws:Referer": "arn:aws:iam::*:user/*"},
    "NumericLessThan": {"aws:Referer": 7}
}"#;

#[test]
fn a_decision_allocates_nothing() {
    let api = ApiArn::new("aws", "us-east-1", "123456789012", "abc123");
    let text = format!(
        r#"{{"Version": "2012-10-17", "Statement": [
            {{"Effect": "Deny", "NotPrincipal": {{"AWS": ["arn:aws:iam::123456789012:user/bob", "123456789012"]}},
              "Action": "*", "Resource": "*"}},
            {{"Effect": "Deny", "Principal": "*", "NotAction": "execute-api:I*k?", "Resource": "*"}},
            {{"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": {UNREADABLE}}},
            {{"Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::123456789012:role/a"}}, "Action": "*", "Resource": "*"}},
            {{"Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::123456789012:user/bob"}},
              "Action": "execute-api:invoke", "Resource": "execute-api:/*/GET/${{aws:username}}/*",
              "Condition": {CONDITION}}}
        ]}}"#
    );
    let policy = Policy::resource(&text, &api).unwrap_or_else(|error| panic!("{error}"));
    let tail = ["abc123", "/prod/", "GET", "/bob/pets"];
    let resource = Resource {
        partition: "aws",
        service: "execute-api",
        region: "us-east-1",
        account: "123456789012",
        tail: &tail,
    };
    let principal = Principal::User { arn: "arn:aws:iam::123456789012:user/bob", account: "123456789012" };
    let request = Request { action: "execute-api:Invoke", resource, principal, context: &Facts };
    let mut decision = Decision::ImplicitlyDenied;
    let counted = measure(|| decision = policy.decide(&request));
    assert_eq!(decision, Decision::Allowed { statement: 4 });
    assert_eq!(counted.count_total, 0, "{counted:?}");
    assert!(measure(|| drop(String::from("counted"))).count_total > 0);
}

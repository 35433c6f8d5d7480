//! Operators: what they compare, and what they make of an absent key.

use gatepost_iam::Value;

use crate::support::{fact, ip, matches, text, time};

/// Operator, key, values as JSON, value of the request, whether it holds.
type Row = (&'static str, &'static str, &'static str, Value<'static>, bool);

fn check(rows: &[Row]) {
    for (operator, key, values, asked, holds) in rows {
        let condition = format!(r#""Condition": {{"{operator}": {{"{key}": {values}}}}}"#);
        assert_eq!(matches(&condition, &fact(key, &[*asked])), *holds, "{operator} {key} {values}, asked {asked:?}");
    }
}

/// Every operator with a value for it, and whether it holds without the key, plain and with a quantifier.
const WITHOUT_KEY: [(&str, &str, bool); 26] = [
    ("StringEquals", "a", false),
    ("StringEqualsIgnoreCase", "a", false),
    ("StringLike", "a", false),
    ("NumericEquals", "1", false),
    ("NumericLessThan", "1", false),
    ("NumericLessThanEquals", "1", false),
    ("NumericGreaterThan", "1", false),
    ("NumericGreaterThanEquals", "1", false),
    ("DateEquals", "2026-01-01", false),
    ("DateLessThan", "2026-01-01", false),
    ("DateLessThanEquals", "2026-01-01", false),
    ("DateGreaterThan", "2026-01-01", false),
    ("DateGreaterThanEquals", "2026-01-01", false),
    ("Bool", "true", false),
    ("BinaryEquals", "AAAA", false),
    ("IpAddress", "192.0.2.1", false),
    ("ArnEquals", "arn:aws:iam::1:user/a", false),
    ("ArnLike", "arn:aws:iam::1:user/a", false),
    ("StringNotEquals", "a", true),
    ("StringNotEqualsIgnoreCase", "a", true),
    ("StringNotLike", "a", true),
    ("NumericNotEquals", "1", true),
    ("DateNotEquals", "2026-01-01", true),
    ("NotIpAddress", "192.0.2.1", true),
    ("ArnNotEquals", "arn:aws:iam::1:user/a", true),
    ("ArnNotLike", "arn:aws:iam::1:user/a", true),
];

#[test]
fn an_absent_key_makes_positive_operators_false_and_negated_ones_true() {
    for (operator, value, holds) in WITHOUT_KEY {
        for (form, holds) in [
            (operator.to_owned(), holds),
            (format!("{operator}IfExists"), true),
            (format!("ForAllValues:{operator}"), true),
            (format!("ForAnyValue:{operator}"), false),
            (format!("ForAllValues:{operator}IfExists"), true),
            (format!("ForAnyValue:{operator}IfExists"), true),
        ] {
            let condition = format!(r#""Condition": {{"{form}": {{"aws:Referer": "{value}"}}}}"#);
            assert_eq!(matches(&condition, &fact("aws:Referer", &[])), holds, "{form}");
        }
    }
}

#[test]
fn text_is_compared() {
    check(&[
        ("StringEquals", "aws:Referer", r#""a""#, text("a"), true),
        ("StringEquals", "aws:Referer", r#""a""#, text("A"), false),
        ("StringEquals", "aws:Referer", r#"["b", "a"]"#, text("a"), true),
        ("StringEquals", "aws:Referer", r#""a*""#, text("ab"), false),
        ("StringEquals", "aws:Referer", r#""a*""#, text("a*"), true),
        ("StringNotEquals", "aws:Referer", r#"["b", "a"]"#, text("a"), false),
        ("StringNotEquals", "aws:Referer", r#"["b", "a"]"#, text("c"), true),
        ("StringEqualsIgnoreCase", "aws:Referer", r#""aB""#, text("Ab"), true),
        ("StringNotEqualsIgnoreCase", "aws:Referer", r#"["x", "aB"]"#, text("Ab"), false),
        ("StringLike", "aws:Referer", r#""https://*.example.com/?""#, text("https://a.example.com/1"), true),
        ("StringLike", "aws:Referer", r#""https://*.example.com/?""#, text("https://a.example.com/"), false),
        ("StringLike", "aws:Referer", r#""HTTPS://*""#, text("https://a"), false),
        ("StringNotLike", "aws:Referer", r#"["a*", "b*"]"#, text("bc"), false),
        ("StringNotLike", "aws:Referer", r#"["a*", "b*"]"#, text("c"), true),
        ("StringEquals", "AWS:referer", r#""a""#, text("a"), true),
    ]);
}

#[test]
fn numbers_are_compared() {
    check(&[
        ("NumericEquals", "aws:MultiFactorAuthAge", "300", Value::Number(300), true),
        ("NumericEquals", "aws:MultiFactorAuthAge", r#""300.0""#, Value::Number(300), true),
        ("NumericEquals", "aws:MultiFactorAuthAge", "[1, 300]", text("3e2"), true),
        ("NumericNotEquals", "aws:MultiFactorAuthAge", "[1, 300]", Value::Number(300), false),
        ("NumericNotEquals", "aws:MultiFactorAuthAge", "[1, 300]", Value::Number(2), true),
        ("NumericLessThan", "aws:MultiFactorAuthAge", "300", Value::Number(299), true),
        ("NumericLessThan", "aws:MultiFactorAuthAge", "300", Value::Number(300), false),
        ("NumericLessThanEquals", "aws:MultiFactorAuthAge", "300", Value::Number(300), true),
        ("NumericLessThanEquals", "aws:MultiFactorAuthAge", "300", text("300.000001"), false),
        ("NumericGreaterThan", "aws:MultiFactorAuthAge", "-1", Value::Number(0), true),
        ("NumericGreaterThan", "aws:MultiFactorAuthAge", "0", Value::Number(0), false),
        ("NumericGreaterThanEquals", "aws:MultiFactorAuthAge", "0", Value::Number(0), true),
        ("NumericLessThan", "aws:MultiFactorAuthAge", "300", text("soon"), false),
        ("NumericNotEquals", "aws:MultiFactorAuthAge", "300", text("soon"), false),
        ("NumericLessThan", "aws:EpochTime", "1768478401", time(1_768_478_400), true),
        ("NumericLessThan", "aws:EpochTime", "1768478400", Value::Number(1_768_478_400), false),
    ]);
}

#[test]
fn dates_are_compared() {
    let noon = time(1_768_478_400);
    check(&[
        ("DateEquals", "aws:CurrentTime", r#""2026-01-15T12:00:00Z""#, noon, true),
        ("DateEquals", "aws:CurrentTime", r#""2026-01-15T13:00:00+01:00""#, noon, true),
        ("DateEquals", "aws:CurrentTime", "1768478400", noon, true),
        ("DateNotEquals", "aws:CurrentTime", r#"["2026-01-15T12:00:00Z", "2027-01-01"]"#, noon, false),
        ("DateLessThan", "aws:CurrentTime", r#""2026-01-16""#, noon, true),
        ("DateLessThan", "aws:CurrentTime", r#""2026-01-15T12:00:00Z""#, noon, false),
        ("DateLessThanEquals", "aws:CurrentTime", r#""2026-01-15T12:00:00Z""#, noon, true),
        ("DateGreaterThan", "aws:CurrentTime", r#""2026-01-15""#, noon, true),
        ("DateGreaterThan", "aws:CurrentTime", r#""2026-01-15T12:00:00.001Z""#, noon, false),
        ("DateGreaterThanEquals", "aws:CurrentTime", r#""1768478400""#, noon, true),
        ("DateGreaterThan", "aws:EpochTime", r#""2026-01-15""#, Value::Number(1_768_478_400), true),
        ("DateGreaterThan", "aws:TokenIssueTime", r#""2026-01-15""#, text("2026-01-15T00:00:01Z"), true),
        ("DateGreaterThan", "aws:TokenIssueTime", r#""2026-01-15""#, text("yesterday"), false),
    ]);
}

#[test]
fn truth_values_are_compared_in_any_letter_case() {
    check(&[
        ("Bool", "aws:SecureTransport", r#""true""#, Value::Bool(true), true),
        ("Bool", "aws:SecureTransport", "true", Value::Bool(true), true),
        ("Bool", "aws:SecureTransport", r#""TRUE""#, text("True"), true),
        ("Bool", "aws:SecureTransport", "false", Value::Bool(true), false),
        ("Bool", "aws:SecureTransport", r#"["true", "false"]"#, Value::Bool(false), true),
        ("Bool", "aws:SecureTransport", "true", text("yes"), false),
    ]);
}

#[test]
fn bytes_are_compared() {
    check(&[
        ("BinaryEquals", "aws:PrincipalTag/key", r#""YWJj""#, text("abc"), true),
        ("BinaryEquals", "aws:PrincipalTag/key", r#"["AAAA", "YWJj"]"#, text("abd"), false),
    ]);
}

#[test]
fn addresses_are_compared() {
    check(&[
        ("IpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, ip("203.0.113.255"), true),
        ("IpAddress", "aws:SourceIp", r#""203.0.113.0/24""#, ip("203.0.114.0"), false),
        ("IpAddress", "aws:SourceIp", r#""2001:db8::/32""#, ip("2001:db8::1"), true),
        ("IpAddress", "aws:SourceIp", r#""2001:db8::1""#, ip("2001:db8::2"), false),
        ("IpAddress", "aws:SourceIp", r#""0.0.0.0/0""#, ip("::1"), false),
        ("IpAddress", "aws:SourceIp", r#""::/0""#, ip("192.0.2.1"), false),
        ("IpAddress", "aws:SourceIp", r#""::/0""#, ip("::ffff:192.0.2.1"), false),
        ("IpAddress", "aws:SourceIp", r#""192.0.2.0/24""#, ip("::ffff:192.0.2.1"), true),
        ("IpAddress", "aws:SourceIp", r#""::ffff:192.0.2.0/120""#, ip("192.0.2.1"), true),
        ("IpAddress", "aws:SourceIp", r#""192.0.2.0/24""#, text("192.0.2.1"), true),
        ("IpAddress", "aws:SourceIp", r#""192.0.2.0/24""#, text("here"), false),
        ("NotIpAddress", "aws:SourceIp", r#"["192.0.2.0/24", "::/0"]"#, ip("192.0.2.1"), false),
        ("NotIpAddress", "aws:SourceIp", r#"["192.0.2.0/24", "::/0"]"#, ip("192.0.3.1"), true),
        ("NotIpAddress", "aws:SourceIp", r#""192.0.2.0/24""#, text("here"), false),
    ]);
}

#[test]
fn arns_are_compared_part_by_part() {
    let role = text("arn:aws:iam::123456789012:role/app-x");
    for (positive, negated) in [("ArnEquals", "ArnNotEquals"), ("ArnLike", "ArnNotLike")] {
        for (pattern, holds) in [
            ("arn:aws:iam::123456789012:role/app-x", true),
            ("arn:aws:iam::*:role/app-?", true),
            ("arn:*:*:*:*:*", true),
            ("arn:aws:iam::123456789012:user/*", false),
            ("arn:aws:*:role/app-x", false),
            ("arn:aws:iam*", false),
            ("*", false),
            ("ARN:aws:iam::123456789012:role/app-x", false),
        ] {
            let values = format!(r#"["arn:aws:s3:::no", "{pattern}"]"#).leak();
            check(&[
                (positive, "aws:PrincipalArn", values, role, holds),
                (negated, "aws:PrincipalArn", values, role, !holds),
                (positive, "aws:PrincipalArn", values, text("app-x"), false),
                (negated, "aws:PrincipalArn", values, text("app-x"), false),
            ]);
        }
    }
    check(&[("ArnLike", "aws:SourceArn", r#""a:b:c:d:e:*""#, text("a:b:c:d:e:f:g:h"), true)]);
}

#[test]
fn a_value_that_cannot_be_read_neither_lets_in_nor_spares() {
    for (operator, value, asked) in [
        ("NumericNotEquals", "1", text("x")),
        ("DateNotEquals", "2026-01-01", text("x")),
        ("NotIpAddress", "192.0.2.1", text("192.0.2.1 ")),
        ("ArnNotEquals", "arn:aws:iam::1:user/a", text("x")),
        ("ArnNotLike", "arn:aws:iam::1:user/a", text("x")),
    ] {
        for form in ["", "ForAllValues:", "ForAnyValue:"].map(|quantifier| format!("{quantifier}{operator}")) {
            for operator in [form.clone(), format!("{form}IfExists")] {
                let condition = format!(r#""Condition": {{"{operator}": {{"aws:Referer": "{value}"}}}}"#);
                let facts = fact("aws:Referer", &[asked]);
                assert!(!matches(&condition, &facts), "{operator} allows {asked:?}");
                assert!(matches(&format!(r#""Effect": "Deny", {condition}"#), &facts), "{operator} spares {asked:?}");
            }
        }
    }
    for (operator, allows) in
        [("NumericNotEquals", false), ("ForAllValues:NumericNotEquals", false), ("ForAnyValue:NumericNotEquals", true)]
    {
        let condition = format!(r#""Condition": {{"{operator}": {{"aws:Referer": "1"}}}}"#);
        assert_eq!(matches(&condition, &fact("aws:Referer", &[text("x"), text("2")])), allows, "{operator}");
    }
}

#[test]
fn null_asks_whether_a_key_is_there() {
    for (values, absent, empty, there) in [
        (r#""true""#, true, true, false),
        (r#""false""#, false, false, true),
        ("true", true, true, false),
        (r#"["true", "false"]"#, true, true, true),
    ] {
        let condition = format!(r#""Condition": {{"Null": {{"aws:Referer": {values}}}}}"#);
        assert_eq!(matches(&condition, &fact("aws:Referer", &[])), absent, "{values} absent");
        assert_eq!(matches(&condition, &fact("aws:Referer", &[text("")])), empty, "{values} empty");
        assert_eq!(matches(&condition, &fact("aws:Referer", &[text("a")])), there, "{values} there");
    }
}

#[test]
fn quantifiers_count_the_values_of_the_request() {
    let (a, b, c) = (text("a"), text("b"), text("c"));
    for (operator, asked, holds) in [
        ("ForAllValues:StringEquals", &[a, b][..], true),
        ("ForAllValues:StringEquals", &[a, c], false),
        ("ForAllValues:StringEquals", &[c], false),
        ("ForAnyValue:StringEquals", &[a, c], true),
        ("ForAnyValue:StringEquals", &[c], false),
        ("ForAllValues:StringNotEquals", &[c], true),
        ("ForAllValues:StringNotEquals", &[a, c], false),
        ("ForAnyValue:StringNotEquals", &[a, c], true),
        ("ForAnyValue:StringNotEquals", &[a, b], false),
        ("ForAnyValue:StringLikeIfExists", &[c], false),
        ("ForAnyValue:StringLikeIfExists", &[c, a], true),
        ("StringEquals", &[a, c], true),
        ("StringNotEquals", &[a, c], false),
        ("StringNotEquals", &[c, c], true),
    ] {
        let condition = format!(r#""Condition": {{"{operator}": {{"aws:PrincipalOrgPaths": ["a", "b"]}}}}"#);
        assert_eq!(matches(&condition, &fact("aws:PrincipalOrgPaths", asked)), holds, "{operator} {asked:?}");
    }
}

#[test]
fn a_value_of_another_type_is_the_text_that_aws_would_write() {
    check(&[
        ("StringLike", "aws:SourceIp", r#""192.0.2.*""#, ip("192.0.2.7"), true),
        ("StringLike", "aws:SourceIp", r#""192.0.2.*""#, ip("::ffff:192.0.2.7"), true),
        ("StringEquals", "aws:SecureTransport", r#""true""#, Value::Bool(true), true),
        ("StringEquals", "aws:SecureTransport", "true", Value::Bool(true), true),
        ("StringLike", "aws:CurrentTime", r#""2026-01-15T*""#, time(1_768_478_400), true),
        ("StringEquals", "aws:EpochTime", r#""1768478400""#, Value::Number(1_768_478_400), true),
        ("NumericEquals", "aws:SourceIp", "1", ip("0.0.0.1"), false),
        ("IpAddress", "aws:SecureTransport", r#""0.0.0.0/0""#, Value::Bool(true), false),
        ("Bool", "aws:EpochTime", "true", Value::Number(1), false),
        ("ArnLike", "aws:SourceIp", r#""*:*:*:*:*:*""#, ip("2001:db8:1:2:3:4:5:6"), true),
        ("BinaryEquals", "aws:SecureTransport", r#""dHJ1ZQ==""#, Value::Bool(true), true),
    ]);
}

#[test]
fn operators_keys_and_values_are_combined() {
    let facts = |agent| {
        let mut facts = fact("aws:Referer", &[text("a")]);
        facts.0.extend(fact("aws:UserAgent", &[agent]).0);
        facts
    };
    let two_keys = r#""Condition": {"StringEquals": {"aws:Referer": "a", "aws:UserAgent": ["x", "y"]}}"#;
    assert!(matches(two_keys, &facts(text("y"))));
    assert!(!matches(two_keys, &facts(text("z"))));
    let two_operators =
        r#""Condition": {"StringEquals": {"aws:Referer": "a"}, "StringNotEquals": {"aws:UserAgent": ["x", "y"]}}"#;
    assert!(matches(two_operators, &facts(text("z"))));
    assert!(!matches(two_operators, &facts(text("y"))));
    assert!(matches(r#""Condition": {}"#, &facts(text("z"))));
}

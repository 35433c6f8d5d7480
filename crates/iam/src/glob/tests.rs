use proptest::prelude::*;

use super::*;
use crate::value::Value;

const EVERYTHING: Syntax = Syntax { wildcards: true, variables: true };

/// A request by `a*b` from a bot whose tags are many.
struct Request;

impl Context for Request {
    fn value(&self, key: &Key) -> Values<'_> {
        if *key == Key::UserName {
            Values::One(Value::Text("a*b"))
        } else if *key == Key::EpochTime {
            Values::One(Value::Number(7))
        } else if *key == Key::PrincipalOrgPaths {
            Values::Many(&[Value::Text("o/1"), Value::Text("o/2")])
        } else {
            Values::Absent
        }
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    let pattern = Pattern::parse(pattern, EVERYTHING).unwrap();
    let whole = pattern.matches(&[text], Case::Matters, &Request);
    let letters: Vec<String> = text.chars().map(String::from).collect();
    let letters: Vec<&str> = letters.iter().flat_map(|letter| ["", letter]).collect();
    assert_eq!(whole, pattern.matches(&letters, Case::Matters, &Request), "joined or not");
    whole
}

#[test]
fn wildcards_match_across_everything() {
    for (pattern, text, expected) in [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("a*", "a/b/c", true),
        ("a*c", "abcbc", true),
        ("a*c", "abcb", false),
        ("*a*a*a*", "aa", false),
        ("?", "\u{e9}", true),
        ("?", "", false),
        ("??", "\u{e9}", false),
        ("*?", "\u{e9}", true),
        ("A", "a", false),
        ("$", "$", true),
        ("$a", "$a", true),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} and {text}");
    }
}

#[test]
fn variables_are_inserted_literally() {
    for (pattern, text, expected) in [
        ("${aws:username}", "a*b", true),
        ("${aws:username}", "axb", false),
        ("/${AWS:UserName}/*", "/a*b/c", true),
        ("${aws:EpochTime}", "7", true),
        ("${aws:userid}", "", false),
        ("${aws:userid}*", "anything", false),
        ("${aws:userid, 'no}body'}", "no}body", true),
        ("${aws:userid,''}x", "x", true),
        ("${aws:username, 'nobody'}", "nobody", false),
        ("${aws:PrincipalOrgPaths}", "o/1", false),
        ("${*}${?}${$}", "*?$", true),
        ("${*}", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} and {text}");
    }
}

#[test]
fn what_is_no_variable() {
    let error = |text: &str| Pattern::parse(text, EVERYTHING).unwrap_err();
    assert_eq!(error("${aws:username"), PatternError::Unclosed);
    assert_eq!(error("${a, 'b}"), PatternError::Unclosed);
    assert_eq!(error("${}"), PatternError::BadVariable(String::new()));
    assert_eq!(error("${a, b}"), PatternError::BadVariable("a, b".to_owned()));
    assert_eq!(error(&"${a}".repeat(9)), PatternError::TooManyVariables);
}

#[test]
fn variables_are_text_where_there_are_none() {
    let pattern = Pattern::parse("${aws:username}", Syntax { wildcards: true, variables: false }).unwrap();
    assert!(pattern.matches(&["${aws:username}"], Case::Matters, &Request));
}

#[test]
fn letter_case_is_ignored_where_it_does_not_matter() {
    let pattern = Pattern::parse("Stra\u{df}e \u{c9}*", EVERYTHING).unwrap();
    assert!(pattern.matches(&["STRA\u{df}E ", "\u{e9}t\u{e9}"], Case::Ignored, &Request));
}

#[test]
fn a_hostile_pattern_ends_in_time() {
    let pattern = format!("{}b", "*a".repeat(1_000));
    assert!(!matches(&pattern, &"a".repeat(5_000)));
}

fn naive(pattern: &[char], text: &[char]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some(('*', later)), _) => (0..=text.len()).any(|taken| naive(later, &text[taken..])),
        (Some(('?', later)), Some((_, rest))) => naive(later, rest),
        (Some((wanted, later)), Some((found, rest))) => wanted == found && naive(later, rest),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn it_agrees_with_a_naive_matcher(pattern in "[ab*?\u{e9}]{0,8}", text in "[ab\u{e9}]{0,10}") {
        let (letters, characters): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
        prop_assert_eq!(matches(&pattern, &text), naive(&letters, &characters));
    }
}

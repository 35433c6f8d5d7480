//! The names of operators (IAM user guide, reference_policies_elements_condition_operators).

use crate::glob::Case;

/// An operator as its name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operator {
    pub(crate) quantifier: Quantifier,
    pub(crate) family: Family,
    pub(crate) negated: bool,
    pub(crate) if_exists: bool,
}

/// How many values of the request must do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quantifier {
    /// The key has one value. With several: a positive operator wants any of them, a negated one none.
    Single,
    /// `ForAllValues:`
    All,
    /// `ForAnyValue:`
    Any,
}

/// What is compared, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Text(Case),
    Like,
    Number(Comparison),
    Date(Comparison),
    Bool,
    Binary,
    Address,
    Arn,
    Null,
}

/// How the request's value stands to the policy's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Every operator, with what it compares and whether it is negated.
const OPERATORS: [(&str, Family, bool); 27] = [
    ("StringEquals", Family::Text(Case::Matters), false),
    ("StringNotEquals", Family::Text(Case::Matters), true),
    ("StringEqualsIgnoreCase", Family::Text(Case::Ignored), false),
    ("StringNotEqualsIgnoreCase", Family::Text(Case::Ignored), true),
    ("StringLike", Family::Like, false),
    ("StringNotLike", Family::Like, true),
    ("NumericEquals", Family::Number(Comparison::Equal), false),
    ("NumericNotEquals", Family::Number(Comparison::Equal), true),
    ("NumericLessThan", Family::Number(Comparison::Less), false),
    ("NumericLessThanEquals", Family::Number(Comparison::LessOrEqual), false),
    ("NumericGreaterThan", Family::Number(Comparison::Greater), false),
    ("NumericGreaterThanEquals", Family::Number(Comparison::GreaterOrEqual), false),
    ("DateEquals", Family::Date(Comparison::Equal), false),
    ("DateNotEquals", Family::Date(Comparison::Equal), true),
    ("DateLessThan", Family::Date(Comparison::Less), false),
    ("DateLessThanEquals", Family::Date(Comparison::LessOrEqual), false),
    ("DateGreaterThan", Family::Date(Comparison::Greater), false),
    ("DateGreaterThanEquals", Family::Date(Comparison::GreaterOrEqual), false),
    ("Bool", Family::Bool, false),
    ("BinaryEquals", Family::Binary, false),
    ("IpAddress", Family::Address, false),
    ("NotIpAddress", Family::Address, true),
    ("ArnEquals", Family::Arn, false),
    ("ArnLike", Family::Arn, false),
    ("ArnNotEquals", Family::Arn, true),
    ("ArnNotLike", Family::Arn, true),
    ("Null", Family::Null, false),
];

impl Operator {
    /// The operator of that name. An error names the one that may have been meant.
    pub(crate) fn named(name: &str) -> Result<Self, Option<&'static str>> {
        let (quantifier, plain) = match name.split_once(':') {
            Some(("ForAllValues", plain)) => (Quantifier::All, plain),
            Some(("ForAnyValue", plain)) => (Quantifier::Any, plain),
            Some((_, plain)) => return Err(nearest(plain)),
            None => (Quantifier::Single, name),
        };
        let (plain, if_exists) = match plain.strip_suffix("IfExists") {
            Some(plain) => (plain, true),
            None => (plain, false),
        };
        let Some((_, family, negated)) = OPERATORS.iter().find(|(known, ..)| *known == plain) else {
            return Err(nearest(plain));
        };
        // Whether a key is there is no question about its values, nor one to ask only if it is there.
        if *family == Family::Null && (if_exists || quantifier != Quantifier::Single) {
            return Err(Some("Null"));
        }
        Ok(Self { quantifier, family: *family, negated: *negated, if_exists })
    }
}

fn nearest(name: &str) -> Option<&'static str> {
    crate::document::nearest(name, OPERATORS.iter().map(|(known, ..)| *known))
}

impl Comparison {
    pub(crate) fn holds<T: Ord>(self, asked: &T, written: &T) -> bool {
        match self {
            Self::Equal => asked == written,
            Self::Less => asked < written,
            Self::LessOrEqual => asked <= written,
            Self::Greater => asked > written,
            Self::GreaterOrEqual => asked >= written,
        }
    }
}

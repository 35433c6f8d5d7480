//! Conditions: one key, one operator, and what it is compared with.

mod compile;
mod operator;

use std::net::IpAddr;
use std::ops::Range;

use gatepost_prefix::PrefixSet;

pub(crate) use compile::compile;
pub(crate) use operator::{Comparison, Quantifier};

use crate::arn::{ArnPattern, split};
use crate::glob::{Case, Pattern};
use crate::key::Key;
use crate::number::Decimal;
use crate::statement::Effect;
use crate::time::parse_time;
use crate::value::{Context, Value};

/// A condition of a statement; all of a statement's must hold.
#[derive(Debug, Clone)]
pub(crate) struct Condition {
    pub(crate) key: Key,
    /// The operator as it is written.
    pub(crate) operator: Box<str>,
    pub(crate) quantifier: Quantifier,
    pub(crate) negated: bool,
    pub(crate) if_exists: bool,
    pub(crate) test: Test,
    /// The key and its values in the document.
    pub(crate) at: Range<usize>,
}

/// What a value is compared with: any of these.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    Text {
        case: Case,
        patterns: Box<[Pattern]>,
    },
    Arn {
        patterns: Box<[ArnPattern]>,
        /// Whether there were more, which had fewer than six parts, so that no ARN can match them.
        incomplete: bool,
    },
    Number {
        comparison: Comparison,
        values: Box<[Decimal]>,
    },
    Date {
        comparison: Comparison,
        values: Box<[Decimal]>,
    },
    Bool(Box<[Pattern]>),
    Binary(Box<[Box<[u8]>]>),
    Address(Box<PrefixSet>),
    /// Whether the key may be absent, and whether it may be there.
    Null {
        absent: bool,
        present: bool,
    },
}

impl Condition {
    /// Whether it holds for a statement of that effect.
    pub(crate) fn holds(&self, effect: Effect, context: &impl Context) -> bool {
        let values = context.value(&self.key);
        let values = values.as_slice();
        if let Test::Null { absent, present } = self.test {
            // An empty value says as little as none (IAM user guide, reference_policies_multi-value-conditions).
            return if values.iter().all(|value| *value == Value::Text("")) { absent } else { present };
        }
        if values.is_empty() {
            return self.holds_without_key();
        }
        // Nobody is let in for a value that nobody can read, so an Allow takes it for one that a negated operator lists.
        let unread = self.negated && effect == Effect::Allow;
        let meets = |value: &Value<'_>| self.test.meets(value, context).unwrap_or(unread);
        match self.quantifier {
            Quantifier::Single => values.iter().any(meets) != self.negated,
            Quantifier::All => values.iter().all(|value| meets(value) != self.negated),
            Quantifier::Any => values.iter().any(|value| meets(value) != self.negated),
        }
    }

    /// What it comes to when the key is absent.
    pub(crate) fn holds_without_key(&self) -> bool {
        let without = match self.quantifier {
            Quantifier::Single => self.negated,
            Quantifier::All => true,
            Quantifier::Any => false,
        };
        match self.test {
            Test::Null { absent, .. } => absent,
            Test::Text { .. }
            | Test::Arn { .. }
            | Test::Number { .. }
            | Test::Date { .. }
            | Test::Bool(_)
            | Test::Binary(_)
            | Test::Address(_) => self.if_exists || without,
        }
    }
}

impl Test {
    /// What addresses are compared with, if it is addresses that are compared.
    pub(crate) fn networks(&self) -> Option<&PrefixSet> {
        if let Self::Address(networks) = self { Some(networks) } else { None }
    }

    /// Whether the value is one of those listed. Absent: it cannot be read as what is compared.
    fn meets(&self, value: &Value<'_>, context: &impl Context) -> Option<bool> {
        match self {
            Self::Text { case, patterns } => matches_any(patterns, value, *case, context),
            Self::Arn { patterns, .. } => {
                let text = value.text()?;
                let parts = split(text.as_str())?;
                Some(patterns.iter().any(|pattern| pattern.matches_split(parts, context)))
            }
            Self::Number { comparison, values } => {
                let asked = number(value)?;
                Some(values.iter().any(|written| comparison.holds(&asked, written)))
            }
            Self::Date { comparison, values } => {
                let asked = date(value)?;
                Some(values.iter().any(|written| comparison.holds(&asked, written)))
            }
            Self::Bool(patterns) => {
                is_bool(value).then_some(())?;
                matches_any(patterns, value, Case::Ignored, context)
            }
            Self::Binary(values) => {
                let text = value.text()?;
                Some(values.iter().any(|written| text.as_str().as_bytes() == &**written))
            }
            Self::Address(set) => Some(set.contains(address(value)?)),
            Self::Null { .. } => None,
        }
    }
}

fn matches_any(patterns: &[Pattern], value: &Value<'_>, case: Case, context: &impl Context) -> Option<bool> {
    let text = value.text()?;
    Some(patterns.iter().any(|pattern| pattern.matches(&[text.as_str()], case, context)))
}

fn number(value: &Value<'_>) -> Option<Decimal> {
    match value {
        Value::Number(number) => Some(Decimal::whole(*number)),
        Value::Time(time) => Decimal::of_time(*time),
        Value::Text(text) => Decimal::parse(text),
        Value::Address(_) | Value::Bool(_) => None,
    }
}

fn date(value: &Value<'_>) -> Option<Decimal> {
    match value {
        Value::Text(text) => parse_time(text),
        Value::Number(_) | Value::Time(_) | Value::Address(_) | Value::Bool(_) => number(value),
    }
}

fn is_bool(value: &Value<'_>) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Text(text) => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Value::Address(_) | Value::Number(_) | Value::Time(_) => false,
    }
}

fn address(value: &Value<'_>) -> Option<IpAddr> {
    match value {
        Value::Address(address) => Some(*address),
        Value::Text(text) => text.parse().ok(),
        Value::Bool(_) | Value::Number(_) | Value::Time(_) => None,
    }
}

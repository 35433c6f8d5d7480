//! Reads `Condition` elements: a map of operators, each a map of keys, each with one value or several.

use std::collections::HashSet;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::{IpNet, Ipv4Net};

use super::operator::{Family, Operator};
use super::{Condition, Test};
use crate::arn::{ArnPattern, split_pattern};
use crate::document::Node;
use crate::error::{Mistake, Reporter, ValueKind};
use crate::glob::{Case, Pattern, Syntax};
use crate::key::Key;
use crate::number::Decimal;
use crate::reading::{Written, entries, texts};
use crate::time::parse_time;

/// Reads a `Condition` element. `variables`: whether the version of the document has them.
pub(crate) fn compile(node: &Node<'_>, variables: bool, reporter: &mut Reporter<'_>) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for operator in entries(node, "Condition", reporter).unwrap_or_default() {
        if reporter.is_full() {
            break;
        }
        let element = format!("Condition.{}", operator.name);
        match Operator::named(&operator.name) {
            Ok(parsed) => {
                let of = Of { name: &operator.name, operator: parsed, element: &element, variables };
                conditions.extend(of.keys(&operator.value, reporter));
            }
            Err(nearest) => {
                reporter.report(operator.name_at, "Condition", Mistake::Operator { name: operator.name, nearest });
            }
        }
    }
    conditions
}

/// The operator whose keys are read.
struct Of<'o> {
    name: &'o str,
    operator: Operator,
    element: &'o str,
    variables: bool,
}

impl Of<'_> {
    fn keys(&self, node: &Node<'_>, reporter: &mut Reporter<'_>) -> Vec<Condition> {
        let Some(keys) = entries(node, self.element.to_owned(), reporter) else { return Vec::new() };
        if keys.is_empty() {
            reporter.report(node.at(), self.element.to_owned(), Mistake::Empty);
        }
        let mut seen = HashSet::new();
        let mut conditions = Vec::new();
        for entry in keys {
            let element = format!("{}.{}", self.element, entry.name);
            let key = Key::named(&entry.name);
            if !seen.insert(key.clone()) {
                reporter.report(entry.name_at, self.element.to_owned(), Mistake::Duplicate(entry.name));
                continue;
            }
            let values = texts(&entry.value, &element, true, reporter);
            let test = self.test(values, &element, reporter);
            let Operator { quantifier, negated, if_exists, .. } = self.operator;
            let at = entry.name_at.start..entry.value.at().end;
            conditions.extend(test.map(|test| Condition {
                key,
                operator: self.name.into(),
                quantifier,
                negated,
                if_exists,
                test,
                at,
            }));
        }
        conditions
    }

    fn test(&self, values: Vec<Written>, element: &str, reporter: &mut Reporter<'_>) -> Option<Test> {
        let mut read = Values { of: self, values, element, reporter };
        Some(match self.operator.family {
            Family::Text(case) => Test::Text { case, patterns: read.patterns(false)? },
            Family::Like => Test::Text { case: Case::Matters, patterns: read.patterns(true)? },
            Family::Arn => {
                let patterns = read.arns()?;
                let incomplete = patterns.len() < read.values.len();
                Test::Arn { patterns, incomplete }
            }
            Family::Number(comparison) => {
                Test::Number { comparison, values: read.all(ValueKind::Number, Decimal::parse)? }
            }
            Family::Date(comparison) => Test::Date { comparison, values: read.all(ValueKind::Date, parse_time)? },
            Family::Bool => Test::Bool(read.truths()?),
            Family::Binary => Test::Binary(read.all(ValueKind::Base64, decode)?),
            Family::Address => {
                let networks = read.all(ValueKind::Network, parse_network)?;
                Test::Address(Box::new(networks.iter().copied().collect()))
            }
            Family::Null => {
                let wanted = read.all(ValueKind::Bool, parse_bool)?;
                Test::Null { absent: wanted.contains(&true), present: wanted.contains(&false) }
            }
        })
    }
}

/// The values under a key, to be read as what their operator compares.
struct Values<'v, 'r, 't> {
    of: &'v Of<'v>,
    values: Vec<Written>,
    element: &'v str,
    reporter: &'r mut Reporter<'t>,
}

impl Values<'_, '_, '_> {
    /// All values, each read by itself. Absent: there is none, or one is wrong; that has been reported.
    fn all<T>(&mut self, wanted: ValueKind, read: impl Fn(&str) -> Option<T>) -> Option<Box<[T]>> {
        let mut all = Vec::new();
        let mut complete = !self.values.is_empty();
        for Written { text, at } in &self.values {
            match read(text) {
                Some(value) => all.push(value),
                None => {
                    complete = false;
                    let mistake = if self.of.variables && text.contains("${") {
                        Mistake::VariableHere { operator: self.of.name.to_owned() }
                    } else {
                        Mistake::Value { text: text.clone(), wanted }
                    };
                    self.reporter.report(at.clone(), self.element.to_owned(), mistake);
                }
            }
        }
        complete.then(|| all.into())
    }

    fn patterns(&mut self, wildcards: bool) -> Option<Box<[Pattern]>> {
        let syntax = Syntax { wildcards, variables: self.of.variables };
        let mut patterns = Vec::new();
        for Written { text, at } in &self.values {
            match Pattern::parse(text, syntax) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => self.reporter.report_pattern(at.clone(), self.element.to_owned(), error),
            }
        }
        (!patterns.is_empty() && patterns.len() == self.values.len()).then(|| patterns.into())
    }

    fn truths(&mut self) -> Option<Box<[Pattern]>> {
        let patterns = self.patterns(false)?;
        for (pattern, Written { text, at }) in patterns.iter().zip(&self.values) {
            if !pattern.has_variables() && parse_bool(text).is_none() {
                let mistake = Mistake::Value { text: text.clone(), wanted: ValueKind::Bool };
                self.reporter.report(at.clone(), self.element.to_owned(), mistake);
            }
        }
        Some(patterns)
    }

    fn arns(&mut self) -> Option<Box<[ArnPattern]>> {
        let mut patterns = Vec::new();
        for Written { text, at } in &self.values {
            // With fewer than six parts it matches no ARN, and nothing is left of it.
            let Some(parts) = split_pattern(text, self.of.variables) else { continue };
            match ArnPattern::compile(parts, self.of.variables) {
                Ok(pattern) => patterns.push(pattern),
                Err(error) => {
                    self.reporter.report_pattern(at.clone(), self.element.to_owned(), error);
                    return None;
                }
            }
        }
        (!self.values.is_empty()).then(|| patterns.into())
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") { Some(true) } else { text.eq_ignore_ascii_case("false").then_some(false) }
}

fn decode(text: &str) -> Option<Box<[u8]>> {
    STANDARD.decode(text).ok().map(Vec::into_boxed_slice)
}

/// An address or a CIDR, host bits masked, IPv4-mapped IPv6 folded.
fn parse_network(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let network = match length {
        Some(length) if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) => return None,
        Some(length) => IpNet::new(address, length.parse().ok()?).ok()?,
        None => IpNet::from(address),
    };
    Some(fold(network.trunc()))
}

fn fold(network: IpNet) -> IpNet {
    let IpAddr::V6(address) = network.addr() else { return network };
    let mapped = address.to_ipv4_mapped().zip(network.prefix_len().checked_sub(96));
    mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4)
}

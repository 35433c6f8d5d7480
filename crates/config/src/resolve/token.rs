//! `jwt`: which tokens are good.

use std::collections::HashMap;
use std::hash::Hash;

use crate::collections::List;
use crate::decode::Field;
use crate::file::{TokenRuleTable, TokenSubjectTable};
use crate::model::{TokenRule, TokenSubject};
use crate::reading::Reading;
use crate::source::Span;
use crate::text::{Claim, Issuer, Scope};

/// The tokens that a route asks for.
pub(super) fn rule(table: &TokenRuleTable, reading: &mut Reading) -> Option<TokenRule> {
    token_rule(&table.issuer, &table.audience, &table.scopes, reading)
}

/// The tokens that stand for a caller.
pub(super) fn subject(table: &TokenSubjectTable, reading: &mut Reading) -> Option<TokenSubject> {
    let rule = token_rule(&table.issuer, &table.audience, &table.scopes, reading);
    Some(TokenSubject { rule: rule?, subject: table.subject.value()?.0.clone() })
}

fn token_rule(
    issuer: &Field<Issuer>,
    audience: &Field<List<Claim>>,
    scopes: &Field<List<Scope>>,
    reading: &mut Reading,
) -> Option<TokenRule> {
    let is_good = each_once(audience.value(), "audience", |audience| &*audience.0, reading)
        & each_once(scopes.value(), "scope", |scope| &*scope.0, reading);
    let audience = audience.value()?;
    let scopes = match scopes {
        Field::Absent => Box::default(),
        Field::Broken => return None,
        Field::Given(scopes) => scopes.value.values().map(|scope| scope.0.clone()).collect(),
    };
    let issuer = issuer.value()?.0.clone();
    let rule = TokenRule { issuer, audience: audience.values().map(|claim| claim.0.clone()).collect(), scopes };
    (is_good && !audience.broken).then_some(rule)
}

/// Reports items that are listed twice; whether there are none. `what` is one of them, for errors, and `id` tells them
/// apart.
pub(super) fn each_once<'l, T, K: Eq + Hash>(
    list: Option<&'l List<T>>,
    what: &str,
    id: impl Fn(&'l T) -> K,
    reading: &mut Reading,
) -> bool {
    let mut seen: HashMap<K, Span> = HashMap::new();
    let mut is_good = true;
    for item in list.into_iter().flat_map(|list| &list.items) {
        if let Some(first) = seen.insert(id(&item.value), item.span) {
            is_good = false;
            let first = reading.place(first);
            let error = reading.error(item.span, format!("this {what} is named twice"));
            reading.report(error.with_related(&first, "first named here"));
        }
    }
    is_good
}

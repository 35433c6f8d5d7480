//! Who may enter a route.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::collections::List;
use crate::decode::{Field, Given};
use crate::file::RouteTable;
use crate::model::{AddressEntry, AddressRule, Addresses, Entry, PolicyDocument, Rules};
use crate::reading::Reading;
use crate::resolve::addresses::Sets;
use crate::resolve::route::Context;
use crate::resolve::{Scope, entrance, signed, token};
use crate::source::Span;
use crate::text::AddressReference;

/// Who may enter the route whose key is at `key`.
pub(super) fn entry(table: &RouteTable, key: Span, context: &Context<'_>, reading: &mut Reading) -> Option<Entry> {
    let Context { scope, api_policy, .. } = context;
    let standing = entrance::standing([table], context.compat, scope);
    let policy = scope.policies.resolve(&table.policy, context.api_id, standing, reading);
    check_open(table, api_policy, reading);
    let from = addresses(table, scope, reading);
    let policies = policies(api_policy, policy);
    let signed = match &table.signed {
        Field::Given(written) => signed::signed(&written.value, written.key, reading).map(Some),
        Field::Absent => Some(None),
        Field::Broken => None,
    };
    let callers = entrance::callers(table, scope, reading);
    let token = match &table.jwt {
        Field::Given(written) => token::rule(&written.value.0, reading).map(|rule| Some(Arc::new(rule))),
        Field::Absent => Some(None),
        Field::Broken => None,
    };
    let rules = Rules { from: from?, policies: policies?, signed: signed?, callers: callers?, token: token? };
    let Rules { from, policies, signed, callers, token } = &rules;
    if from.is_none() && policies.is_empty() && signed.is_none() && callers.is_none() && token.is_none() {
        return without_rules(table, key, reading);
    }
    Some(Entry::Rules(rules))
}

/// Reports an `open = true` that lets in whom another rule keeps out.
fn check_open(table: &RouteTable, api_policy: &Field<Arc<PolicyDocument>>, reading: &mut Reading) {
    fn key_of<T>(field: &Field<T>) -> Option<Span> {
        field.given().map(|given| given.key)
    }
    let Some(open) = table.open.given().filter(|open| open.value) else { return };
    let others = [
        (key_of(&table.from), "`from`", "`from`"),
        (key_of(&table.callers), "`callers`", "`callers`"),
        (key_of(&table.jwt), "`jwt`", "`jwt`"),
        (key_of(&table.policy), "`policy`", "`policy`"),
        (key_of(&table.signed), "`signed`", "`signed`"),
        (key_of(api_policy), "the `policy` of its API", "that `policy`"),
    ];
    let first = others.into_iter().find_map(|(key, what, short)| Some((key?, what, short)));
    let Some((other, what, short)) = first else { return };
    let place = reading.place(other);
    let message = format!("`open = true` lets everyone in, so {what} would keep nobody out");
    let error = reading.error(open.key, message).with_related(&place, format!("{short} is here"));
    reading.report(error.with_help("keep the one that is meant"));
}

/// The documents that apply to a route. None at all if one of them is broken.
fn policies(of_api: &Field<Arc<PolicyDocument>>, own: Field<Arc<PolicyDocument>>) -> Option<Vec<Arc<PolicyDocument>>> {
    let of_api = match of_api {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(given) => Some(given.value.clone()),
    };
    let own = match own {
        Field::Absent => None,
        Field::Broken => return None,
        Field::Given(given) => Some(given.value),
    };
    Some(of_api.into_iter().chain(own).collect())
}

/// `from` and `except`, if they are there.
fn addresses(table: &RouteTable, scope: &Scope, reading: &mut Reading) -> Option<Option<AddressRule>> {
    let except = match &table.except {
        Field::Given(except) => entries(&except.value, &scope.sets, reading),
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
    };
    let from = match &table.from {
        Field::Broken => return None,
        Field::Absent => return check_no_except(table, reading).then_some(None),
        Field::Given(from) => from,
    };
    let entries = entries(&from.value, &scope.sets, reading);
    if let Some(except) = table.except.given() {
        check_except(from, except, reading);
    }
    Some(Some(AddressRule { from: entries?, except: except? }))
}

/// Reports an `except` without a `from`; whether there is none.
fn check_no_except(table: &RouteTable, reading: &mut Reading) -> bool {
    if let Some(except) = table.except.given() {
        let message = "`except` takes addresses out of `from`, and there is no `from`";
        let help = "`from = [\"0.0.0.0/0\", \"::/0\"]` is everyone";
        reading.report(reading.error(except.key, message).with_help(help));
    }
    table.except.is_absent()
}

fn without_rules(table: &RouteTable, key: Span, reading: &mut Reading) -> Option<Entry> {
    match &table.open {
        Field::Given(open) if open.value => Some(Entry::Open),
        Field::Absent | Field::Given(_) if table.unknown.is_empty() => {
            let error = reading.error(key, "this route names nobody who may call it");
            let help = "say who may call it: `from = [...]`, `callers = [...]`, `jwt = {...}`, `policy = \"file:PATH\"`, \
                        `signed = {...}` or `open = true`";
            reading.report(error.with_help(help));
            None
        }
        Field::Absent | Field::Given(_) | Field::Broken => None,
    }
}

/// What the entries of a list stand for.
pub(super) fn entries(list: &List<AddressReference>, sets: &Sets, reading: &mut Reading) -> Option<Vec<AddressEntry>> {
    let entries: Vec<Option<AddressEntry>> = list
        .items
        .iter()
        .map(|item| {
            let addresses = match &item.value {
                AddressReference::Network(network) => Addresses::Network(*network),
                AddressReference::Set(name) => Addresses::Set(sets.named(name, item.span, reading)?),
                AddressReference::BuiltIn(set) => Addresses::Set(sets.built_in(set, item.span, reading)),
            };
            Some(AddressEntry { addresses, place: reading.place(item.span) })
        })
        .collect();
    if list.broken { None } else { entries.into_iter().collect() }
}

/// Reports an `except` that takes out everyone or nobody, as far as that can be told without looking
/// into address sets.
fn check_except(from: &Given<List<AddressReference>>, except: &Given<List<AddressReference>>, reading: &mut Reading) {
    let allowed = Written::new(&from.value);
    let denied = Written::new(&except.value);
    let everyone = from.value.values().all(|reference| denied.covers(reference));
    if everyone && !from.value.broken {
        let place = reading.place(from.key);
        let message = "`except` takes out everything that `from` lets in, so nobody may call this route";
        let error = reading.error(except.key, message);
        reading.report(error.with_related(&place, "what is let in"));
        return;
    }
    if !allowed.sets.is_empty() || from.value.broken {
        return;
    }
    for item in &except.value.items {
        let AddressReference::Network(network) = &item.value else { continue };
        let takes_out = allowed.covers(&item.value) || allowed.networks.iter().any(|allowed| network.contains(allowed));
        if !takes_out {
            let error = reading.error(item.span, "this takes nobody out: `from` does not let it in");
            reading.report(error.with_help("remove it, or correct `from`"));
        }
    }
}

/// What a list of references says without the sets being looked up.
struct Written<'a> {
    networks: HashSet<IpNet>,
    sets: HashSet<&'a str>,
}

impl<'a> Written<'a> {
    fn new(list: &'a List<AddressReference>) -> Self {
        let mut written = Self { networks: HashSet::new(), sets: HashSet::new() };
        for reference in list.values() {
            match reference {
                AddressReference::Network(network) => {
                    written.networks.insert(*network);
                }
                AddressReference::Set(name) => {
                    written.sets.insert(name);
                }
                AddressReference::BuiltIn(set) => {
                    written.sets.insert(&set.name);
                }
            }
        }
        written
    }

    /// Whether one of the references holds all that `reference` does.
    fn covers(&self, reference: &AddressReference) -> bool {
        match reference {
            AddressReference::Set(name) => self.sets.contains(name.as_ref()),
            AddressReference::BuiltIn(set) => self.sets.contains(set.name.as_ref()),
            AddressReference::Network(network) => {
                let wider = std::iter::successors(Some(*network), IpNet::supernet);
                wider.into_iter().any(|network| self.networks.contains(&network))
            }
        }
    }
}

//! Who may enter a route.

use std::collections::HashSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::collections::List;
use crate::decode::{Field, Given};
use crate::file::RouteTable;
use crate::model::{AddressEntry, AddressRule, AddressSet, Addresses, Entry, PolicyDocument, Rules};
use crate::reading::Reading;
use crate::resolve::names::Known;
use crate::resolve::route::Context;
use crate::source::Span;
use crate::text::AddressReference;

/// Who may enter the route whose key is at `key`.
pub(super) fn entry(table: &RouteTable, key: Span, context: &Context<'_>, reading: &mut Reading) -> Option<Entry> {
    let Context { scope, api_policy, .. } = context;
    let policy = scope.policies.resolve(&table.policy, context.api_id, reading);
    check_open(table, api_policy, reading);
    let policies = policies(api_policy, policy);
    let except = match &table.except {
        Field::Given(except) => entries(&except.value, &scope.sets, reading),
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
    };
    let from = match &table.from {
        Field::Broken => return None,
        Field::Absent => return without_from(table, key, policies, reading),
        Field::Given(from) => from,
    };
    let entries = entries(&from.value, &scope.sets, reading);
    if let Some(except) = table.except.given() {
        check_except(from, except, reading);
    }
    let from = Some(AddressRule { from: entries?, except: except? });
    Some(Entry::Rules(Rules { from, policies: policies?, ..Rules::default() }))
}

/// Reports `open = true` beside what it would make void.
fn check_open(table: &RouteTable, api_policy: &Field<Arc<PolicyDocument>>, reading: &mut Reading) {
    let Some(open) = table.open.given().filter(|open| open.value) else { return };
    let from = table.from.given().map(|from| (from.key, "`from`", "`from`"));
    let policy = table.policy.given().map(|policy| (policy.key, "`policy`", "`policy`"));
    let of_api = api_policy.given().map(|policy| (policy.key, "the `policy` of its API", "that `policy`"));
    let Some((other, what, short)) = from.or(policy).or(of_api) else { return };
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

fn without_from(
    table: &RouteTable,
    key: Span,
    policies: Option<Vec<Arc<PolicyDocument>>>,
    reading: &mut Reading,
) -> Option<Entry> {
    if let Some(except) = table.except.given() {
        let message = "`except` takes addresses out of `from`, and there is no `from`";
        let help = "`from = [\"0.0.0.0/0\", \"::/0\"]` is everyone";
        reading.report(reading.error(except.key, message).with_help(help));
        return None;
    }
    let policies = policies?;
    match &table.open {
        Field::Broken => None,
        Field::Absent | Field::Given(_) if !policies.is_empty() => {
            Some(Entry::Rules(Rules { policies, ..Rules::default() }))
        }
        Field::Given(open) if open.value => Some(Entry::Open),
        Field::Absent | Field::Given(_) if table.unknown.is_empty() => {
            let error = reading.error(key, "this route names nobody who may call it");
            reading.report(
                error.with_help("say who may call it: `from = [...]`, `policy = \"file:PATH\"` or `open = true`"),
            );
            None
        }
        Field::Absent | Field::Given(_) => None,
    }
}

/// What the entries of a list stand for.
pub(super) fn entries(
    list: &List<AddressReference>,
    sets: &Known<Arc<AddressSet>>,
    reading: &mut Reading,
) -> Option<Vec<AddressEntry>> {
    let entries: Vec<Option<AddressEntry>> = list
        .items
        .iter()
        .map(|item| {
            let addresses = match &item.value {
                AddressReference::Network(network) => Addresses::Network(*network),
                AddressReference::Set(name) => Addresses::Set(sets.look_up(name, item.span, reading)?),
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
            }
        }
        written
    }

    /// Whether one of the references holds all that `reference` does.
    fn covers(&self, reference: &AddressReference) -> bool {
        match reference {
            AddressReference::Set(name) => self.sets.contains(name.as_ref()),
            AddressReference::Network(network) => {
                let wider = std::iter::successors(Some(*network), IpNet::supernet);
                wider.into_iter().any(|network| self.networks.contains(&network))
            }
        }
    }
}

//! Who may enter a route.

use std::collections::HashSet;

use ipnet::IpNet;

use crate::collections::List;
use crate::decode::{Field, Given};
use crate::file::RouteTable;
use crate::model::{AddressEntry, AddressRule, Addresses, Entry, Rules};
use crate::reading::Reading;
use crate::resolve::Scope;
use crate::resolve::addresses::Sets;
use crate::source::Span;
use crate::text::AddressReference;

/// Who may enter the route whose key is at `key`.
pub(super) fn entry(table: &RouteTable, key: Span, scope: &Scope, reading: &mut Reading) -> Option<Entry> {
    let open = table.open.given().filter(|open| open.value);
    let except = match &table.except {
        Field::Given(except) => entries(&except.value, &scope.sets, reading),
        Field::Absent => Some(Vec::new()),
        Field::Broken => None,
    };
    let from = match &table.from {
        Field::Broken => return None,
        Field::Absent => return without_from(table, key, reading),
        Field::Given(from) => from,
    };
    if let Some(open) = open {
        let place = reading.place(from.key);
        let message = "`open = true` lets everyone in, so `from` would keep nobody out";
        let error = reading.error(open.key, message).with_related(&place, "`from` is here");
        reading.report(error.with_help("keep the one that is meant"));
    }
    let entries = entries(&from.value, &scope.sets, reading);
    if let Some(except) = table.except.given() {
        check_except(from, except, reading);
    }
    let from = Some(AddressRule { from: entries?, except: except? });
    Some(Entry::Rules(Rules { from, ..Rules::default() }))
}

fn without_from(table: &RouteTable, key: Span, reading: &mut Reading) -> Option<Entry> {
    if let Some(except) = table.except.given() {
        let message = "`except` takes addresses out of `from`, and there is no `from`";
        let help = "`from = [\"0.0.0.0/0\", \"::/0\"]` is everyone";
        reading.report(reading.error(except.key, message).with_help(help));
        return None;
    }
    match &table.open {
        Field::Given(open) if open.value => Some(Entry::Open),
        Field::Absent | Field::Given(_) if table.unknown.is_empty() => {
            let error = reading.error(key, "this route names nobody who may call it");
            reading.report(error.with_help("say who may call it: `from = [...]` or `open = true`"));
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

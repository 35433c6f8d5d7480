//! Routes that ask who somebody is: `callers`, `proof`, and what goes with them.

use std::sync::Arc;

use gatepost_iam::Standing;

use crate::choice;
use crate::collections::List;
use crate::decode::{Field, Given, Located};
use crate::file::RouteTable;
use crate::model::{Caller, CallerRule, Compat, Entry, ProofKind, Throttle, Who};
use crate::reading::Reading;
use crate::resolve::Scope;
use crate::resolve::names::Known;
use crate::resolve::route::Context;
use crate::resolve::token::each_once;
use crate::source::Span;
use crate::value;

/// Who may enter by name, and how they must prove it; nothing where nobody is asked.
pub(super) fn callers(table: &RouteTable, scope: &Scope, reading: &mut Reading) -> Option<Option<CallerRule>> {
    let proof = proof(table, reading);
    let given = match &table.callers {
        Field::Absent => return proof.map(|_| None),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    let who = match &given.value {
        value::Callers::Any => {
            check_somebody(given, &scope.callers, reading);
            Who::Any
        }
        value::Callers::Named(list) => {
            each_once(Some(list), "caller", |name| &*name.0, reading);
            let named = list.items.iter().map(|name| scope.callers.look_up(&name.value.0, name.span, reading));
            let named: Vec<_> = named.collect();
            let mut names =
                named.into_iter().map(|caller| Some(Arc::clone(&caller?.name))).collect::<Option<Vec<_>>>()?;
            names.sort();
            names.dedup();
            if list.broken {
                return None;
            }
            Who::Named(names.into())
        }
    };
    Some(Some(CallerRule { who, proof: proof?, place: reading.place(given.key) }))
}

fn check_somebody(any: &Given<value::Callers>, callers: &Known<Arc<Caller>>, reading: &mut Reading) {
    if callers.items.is_empty() && callers.is_complete {
        let error = reading.error(any.span, "there is no caller, so nobody may enter");
        reading.report(error.with_help("write a `[caller.NAME]`"));
    }
}

fn proof(table: &RouteTable, reading: &mut Reading) -> Option<Box<[ProofKind]>> {
    let given = match &table.proof {
        Field::Absent => return Some(Box::default()),
        Field::Broken => return None,
        Field::Given(given) => given,
    };
    if table.callers.is_absent() && table.unknown.is_empty() {
        let error = reading.error(given.key, "`proof` says how callers prove who they are, and there is no `callers`");
        reading.report(error.with_help("`callers = \"any\"` is everyone who is known"));
        return None;
    }
    each_once(Some(&given.value), "proof", |kind| kind.0, reading);
    (!given.value.broken).then(|| given.value.values().map(|choice::ProofKind(kind)| *kind).collect())
}

/// What stands beside the policies of these routes, in an API of this kind.
pub(super) fn standing<'t>(
    routes: impl IntoIterator<Item = &'t RouteTable>,
    compat: Option<Compat>,
    scope: &Scope,
) -> Standing {
    let mut asking = routes.into_iter().filter(|route| !route.callers.is_absent()).peekable();
    let asks = asking.peek().is_some();
    match compat {
        None if asks => Standing::BesideCallers,
        // There, who proved it by a signature alone is known to policies.
        Some(Compat::AwsRest) if asking.any(|route| may_sign(route, &scope.callers)) => Standing::BesideIdentities,
        None | Some(Compat::AwsRest) => Standing::Alone,
    }
}

/// Whether a caller may prove by Signature Version 4 who it is.
fn may_sign(route: &RouteTable, callers: &Known<Arc<Caller>>) -> bool {
    let has = |caller: &Arc<Caller>| caller.has(ProofKind::SigV4);
    let lists = |proof: &List<choice::ProofKind>| proof.values().any(|kind| kind.0 == ProofKind::SigV4);
    if !route.proof.value().is_none_or(lists) {
        return false;
    }
    match route.callers.value() {
        None => false,
        Some(value::Callers::Any) => callers.items.values().flatten().any(has),
        Some(value::Callers::Named(list)) => {
            list.values().filter_map(|name| callers.items.get(&*name.0)?.as_ref()).any(has)
        }
    }
}

/// The routes that ask who somebody is.
pub(super) struct Entrances {
    pub(super) routes: Vec<Entrance>,
    /// Whether `routes` has all of them.
    pub(super) is_complete: bool,
}

/// A route that asks who somebody is.
pub(super) struct Entrance {
    /// The name of its API.
    pub(super) api: Arc<str>,
    pub(super) key: Arc<str>,
    pub(super) who: Who,
    /// Where `callers` has its value.
    pub(super) callers: Span,
    /// Where each of a list of names is.
    pub(super) names: Vec<(Arc<str>, Span)>,
    /// What each must give, and where it says so; empty: any one proof.
    pub(super) proof: Vec<Located<ProofKind>>,
    /// The issuer of the tokens that everyone must have.
    pub(super) issuer: Option<Arc<str>>,
    /// Where it says how everyone must sign the body.
    pub(super) signed: Option<Span>,
    pub(super) throttles: Vec<Located<Throttle>>,
    pub(super) api_throttles: Vec<Located<Throttle>>,
}

impl Entrance {
    /// The name of its API, and its key.
    pub(super) fn name(&self) -> (&str, &str) {
        (&self.api, &self.key)
    }

    /// The names of the callers that may enter, unless everyone may.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        let names = match &self.who {
            Who::Any => &[][..],
            Who::Named(names) => names,
        };
        names.iter().map(AsRef::as_ref)
    }
}

impl Entrances {
    /// None yet. `may_be_all`: no route is known to be lacking.
    pub(super) fn new(may_be_all: bool) -> Self {
        Self { routes: Vec::new(), is_complete: may_be_all }
    }

    /// Takes note of a route that cannot be read.
    pub(super) fn lack_one(&mut self) {
        self.is_complete = false;
    }
}

/// Takes note of a route, if it asks who somebody is.
pub(super) fn note(
    table: &RouteTable,
    key: &Arc<str>,
    entry: Option<&Entry>,
    throttles: &[Located<Throttle>],
    context: &Context<'_>,
) {
    let mut entrances = context.scope.entrances.borrow_mut();
    let callers = match &table.callers {
        Field::Absent => return,
        Field::Broken => return entrances.lack_one(),
        Field::Given(callers) => callers,
    };
    let Some(rules) = entry.and_then(Entry::rules) else { return entrances.lack_one() };
    let Some(rule) = &rules.callers else { return entrances.lack_one() };
    let names = match &callers.value {
        value::Callers::Any => Vec::new(),
        value::Callers::Named(list) => list.items.iter().map(|name| (name.value.0.clone(), name.span)).collect(),
    };
    let proof = table.proof.value().into_iter().flat_map(|list| &list.items);
    entrances.routes.push(Entrance {
        api: Arc::clone(context.api),
        key: Arc::clone(key),
        who: rule.who.clone(),
        callers: callers.span,
        names,
        proof: proof.map(|kind| Located { value: kind.value.0, span: kind.span }).collect(),
        issuer: rules.token.as_ref().map(|token| Arc::clone(&token.issuer)),
        signed: table.signed.given().map(|signed| signed.key),
        throttles: throttles.to_vec(),
        api_throttles: context.api_throttles.to_vec(),
    });
}

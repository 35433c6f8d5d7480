//! What two configurations say differently: who may enter where, and what the routes do.
//!
//! Nothing is compared as text to tell who may enter. For every route of either configuration a request is found that
//! reaches it (`diff/questions.rs`); the address space is cut at the edges of all networks that its rules name, on both
//! sides (`diff/partition.rs`), and both sides are asked about one address of each piece, by the function that decides
//! about requests. Where their answers differ, the pieces are put together again.

mod partition;
mod questions;
mod written;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use gatepost_config::model::{self, AddressSet, Addresses, Entry};
use http::Method;
use ipnet::IpNet;

pub use self::partition::Networks;
use self::partition::{Stretch, pieces};
use self::questions::{Question, questions};
use self::written::Changes;
use crate::judge::{Judge, Judgement, RouteName, Written, judge};
use crate::request::Facts;
use crate::snapshot::{Listener, Route};

/// Compares what `old` and `new` would do.
///
/// Requests are judged as by [`Judge::judge`]: meters full, tokens and signatures good, bodies of unknown length, and no header
/// but `Host`. What of the verdicts that leaves open is in [`Difference::untold`].
#[must_use]
pub fn diff<'m>(old: &Judge<'m>, new: &Judge<'m>) -> Difference<'m> {
    let judges = Sides { old, new };
    let mut survey = Survey::default();
    let pairs = listener_pairs(judges.map(|judge| &judge.model().listeners[..]));
    for pair in &pairs {
        let listeners = Sides {
            old: pair.old.and_then(|listener| old.listener(&listener.name)),
            new: pair.new.and_then(|listener| new.listener(&listener.name)),
        };
        for question in questions(judges, *pair, listeners) {
            survey.ask(judges, listeners, question);
        }
    }
    survey.finish(judges, &pairs)
}

/// Something of the old configuration, and of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sides<T> {
    /// Of the old one.
    pub old: T,
    /// Of the new one.
    pub new: T,
}

/// What two configurations say differently.
#[derive(Debug)]
pub struct Difference<'m> {
    /// Requests that are judged otherwise, those of the most addresses first.
    pub verdicts: Vec<VerdictChange<'m>>,
    /// Routes that came, went, or do something else, by name.
    pub routes: Vec<RouteChange<'m>>,
    /// Listeners that came, went, or are otherwise, by name.
    pub listeners: Vec<ListenerChange>,
    /// Callers that came, went, or are otherwise, by name.
    pub callers: Vec<CallerChange>,
    /// Plans that came, went, or are otherwise, by name. They do not change who may enter: buckets are taken to be full.
    pub plans: Vec<PlanChange>,
    /// What else verdicts depend on, which is not told here.
    pub untold: Vec<Untold<'m>>,
}

impl Difference<'_> {
    /// Whether somebody may newly enter or no longer, as far as can be told; and so if that cannot be told.
    #[must_use]
    pub fn changes_who_may_enter(&self) -> bool {
        let turns = |change: &VerdictChange<'_>| !change.judgement.map(Judgement::is_admitted).are_equal();
        self.verdicts.iter().any(turns)
            || self.routes.iter().any(|change| change.is_beyond_networks)
            || self.listeners.iter().any(|change| change.is_beyond_networks)
            || self.callers.iter().any(|change| change.is_beyond_networks)
    }
}

/// Addresses from which requests to a route are judged otherwise.
#[derive(Debug)]
pub struct VerdictChange<'m> {
    /// What became of them, and what becomes of them.
    pub judgement: Sides<Judgement>,
    /// By which route.
    pub route: Sides<Option<RouteName<'m>>>,
    /// From where, every address of it.
    pub networks: Arc<Networks>,
    /// The requests that were asked about, never empty: each stands for all that its route matches there.
    pub requests: Vec<Request>,
}

/// A request that stands for others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// The name of the listener that it comes in on.
    pub listener: Arc<str>,
    /// The method.
    pub method: Method,
    /// The host as the API has it: a name, `*.example.com`, or `*` for any that no API names.
    pub host: Box<str>,
    /// The path, a parameter standing for its own name.
    pub path: Box<str>,
}

/// A route that came, went or does something else.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteChange<'m> {
    /// Its name; absent: there was none, or is none any more.
    pub route: Sides<Option<RouteName<'m>>>,
    /// What about it, in words for people.
    pub changes: Vec<String>,
    /// Whether it changes who may enter in a way that no networks can tell.
    pub is_beyond_networks: bool,
}

/// A listener that came, went or is otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct ListenerChange {
    /// Its name; absent: there was none, or is none any more.
    pub name: Sides<Option<Arc<str>>>,
    /// What about it, in words for people.
    pub changes: Vec<String>,
    /// Whether it changes who may enter in a way that no networks can tell.
    pub is_beyond_networks: bool,
}

/// A caller that came, went or is otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct CallerChange {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it was there, and is.
    pub is_there: Sides<bool>,
    /// What about it, in words for people.
    pub changes: Vec<String>,
    /// Whether it changes who may enter.
    pub is_beyond_networks: bool,
}

/// A plan that came, went or is otherwise.
#[derive(Debug, PartialEq, Eq)]
pub struct PlanChange {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it was there, and is.
    pub is_there: Sides<bool>,
    /// What about it, in words for people.
    pub changes: Vec<String>,
}

/// What else verdicts depend on.
#[derive(Debug, PartialEq, Eq)]
pub struct Untold<'m> {
    /// What it is.
    pub cause: Cause,
    /// The routes whose verdicts do, by name.
    pub routes: Vec<RouteName<'m>>,
}

/// Why a verdict may be another than is told. A closed list with stable names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The policy may ask for more than the address.
    Policy,
    /// Requests are taken to be from callers who are let in.
    Callers,
    /// The token is taken to be good.
    Token,
    /// The body's signature is taken to be good.
    Signature,
    /// There is no copy of a fetched set.
    FetchedSet,
    /// No request was found that reaches the route.
    Unreached,
}

impl Cause {
    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Callers => "callers",
            Self::Token => "token",
            Self::Signature => "signature",
            Self::FetchedSet => "fetched_set",
            Self::Unreached => "unreached",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Policy => {
                "a policy decides too: it was asked about requests without headers and principal, now, and not about all \
                 methods and paths"
            }
            Self::Callers => {
                "callers were taken to prove who they are, to be let in, and to have no policy of their own"
            }
            Self::Token => "tokens were taken to be good",
            Self::Signature => "signatures of bodies were taken to be good",
            Self::FetchedSet => "of a fetched address set there is no copy: what it holds is not known",
            Self::Unreached => "no request was found that reaches the route",
        }
    }
}

impl<T> Sides<T> {
    /// The same of both sides.
    pub fn map<U>(self, mut of: impl FnMut(T) -> U) -> Sides<U> {
        Sides { old: of(self.old), new: of(self.new) }
    }

    /// Both, the old one first.
    pub fn both(self) -> [T; 2] {
        [self.old, self.new]
    }
}

impl<T: PartialEq> Sides<T> {
    /// Whether both are the same.
    pub fn are_equal(&self) -> bool {
        self.old == self.new
    }
}

/// What was found so far.
#[derive(Default)]
struct Survey<'m> {
    /// What is judged by the same rules need not be asked again.
    known: HashMap<Sides<Ground>, Vec<Shift>>,
    /// The same networks are held once.
    networks: HashSet<Arc<Networks>>,
    verdicts: Vec<VerdictChange<'m>>,
    /// Where in `verdicts` what is alike but for the request stands.
    places: HashMap<Alike<'m>, usize>,
    routes: Vec<Sides<Option<Written<'m>>>>,
    seen: HashSet<Sides<Option<*const model::Route>>>,
}

/// Addresses that are judged otherwise.
#[derive(Clone)]
struct Shift {
    judgement: Sides<Judgement>,
    networks: Arc<Networks>,
}

/// What the judgement about a request rests on, but for the client's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Ground {
    /// The address plays no part.
    Settled(Judgement),
    /// Nothing but these entries.
    Addresses { from: Vec<Named>, except: Vec<Named>, compat: bool },
    /// More than that: the question with this number has it alone.
    Own(usize),
}

/// An entry of `from`, known apart from all others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Named {
    Network(IpNet),
    Set(*const AddressSet),
}

/// What changes of verdicts have in common when they are told as one.
type Alike<'m> = (Sides<Option<RouteName<'m>>>, Sides<Judgement>, *const Networks);

impl<'m> Survey<'m> {
    fn ask(&mut self, judges: Sides<&Judge<'m>>, listeners: Sides<Option<&Listener>>, question: Question) {
        let found = listeners.map(|listener| {
            let facts = listener.and_then(|listener| Some((listener, question.head.facts(listener, ANYBODY)?)));
            facts.map_or((Judgement::NoListener, None), |(listener, facts)| judge(listener, &facts))
        });
        let written = Sides {
            old: found.old.1.and_then(|route| judges.old.written(route)),
            new: found.new.1.and_then(|route| judges.new.written(route)),
        };
        let number = self.known.len();
        let ground = Sides {
            old: ground(found.old.0, found.old.1, written.old, number),
            new: ground(found.new.0, found.new.1, written.new, number),
        };
        let shifts = match self.known.get(&ground) {
            Some(shifts) => shifts.clone(),
            None => {
                let shifts = self.shifts(judges, listeners, &question, written);
                self.known.insert(ground, shifts.clone());
                shifts
            }
        };
        for shift in shifts {
            self.note(shift, written, &question.request);
        }
        if self.seen.insert(written.map(|written| written.map(|written| std::ptr::from_ref(written.route)))) {
            self.routes.push(written);
        }
    }

    /// Where the answers to a question differ.
    fn shifts(
        &mut self,
        judges: Sides<&Judge<'m>>,
        listeners: Sides<Option<&Listener>>,
        question: &Question,
        written: Sides<Option<Written<'m>>>,
    ) -> Vec<Shift> {
        let facts = |listener| Some((listener, question.head.facts(listener, ANYBODY)?));
        let mut asked = listeners.map(|listener| listener.and_then(facts));
        let mut shifted: Vec<(Sides<Judgement>, Vec<Stretch>)> = Vec::new();
        let named = |judge: &Judge<'_>, written: Option<Written<'_>>| {
            written.map(|written| networks_of(judge, &written.route.entry)).unwrap_or_default()
        };
        let named = [named(judges.old, written.old), named(judges.new, written.new)].concat();
        for piece in pieces(named) {
            let of = |asked: &mut Option<(&Listener, Facts<'_>)>| match asked {
                Some((listener, facts)) => {
                    facts.client = piece.address();
                    judge(listener, facts).0
                }
                None => Judgement::NoListener,
            };
            let judgement = Sides { old: of(&mut asked.old), new: of(&mut asked.new) };
            if judgement.are_equal() {
                continue;
            }
            match shifted.iter_mut().find(|(known, _)| *known == judgement) {
                Some((_, stretches)) => {
                    if !stretches.last_mut().is_some_and(|last| last.join(piece)) {
                        stretches.push(piece);
                    }
                }
                None => shifted.push((judgement, vec![piece])),
            }
        }
        let shift = |(judgement, stretches): (_, Vec<Stretch>)| {
            let networks = Arc::new(Networks::from(&*stretches));
            let networks = match self.networks.get(&networks) {
                Some(known) => Arc::clone(known),
                None => {
                    self.networks.insert(Arc::clone(&networks));
                    networks
                }
            };
            Shift { judgement, networks }
        };
        shifted.into_iter().map(shift).collect()
    }

    /// Adds to what is told already, if that differs in nothing but the request.
    fn note(&mut self, shift: Shift, written: Sides<Option<Written<'m>>>, request: &Request) {
        let Shift { judgement, networks } = shift;
        let route = written.map(|written| written.map(Written::name));
        let next = self.verdicts.len();
        let place = *self.places.entry((route, judgement, Arc::as_ptr(&networks))).or_insert(next);
        match self.verdicts.get_mut(place) {
            Some(change) => change.requests.push(request.clone()),
            None => self.verdicts.push(VerdictChange { judgement, route, networks, requests: vec![request.clone()] }),
        }
    }

    fn finish(self, judges: Sides<&Judge<'m>>, pairs: &[ListenerPair<'m>]) -> Difference<'m> {
        let Self { mut verdicts, routes, .. } = self;
        verdicts.sort_by(|a, b| {
            b.networks.weight().cmp(&a.networks.weight()).then_with(|| a.route.both().cmp(&b.route.both()))
        });
        Difference {
            verdicts,
            routes: route_changes(&routes),
            listeners: pairs.iter().filter_map(|pair| listener_change(*pair)).collect(),
            callers: caller_changes(judges.map(|judge| &judge.model().callers[..])),
            plans: plan_changes(judges.map(|judge| &judge.model().plans[..])),
            untold: untold(judges, &routes),
        }
    }
}

/// An address for questions in which it plays no part.
const ANYBODY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

fn ground(anybody: Judgement, compiled: Option<&Arc<Route>>, written: Option<Written<'_>>, number: usize) -> Ground {
    let (Some(_), Some(Written { api, route })) = (compiled, written) else { return Ground::Settled(anybody) };
    match &route.entry {
        Entry::Open => Ground::Settled(anybody),
        Entry::Rules(rules) => match &rules.from {
            Some(rule) if rules.policies.is_empty() && rules.signed.is_none() => Ground::Addresses {
                from: rule.from.iter().map(Named::of).collect(),
                except: rule.except.iter().map(Named::of).collect(),
                compat: api.compat.is_some(),
            },
            Some(_) | None => Ground::Own(number),
        },
    }
}

impl Named {
    fn of(entry: &model::AddressEntry) -> Self {
        match &entry.addresses {
            Addresses::Network(network) => Self::Network(*network),
            Addresses::Set(set) => Self::Set(Arc::as_ptr(set)),
        }
    }
}

/// Every network that the rules name, those of policies too, and of copies of what is fetched.
fn networks_of(judge: &Judge<'_>, entry: &Entry) -> Vec<IpNet> {
    let Some(rules) = entry.rules() else { return Vec::new() };
    let listed = rules.from.iter().flat_map(|rule| rule.from.iter().chain(&rule.except));
    let listed = listed.flat_map(|entry| match &entry.addresses {
        Addresses::Network(network) => vec![*network],
        Addresses::Set(set) => judge.networks(set).unwrap_or_default(),
    });
    listed.chain(rules.policies.iter().flat_map(|document| document.policy.networks())).collect()
}

/// A listener and what became of it.
type ListenerPair<'m> = Sides<Option<&'m model::Listener>>;

/// By name; what is left by an address that they share.
fn listener_pairs<'m>(listeners: Sides<&'m [model::Listener]>) -> Vec<ListenerPair<'m>> {
    let mut new: Vec<&model::Listener> = listeners.new.iter().collect();
    let mut take = |alike: &dyn Fn(&model::Listener) -> bool| {
        let found = new.iter().position(|listener| alike(listener))?;
        Some(new.remove(found))
    };
    let mut pairs: Vec<ListenerPair<'m>> =
        listeners.old.iter().map(|old| Sides { old: Some(old), new: take(&|new| new.name == old.name) }).collect();
    for pair in &mut pairs {
        if let Sides { old: Some(old), new: new @ None } = pair {
            let shared = |new: &model::Listener| {
                new.addresses.iter().any(|address| address.port() != 0 && old.addresses.contains(address))
            };
            *new = take(&shared);
        }
    }
    pairs.extend(new.into_iter().map(|new| Sides { old: None, new: Some(new) }));
    pairs
}

fn listener_change(pair: ListenerPair<'_>) -> Option<ListenerChange> {
    let Changes { said, is_beyond_networks } = match pair {
        Sides { old: Some(old), new: Some(new) } => written::listener(old, new),
        Sides { .. } => Changes::default(),
    };
    let name = pair.map(|listener| listener.map(|listener| Arc::clone(&listener.name)));
    (!said.is_empty() || !name.are_equal()).then_some(ListenerChange { name, changes: said, is_beyond_networks })
}

fn caller_changes(callers: Sides<&[Arc<model::Caller>]>) -> Vec<CallerChange> {
    let change = |(name, pair): (&Arc<str>, Sides<Option<&model::Caller>>)| {
        let is_there = pair.map(|caller| caller.is_some());
        let Changes { said, is_beyond_networks } = match pair {
            Sides { old: Some(old), new: Some(new) } => written::caller(old, new),
            Sides { .. } => Changes { said: Vec::new(), is_beyond_networks: true },
        };
        let differs = !said.is_empty() || !is_there.are_equal();
        differs.then_some(CallerChange { name: Arc::clone(name), is_there, changes: said, is_beyond_networks })
    };
    by_name(callers, |caller| &caller.name).into_iter().filter_map(change).collect()
}

fn plan_changes(plans: Sides<&[Arc<model::Plan>]>) -> Vec<PlanChange> {
    let change = |(name, pair): (&Arc<str>, Sides<Option<&model::Plan>>)| {
        let is_there = pair.map(|plan| plan.is_some());
        let changes = match pair {
            Sides { old: Some(old), new: Some(new) } => written::plan(old, new).said,
            Sides { .. } => Vec::new(),
        };
        let differs = !changes.is_empty() || !is_there.are_equal();
        differs.then_some(PlanChange { name: Arc::clone(name), is_there, changes })
    };
    by_name(plans, |plan| &plan.name).into_iter().filter_map(change).collect()
}

/// What of either side has the same name.
fn by_name<'m, T>(
    things: Sides<&'m [Arc<T>]>,
    name: impl Fn(&'m T) -> &'m Arc<str>,
) -> BTreeMap<&'m Arc<str>, Sides<Option<&'m T>>> {
    let old = things.old.iter().map(|old| (name(old), Sides { old: Some(&**old), new: None }));
    let mut pairs: BTreeMap<_, _> = old.collect();
    for new in things.new {
        pairs.entry(name(new)).or_insert(Sides { old: None, new: None }).new = Some(new);
    }
    pairs
}

/// A route came if nothing of the old configuration became it, and went if it became nothing of the new one: what
/// merely answers on more hosts than before did neither.
fn route_changes<'m>(pairs: &[Sides<Option<Written<'m>>>]) -> Vec<RouteChange<'m>> {
    let both = pairs.iter().filter_map(|pair| Some((pair.old?, pair.new?)));
    let known: HashSet<*const model::Route> =
        both.flat_map(|(old, new)| [std::ptr::from_ref(old.route), std::ptr::from_ref(new.route)]).collect();
    let is_alone = |written: Written<'_>| !known.contains(&std::ptr::from_ref(written.route));
    let mut changes: Vec<RouteChange<'m>> = pairs
        .iter()
        .filter_map(|pair| {
            let Changes { said, is_beyond_networks } = match *pair {
                Sides { old: Some(old), new: Some(new) } => {
                    Some(written::route(old, new)).filter(|changes| !changes.said.is_empty())
                }
                Sides { old: Some(only), new: None } | Sides { old: None, new: Some(only) } => {
                    is_alone(only).then(|| written::alone(only))
                }
                Sides { old: None, new: None } => None,
            }?;
            let route = pair.map(|written| written.map(Written::name));
            Some(RouteChange { route, changes: said, is_beyond_networks })
        })
        .collect();
    changes.sort();
    changes
}

/// What else the verdicts depend on, and the routes that no request was found for.
fn untold<'m>(judges: Sides<&Judge<'m>>, asked: &[Sides<Option<Written<'m>>>]) -> Vec<Untold<'m>> {
    let routes = judges.both().into_iter().flat_map(|judge| {
        let routes = |api: &'m model::Api| api.routes.iter().map(move |route| Written { api, route });
        judge.model().apis.iter().flat_map(routes).map(move |written| (judge, written))
    });
    let routes: Vec<(&Judge<'m>, Written<'m>)> = routes.collect();
    let reached = asked.iter().flat_map(|pair| pair.both()).flatten();
    let reached: HashSet<*const model::Route> = reached.map(|written| std::ptr::from_ref(written.route)).collect();
    let where_it = |holds: &dyn Fn(&Judge<'_>, &model::Route) -> bool| -> BTreeSet<RouteName<'m>> {
        routes
            .iter()
            .filter(|(judge, written)| holds(judge, written.route))
            .map(|(_, written)| written.name())
            .collect()
    };
    let of = |holds: &dyn Fn(&model::Route) -> bool| where_it(&|_, route| holds(route));
    let causes = [
        (Cause::Policy, of(&|route| route.entry.rules().is_some_and(|rules| !rules.policies.is_empty()))),
        (Cause::Callers, of(&|route| route.entry.rules().is_some_and(|rules| rules.callers.is_some()))),
        (Cause::Token, of(&|route| route.entry.rules().is_some_and(|rules| rules.token.is_some()))),
        (Cause::Signature, of(&|route| route.entry.rules().is_some_and(|rules| rules.signed.is_some()))),
        (Cause::FetchedSet, where_it(&names_set_without_copy)),
        (Cause::Unreached, of(&|route| !reached.contains(&std::ptr::from_ref(route)))),
    ];
    let untold = |(cause, routes): (Cause, BTreeSet<_>)| {
        (!routes.is_empty()).then(|| Untold { cause, routes: routes.into_iter().collect() })
    };
    causes.into_iter().filter_map(untold).collect()
}

fn names_set_without_copy(judge: &Judge<'_>, route: &model::Route) -> bool {
    let rule = route.entry.rules().and_then(|rules| rules.from.as_ref());
    rule.is_some_and(|rule| {
        rule.from.iter().chain(&rule.except).any(|entry| match &entry.addresses {
            Addresses::Network(_) => false,
            Addresses::Set(set) => judge.networks(set).is_none(),
        })
    })
}

#[cfg(test)]
mod tests;

//! What was decided, told with the rules that decided it and the places where they were written.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatepost_config::Place;
use gatepost_config::model::{self, Action, Addresses, ForwardedHeader, Model, Rate, ThrottleBy};
use gatepost_net::{HopSource, Stop};
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;

use crate::compile::host_text;
use crate::decision::Outcome;
use crate::explain::{Check, ExplainError, Explanation, Refusal, Rule, Step, Verdict};
use crate::rejection::Reason;
use crate::snapshot::{HostMatch, Route};
use crate::trace::Note;

/// Reads notes against the model that they come from.
pub(super) struct Teller<'m> {
    pub(super) model: &'m Model,
    pub(super) listener: &'m model::Listener,
    pub(super) client: IpAddr,
}

/// A route as it was written.
#[derive(Clone, Copy)]
struct Written<'m> {
    api: &'m model::Api,
    route: &'m model::Route,
}

impl<'m> Teller<'m> {
    /// The whole explanation.
    pub(super) fn tell(
        &self,
        notes: Vec<Note>,
        outcome: Result<Outcome, Refusal>,
    ) -> Result<Explanation, ExplainError> {
        let listener = Rule::new(&*self.listener.name, &self.listener.place);
        let mut steps = vec![Step::pass(Check::Listener, &*self.listener.name).by(vec![listener])];
        let mut written = None;
        for note in notes {
            if let Note::Route(route) = &note {
                written = Some(self.written(route)?);
            }
            self.take(note, written, &mut steps)?;
        }
        let verdict = match outcome {
            Ok(Outcome::Admitted(permit)) => {
                steps.push(action(self.written(permit.route())?.route));
                Verdict::Admitted
            }
            // Its step says so already.
            Ok(Outcome::ToHttps(_)) => Verdict::Admitted,
            Err(Refusal::Unreadable(why)) => {
                steps.push(Step::refuse(Check::Request, why));
                unreadable(why)
            }
            Err(Refusal::Rejected(rejection)) => {
                let (head, body) = rejection.answer(HeaderMap::new()).into_parts();
                let (reason, detail) = (rejection.reason(), rejection.detail());
                Verdict::Refused { status: head.status, headers: head.headers, body, reason, detail }
            }
        };
        let refuses = steps.iter().any(|step| !step.passed);
        if refuses == matches!(verdict, Verdict::Admitted) {
            return Err(ExplainError::contradiction("the steps and the verdict disagree"));
        }
        Ok(Explanation { steps, verdict })
    }

    fn take(&self, note: Note, written: Option<Written<'m>>, steps: &mut Vec<Step>) -> Result<(), ExplainError> {
        let written = || written.ok_or_else(|| ExplainError::contradiction("a request is judged without a route"));
        steps.push(match note {
            Note::Sender { address, source, believed } => self.sender(address, source, believed)?,
            Note::LastSender(stop) => {
                if let (Some(last), true) = (steps.last_mut(), stop != Stop::NotBelieved) {
                    last.text += &format!("; {stop}");
                }
                return Ok(());
            }
            Note::Read { host, path } => Step::pass(Check::Request, format!("host {host}, path {path}")),
            Note::Malformed(malformed) => Step::refuse(Check::Request, malformed.to_string()),
            Note::ToHttps(status) => {
                let rule = Rule::new(&*self.listener.name, &self.listener.place);
                Step::pass(Check::Redirect, format!("to https with {}", status.as_u16())).by(vec![rule])
            }
            Note::Api { name, host } => self.api(&name, &host)?,
            Note::NoApi { host, bases } => no_api(&host, &bases),
            Note::Route(route) => Step::pass(Check::Route, &*route.key).by(vec![self.written(&route)?.rule()]),
            Note::NoPath => Step::refuse(Check::Route, "no route of the API has this path"),
            Note::NoMethod(routes) => self.no_method(&routes)?,
            Note::Open => {
                let rule = Rule::new("open", &written()?.route.places.entry);
                Step::pass(Check::Open, "everyone may enter").by(vec![rule])
            }
            Note::From { listed } => self.from(written()?, listed)?,
            Note::Except { listed } => self.except(written()?, listed)?,
            Note::Length { told, most } => written()?.max_body(told, most),
            Note::Parallel { under_way, cap } => written()?.parallel(under_way, cap),
            Note::Bucket { by, index, left } => written()?.bucket(by, index, left)?,
        });
        Ok(())
    }

    /// One of the senders on the way to the client, which is the last of them.
    fn sender(&self, address: IpAddr, source: HopSource, believed: bool) -> Result<Step, ExplainError> {
        let behind = self.listener.behind.as_ref();
        let rules = behind.map(|behind| listing(&behind.senders, address)).unwrap_or_default();
        agree(believed, &rules, "behind")?;
        let told = match source {
            HopSource::Socket => "the peer of the connection".to_owned(),
            HopSource::ProxyHeader => "told by the PROXY header".to_owned(),
            HopSource::Header { hop } => {
                let name = match behind.map(|behind| behind.forwarded) {
                    Some(ForwardedHeader::XForwardedFor) => "x-forwarded-for",
                    Some(ForwardedHeader::Forwarded) => "forwarded",
                    Some(ForwardedHeader::Off) | None => {
                        return Err(ExplainError::contradiction("a header that is off told"));
                    }
                };
                format!("entry {hop} from the right of {name}")
            }
        };
        let believed = if believed { format!(", believed: {}", names(&rules)) } else { String::new() };
        Ok(Step::pass(Check::Client, format!("{address}, {told}{believed}")).by(rules))
    }

    /// A compiled route shares its key with the one that it was compiled from.
    fn written(&self, compiled: &Route) -> Result<Written<'m>, ExplainError> {
        let mut all = self.model.apis.iter().flat_map(|api| api.routes.iter().map(move |route| Written { api, route }));
        let found = all.find(|written| Arc::ptr_eq(&written.route.key, &compiled.key));
        found.ok_or_else(|| ExplainError::contradiction(format!("the route `{}` was never written", compiled.key)))
    }

    fn api(&self, name: &str, host: &HostMatch<Box<str>>) -> Result<Step, ExplainError> {
        let api = self.model.apis.iter().find(|api| *api.name == *name);
        let api = api.ok_or_else(|| ExplainError::contradiction(format!("the API `{name}` was never written")))?;
        let mut text = format!("{name}, {}", for_host(host));
        if !api.base.is_empty() {
            text += &format!(", below {}", api.base);
        }
        Ok(Step::pass(Check::Api, text).by(vec![Rule::new(name, &api.place)]))
    }

    fn no_method(&self, routes: &[Arc<Route>]) -> Result<Step, ExplainError> {
        let written: Vec<Written<'_>> = routes.iter().map(|route| self.written(route)).collect::<Result<_, _>>()?;
        let mut rules: Vec<Rule> = written.iter().map(Written::rule).collect();
        // A route of several methods stands there once for each.
        rules.dedup();
        let text = format!("the path is known with other methods only: {}", names(&rules));
        Ok(Step::refuse(Check::Route, text).by(rules))
    }

    fn from(&self, written: Written<'_>, listed: bool) -> Result<Step, ExplainError> {
        let rules = listing(&written.rule_of_addresses()?.from, self.client);
        agree(listed, &rules, "from")?;
        Ok(if listed {
            Step::pass(Check::From, format!("lists {}: {}", self.client, names(&rules))).by(rules)
        } else {
            let rule = Rule::new("from", &written.route.places.entry);
            Step::refuse(Check::From, format!("no entry lists {}", self.client)).by(vec![rule])
        })
    }

    fn except(&self, written: Written<'_>, listed: bool) -> Result<Step, ExplainError> {
        let rules = listing(&written.rule_of_addresses()?.except, self.client);
        agree(listed, &rules, "except")?;
        Ok(if listed {
            Step::refuse(Check::Except, format!("takes {} out: {}", self.client, names(&rules))).by(rules)
        } else {
            Step::pass(Check::Except, format!("no entry lists {}", self.client))
        })
    }
}

impl Written<'_> {
    fn rule(&self) -> Rule {
        Rule::new(&*self.route.key, &self.route.place)
    }

    fn rule_of_addresses(&self) -> Result<&model::AddressRule, ExplainError> {
        let rule = self.route.entry.rules().and_then(|rules| rules.from.as_ref());
        rule.ok_or_else(|| ExplainError::contradiction("a route without `from` was asked for its addresses"))
    }

    fn max_body(&self, told: Option<u64>, most: u64) -> Step {
        let (rule, from) = match &self.route.places.max_body {
            Some(place) => (Rule::new("max_body", place), ""),
            None => (self.rule(), ", the default"),
        };
        let text = match told {
            Some(0) => format!("no body, at most {most} bytes{from}"),
            Some(length) => format!("{length} bytes, at most {most}{from}"),
            None => format!("of unknown length, cut after {most} bytes{from}"),
        };
        let passed = told.is_none_or(|length| length <= most);
        Step { passed, ..Step::pass(Check::MaxBody, text).by(vec![rule]) }
    }

    fn parallel(&self, under_way: usize, cap: usize) -> Step {
        let place = self.route.places.parallel.as_ref().unwrap_or(&self.route.place);
        let step = Step::pass(Check::Parallel, format!("{under_way} of {cap} under way"));
        Step { passed: under_way < cap, ..step.by(vec![Rule::new("parallel", place)]) }
    }

    /// The buckets of a kind are those of the route's own throttles, then those of its API's.
    fn bucket(&self, by: ThrottleBy, index: usize, left: u32) -> Result<Step, ExplainError> {
        let own = self.route.throttles.iter().zip(&self.route.places.throttles).map(|written| (written, ""));
        let shared = self.api.throttles.iter().zip(&self.api.throttle_places).map(|written| (written, "of the API, "));
        let mut buckets = own.chain(shared).filter(|((throttle, _), _)| throttle.by == by);
        let missing = || ExplainError::contradiction("a bucket was never written");
        let ((throttle, place), whose) = buckets.nth(index).ok_or_else(missing)?;
        let each = if by == ThrottleBy::Client { "each client " } else { "" };
        let text = format!("{whose}{each}{}: {left} of {} tokens left", rate_text(throttle.rate), throttle.burst);
        let step = Step::pass(Check::Throttle, text).by(vec![Rule::new("throttle", place)]);
        Ok(Step { passed: left > 0, ..step })
    }
}

impl Step {
    fn pass(check: Check, text: impl Into<String>) -> Self {
        Self { check, passed: true, text: text.into(), rules: Vec::new() }
    }

    fn refuse(check: Check, text: impl Into<String>) -> Self {
        Self { passed: false, ..Self::pass(check, text) }
    }

    fn by(self, rules: Vec<Rule>) -> Self {
        Self { rules, ..self }
    }
}

impl Rule {
    fn new(name: impl Into<String>, place: &Place) -> Self {
        Self { name: name.into(), network: None, place: place.clone() }
    }
}

/// Every entry that holds an address.
fn listing(entries: &[model::AddressEntry], address: IpAddr) -> Vec<Rule> {
    let holds = |network: &&IpNet| network.contains(&address);
    let listing = entries.iter().filter_map(|entry| match &entry.addresses {
        Addresses::Network(network) => holds(&network).then(|| Rule::new(network_text(*network), &entry.place)),
        Addresses::Set(set) => {
            let narrowest = set.source.fixed().iter().filter(holds).max_by_key(|network| network.prefix_len())?;
            Some(Rule { network: Some(*narrowest), ..Rule::new(&*set.name, &entry.place) })
        }
    });
    listing.collect()
}

/// The compiled sets decided; the written entries only explain. They say the same, or one of them is wrong.
fn agree(listed: bool, listing: &[Rule], key: &str) -> Result<(), ExplainError> {
    if listed == listing.is_empty() {
        return Err(ExplainError::contradiction(format!("what `{key}` says and what was decided by it differ")));
    }
    Ok(())
}

/// What the connection says to what is no HTTP.
fn unreadable(why: &str) -> Verdict {
    Verdict::Refused {
        status: StatusCode::BAD_REQUEST,
        headers: HeaderMap::new(),
        body: Bytes::new(),
        reason: Reason::Malformed,
        detail: Some(why.to_owned()),
    }
}

fn no_api(host: &HostMatch<Box<str>>, bases: &[Arc<str>]) -> Step {
    if bases.is_empty() {
        return Step::refuse(Check::Api, "none on this listener answers for this host");
    }
    let bases: Vec<&str> = bases.iter().map(|base| &**base).collect();
    Step::refuse(Check::Api, format!("those {} answer below {} only", for_host(host), bases.join(" and ")))
}

fn for_host(host: &HostMatch<Box<str>>) -> String {
    match host {
        HostMatch::Exact => "for this host".to_owned(),
        HostMatch::Below(suffix) => format!("for the hosts *{suffix}"),
        HostMatch::Any => "for any host".to_owned(),
    }
}

fn action(route: &model::Route) -> Step {
    let (check, text) = match &route.action {
        Action::Forward(forward) => (Check::Forward, forward_text(forward)),
        Action::Respond(respond) => {
            (Check::Respond, format!("with {} and {} bytes", respond.status.as_u16(), respond.body.len()))
        }
        Action::Redirect(redirect) => (Check::Redirect, format!("with {}", redirect.status.as_u16())),
    };
    Step::pass(check, text).by(vec![Rule::new(check.name(), &route.places.action)])
}

pub(crate) fn forward_text(forward: &model::Forward) -> String {
    let mut text = "to ".to_owned();
    if let Some(name) = &forward.upstream.name {
        text += &format!("{name}: ");
    }
    for (index, target) in forward.upstream.targets.iter().enumerate() {
        let scheme = if target.tls { "https" } else { "http" };
        let or = if index == 0 { "" } else { " or " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{or}{scheme}://{}:{}", host_text(target), target.port);
    }
    match forward.timeout {
        Some(timeout) => text + &format!(", over within {timeout:?}"),
        None => text + ", without a deadline",
    }
}

/// `office (192.0.2.0/24), 198.51.100.7`.
fn names(rules: &[Rule]) -> String {
    let name = |rule: &Rule| match &rule.network {
        Some(network) => format!("{} ({})", rule.name, network_text(*network)),
        None => rule.name.clone(),
    };
    rules.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// An address alone is written without its length.
pub(crate) fn network_text(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

pub(crate) fn rate_text(rate: Rate) -> String {
    const UNITS: [(u64, &str); 4] = [(1, "s"), (60, "m"), (3600, "h"), (86_400, "d")];
    let unit = UNITS.iter().find(|(seconds, _)| Duration::from_secs(*seconds) == rate.per);
    match unit {
        Some((_, unit)) => format!("{}/{unit}", rate.count),
        None => format!("{} in {:?}", rate.count, rate.per),
    }
}

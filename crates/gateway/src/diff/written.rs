//! What two things that were written say differently, in words for people. Who may enter is not told here: that follows
//! from verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gatepost_config::model::{
    self, Action, AddressEntry, AddressSource, Addresses, Balance, Behind, Budget, CallerRule, Entry, Feed, Forward,
    Plan, PlanRoute, PolicyDocument, Quota, Redirect, Replay, Respond, Rules, Scheme, Signed, Template, TemplatePart,
    Throttle, ThrottleBy, Upstream, Who,
};

use crate::explain::told::{forward_text, rate_text};
use crate::judge::{RouteName, Written};

/// What a route does otherwise: where requests go, and what they may take.
pub(super) fn route(old: Written<'_>, new: Written<'_>) -> Changes {
    let mut changes = Changes::default();
    if old.name() != new.name() {
        changes.say(format!("{} answers instead of {}", new.name(), old.name()));
    }
    let (old_api, old, new_api, new) = (old.api, old.route, new.api, new.route);
    entry(&old.entry, &new.entry, &mut changes);
    action(&old.action, &new.action, &mut changes);
    changes.shown("throttle", &throttles(&old.throttles), &throttles(&new.throttles));
    changes.shown("throttle of the API", &throttles(&old_api.throttles), &throttles(&new_api.throttles));
    changes.shown("parallel", &or_none(old.parallel), &or_none(new.parallel));
    changes.shown("budget", &budget_text(old.budget.as_ref()), &budget_text(new.budget.as_ref()));
    changes.shown("max_body", &old.max_body.to_string(), &new.max_body.to_string());
    changes.plain("compat", &old_api.compat, &new_api.compat);
    changes
}

/// What is to be said of a route that came or went, besides that it did: nothing. Networks do not tell all who may
/// enter if it names what is fetched, or a policy.
pub(super) fn alone(only: Written<'_>) -> Changes {
    let rules = only.route.entry.rules();
    let has_policies = rules.is_some_and(|rules| !rules.policies.is_empty());
    let names_fetched = listed(&only.route.entry).into_iter().any(|(_, entries)| !fetched(entries).is_empty());
    Changes { said: Vec::new(), is_beyond_networks: has_policies || names_fetched }
}

/// What a listener is otherwise.
pub(super) fn listener(old: &model::Listener, new: &model::Listener) -> Changes {
    let mut changes = Changes::default();
    let addresses = |listener: &model::Listener| join(listener.addresses.iter().map(ToString::to_string));
    changes.shown("addresses", &addresses(old), &addresses(new));
    changes.shown("tls", &old.tls.to_string(), &new.tls.to_string());
    let redirect = |listener: &model::Listener| or_none(listener.redirect.map(|status| status.as_u16()));
    changes.shown("redirect", &redirect(old), &redirect(new));
    changes.plain("private", &old.private, &new.private);
    changes.plain("limits", &old.limits, &new.limits);
    if !believe_alike(old.behind.as_ref(), new.behind.as_ref()) {
        changes.say_beyond_networks(
            "behind: who is believed about the client's address; networks here are those of clients".to_owned(),
        );
    }
    fetched_entries("behind", senders(old), senders(new), &mut changes);
    changes
}

fn senders(listener: &model::Listener) -> &[AddressEntry] {
    listener.behind.as_ref().map_or(&[], |behind| &behind.senders)
}

/// What was found to differ.
#[derive(Default)]
pub(super) struct Changes {
    /// In words for people.
    pub(super) said: Vec<String>,
    /// Whether it changes who may enter in a way that no networks can tell.
    pub(super) is_beyond_networks: bool,
}

impl Changes {
    fn say(&mut self, change: String) {
        self.said.push(change);
    }

    /// What changes who may enter in a way that no networks can tell.
    fn say_beyond_networks(&mut self, change: String) {
        self.say(change);
        self.is_beyond_networks = true;
    }

    /// From this to that.
    fn shown(&mut self, key: &str, old: &str, new: &str) {
        if old != new {
            self.say(format!("{key}: {old} -> {new}"));
        }
    }

    /// What is better not shown, or too much to show.
    fn differs(&mut self, key: &str, differs: bool) {
        if differs {
            self.say(format!("{key} changed"));
        }
    }

    fn plain<T: PartialEq>(&mut self, key: &str, old: &T, new: &T) {
        self.differs(key, old != new);
    }
}

fn entry(old: &Entry, new: &Entry, changes: &mut Changes) {
    changes.shown("who may enter", &entry_text(old), &entry_text(new));
    for ((key, old), (_, new)) in listed(old).into_iter().zip(listed(new)) {
        fetched_entries(key, old, new, changes);
    }
    policies(old, new, changes);
    callers(old, new, changes);
    tokens_taken(old, new, changes);
    // Verdicts take signatures to be good.
    changes.is_beyond_networks |= signature(old).is_some() != signature(new).is_some();
    if let (Some(old), Some(new)) = (signature(old), signature(new)) {
        signed(old, new, changes);
    }
}

/// Verdicts take callers to be let in.
fn callers(old: &Entry, new: &Entry, changes: &mut Changes) {
    let rule = |entry: &Entry| entry.rules().and_then(|rules| rules.callers.clone());
    let (old, new) = (rule(old), rule(new));
    changes.is_beyond_networks |= old.is_some() != new.is_some();
    let (Some(old), Some(new)) = (old, new) else { return };
    if old.who != new.who {
        changes.say_beyond_networks(who_change(&old.who, &new.who));
    }
    let proof = |rule: &CallerRule| match &*rule.proof {
        [] => "any".to_owned(),
        kinds => join(kinds.iter().map(|kind| kind.name().to_owned())),
    };
    if old.proof != new.proof {
        changes.say_beyond_networks(format!("proof: {} -> {}", proof(&old), proof(&new)));
    }
}

/// Verdicts take tokens to be good.
fn tokens_taken(old: &Entry, new: &Entry, changes: &mut Changes) {
    let rule = |entry: &Entry| entry.rules().and_then(|rules| rules.token.clone());
    let (old, new) = (rule(old), rule(new));
    changes.is_beyond_networks |= old.is_some() != new.is_some();
    let (Some(old), Some(new)) = (old, new) else { return };
    if old.issuer != new.issuer {
        changes.say_beyond_networks(format!("issuer of jwt: {} -> {}", old.issuer, new.issuer));
    }
    // In what order they are written does not matter.
    let list = |names: &[Box<str>]| join(names.iter().collect::<BTreeSet<_>>().into_iter().map(ToString::to_string));
    for (key, old, new) in [("audience", &old.audience, &new.audience), ("scopes", &old.scopes, &new.scopes)] {
        let (old, new) = (list(old), list(new));
        if old != new {
            changes.say_beyond_networks(format!("{key} of jwt: {old} -> {new}"));
        }
    }
}

/// Who came and who went: of thousands nobody reads all.
fn who_change(old: &Who, new: &Who) -> String {
    const MOST: usize = 5;
    let (Who::Named(old), Who::Named(new)) = (old, new) else {
        let text = |who: &Who| match who {
            Who::Any => "any".to_owned(),
            Who::Named(names) => format!("{} by name", names.len()),
        };
        return format!("callers: {} -> {}", text(old), text(new));
    };
    let told = |sign: &str, some: &[Arc<str>], others: &[Arc<str>]| {
        let only: Vec<&Arc<str>> = some.iter().filter(|name| others.binary_search(name).is_err()).collect();
        let shown = only.iter().take(MOST).map(|name| format!("{sign}{name}")).collect::<Vec<_>>();
        let more = only.len().saturating_sub(MOST);
        shown.into_iter().chain((more > 0).then(|| format!("{sign}{more} more"))).collect::<Vec<_>>()
    };
    format!("callers: {}", [told("+", new, old), told("-", old, new)].concat().join(", "))
}

/// What a caller is otherwise.
pub(super) fn caller(old: &model::Caller, new: &model::Caller) -> Changes {
    let mut changes = Changes::default();
    let plan = |caller: &model::Caller| or_none(caller.plan.as_ref().map(|plan| Arc::clone(&plan.name)));
    changes.shown("plan", &plan(old), &plan(new));
    changes.shown("parallel", &or_none(old.parallel), &or_none(new.parallel));
    changes.shown("budget", &budget_text(old.budget.as_deref()), &budget_text(new.budget.as_deref()));
    let alike = changes.said.len();
    let from = |caller: &model::Caller| {
        caller.from.as_deref().map(|from| {
            let (networks, names) = addresses(from);
            (networks, names.into_iter().map(str::to_owned).collect::<Vec<_>>())
        })
    };
    changes.plain("from", &from(old), &from(new));
    changes.plain("its keys", &old.keys, &new.keys);
    changes.plain("its access keys", &old.access_keys, &new.access_keys);
    changes.plain("its tokens", &old.token, &new.token);
    match (&old.signed, &new.signed) {
        (Some(old), Some(new)) => signed(old, new, &mut changes),
        (old, new) => changes.differs("how it signs bodies", old.is_some() != new.is_some()),
    }
    let policy = |caller: &model::Caller| caller.policy.clone();
    let says = match (policy(old), policy(new)) {
        (Some(old), Some(new)) => says_the_same(old.policy.text(), new.policy.text()),
        (old, new) => old.is_none() && new.is_none(),
    };
    changes.differs("its policy", !says);
    changes.shown("arn", old.arn.as_str(), new.arn.as_str());
    changes.is_beyond_networks = changes.said.len() > alike;
    changes
}

/// What a plan promises otherwise.
pub(super) fn plan(old: &Plan, new: &Plan) -> Changes {
    let mut changes = Changes::default();
    let throttle = |plan: &Plan| throttles(plan.throttle.as_slice());
    changes.shown("throttle", &throttle(old), &throttle(new));
    changes.shown("quota", &quota_text(old.quota), &quota_text(new.quota));
    let (old, new) = (throttles_of_routes(old), throttles_of_routes(new));
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let throttle = |routes: &BTreeMap<String, Throttle>| throttles(routes.get(name).copied().as_slice());
        changes.shown(&format!("throttle of {name}"), &throttle(&old), &throttle(&new));
    }
    changes
}

/// By the names of the routes.
fn throttles_of_routes(plan: &Plan) -> BTreeMap<String, Throttle> {
    let name = |route: &PlanRoute| RouteName { api: &route.api, key: &route.route }.to_string();
    plan.routes.iter().map(|route| (name(route), route.throttle)).collect()
}

fn quota_text(quota: Option<Quota>) -> String {
    or_none(quota.map(|quota| format!("{} per {}", quota.limit, quota.per.name())))
}

fn budget_text(budget: Option<&Budget>) -> String {
    or_none(budget.map(|Budget { limit, per, per_request, per_gb, currency, place: _ }| {
        let per = per.name();
        format!("{limit} {currency} per {per}, at {per_request} {currency} per request and {per_gb} {currency} per GB")
    }))
}

fn signature(entry: &Entry) -> Option<&Signed> {
    entry.rules()?.signed.as_deref()
}

/// `from` and `except`.
fn listed(entry: &Entry) -> [(&'static str, &[AddressEntry]); 2] {
    let rule = entry.rules().and_then(|rules| rules.from.as_ref());
    [("from", rule.map_or(&[][..], |rule| &rule.from)), ("except", rule.map_or(&[][..], |rule| &rule.except))]
}

/// What is fetched is not the same everywhere and always, so it is told by name.
fn fetched_entries(key: &str, old: &[AddressEntry], new: &[AddressEntry], changes: &mut Changes) {
    let (old, new) = (fetched(old), fetched(new));
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        changes.say_beyond_networks(format!("{key}: no longer what is fetched as {name}"));
    }
    for (name, new) in new {
        match old.get(name) {
            None => changes.say_beyond_networks(format!("{key}: newly what is fetched as {name}")),
            Some(old) if (&old.url, &old.pick) != (&new.url, &new.pick) => {
                changes.say_beyond_networks(format!("{key}: where {name} is fetched, or what of it counts, changed"));
            }
            Some(_) => {}
        }
    }
}

/// The sets that are fetched, by name.
fn fetched<'e>(entries: &'e [AddressEntry]) -> BTreeMap<&'e str, &'e Feed> {
    let feed = |entry: &'e AddressEntry| match &entry.addresses {
        Addresses::Network(_) => None,
        Addresses::Set(set) => match &set.source {
            AddressSource::Fixed(_) => None,
            AddressSource::Fetched(feed) => Some((&*set.name, feed)),
        },
    };
    entries.iter().filter_map(feed).collect()
}

/// A document says more than can be asked about.
fn policies(old: &Entry, new: &Entry, changes: &mut Changes) {
    let [old, new] = [old, new].map(|entry| entry.rules().map_or(&[][..], |rules| &rules.policies));
    let file = |document: &Arc<PolicyDocument>| document.file.display().to_string();
    let files = |documents: &[Arc<PolicyDocument>]| join(documents.iter().map(file));
    changes.shown("policy", &files(old), &files(new));
    if old.len() != new.len() {
        changes.is_beyond_networks = true;
    }
    for (old, new) in old.iter().zip(new) {
        if !says_the_same(old.policy.text(), new.policy.text()) {
            changes.say_beyond_networks(format!("policy {} changed", file(new)));
        }
    }
}

/// Whether two JSON documents differ in nothing but the space between their tokens.
fn says_the_same(old: &str, new: &str) -> bool {
    tokens(old).eq(tokens(new))
}

/// The characters of a JSON document, without the space between its tokens.
fn tokens(text: &str) -> impl Iterator<Item = char> {
    let (mut in_string, mut is_escaped) = (false, false);
    text.chars().filter(move |character| {
        let is_quote = *character == '"' && !is_escaped;
        is_escaped = *character == '\\' && !is_escaped;
        in_string ^= is_quote;
        in_string || !character.is_ascii_whitespace()
    })
}

/// `from, signed`: what is asked.
fn entry_text(entry: &Entry) -> String {
    let Entry::Rules(Rules { from, policies, signed, callers, token }) = entry else { return "open".to_owned() };
    let asked = [
        ("from", from.is_some()),
        ("callers", callers.is_some()),
        ("jwt", token.is_some()),
        ("policy", !policies.is_empty()),
        ("signed", signed.is_some()),
    ];
    join(asked.into_iter().filter(|(_, asked)| *asked).map(|(key, _)| key.to_owned()))
}

fn signed(old: &Signed, new: &Signed, changes: &mut Changes) {
    let scheme = |signed: &Signed| match &signed.scheme {
        Scheme::Github => "github",
        Scheme::Stripe => "stripe",
        Scheme::Slack => "slack",
        Scheme::StandardWebhooks => "standard-webhooks",
        Scheme::HmacSha256 { .. } => "hmac-sha256",
    };
    let replay = |signed: &Signed| match signed.replay {
        Replay::Allow => "allow",
        Replay::Refuse => "refuse",
    };
    changes.shown("signed", scheme(old), scheme(new));
    changes.differs("how it is signed", scheme(old) == scheme(new) && old.scheme != new.scheme);
    changes.plain("its secrets", &old.secrets, &new.secrets);
    changes.shown("tolerance", &format!("{:?}", old.tolerance), &format!("{:?}", new.tolerance));
    changes.shown("replay", replay(old), replay(new));
}

fn action(old: &Action, new: &Action, changes: &mut Changes) {
    match (old, new) {
        (Action::Forward(old), Action::Forward(new)) => forward(old, new, changes),
        (Action::Respond(old), Action::Respond(new)) => respond(old, new, changes),
        (Action::Redirect(old), Action::Redirect(new)) => changes.shown("redirect", &redirect(old), &redirect(new)),
        (Action::Forward(_) | Action::Respond(_) | Action::Redirect(_), _) => {
            changes.shown("what it does", &action_text(old), &action_text(new));
        }
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Forward(to) => format!("forward {}", forward_text(to)),
        Action::Respond(with) => format!("respond with {}", with.status.as_u16()),
        Action::Redirect(to) => format!("redirect {}", redirect(to)),
    }
}

fn forward(old: &Forward, new: &Forward, changes: &mut Changes) {
    changes.shown("forward", &forward_text(old), &forward_text(new));
    changes.plain("its path", &old.path, &new.path);
    changes.plain("its host", &old.host, &new.host);
    // Their values may be secrets.
    changes.plain("the headers that it sets", &old.set_headers, &new.set_headers);
    changes.plain("the headers that it removes", &old.remove_headers, &new.remove_headers);
    changes.shown("retries", &old.retries.to_string(), &new.retries.to_string());
    let (old, new) = (&old.upstream, &new.upstream);
    changes.shown("balance", balance(old), balance(new));
    changes.plain("networks of the upstream", &old.networks, &new.networks);
    changes.plain("http of the upstream", &old.http, &new.http);
    changes.plain("ca of the upstream", &old.ca, &new.ca);
    changes.plain("health of the upstream", &old.health, &new.health);
    changes.plain("eject of the upstream", &old.eject, &new.eject);
}

fn balance(upstream: &Upstream) -> &'static str {
    match upstream.balance {
        Balance::RoundRobin => "round-robin",
        Balance::LeastRequests => "least-requests",
        Balance::ClientHash => "client-hash",
    }
}

fn respond(old: &Respond, new: &Respond, changes: &mut Changes) {
    changes.shown("respond", old.status.as_str(), new.status.as_str());
    changes.plain("its body", &old.body, &new.body);
    changes.plain("its headers", &old.headers, &new.headers);
}

fn redirect(redirect: &Redirect) -> String {
    let Template(parts) = &redirect.to;
    let text = |part: &TemplatePart| match part {
        TemplatePart::Text(text) => text.to_string(),
        TemplatePart::Parameter(index) => format!("{{{}}}", index + 1),
    };
    let to: String = parts.iter().map(text).collect();
    format!("to {to} with {}", redirect.status.as_u16())
}

fn throttles(throttles: &[Throttle]) -> String {
    join(throttles.iter().map(|throttle| {
        let each = match throttle.by {
            ThrottleBy::Everyone => "",
            ThrottleBy::Client => " by client",
            ThrottleBy::Caller => " by caller",
        };
        format!("{} burst {}{each}", rate_text(throttle.rate), throttle.burst)
    }))
}

/// Whether both take the same senders at their word, in the same way.
fn believe_alike(old: Option<&Behind>, new: Option<&Behind>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => {
            let how = |behind: &Behind| (behind.forwarded, behind.proxy_protocol);
            how(old) == how(new) && addresses(&old.senders) == addresses(&new.senders)
        }
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}

/// As few networks as can be, in order; and the names of what is fetched.
fn addresses(entries: &[AddressEntry]) -> (Vec<ipnet::IpNet>, Vec<&str>) {
    let (mut networks, mut names) = (Vec::new(), Vec::new());
    for entry in entries {
        match &entry.addresses {
            Addresses::Network(network) => networks.push(*network),
            Addresses::Set(set) if set.source.fixed().is_empty() => names.push(&*set.name),
            Addresses::Set(set) => networks.extend(set.source.fixed()),
        }
    }
    (ipnet::IpNet::aggregate(&networks), names)
}

fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("none".to_owned(), |value| value.to_string())
}

fn join(texts: impl Iterator<Item = String>) -> String {
    let joined = texts.collect::<Vec<_>>().join(", ");
    if joined.is_empty() { "none".to_owned() } else { joined }
}

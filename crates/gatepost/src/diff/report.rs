//! A difference as people read it, and as programs do.

use std::fmt::Write;

use gatepost_gateway::{
    CallerChange, Difference, Judgement, ListenerChange, Networks, PlanChange, Request, RouteChange, RouteName, Sides,
    Untold, VerdictChange,
};
use ipnet::IpNet;
use serde::Serialize;

use crate::diff::{Hit, HitClient, Turn};

/// For people: at most `top` of each list, and of addresses the first few networks.
pub(crate) fn text(difference: &Difference<'_>, hit: Option<&Hit<'_>>, top: usize) -> String {
    let mut text = String::new();
    for (title, turn) in [
        ("newly admitted", Turn::Admitted),
        ("newly refused", Turn::Refused),
        ("refused or sent elsewhere, in another way", Turn::Other),
    ] {
        list(&mut text, title, &turn.among(difference), top, verdict_text);
    }
    list(&mut text, "routes", &difference.routes, top, route_text);
    list(&mut text, "listeners", &difference.listeners, top, listener_text);
    list(&mut text, "callers", &difference.callers, top, caller_text);
    list(&mut text, "plans", &difference.plans, top, plan_text);
    if text.is_empty() {
        text.push_str("no difference in who may enter, what routes do, or where is listened\n\n");
    }
    if let Some(hit) = hit {
        text += &hit_text(hit, top);
    }
    list(&mut text, "not told here", &difference.untold, top, untold_text);
    text.truncate(text.trim_end().len());
    text + "\n"
}

fn list<T>(text: &mut String, title: &str, items: &[T], top: usize, each: impl Fn(&T) -> String) {
    if items.is_empty() {
        return;
    }
    line(text, format_args!("{title}"));
    for item in items.iter().take(top) {
        text.push_str(&each(item));
    }
    more(text, "  ", items.len(), top);
    text.push('\n');
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}

fn more(text: &mut String, indent: &str, all: usize, shown: usize) {
    if all > shown {
        line(text, format_args!("{indent}… and {} more", all - shown));
    }
}

fn verdict_text(change: &&VerdictChange<'_>) -> String {
    /// Networks of one change.
    const NETWORKS: usize = 8;
    /// Places where one route answers.
    const PLACES: usize = 4;
    let mut text = String::new();
    let Sides { old, new } = change.judgement;
    line(&mut text, format_args!("  {}: {old} -> {new}", routes_text(change.route)));
    for request in change.requests.iter().take(PLACES) {
        let Request { listener, method, host, path } = request;
        line(&mut text, format_args!("    as {method} {host}{path} on {listener}"));
    }
    more(&mut text, "    ", change.requests.len(), PLACES);
    let others = change.networks.others();
    let is_short = others.list().len() < change.networks.list().len();
    let networks = if is_short { others.list() } else { change.networks.list() };
    match (is_short, networks) {
        (true, []) => line(&mut text, format_args!("    from everywhere")),
        (true, _) => line(&mut text, format_args!("    from everywhere but")),
        (false, _) => line(&mut text, format_args!("    from {}", size_text(&change.networks))),
    }
    for network in networks.iter().take(NETWORKS) {
        line(&mut text, format_args!("      {}", network_text(*network)));
    }
    more(&mut text, "      ", networks.len(), NETWORKS);
    text
}

/// `256 IPv4 addresses, 1 IPv6 /64`.
fn size_text(networks: &Networks) -> String {
    let (v4, v6) = (networks.v4_addresses(), networks.v6_networks_of_64());
    let v4 = (v4 > 0).then(|| match v4 {
        1 => "1 IPv4 address".to_owned(),
        _ if v4 == 1 << 32 => "all of IPv4".to_owned(),
        _ => format!("{v4} IPv4 addresses"),
    });
    let v6 = (v6 > 0).then(|| match v6 {
        1 => "1 IPv6 /64".to_owned(),
        _ if v6 == 1 << 64 => "all of IPv6".to_owned(),
        _ => format!("{v6} IPv6 /64s"),
    });
    v4.into_iter().chain(v6).collect::<Vec<_>>().join(", ")
}

/// An address alone is written without its length.
fn network_text(network: IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() { network.addr().to_string() } else { network.to_string() }
}

fn routes_text(route: Sides<Option<RouteName<'_>>>) -> String {
    match (route.old, route.new) {
        (Some(old), Some(new)) if old == new => new.to_string(),
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (Some(only), None) | (None, Some(only)) => only.to_string(),
        (None, None) => "no route".to_owned(),
    }
}

fn route_text(change: &RouteChange<'_>) -> String {
    let RouteChange { route, changes, is_beyond_networks: _ } = change;
    changed_text(&routes_text(*route), Sides { old: route.old.is_some(), new: route.new.is_some() }, changes)
}

fn listener_text(change: &ListenerChange) -> String {
    let name = change.name.new.as_deref().or(change.name.old.as_deref()).unwrap_or_default();
    let mut changes = change.changes.clone();
    if let (Some(old), Some(new)) = (&change.name.old, &change.name.new)
        && old != new
    {
        changes.insert(0, format!("was called {old}"));
    }
    changed_text(name, Sides { old: change.name.old.is_some(), new: change.name.new.is_some() }, &changes)
}

fn caller_text(change: &CallerChange) -> String {
    let CallerChange { name, is_there, changes, is_beyond_networks: _ } = change;
    changed_text(name, *is_there, changes)
}

fn plan_text(change: &PlanChange) -> String {
    let PlanChange { name, is_there, changes } = change;
    changed_text(name, *is_there, changes)
}

fn changed_text(name: &str, is_there: Sides<bool>, changes: &[String]) -> String {
    match is_there {
        Sides { old: false, new: _ } => format!("  {name}: new\n"),
        Sides { old: true, new: false } => format!("  {name}: gone\n"),
        Sides { old: true, new: true } => {
            let changes: String = changes.iter().map(|change| format!("    {change}\n")).collect();
            format!("  {name}\n{changes}")
        }
    }
}

fn untold_text(untold: &Untold<'_>) -> String {
    const ROUTES: usize = 4;
    let mut text = format!("  {}:\n", untold.cause.text());
    for route in untold.routes.iter().take(ROUTES) {
        line(&mut text, format_args!("    {route}"));
    }
    more(&mut text, "    ", untold.routes.len(), ROUTES);
    text
}

fn hit_text(hit: &Hit<'_>, top: usize) -> String {
    let Hit { read, judged, admitted, refused, clients } = hit;
    let mut text = String::new();
    line(&mut text, format_args!("of {judged} requests in the log"));
    line(&mut text, format_args!("  {admitted} newly admitted, {refused} newly refused"));
    if read.unknown > 0 {
        line(&mut text, format_args!("  lines that are not of an access log: {}", read.unknown));
    }
    let most = clients.most(top);
    for (HitClient { turn, client, route }, count) in &most {
        let turn = if *turn == Turn::Admitted { "admitted" } else { "refused" };
        let route = route.map_or_else(|| "no route".to_owned(), |route| route.to_string());
        line(&mut text, format_args!("  {count:>8}  {client}  newly {turn}  {route}"));
    }
    more(&mut text, "  ", clients.len(), most.len());
    if !clients.is_exact() {
        line(
            &mut text,
            format_args!("  there are too many clients to count each: those with few requests are left out"),
        );
    }
    text.push('\n');
    text
}

/// For programs. The names of its fields, and what they mean, stay as they are; more may be added.
pub(crate) fn json(difference: &Difference<'_>, hit: Option<&Hit<'_>>, top: usize) -> String {
    let changes = |turn: Turn| List::of(&turn.among(difference), top, |change| VerdictReport::of(change));
    let report = Report {
        newly_admitted: changes(Turn::Admitted),
        newly_refused: changes(Turn::Refused),
        otherwise: changes(Turn::Other),
        routes: List::of(&difference.routes, top, |change| RouteReport {
            old: change.route.old.map(NameReport::of),
            new: change.route.new.map(NameReport::of),
            changes: &change.changes,
            beyond_networks: change.is_beyond_networks,
        }),
        listeners: List::of(&difference.listeners, top, |change| ListenerReport {
            old: change.name.old.as_deref(),
            new: change.name.new.as_deref(),
            changes: &change.changes,
            beyond_networks: change.is_beyond_networks,
        }),
        callers: List::of(&difference.callers, top, |change| CallerReport {
            name: &change.name,
            old: change.is_there.old,
            new: change.is_there.new,
            changes: &change.changes,
            beyond_networks: change.is_beyond_networks,
        }),
        plans: List::of(&difference.plans, top, |change| PlanReport {
            name: &change.name,
            old: change.is_there.old,
            new: change.is_there.new,
            changes: &change.changes,
        }),
        untold: difference
            .untold
            .iter()
            .map(|untold| UntoldReport {
                cause: untold.cause.name(),
                text: untold.cause.text(),
                routes: List::of(&untold.routes, top, |route| NameReport::of(*route)),
            })
            .collect(),
        log: hit.map(|hit| HitReport::of(hit, top)),
    };
    // There is nothing in it that JSON cannot hold.
    serde_json::to_string_pretty(&report).unwrap_or_default() + "\n"
}

#[derive(Serialize)]
struct Report<'d> {
    newly_admitted: List<VerdictReport<'d>>,
    newly_refused: List<VerdictReport<'d>>,
    otherwise: List<VerdictReport<'d>>,
    routes: List<RouteReport<'d>>,
    listeners: List<ListenerReport<'d>>,
    callers: List<CallerReport<'d>>,
    plans: List<PlanReport<'d>>,
    untold: Vec<UntoldReport<'d>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<HitReport<'d>>,
}

/// The first of many.
#[derive(Serialize)]
struct List<T> {
    total: usize,
    first: Vec<T>,
}

#[derive(Serialize)]
struct VerdictReport<'d> {
    old: SideReport<'d>,
    new: SideReport<'d>,
    ipv4_addresses: u64,
    ipv6_networks_of_64: u128,
    networks: List<IpNet>,
    requests: List<RequestReport<'d>>,
}

#[derive(Serialize)]
struct SideReport<'d> {
    #[serde(flatten)]
    judgement: JudgementReport,
    route: Option<NameReport<'d>>,
}

/// A judgement; also those of `replay`.
#[derive(Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub(crate) enum JudgementReport {
    Admitted,
    ToHttps { status: u16 },
    Refused { status: u16, reason: &'static str },
    NoListener,
}

#[derive(Serialize)]
struct RequestReport<'d> {
    listener: &'d str,
    method: &'d str,
    host: &'d str,
    path: &'d str,
}

#[derive(Serialize)]
struct NameReport<'d> {
    api: &'d str,
    key: &'d str,
}

#[derive(Serialize)]
struct RouteReport<'d> {
    old: Option<NameReport<'d>>,
    new: Option<NameReport<'d>>,
    changes: &'d [String],
    /// Whether it changes who may enter in a way that no networks can tell.
    beyond_networks: bool,
}

#[derive(Serialize)]
struct ListenerReport<'d> {
    old: Option<&'d str>,
    new: Option<&'d str>,
    changes: &'d [String],
    /// Whether it changes who may enter in a way that no networks can tell.
    beyond_networks: bool,
}

#[derive(Serialize)]
struct CallerReport<'d> {
    name: &'d str,
    /// Whether it was there, and is.
    old: bool,
    new: bool,
    changes: &'d [String],
    /// Whether it changes who may enter.
    beyond_networks: bool,
}

#[derive(Serialize)]
struct PlanReport<'d> {
    name: &'d str,
    /// Whether it was there, and is.
    old: bool,
    new: bool,
    changes: &'d [String],
}

#[derive(Serialize)]
struct UntoldReport<'d> {
    cause: &'static str,
    text: &'static str,
    routes: List<NameReport<'d>>,
}

#[derive(Serialize)]
struct HitReport<'d> {
    requests: u64,
    newly_admitted: u64,
    newly_refused: u64,
    unknown_lines: u64,
    clients: List<ClientReport<'d>>,
    exact: bool,
}

#[derive(Serialize)]
struct ClientReport<'d> {
    client: std::net::IpAddr,
    newly: &'static str,
    route: Option<NameReport<'d>>,
    requests: u64,
}

impl<T> List<T> {
    fn of<'i, I>(items: &'i [I], top: usize, each: impl Fn(&'i I) -> T) -> Self {
        Self { total: items.len(), first: items.iter().take(top).map(each).collect() }
    }
}

impl<'d> VerdictReport<'d> {
    fn of(change: &'d VerdictChange<'_>) -> Self {
        const NETWORKS: usize = 1000;
        const REQUESTS: usize = 20;
        let side = |judgement, route: Option<RouteName<'d>>| SideReport {
            judgement: JudgementReport::of(judgement),
            route: route.map(NameReport::of),
        };
        Self {
            old: side(change.judgement.old, change.route.old),
            new: side(change.judgement.new, change.route.new),
            ipv4_addresses: change.networks.v4_addresses(),
            ipv6_networks_of_64: change.networks.v6_networks_of_64(),
            networks: List::of(change.networks.list(), NETWORKS, |network| *network),
            requests: List::of(&change.requests, REQUESTS, |request| RequestReport {
                listener: &request.listener,
                method: request.method.as_str(),
                host: &request.host,
                path: &request.path,
            }),
        }
    }
}

impl JudgementReport {
    pub(crate) fn of(judgement: Judgement) -> Self {
        match judgement {
            Judgement::Admitted => Self::Admitted,
            Judgement::ToHttps(status) => Self::ToHttps { status: status.as_u16() },
            Judgement::Refused { status, reason } => Self::Refused { status: status.as_u16(), reason: reason.name() },
            Judgement::NoListener => Self::NoListener,
        }
    }
}

impl<'d> NameReport<'d> {
    fn of(name: RouteName<'d>) -> Self {
        Self { api: name.api, key: name.key }
    }
}

impl<'d> HitReport<'d> {
    fn of(hit: &'d Hit<'_>, top: usize) -> Self {
        let clients = hit.clients.most(top);
        let client = |(client, requests): &(&HitClient<'d>, u64)| ClientReport {
            client: client.client,
            newly: if client.turn == Turn::Admitted { "admitted" } else { "refused" },
            route: client.route.map(NameReport::of),
            requests: *requests,
        };
        Self {
            requests: hit.judged,
            newly_admitted: hit.admitted,
            newly_refused: hit.refused,
            unknown_lines: hit.read.unknown,
            clients: List { total: hit.clients.len(), first: clients.iter().map(client).collect() },
            exact: hit.clients.is_exact(),
        }
    }
}

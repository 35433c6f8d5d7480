//! `[upstream.…]`, and what every target must satisfy.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;

use crate::collections::List;
use crate::decode::Field;
use crate::file::UpstreamTable;
use crate::model::{self, TargetHost, Upstream};
use crate::reading::Reading;
use crate::resolve::addresses::networks;
use crate::resolve::certificate::authorities;
use crate::resolve::health::{eject, health};
use crate::resolve::names::{Known, Namespace};
use crate::source::Span;
use crate::text::{Name, Network, Target, quoted};

pub(super) fn upstreams(upstreams: Namespace<Name, UpstreamTable>, reading: &mut Reading) -> Known<Arc<Upstream>> {
    upstreams.resolve(|name, _, table| upstream(&name, table, reading).map(Arc::new))
}

fn upstream(name: &Name, table: UpstreamTable, reading: &mut Reading) -> Option<Upstream> {
    check_useful(&table, reading);
    check_named_once(&table, reading);
    let ca = match &table.ca {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(ca) => authorities(ca, reading).map(Some),
    };
    let health = match &table.health {
        Field::Absent => Some(None),
        Field::Broken => None,
        Field::Given(table) => health(&table.value, reading).map(Some),
    };
    let eject = eject(&table.eject, reading);
    let allowed = allowed(&table.networks)?;
    let list = table.targets.into_given()?.value;
    for target in &list.items {
        check_target(&target.value.0, target.span, allowed.as_deref(), reading);
    }
    let targets = list.items.into_iter().map(|target| target.value);
    Some(Upstream {
        name: Some(name.0.clone()),
        targets: targets.map(|Target(target)| target).collect(),
        networks: allowed,
        balance: table.balance.value().map_or(Upstream::DEFAULT.balance, |balance| balance.0),
        http: table.http.value().map_or(Upstream::DEFAULT.http, |version| version.0),
        ca: ca?,
        health: health?,
        eject: eject?,
    })
}

/// Reports what can do nothing for the targets that there are.
fn check_useful(table: &UpstreamTable, reading: &mut Reading) {
    let Some(targets) = table.targets.value().filter(|targets| !targets.broken) else { return };
    if let Some(balance) = table.balance.given()
        && targets.items.len() == 1
    {
        let error = reading.error(balance.key, "`balance` chooses among targets, and there is one");
        let help = "name another, or remove it; a name is one target, however many addresses it stands for";
        reading.report(error.with_help(help));
    }
    if let Some(eject) = table.eject.given()
        && targets.items.len() == 1
    {
        let error = reading.error(eject.key, "`eject` sends requests to other targets, and there is one");
        let help = "name another, or remove it; a name is one target, however many addresses it stands for";
        reading.report(error.with_help(help));
    }
    if let Some(ca) = table.ca.given()
        && !targets.values().any(|Target(target)| target.tls)
    {
        let error = reading.error(ca.key, "`ca` is for `https` targets, and there are none");
        reading.report(error.with_help("write `https://` where TLS is meant, or remove it"));
    }
}

/// Reports targets that are there already: requests that one has failed would be sent to it again.
fn check_named_once(table: &UpstreamTable, reading: &mut Reading) {
    let Some(targets) = table.targets.value() else { return };
    let mut seen: HashMap<&model::Target, Span> = HashMap::new();
    for target in &targets.items {
        if let Some(first) = seen.insert(&target.value.0, target.span) {
            let first = reading.place(first);
            let error = reading.error(target.span, "this target is named twice");
            reading.report(error.with_related(&first, "first named here"));
        }
    }
}

/// The `networks` of a backend; nothing at all if they cannot be told.
pub(super) fn allowed(field: &Field<List<Network>>) -> Option<Option<Vec<IpNet>>> {
    match field {
        Field::Absent => Some(None),
        Field::Given(given) if !given.value.broken => Some(Some(networks(&given.value))),
        Field::Given(_) | Field::Broken => None,
    }
}

/// Reports a target that could never be connected to, or that should not be without being asked for.
pub(super) fn check_target(target: &model::Target, span: Span, allowed: Option<&[IpNet]>, reading: &mut Reading) {
    let problem = match (&target.host, allowed) {
        (TargetHost::Address(address), Some(allowed)) => outside(*address, allowed),
        (TargetHost::Address(address), None) => special(*address),
        (TargetHost::Name(name), None) => loopback_name(name),
        // What a name stands for is not known before it is dialled.
        (TargetHost::Name(_), Some(_)) => None,
    };
    if let Some((message, help)) = problem {
        reading.report(reading.error(span, message).with_help(help));
    }
}

fn outside(address: IpAddr, allowed: &[IpNet]) -> Option<(String, String)> {
    if allowed.iter().any(|network| network.contains(&address)) {
        return None;
    }
    let message = format!("`{address}` lies outside of `networks`, so it could never be reached");
    Some((message, format!("add `\"{address}\"` to `networks`, or correct the address")))
}

/// What the gateway connects to only if `networks` says so, however the address is written down: where credentials of
/// machines are handed out. Kept in step with `AddressClass` of the crate `net`.
fn special(address: IpAddr) -> Option<(String, String)> {
    let (what, network) = match address {
        IpAddr::V4(four) if four.is_link_local() => ("a link-local address", "169.254.0.0/16".to_owned()),
        IpAddr::V4(four) if METADATA.contains(&four) => ("a metadata service", four.to_string()),
        IpAddr::V6(six) if is_metadata(six) => ("a metadata service", six.to_string()),
        IpAddr::V6(six) if six.is_unicast_link_local() => ("a link-local address", "fe80::/10".to_owned()),
        IpAddr::V6(six) => {
            let four = carried_by(six).filter(|four| four.is_link_local() || METADATA.contains(four))?;
            let message = format!("`{six}` carries `{four}`, where the credentials of machines are handed out");
            return Some((message, format!("if it is meant, say so: `networks = [\"{six}\"]`")));
        }
        IpAddr::V4(_) => return None,
    };
    let message = format!("`{address}` is {what}, where the credentials of machines are handed out");
    Some((message, format!("if it is meant, say so: `networks = [\"{network}\"]`")))
}

/// Metadata services outside the link-local range: Alibaba's, Azure's, Oracle's.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Amazon's, Google's and Scaleway's metadata services over IPv6.
fn is_metadata(address: Ipv6Addr) -> bool {
    matches!(
        address.segments(),
        [0xfd00, 0x0ec2, ..] | [0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254] | [0xfd00, 0x0042, 0, 0, 0, 0, 0, 0x0042]
    )
}

/// The IPv4 address that another network would unwrap: of NAT64, 6to4, Teredo, IPv4-compatible and IPv4-translated ones.
fn carried_by(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = match address.segments() {
        [0x2002, high, low, ..] => (high, low),
        [0x2001, 0, .., high, low] => (!high, !low),
        [0x0064, 0xff9b, 0 | 1, .., high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
            (high, low)
        }
        _ => return None,
    };
    Some(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
}

fn loopback_name(name: &str) -> Option<(String, String)> {
    let bare = name.trim_end_matches('.');
    if bare != "localhost" && !bare.ends_with(".localhost") {
        return None;
    }
    let message = format!("{} is a loopback name, and names may stand for public addresses only", quoted(name));
    let help = "write `127.0.0.1`, or say that it is meant: `networks = [\"127.0.0.0/8\"]`";
    Some((message, help.to_owned()))
}

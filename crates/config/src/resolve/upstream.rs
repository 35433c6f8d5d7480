//! `[upstream.…]`, and what every target must satisfy.

use std::net::{IpAddr, Ipv6Addr};
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
    if let Some(ca) = table.ca.given()
        && !targets.values().any(|Target(target)| target.tls)
    {
        let error = reading.error(ca.key, "`ca` is for `https` targets, and there are none");
        reading.report(error.with_help("write `https://` where TLS is meant, or remove it"));
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

fn special(address: IpAddr) -> Option<(String, String)> {
    let (what, network) = match address {
        IpAddr::V4(four) if four.is_link_local() => ("a link-local address", "169.254.0.0/16"),
        IpAddr::V6(six) if six == METADATA => ("a metadata service", "fd00:ec2::254"),
        IpAddr::V6(six) if six.is_unicast_link_local() => ("a link-local address", "fe80::/10"),
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    let message = format!("`{address}` is {what}, where the credentials of machines are handed out");
    Some((message, format!("if it is meant, say so: `networks = [\"{network}\"]`")))
}

/// Where Amazon's machines are told their credentials over IPv6.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

fn loopback_name(name: &str) -> Option<(String, String)> {
    let bare = name.trim_end_matches('.');
    if bare != "localhost" && !bare.ends_with(".localhost") {
        return None;
    }
    let message = format!("{} is a loopback name, and names may stand for public addresses only", quoted(name));
    let help = "write `127.0.0.1`, or say that it is meant: `networks = [\"127.0.0.0/8\"]`";
    Some((message, help.to_owned()))
}

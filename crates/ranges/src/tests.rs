//! What the tests of several modules need.

use std::net::IpAddr;
use std::time::Duration;

use gatepost_config::model::{Feed, FeedUrl, Pick, Target, TargetHost};
use gatepost_prefix::PrefixSet;
use ipnet::IpNet;

/// A text list at `http://ADDRESS[:PORT]/PATH`.
pub(crate) fn feed(url: &str) -> Feed {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let host = TargetHost::Address(host.parse::<IpAddr>().unwrap());
    Feed {
        url: FeedUrl {
            target: Target { tls: false, host, port: port.parse().unwrap() },
            path: format!("/{path}").into(),
        },
        pick: Pick::Lines,
        every: Duration::from_secs(3_600),
        max_age: Duration::from_secs(86_400),
        shrink: 0.5,
        grow: 2.0,
    }
}

pub(crate) fn networks(networks: &[&str]) -> PrefixSet {
    networks.iter().map(|network| network.parse::<IpNet>().unwrap()).collect()
}

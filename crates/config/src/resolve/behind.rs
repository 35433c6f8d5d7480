//! Whom a listener believes about the client's address: `behind`, `forwarded` and `proxy_protocol`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::collections::List;
use crate::decode::{Field, Given};
use crate::file::ListenerTable;
use crate::model::{AddressEntry, Addresses, Behind, ForwardedHeader, ProxyProtocol};
use crate::reading::Reading;
use crate::resolve::addresses::Sets;
use crate::resolve::entry::entries;
use crate::text::AddressReference;

/// Whom the listener of `table` believes: perhaps nobody. Nothing at all if that cannot be told.
pub(super) fn behind(table: &ListenerTable, sets: &Sets, reading: &mut Reading) -> Option<Option<Behind>> {
    let forwarded = table.forwarded.value().map(|header| header.0);
    let proxy_protocol = table.proxy_protocol.value().map_or(ProxyProtocol::Off, |proxy| proxy.0);
    let list = match &table.behind {
        Field::Broken => return None,
        Field::Absent => {
            check_nobody(table, reading);
            return Some(None);
        }
        Field::Given(list) => list,
    };
    let forwarded = forwarded.unwrap_or(ForwardedHeader::XForwardedFor);
    if forwarded == ForwardedHeader::Off && proxy_protocol == ProxyProtocol::Off {
        let message = "these senders are believed about nothing: `forwarded` is off, and so is `proxy_protocol`";
        let error = reading.error(list.key, message);
        reading.report(error.with_help("say how they tell the client's address, or remove `behind`"));
    }
    let senders = entries(&list.value, sets, reading)?;
    check_everyone(list, &senders, reading);
    Some(Some(Behind { senders, forwarded, proxy_protocol }))
}

/// Reports what senders would be believed about, where there are none.
fn check_nobody(table: &ListenerTable, reading: &mut Reading) {
    if !table.unknown.is_empty() {
        return;
    }
    let header = table.forwarded.given().filter(|header| header.value.0 != ForwardedHeader::Off);
    let proxy = table.proxy_protocol.given().filter(|proxy| proxy.value.0 != ProxyProtocol::Off);
    let told = [
        header.map(|header| (header.key, "no sender is believed here, so this header would tell nothing")),
        proxy.map(|proxy| (proxy.key, "no sender is believed here, so nobody may send a PROXY header")),
    ];
    for (key, message) in told.into_iter().flatten() {
        let help = "name your load balancers or proxies: `behind = [\"10.0.0.4\"]`";
        reading.report(reading.error(key, message).with_help(help));
    }
}

/// Reports senders that are everyone.
fn check_everyone(list: &Given<List<AddressReference>>, senders: &[AddressEntry], reading: &mut Reading) {
    let together = senders.iter().flat_map(networks).copied().collect();
    let Some(internet) = internet_within(together) else { return };
    let is_everyone = |sender: &AddressEntry| internet_within(networks(sender).to_vec()).is_some();
    let alone = list.value.items.iter().zip(senders).find(|(_, sender)| is_everyone(sender));
    let place = alone.map_or(list.span, |(item, _)| item.span);
    let message = format!("this believes all of the {internet} internet, so that anybody can claim any address");
    let error = reading.error(place, message);
    reading.report(error.with_help("name only the load balancers and proxies that are yours, or remove `behind`"));
}

fn networks(entry: &AddressEntry) -> &[IpNet] {
    match &entry.addresses {
        Addresses::Network(network) => std::slice::from_ref(network),
        Addresses::Set(set) => set.source.fixed(),
    }
}

/// Which internet lies within these networks, if one does.
fn internet_within(networks: Vec<IpNet>) -> Option<&'static str> {
    let mut padded = networks;
    padded.extend(NOT_PUBLIC);
    let joined = IpNet::aggregate(&padded);
    let holds = |internet: &IpNet| joined.iter().any(|network| network.contains(internet));
    [("IPv4", IPV4), ("IPv6", IPV6)].into_iter().find(|(_, internet)| holds(internet)).map(|(name, _)| name)
}

const IPV4: IpNet = four([0, 0, 0, 0], 0);

/// What has been given out of IPv6 (RFC 4291, 2.4).
const IPV6: IpNet = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3));

/// What of IPv4 is not the internet (RFC 6890): whoever leaves it out has named the whole internet all the same.
const NOT_PUBLIC: [IpNet; 13] = [
    four([0, 0, 0, 0], 8),
    four([10, 0, 0, 0], 8),
    four([100, 64, 0, 0], 10),
    four([127, 0, 0, 0], 8),
    four([169, 254, 0, 0], 16),
    four([172, 16, 0, 0], 12),
    four([192, 0, 0, 0], 24),
    four([192, 0, 2, 0], 24),
    four([192, 168, 0, 0], 16),
    four([198, 18, 0, 0], 15),
    four([198, 51, 100, 0], 24),
    four([203, 0, 113, 0], 24),
    four([224, 0, 0, 0], 3),
];

const fn four([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(networks: &[&str]) -> Option<&'static str> {
        internet_within(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    #[test]
    fn the_whole_internet_is_known_in_pieces_too() {
        assert_eq!(within(&["0.0.0.0/0"]), Some("IPv4"));
        assert_eq!(within(&["0.0.0.0/1", "128.0.0.0/1"]), Some("IPv4"));
        assert_eq!(within(&["::/0"]), Some("IPv6"));
        assert_eq!(within(&["::/1", "8000::/1"]), Some("IPv6"));
        assert_eq!(within(&["2000::/4", "3000::/4"]), Some("IPv6"));
        // All but private networks.
        let mut most: Vec<String> =
            (1..=223_u8).filter(|n| ![10, 127].contains(n)).map(|n| format!("{n}.0.0.0/8")).collect();
        let texts: Vec<&str> = most.iter().map(String::as_str).collect();
        assert_eq!(within(&texts), Some("IPv4"));
        most.remove(7);
        let texts: Vec<&str> = most.iter().map(String::as_str).collect();
        assert_eq!(within(&texts), None);
    }

    #[test]
    fn a_part_of_the_internet_is_not_all_of_it() {
        assert_eq!(within(&[]), None);
        assert_eq!(within(&["10.0.0.0/8", "192.168.0.0/16", "fd00::/8"]), None);
        assert_eq!(within(&["0.0.0.0/1", "2001:db8::/32"]), None);
    }
}

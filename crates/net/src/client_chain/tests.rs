use gatepost_prefix::PrefixSet;
use proptest::prelude::*;

use super::BelievedHeader::{Forwarded, Off, XForwardedFor};
use super::*;

const SOCKET: HopSource = HopSource::Socket;
const PROXY: HopSource = HopSource::ProxyHeader;

fn hop(hop: u16) -> HopSource {
    HopSource::Header { hop }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// 10.0.0.0/24 and 2001:db8:b::/48 are believed.
fn behind() -> PrefixSet {
    ["10.0.0.0/24", "2001:db8:b::/48"].iter().map(|network| network.parse::<ipnet::IpNet>().unwrap()).collect()
}

fn find(peer: &str, header: BelievedHeader, fields: &[&[u8]]) -> (Client, Vec<Step>) {
    let (socket, proxied) = match peer.split_once(" for ") {
        Some((socket, proxied)) => (socket, Some(address(proxied))),
        None => (peer, None),
    };
    let behind = behind();
    let mut steps = Vec::new();
    let peer = Peer { socket: address(socket), proxied };
    let client =
        find_client(peer, |address| behind.contains(address), header, fields.iter().copied(), |step| steps.push(step));
    (client, steps)
}

#[track_caller]
fn assert_client(peer: &str, header: BelievedHeader, fields: &[&str], client: &str, decided_by: HopSource, stop: Stop) {
    let bytes: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    let (found, steps) = find(peer, header, &bytes);
    let shown = format!("{peer} with {fields:?}");
    assert_eq!(found, Client { address: address(client), decided_by }, "{shown}");
    assert_eq!(steps.last(), Some(&Step::Stopped(stop)), "{shown}");
}

fn unreadable(hop: u16, why: Unreadable) -> Stop {
    Stop::Unreadable { hop, why }
}

#[test]
fn a_peer_that_is_not_believed_is_the_client_whatever_it_sends() {
    let stop = Stop::NotBelieved;
    assert_client("192.0.2.9", XForwardedFor, &["1.1.1.1"], "192.0.2.9", SOCKET, stop);
    assert_client("192.0.2.9 for 1.1.1.1", XForwardedFor, &["1.1.1.1"], "192.0.2.9", SOCKET, stop);
    assert_client("192.0.2.9", Forwarded, &["for=10.0.0.1"], "192.0.2.9", SOCKET, stop);
    assert_client("::ffff:192.0.2.9", Off, &[], "192.0.2.9", SOCKET, stop);
    assert_client("10.0.1.0", XForwardedFor, &["1.1.1.1"], "10.0.1.0", SOCKET, stop);
}

#[test]
fn believed_senders_are_passed_from_the_right() {
    let stop = Stop::NotBelieved;
    for (peer, fields, client, decided_by) in [
        ("10.0.0.1", &["1.1.1.1"][..], "1.1.1.1", hop(1)),
        ("::ffff:10.0.0.1", &["1.1.1.1"], "1.1.1.1", hop(1)),
        ("2001:db8:b::1", &["1.1.1.1, 10.0.0.2"], "1.1.1.1", hop(2)),
        ("10.0.0.1", &["1.1.1.1,10.0.0.3 ,\t10.0.0.2"], "1.1.1.1", hop(3)),
        ("10.0.0.1", &["1.1.1.1, ::ffff:10.0.0.2"], "1.1.1.1", hop(2)),
        ("10.0.0.1", &["1.1.1.1, [::ffff:10.0.0.2]:80"], "1.1.1.1", hop(2)),
        ("10.0.0.1", &["::ffff:1.1.1.1"], "1.1.1.1", hop(1)),
        ("10.0.0.1", &["1.1.1.1, 2001:db8:b::2, [2001:db8:b::3], [2001:db8:b::4]:443"], "1.1.1.1", hop(4)),
        ("10.0.0.1", &["1.1.1.1:65535, 10.0.0.2:0"], "1.1.1.1", hop(2)),
        ("10.0.0.1", &["2001:DB8::9"], "2001:db8::9", hop(1)),
        // Several fields are one list.
        ("10.0.0.1", &["1.1.1.1", "10.0.0.3", "10.0.0.2"], "1.1.1.1", hop(3)),
        ("10.0.0.1", &["9.9.9.9, 1.1.1.1", "10.0.0.3, 10.0.0.2"], "1.1.1.1", hop(3)),
    ] {
        assert_client(peer, XForwardedFor, fields, client, decided_by, stop);
    }
}

#[test]
fn what_a_client_writes_to_the_left_changes_nothing() {
    for spoofed in ["10.0.0.1", "9.9.9.9", "garbage", "", ",,,", "\"", "unknown", "[::1", "10.0.0.1, 10.0.0.1"] {
        let appended = format!("{spoofed}, 1.1.1.1");
        assert_client("10.0.0.1", XForwardedFor, &[&appended], "1.1.1.1", hop(1), Stop::NotBelieved);
        assert_client("10.0.0.1", XForwardedFor, &[spoofed, "1.1.1.1"], "1.1.1.1", hop(1), Stop::NotBelieved);
    }
    for spoofed in [
        "for=10.0.0.1",
        "for=9.9.9.9",
        "garbage",
        "",
        ",,,",
        "\"",
        "for=\"",
        "for=\"9.9.9.9",
        "for=\"\\",
        "for=\"\\\"",
        "x=\"\\\\\"\"",
        "for=\"9.9.9.9, for=10.0.0.2",
        "for=x;\\",
        "for=9.9.9.9;",
    ] {
        let appended = format!("{spoofed}, for=1.1.1.1");
        assert_client("10.0.0.1", Forwarded, &[&appended], "1.1.1.1", hop(1), Stop::NotBelieved);
        let appended = format!("{spoofed}, for=1.1.1.1, by=_x;for=\"10.0.0.2\";host=\"a,b\\\",\\\\\"");
        assert_client("10.0.0.1", Forwarded, &[&appended], "1.1.1.1", hop(2), Stop::NotBelieved);
        assert_client("10.0.0.1", Forwarded, &[spoofed, "for=1.1.1.1"], "1.1.1.1", hop(1), Stop::NotBelieved);
    }
}

#[test]
fn a_proxy_header_comes_before_any_other() {
    let fields = &["1.1.1.1, 10.0.0.2"][..];
    assert_client("10.0.0.1 for 9.9.9.9", XForwardedFor, fields, "9.9.9.9", PROXY, Stop::NotBelieved);
    assert_client("10.0.0.1 for 10.0.0.7", XForwardedFor, fields, "1.1.1.1", hop(2), Stop::NotBelieved);
    assert_client("10.0.0.1 for ::ffff:10.0.0.7", XForwardedFor, fields, "1.1.1.1", hop(2), Stop::NotBelieved);
    assert_client("10.0.0.1 for ::ffff:9.9.9.9", XForwardedFor, fields, "9.9.9.9", PROXY, Stop::NotBelieved);
    assert_client("10.0.0.1 for 10.0.0.7", XForwardedFor, &[], "10.0.0.7", PROXY, Stop::NoEntryLeft);
    assert_client("10.0.0.1 for 10.0.0.7", Off, fields, "10.0.0.7", PROXY, Stop::HeaderOff);
}

#[test]
fn when_nothing_more_is_told_the_last_sender_is_the_client() {
    assert_client("10.0.0.1", XForwardedFor, &[], "10.0.0.1", SOCKET, Stop::NoEntryLeft);
    assert_client("10.0.0.1", Forwarded, &[], "10.0.0.1", SOCKET, Stop::NoEntryLeft);
    assert_client("10.0.0.1", Off, &["1.1.1.1"], "10.0.0.1", SOCKET, Stop::HeaderOff);
    assert_client("10.0.0.1", XForwardedFor, &["10.0.0.3, 10.0.0.2"], "10.0.0.3", hop(2), Stop::NoEntryLeft);
}

#[test]
fn an_entry_that_cannot_be_read_stops_the_walk() {
    use Unreadable::{Empty, NotAnAddress, Unknown};
    for (entry, why) in [
        ("", Empty),
        (" \t ", Empty),
        ("unknown", Unknown),
        ("Unknown", Unknown),
        ("_hidden", NotAnAddress),
        ("client.test", NotAnAddress),
        ("1.1.1", NotAnAddress),
        ("1.1.1.1.1", NotAnAddress),
        ("01.1.1.1", NotAnAddress),
        ("1.1.1.256", NotAnAddress),
        ("0x1.1.1.1", NotAnAddress),
        ("16843009", NotAnAddress),
        ("1.1.1.1:", NotAnAddress),
        ("1.1.1.1:080", NotAnAddress),
        ("1.1.1.1:+80", NotAnAddress),
        ("1.1.1.1:65536", NotAnAddress),
        ("1.1.1.1:_x", NotAnAddress),
        ("1.1.1.1 2.2.2.2", NotAnAddress),
        ("1.1.1.1/32", NotAnAddress),
        ("1.1.1.1;x", NotAnAddress),
        ("\"1.1.1.1\"", NotAnAddress),
        ("[1.1.1.1]", NotAnAddress),
        ("[2001:db8::1", NotAnAddress),
        ("2001:db8::1]", NotAnAddress),
        ("[2001:db8::1]80", NotAnAddress),
        ("[2001:db8::1]:", NotAnAddress),
        ("[[2001:db8::1]]", NotAnAddress),
        ("[]", NotAnAddress),
        ("fe80::1%eth0", NotAnAddress),
        ("[fe80::1%eth0]", NotAnAddress),
        ("2001:db8::1::", NotAnAddress),
        ("1.1.1.1\u{a0}", NotAnAddress),
        ("for=1.1.1.1", NotAnAddress),
    ] {
        assert_client("10.0.0.1", XForwardedFor, &[entry], "10.0.0.1", SOCKET, unreadable(1, why));
        let chain = format!("9.9.9.9, {entry}, 10.0.0.2");
        assert_client("10.0.0.1", XForwardedFor, &[&chain], "10.0.0.2", hop(1), unreadable(2, why));
        assert_client(
            "10.0.0.1",
            XForwardedFor,
            &["9.9.9.9", entry, "10.0.0.2"],
            "10.0.0.2",
            hop(1),
            unreadable(2, why),
        );
    }
    let (client, _) = find("10.0.0.1", XForwardedFor, &[b"1.1.1.\xff"]);
    assert_eq!(client.address, address("10.0.0.1"));
}

#[test]
fn forwarded_is_read_as_rfc_7239_has_it() {
    for (element, client) in [
        ("for=1.1.1.1", "1.1.1.1"),
        ("FOR=1.1.1.1", "1.1.1.1"),
        ("for=\"1.1.1.1\"", "1.1.1.1"),
        ("for=\"1.1.1.1:80\"", "1.1.1.1"),
        ("for=\"1.1.1.1:00080\"", "1.1.1.1"),
        ("for=\"1.1.1.1:_gazonk-1.2\"", "1.1.1.1"),
        ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("For=\"[2001:db8:cafe::17]\"", "2001:db8:cafe::17"),
        ("for=\"[::ffff:1.1.1.1]\"", "1.1.1.1"),
        ("for=\"\\1.1\\.1.1\"", "1.1.1.1"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
        ("proto=http;by=203.0.113.43;for=192.0.2.60", "192.0.2.60"),
        ("proto=http; for=192.0.2.60 ;\thost=a", "192.0.2.60"),
        (";for=192.0.2.60;;", "192.0.2.60"),
        ("host=\"a,b\";for=192.0.2.60;x=\"for=9.9.9.9, for=9.9.9.9\"", "192.0.2.60"),
        ("x=\", for=9.9.9.9\\\\\";for=192.0.2.60;y=\"\\\", for=9.9.9.9\"", "192.0.2.60"),
        ("x=\"\";for=192.0.2.60", "192.0.2.60"),
        ("for=192.0.2.60;x=\"\u{e4}\"", "192.0.2.60"),
    ] {
        assert_client("10.0.0.1", Forwarded, &[element], client, hop(1), Stop::NotBelieved);
        let chain = format!("for=9.9.9.9,{element} , for=10.0.0.2");
        assert_client("10.0.0.1", Forwarded, &[&chain], client, hop(2), Stop::NotBelieved);
        let (left, right) = (format!("for=9.9.9.9, {element}"), "for=\"[2001:db8:b::1]:1\", for=10.0.0.2");
        assert_client("10.0.0.1", Forwarded, &[&left, right], client, hop(3), Stop::NotBelieved);
    }
}

#[test]
fn an_element_that_cannot_be_read_stops_the_walk() {
    use Unreadable::{Empty, ManyFor, NoFor, NotAnAddress, Obfuscated, Syntax, Unknown};
    let long = format!("for=\"{}1.1.1.1\"", "\\0".repeat(100));
    for (element, why) in [
        ("", Empty),
        ("  ", Empty),
        (";", NoFor),
        ("by=1.1.1.1", NoFor),
        ("forx=1.1.1.1", NoFor),
        ("for=1.1.1.1;for=1.1.1.1", ManyFor),
        ("for=1.1.1.1;FOR=_x", ManyFor),
        ("for=unknown", Unknown),
        ("for=UnKnown", Unknown),
        ("for=\"unknown:80\"", Unknown),
        ("for=_hidden", Obfuscated),
        ("for=\"_SEVKISEK:80\"", Obfuscated),
        ("for=client.test", NotAnAddress),
        ("for=\"\"", NotAnAddress),
        ("for=01.1.1.1", NotAnAddress),
        ("for=\" 1.1.1.1\"", NotAnAddress),
        ("for=\"2001:db8::1\"", NotAnAddress),
        ("for=\"[1.1.1.1]\"", NotAnAddress),
        ("for=\"[fe80::1%eth0]\"", NotAnAddress),
        ("for=\"1.1.1.1:\"", NotAnAddress),
        ("for=\"1.1.1.1:123456\"", NotAnAddress),
        ("for=\"1.1.1.1:_\"", NotAnAddress),
        ("for=\"1.1.1.1:80:80\"", NotAnAddress),
        ("for=\"1.1.1.1, 2.2.2.2\"", NotAnAddress),
        (long.as_str(), NotAnAddress),
        ("1.1.1.1", Syntax),
        ("for", Syntax),
        ("for=", Syntax),
        ("for =1.1.1.1", Syntax),
        ("for= 1.1.1.1", Syntax),
        ("=1.1.1.1", Syntax),
        ("for=1.1.1.1:80", Syntax),
        ("for=[2001:db8::1]", Syntax),
        ("for=1.1.1.1 for=1.1.1.1", Syntax),
        ("for=\"1.1.1.1\"x", Syntax),
        ("for=1.1.1.1\"x\"", Syntax),
        ("for=1.1.1.1;x=\"\u{7f}\"", Syntax),
        ("for=1.1.1.1;x=\"a\\\"", Syntax),
        ("for=1.1.1.1\"", Syntax),
        ("for='1.1.1.1\"", Syntax),
    ] {
        assert_client("10.0.0.1", Forwarded, &[element], "10.0.0.1", SOCKET, unreadable(1, why));
        let chain = format!("{element}, for=10.0.0.2");
        assert_client("10.0.0.1", Forwarded, &[&chain], "10.0.0.2", hop(1), unreadable(2, why));
    }
}

#[test]
fn an_endless_chain_of_believed_senders_is_walked_so_far() {
    for (header, entry) in [(XForwardedFor, "10.0.0.2"), (Forwarded, "for=10.0.0.2")] {
        let chain = vec![entry; 64].join(",");
        assert_client("10.0.0.1", header, &[&chain], "10.0.0.2", hop(64), Stop::NoEntryLeft);
        let longer = format!("9.9.9.9, {chain}");
        assert_client("10.0.0.1", header, &[&longer], "10.0.0.2", hop(64), Stop::TooManyHops);
        let fields = vec![entry; 1000];
        assert_client("10.0.0.1", header, &fields, "10.0.0.2", hop(64), Stop::TooManyHops);
    }
}

#[test]
fn the_trace_tells_every_step() {
    let (_, steps) = find("10.0.0.1 for 10.0.0.7", XForwardedFor, &[b"9.9.9.9, unknown", b"10.0.0.2"]);
    let sender = |text, source| Step::Sender { address: address(text), source, believed: true };
    assert_eq!(
        steps,
        [
            sender("10.0.0.1", SOCKET),
            sender("10.0.0.7", PROXY),
            sender("10.0.0.2", hop(1)),
            Step::Stopped(unreadable(2, Unreadable::Unknown)),
        ]
    );
    let Some(Step::Stopped(stop)) = steps.last() else { panic!("{steps:?}") };
    assert_eq!(stop.to_string(), "entry 2 from the right says \"unknown\"");
}

/// A list of `Forwarded`, well-formed or not.
fn forwarded_list() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec![
            "for=10.0.0.2",
            "for=1.1.1.1",
            "for=",
            "by=_x",
            ";",
            ",",
            ", ",
            "=",
            "\"",
            "\\",
            "\\\"",
            "\"10.0.0.2\"",
            "\"[2001:db8:b::1]:1\"",
            "x=\"a,b\"",
            "\" \"",
            "unknown",
        ]),
        0..24,
    )
    .prop_map(|words| words.concat())
}

/// What a believed sender adds: an element that is right, in any dress.
fn right_element() -> impl Strategy<Value = String> {
    let inside =
        prop::collection::vec(prop::sample::select(vec!["a", ",", ";", "=", "\\\"", "\\\\", " ", "for="]), 0..8);
    (prop::sample::select(vec!["10.0.0.2", "10.0.0.3", "1.1.1.1"]), inside, any::<bool>(), any::<bool>()).prop_map(
        |(address, inside, quoted, first)| {
            let node = if quoted { format!("for=\"{address}\"") } else { format!("for={address}") };
            let other = format!("x=\"{}\"", inside.concat());
            if first { format!("{node};{other}") } else { format!("{other};{node}") }
        },
    )
}

/// The elements of a well-formed list, read from the left.
fn elements_from_the_left(list: &str) -> Vec<&str> {
    let (mut elements, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, character) in list.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                elements.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    elements.push(&list[start..]);
    elements
}

/// What must hold for any input: the client is the peer or stands in the header, and whoever spoke for it is believed.
fn assert_told_by_believed(header: BelievedHeader, fields: &[&[u8]]) -> Result<(), TestCaseError> {
    for peer in ["10.0.0.1", "10.0.0.1 for 10.0.0.7", "192.0.2.9"] {
        let (client, steps) = find(peer, header, fields);
        let senders: Vec<(IpAddr, HopSource, bool)> = steps
            .iter()
            .filter_map(|step| match *step {
                Step::Sender { address, source, believed } => Some((address, source, believed)),
                Step::Stopped(_) => None,
            })
            .collect();
        let (last, before) = senders.split_last().unwrap();
        prop_assert_eq!((client.address, client.decided_by), (last.0, last.1));
        for (address, _, believed) in before {
            prop_assert!(*believed && behind().contains(*address));
        }
        prop_assert_eq!(matches!(steps.last(), Some(Step::Stopped(Stop::NotBelieved))), !last.2);
        prop_assert!(senders.len() <= usize::from(MOST_HOPS) + 2);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_make_a_client_that_somebody_believed_told_of(
        fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5),
    ) {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        assert_told_by_believed(XForwardedFor, &fields)?;
        assert_told_by_believed(Forwarded, &fields)?;
    }

    #[test]
    fn lists_make_a_client_that_somebody_believed_told_of(fields in prop::collection::vec(forwarded_list(), 0..4)) {
        let stripped: Vec<String> = fields.iter().map(|field| field.replace("for=", "")).collect();
        let bytes: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
        assert_told_by_believed(Forwarded, &bytes)?;
        let bytes: Vec<&[u8]> = stripped.iter().map(String::as_bytes).collect();
        assert_told_by_believed(XForwardedFor, &bytes)?;
    }

    #[test]
    fn what_a_believed_sender_adds_is_read_the_same_whatever_stands_before_it(
        before in forwarded_list(),
        added in prop::collection::vec(right_element(), 1..5),
    ) {
        let mut list = added.join(", ");
        let (alone, _) = find("10.0.0.1", Forwarded, &[list.as_bytes()]);
        prop_assume!(alone.address == address("1.1.1.1"));
        list.insert_str(0, ", ");
        list.insert_str(0, &before);
        let (client, _) = find("10.0.0.1", Forwarded, &[list.as_bytes()]);
        prop_assert_eq!(client, alone);
    }

    #[test]
    fn a_well_formed_list_has_the_same_elements_from_the_left_and_from_the_right(
        elements in prop::collection::vec(right_element(), 1..6),
    ) {
        let list = elements.join(",");
        let mut from_the_right = Vec::new();
        let mut rest = Some(list.as_bytes());
        while let Some(list) = rest {
            let (before, element) = forwarded::last_entry(list);
            from_the_right.insert(0, std::str::from_utf8(element).unwrap());
            rest = before;
        }
        prop_assert_eq!(&from_the_right, &elements_from_the_left(&list));
        prop_assert_eq!(from_the_right, elements);
    }
}

//! Who the client is when proxies tell, and what a backend is told of it.

use std::net::{IpAddr, Ipv4Addr};

use gatepost_testkit::{Json, Origin, Raw, Received, Script, TestGateway};

use crate::setup::{SOON, Setup, refusal};

/// The one that `behind` lists, beside 10.0.0.0/8 …
const BALANCER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// … and one that it does not.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// A gateway behind [`BALANCER`] and 10.0.0.0/8, that believes this header of them.
async fn behind(origin: &Origin, forwarded: &str) -> TestGateway {
    Setup::to(origin).listener(&listener(forwarded)).start().await
}

fn listener(forwarded: &str) -> String {
    format!("behind = [\"{BALANCER}\", \"10.0.0.0/8\"]\nforwarded = {forwarded:?}\nproxy_protocol = \"optional\"\n")
}

/// Asks from `source` with these header lines.
async fn ask(gateway: &TestGateway, source: IpAddr, proxy: &str, lines: &[&str]) {
    let mut client = Raw::connect_from(source, gateway.address()).await;
    if !proxy.is_empty() {
        client.send(format!("{proxy}\r\n")).await;
    }
    let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
    assert_eq!(client.ask(&format!("GET / HTTP/1.1\nhost: a.test:81\n{lines}\n")).await.status, 200);
}

/// The lines of the log, once there are so many: the client and what told it.
async fn clients(gateway: &TestGateway, count: usize) -> Vec<(String, String)> {
    let lines = gateway.log_until(|lines| lines.len() >= count, SOON).await;
    let text = |line: &Json, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    lines.iter().map(|line| (text(line, "client"), text(line, "client_from"))).collect()
}

/// Each case: who sends which header lines, the client that it comes to, and what told it.
type Case<'c> = (IpAddr, &'c [&'c str], &'c str, &'c str);

async fn assert_clients(forwarded: &str, cases: &[Case<'_>]) {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, forwarded).await;
    for (number, (source, lines, client, from)) in cases.iter().enumerate() {
        ask(&gateway, *source, "", lines).await;
        let (found, told_by) = clients(&gateway, number + 1).await.remove(number);
        assert_eq!((&*found, &*told_by), (*client, *from), "{forwarded}: {lines:?} from {source}");
    }
}

#[tokio::test]
async fn x_forwarded_for_is_walked_from_the_right_while_senders_are_believed() {
    assert_clients(
        "x-forwarded-for",
        &[
            (BALANCER, &[], "127.0.0.2", "socket"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7"], "192.0.2.7", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.9, 192.0.2.7"], "192.0.2.7", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.9, 192.0.2.7,10.0.0.1"], "192.0.2.7", "x-forwarded-for:2"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7, 10.0.0.2, 10.0.0.1"], "192.0.2.7", "x-forwarded-for:3"),
            (BALANCER, &["x-forwarded-for: 10.0.0.2, 10.0.0.1"], "10.0.0.2", "x-forwarded-for:2"),
            // Several fields are one list, in any case of letters.
            (
                BALANCER,
                &["x-forwarded-for: 192.0.2.9, 192.0.2.7", "cookie: a", "X-Forwarded-For: 10.0.0.1"],
                "192.0.2.7",
                "x-forwarded-for:2",
            ),
            // What cannot be read ends the walk at the sender who is known.
            (BALANCER, &["x-forwarded-for: 192.0.2.7, nonsense"], "127.0.0.2", "socket"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7, nonsense, 10.0.0.1"], "10.0.0.1", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7,, 10.0.0.1"], "10.0.0.1", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7, "], "127.0.0.2", "socket"),
            (BALANCER, &["x-forwarded-for:"], "127.0.0.2", "socket"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7", "x-forwarded-for:"], "127.0.0.2", "socket"),
            // Forms of an address.
            (BALANCER, &["x-forwarded-for: ::ffff:192.0.2.7"], "192.0.2.7", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7, ::ffff:10.0.0.1"], "192.0.2.7", "x-forwarded-for:2"),
            (BALANCER, &["x-forwarded-for: 2001:DB8::7"], "2001:db8::7", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: [2001:db8::7]:443"], "2001:db8::7", "x-forwarded-for:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7:443"], "192.0.2.7", "x-forwarded-for:1"),
            // The other header is not looked at, nor anything else.
            (BALANCER, &["forwarded: for=192.0.2.7"], "127.0.0.2", "socket"),
            (BALANCER, &["x-real-ip: 192.0.2.7", "true-client-ip: 192.0.2.7"], "127.0.0.2", "socket"),
            (BALANCER, &["x_forwarded_for: 192.0.2.7"], "127.0.0.2", "socket"),
            (STRANGER, &["x-forwarded-for: 192.0.2.7"], "127.0.0.3", "socket"),
            (STRANGER, &["x-forwarded-for: 192.0.2.7, 10.0.0.1"], "127.0.0.3", "socket"),
        ],
    )
    .await;
}

#[tokio::test]
async fn forwarded_is_walked_from_the_right_while_senders_are_believed() {
    assert_clients(
        "forwarded",
        &[
            (BALANCER, &[], "127.0.0.2", "socket"),
            (BALANCER, &["forwarded: for=192.0.2.7"], "192.0.2.7", "forwarded:1"),
            (BALANCER, &["forwarded: by=10.0.0.1;FOR=192.0.2.7;proto=https"], "192.0.2.7", "forwarded:1"),
            (BALANCER, &["forwarded: for=192.0.2.9, for=192.0.2.7, for=10.0.0.1"], "192.0.2.7", "forwarded:2"),
            (BALANCER, &["forwarded: for=192.0.2.7", "forwarded: for=10.0.0.1"], "192.0.2.7", "forwarded:2"),
            (BALANCER, &[r#"forwarded: for="[2001:db8::7]:443""#], "2001:db8::7", "forwarded:1"),
            (BALANCER, &[r#"forwarded: for="[::ffff:192.0.2.7]""#], "192.0.2.7", "forwarded:1"),
            (BALANCER, &["forwarded: for=192.0.2.7, for=unknown"], "127.0.0.2", "socket"),
            (BALANCER, &["forwarded: for=192.0.2.7, for=_hidden, for=10.0.0.1"], "10.0.0.1", "forwarded:1"),
            (BALANCER, &["forwarded: for=192.0.2.7, proto=https"], "127.0.0.2", "socket"),
            (BALANCER, &["forwarded: for=192.0.2.7;for=192.0.2.8"], "127.0.0.2", "socket"),
            // A comma in a quoted string parts nothing, and a quote that was left open hides nothing.
            (BALANCER, &[r#"forwarded: for=192.0.2.7;by="a,b""#], "192.0.2.7", "forwarded:1"),
            (BALANCER, &[r#"forwarded: for="192.0.2.9, for=192.0.2.7"#], "192.0.2.7", "forwarded:1"),
            (BALANCER, &["x-forwarded-for: 192.0.2.7"], "127.0.0.2", "socket"),
            (STRANGER, &["forwarded: for=192.0.2.7"], "127.0.0.3", "socket"),
        ],
    )
    .await;
}

#[tokio::test]
async fn no_header_is_believed_where_it_is_off() {
    let headers: &[&str] = &["x-forwarded-for: 192.0.2.7", "forwarded: for=192.0.2.7"];
    assert_clients("off", &[(BALANCER, headers, "127.0.0.2", "socket"), (STRANGER, headers, "127.0.0.3", "socket")])
        .await;
}

#[tokio::test]
async fn a_header_is_read_on_from_the_proxy_that_was_told_before_it() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, "x-forwarded-for").await;
    let header: &[&str] = &["x-forwarded-for: 192.0.2.9, 192.0.2.7"];
    for (number, (proxied, client, from)) in [
        ("10.0.0.1", "192.0.2.7", "x-forwarded-for:1"),
        ("192.0.2.1", "192.0.2.1", "proxy"),
        ("127.0.0.3", "127.0.0.3", "proxy"),
    ]
    .into_iter()
    .enumerate()
    {
        ask(&gateway, BALANCER, &format!("PROXY TCP4 {proxied} 127.0.0.1 1 2"), header).await;
        let (found, told_by) = clients(&gateway, number + 1).await.remove(number);
        assert_eq!((&*found, &*told_by), (client, from), "{proxied}");
    }
    let told: Vec<_> = origin.requests().iter().map(|r| r.header("x-forwarded-for").map(str::to_owned)).collect();
    let expected = ["192.0.2.9, 192.0.2.7, 10.0.0.1", "192.0.2.1", "127.0.0.3"];
    assert_eq!(told, expected.map(|value| Some(value.to_owned())));
}

#[tokio::test]
async fn admission_goes_by_the_client_that_is_found() {
    let origin = Origin::start(Script::ok("")).await;
    let setup = Setup::to(&origin).listener(&listener("x-forwarded-for")).entry(r#"from = ["192.0.2.7"]"#);
    let gateway = setup.start().await;
    let mut balancer = Raw::connect_from(BALANCER, gateway.address()).await;
    let mut stranger = Raw::connect_from(STRANGER, gateway.address()).await;
    for (client, status) in [("192.0.2.7", 200), ("192.0.2.8", 403), ("192.0.2.7", 200), ("192.0.2.7, x", 403)] {
        let ask = format!("GET / HTTP/1.1\nhost: a\nx-forwarded-for: {client}\n\n");
        assert_eq!(balancer.ask(&ask).await.status, status, "{client}");
        assert_eq!(stranger.ask(&ask).await.status, 403, "{client}");
    }
    let line = refusal(&gateway, "address_not_listed").await;
    assert_eq!(line["client"], "127.0.0.3", "{line}");
}

/// All that a backend is told of the client.
fn told(request: &Received) -> [Option<&str>; 4] {
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded"].map(|name| request.header(name))
}

const CLAIMS: &[&str] = &[
    "x-forwarded-for: 192.0.2.9",
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-host: public.test",
    "x-forwarded-proto: https",
    "x-forwarded-port: 443",
    "x-forwarded-prefix: /admin",
    "x-real-ip: 192.0.2.9",
    "x_forwarded_for: 192.0.2.9",
    "forwarded: for=192.0.2.9;proto=https",
    "forwarded: for=192.0.2.7;proto=https;host=public.test",
];

#[tokio::test]
async fn a_backend_is_told_what_is_known_and_nothing_that_strangers_claim() {
    for header in ["x-forwarded-for", "forwarded", "off"] {
        let origin = Origin::start(Script::ok("")).await;
        let gateway = behind(&origin, header).await;
        ask(&gateway, STRANGER, "", CLAIMS).await;
        let request = origin.last();
        let known = "for=127.0.0.3;host=\"a.test:81\";proto=http";
        assert_eq!(told(&request), [Some("127.0.0.3"), Some("a.test:81"), Some("http"), Some(known)], "{header}");
        let names = ["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"];
        assert_eq!(request.names(), names, "{header}");
    }
}

#[tokio::test]
async fn what_a_believed_sender_tells_in_x_forwarded_for_is_added_to() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, "x-forwarded-for").await;
    ask(&gateway, BALANCER, "", CLAIMS).await;
    let request = origin.last();
    let [nodes, host, proto, forwarded] = told(&request);
    assert_eq!(nodes, Some("192.0.2.9, 192.0.2.7, 127.0.0.2"));
    assert_eq!((host, proto), (Some("public.test"), Some("https")));
    // One element about the client, in agreement with the others: the header that came is discarded.
    assert_eq!(forwarded, Some("for=192.0.2.7;host=public.test;proto=https"));
    assert_eq!(request.all("x-real-ip").len() + request.all("x_forwarded_for").len(), 0, "{}", request.head);
}

#[tokio::test]
async fn what_a_believed_sender_does_not_tell_is_told_as_it_is_known() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, "x-forwarded-for").await;
    let known = |client: &str, host: &str| format!("for={client};host={host};proto=http");
    for (lines, nodes, host, forwarded) in [
        (&[][..], "127.0.0.2", "a.test:81", known("127.0.0.2", "\"a.test:81\"")),
        (&["x-forwarded-for: 192.0.2.7"], "192.0.2.7, 127.0.0.2", "a.test:81", known("192.0.2.7", "\"a.test:81\"")),
        // Neither is a scheme, and of two nobody knows which one counts.
        (
            &["x-forwarded-proto: gopher", "x-forwarded-host: a", "x-forwarded-host: b"],
            "127.0.0.2",
            "a.test:81",
            known("127.0.0.2", "\"a.test:81\""),
        ),
        // What is no host is passed on as it came in the one header, and in the other it must not break the syntax.
        (&["x-forwarded-host: a;proto=https, b"], "127.0.0.2", "a;proto=https, b", known("127.0.0.2", "\"a.test:81\"")),
    ] {
        ask(&gateway, BALANCER, "", lines).await;
        let request = origin.last();
        assert_eq!(told(&request), [Some(nodes), Some(host), Some("http"), Some(&*forwarded)], "{lines:?}");
    }
}

#[tokio::test]
async fn what_a_believed_sender_tells_in_forwarded_is_added_to() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, "forwarded").await;
    ask(&gateway, BALANCER, "", CLAIMS).await;
    let request = origin.last();
    let [nodes, _, _, forwarded] = told(&request);
    assert_eq!(nodes, Some("192.0.2.7"), "the header that came is discarded");
    assert_eq!(
        forwarded,
        Some(
            "for=192.0.2.9;proto=https, for=192.0.2.7;proto=https;host=public.test, \
             for=127.0.0.2;host=\"a.test:81\";proto=http"
        )
    );
}

#[tokio::test]
async fn ipv6_addresses_are_told_in_the_form_of_each_header() {
    let origin = Origin::start(Script::ok("")).await;
    let gateway = behind(&origin, "x-forwarded-for").await;
    ask(&gateway, BALANCER, "PROXY TCP6 2001:db8::7 2001:db8::1 1 2", &[]).await;
    let [nodes, _, _, forwarded] = told(&origin.last()).map(|told| told.map(str::to_owned));
    assert_eq!(nodes.as_deref(), Some("2001:db8::7"));
    assert_eq!(forwarded.as_deref(), Some("for=\"[2001:db8::7]\";host=\"a.test:81\";proto=http"));
}

#[tokio::test]
async fn who_is_believed_changes_for_the_next_request_of_an_open_connection() {
    let origin = Origin::start(Script::ok("")).await;
    let setup = Setup::to(&origin);
    let believing = |header: &str| setup.clone().listener(&listener(header));
    let mut gateway = believing("x-forwarded-for").start().await;
    let mut open = Raw::connect_from(BALANCER, gateway.address()).await;
    let mut proxied = Raw::connect_from(BALANCER, gateway.address()).await;
    proxied.send("PROXY TCP4 10.0.0.1 127.0.0.1 1 2\r\n").await;
    let ask = "GET / HTTP/1.1\nhost: a\nx-forwarded-for: 192.0.2.7\nforwarded: for=192.0.2.8\n\n";
    let nobody = setup.clone().text();
    let another = setup.clone().listener("behind = [\"192.0.2.1\"]\nproxy_protocol = \"optional\"").text();
    let steps = [
        (None, ("192.0.2.7", "x-forwarded-for:1"), ("192.0.2.7", "x-forwarded-for:1")),
        (Some(believing("forwarded").text()), ("192.0.2.8", "forwarded:1"), ("192.0.2.8", "forwarded:1")),
        (Some(believing("off").text()), ("127.0.0.2", "socket"), ("10.0.0.1", "proxy")),
        (Some(another), ("127.0.0.2", "socket"), ("127.0.0.2", "socket")),
        (Some(nobody), ("127.0.0.2", "socket"), ("127.0.0.2", "socket")),
        (
            Some(believing("x-forwarded-for").text()),
            ("192.0.2.7", "x-forwarded-for:1"),
            ("192.0.2.7", "x-forwarded-for:1"),
        ),
    ];
    for (step, (text, of_open, of_proxied)) in steps.into_iter().enumerate() {
        if let Some(text) = text {
            gateway.apply(&text).await.expect("it can be served");
        }
        for (number, (client, wanted)) in [(&mut open, of_open), (&mut proxied, of_proxied)].into_iter().enumerate() {
            assert_eq!(client.ask(ask).await.status, 200);
            let line = step * 2 + number;
            let (found, told_by) = clients(&gateway, line + 1).await.remove(line);
            assert_eq!((&*found, &*told_by), wanted, "step {step}, connection {number}");
            let nodes = origin.last().header("x-forwarded-for").map(str::to_owned).unwrap_or_default();
            assert!(nodes.starts_with(wanted.0), "step {step}, connection {number}: {nodes}");
        }
    }
}
